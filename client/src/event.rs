//! What an application is told.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use crate::failure::{Code, Failure};
use crate::input::Position;

/// What an application is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "event", rename_all = "camelCase")]
pub enum Event {
    /// Where the connection stands.
    State(State),
    /// One is in a room, also after each reconnect; its messages follow.
    Joined(Joined),
    /// One is out of a room.
    Left(Left),
    /// Somebody said something: each message once, in the order of seq.
    Message(Message),
    /// Comes before the message `next`.
    Gap(Gap),
    /// Somebody came or went.
    Presence(Presence),
    /// Who is typing.
    Typing(Typing),
    /// What no call reports.
    Error(Failure),
}

/// Where the connection stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "state",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum State {
    /// A socket is being opened, or the server's `hello` awaited.
    Connecting {
        /// From 0; begins anew after a connection that lasted for 5 s.
        attempt: u32,
    },
    /// The server answers.
    Online,
    /// There is no connection; another attempt follows.
    Offline {
        /// From 0; begins anew after a connection that lasted for 5 s.
        attempt: u32,
        /// When, on the clock of the inputs, ms.
        retry_at: u64,
        /// The same from this moment on.
        retry_in_ms: u64,
        /// With which the connection was closed.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        /// With which the connection was closed, or `no answer`, or `not understood`.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// For ever: by [`Input::Close`](crate::Input::Close), or because the server said never to
    /// return (4500 to 4999).
    Closed {
        /// With which the server closed the connection.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        /// With which the server closed the connection.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// One is in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Which room.
    pub room: String,
    /// In order of joining, oneself included; the server names the first 999 and oneself at most.
    pub users: Vec<String>,
    /// How many there are.
    pub user_count: u64,
    /// The log that seqs count in.
    pub epoch: String,
    /// The last message so far; those up to it are replayed.
    pub seq: u64,
    /// Whether exactly what was missed follows.
    pub recovered: bool,
    /// Whether this client was in the room before.
    pub rejoined: bool,
}

/// One is out of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Which room.
    pub room: String,
    /// Of the refusal, when the room could not be joined again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The server's, when one was put out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A stored message. Its identity is room, epoch and seq.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Where it was said.
    pub room: String,
    /// In which log.
    pub epoch: String,
    /// In which place.
    pub seq: u64,
    /// By whom.
    pub from: String,
    /// What was said.
    pub text: String,
    /// When it was stored, ms since the Unix epoch, on the server's clock.
    pub timestamp: u64,
    /// Whether it was said under this client's name.
    pub own: bool,
    /// Whether it was said before the join that brought it.
    pub replayed: bool,
    /// On messages that this very client sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<String>,
}

/// Something is missing. In one epoch: what lies between was missed, and
/// [`Input::History`](crate::Input::History) may still have it. In two: the server began a new log,
/// and whatever followed `last` in the old one is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// In which room.
    pub room: String,
    /// What came last.
    pub last: Position,
    /// What comes next.
    pub next: Position,
}

/// Somebody came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// In which room.
    pub room: String,
    /// Who is there: 1000 are kept by name.
    pub users: Vec<String>,
    /// How many there are.
    pub user_count: u64,
    /// Who, and which of the two.
    #[serde(flatten)]
    pub change: Change,
}

/// Whether somebody came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// Somebody came.
    Joined {
        /// Who.
        joined: String,
    },
    /// Somebody went.
    Left {
        /// Who.
        left: String,
        /// Why: see the protocol's table.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// Who is typing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Typing {
    /// In which room.
    pub room: String,
    /// Everybody else who is: 1000 are kept by name.
    pub users: Vec<String>,
}

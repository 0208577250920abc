//! What happens to a client.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::options::Secret;

/// A place in a room's log. Numbers count within an epoch only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which log.
    pub epoch: String,
    /// Which entry: 1, 2, 3 …; 0 is before the first.
    pub seq: u64,
}

/// What happens: to the socket, to the clock, or because the application calls.
///
/// A `call` is a number that the application chooses; it comes back with the one
/// [`Output::Resolve`](crate::Output::Resolve) or [`Output::Reject`](crate::Output::Reject) that
/// settles the call, and should be another one for each. What the application passes may be
/// anything: what breaks a rule of the protocol is rejected with the server's code for it.
///
/// Inputs about a socket are those of the last one that was asked for by
/// [`Output::Connect`](crate::Output::Connect) and not given up by
/// [`Output::HangUp`](crate::Output::HangUp) since; drop all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "do",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Input {
    /// Begin: the first input of a client.
    Connect,
    /// The socket is open.
    Opened {
        /// Who we are, on servers that require it (a JWT). Each connection may bring another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Secret>,
    },
    /// A text frame came.
    Received {
        /// Its payload, whatever it is.
        text: String,
    },
    /// The socket is closed, or could not be opened.
    Closed {
        /// Of the close frame, or 1006 without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        /// Of the close frame, or whatever people should know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Time has passed: [`Client::deadline`](crate::Client::deadline) is reached.
    Tick,
    /// The resume token that clients of the same guest keep in common is another one, or gone. For
    /// clients with [`Options::shares`](crate::Options::shares): say it before
    /// [`Input::Connect`] when there is one, and whenever it changes, by this client's own
    /// [`Output::Remember`](crate::Output::Remember), too. It
    /// matters from the next input on, and not at all to other clients.
    Remembered {
        /// What is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_token: Option<Secret>,
    },
    /// Joins a room and stays in it across reconnects, until [`Input::Leave`]. Settled with
    /// [`Value::Joined`](crate::Value::Joined), or rejected with the server's code if the room or
    /// the name is refused. Joining again is settled with how things stand.
    Join {
        /// The call.
        call: u64,
        /// Which room: 1 to 64 Unicode scalar values.
        room: String,
        /// How many messages to replay at first: the server's 50 if absent, and 100 at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<u64>,
        /// The position from which to go on, as of a client that ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
    },
    /// Leaves a room. Messages that were not sent yet are rejected with
    /// [`ClientError::Left`](crate::ClientError::Left).
    Leave {
        /// The call.
        call: u64,
        /// Which room.
        room: String,
    },
    /// Says something. Settled with [`Value::Sent`](crate::Value::Sent) when it is stored, which
    /// takes as long as the server is away.
    Send {
        /// The call.
        call: u64,
        /// A room that was joined, or is being joined.
        room: String,
        /// What is said: 1 to 2000 Unicode scalar values.
        text: String,
        /// An id of one's own: 1 to 64 printable ASCII characters, never used before in this room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<String>,
    },
    /// The user is typing, or has stopped. Say it at each keystroke: the others are told no more
    /// often than needed, and sending a message ends it.
    Typing {
        /// In which room.
        room: String,
        /// Whether or not.
        active: bool,
    },
    /// Asks for a page of a joined room's history, settled with
    /// [`Value::History`](crate::Value::History). No events come of it.
    History {
        /// The call.
        call: u64,
        /// Which room.
        room: String,
        /// The seq to end before; the newest messages if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// How many at most: the server's 50 if absent, 1 to 100.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// Asks for the open rooms that one may join, settled with
    /// [`Value::Rooms`](crate::Value::Rooms).
    Rooms {
        /// The call.
        call: u64,
        /// Only rooms whose ids come after this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Asks who is in a room, settled with [`Value::Users`](crate::Value::Users).
    Users {
        /// The call.
        call: u64,
        /// Which room.
        room: String,
    },
    /// Offline: connects at once. Online: looks whether the server still answers.
    Retry,
    /// Ends the client for ever. What is pending is rejected with
    /// [`ClientError::Closed`](crate::ClientError::Closed); a message in flight may be stored all
    /// the same.
    Close,
}

//! What a client wants done, and what it settles calls with.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use crate::event::{Event, Joined, Message};
use crate::failure::Failure;
use crate::options::Secret;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Output {
    /// Open a socket, and answer with [`Input::Opened`](crate::Input::Opened) or
    /// [`Input::Closed`](crate::Input::Closed).
    Connect,
    /// Send a text frame.
    Transmit {
        /// Its payload. A `hello` has the tokens in it, so do not log it.
        text: String,
    },
    /// Close the socket (with 1000) and forget it: nothing that comes of it counts. There may be
    /// none yet.
    HangUp,
    /// Keep the token for other clients of the same guest; see
    /// [`Options::shares`](crate::Options::shares).
    Remember {
        /// Names the guest to the server.
        resume_token: Secret,
    },
    /// Tell the application.
    Emit(Event),
    /// A call is answered.
    Resolve {
        /// Which call.
        call: u64,
        /// With what.
        #[serde(skip_serializing_if = "Value::is_nothing")]
        value: Value,
    },
    /// A call has failed.
    Reject {
        /// Which call.
        call: u64,
        /// Why.
        failure: Failure,
    },
}

/// What a call is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Of [`Input::Join`](crate::Input::Join).
    Joined(Joined),
    /// Of [`Input::Leave`](crate::Input::Leave): one is out.
    Left,
    /// Of [`Input::Send`](crate::Input::Send): the message as it was stored.
    Sent(Message),
    /// Of [`Input::History`](crate::Input::History).
    History(HistoryPage),
    /// Of [`Input::Rooms`](crate::Input::Rooms).
    Rooms(RoomList),
    /// Of [`Input::Users`](crate::Input::Users).
    Users(UserList),
}

impl Value {
    /// Whether this says nothing but that the call is answered.
    fn is_nothing(&self) -> bool {
        *self == Self::Left
    }
}

/// A page of a room's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// Which room.
    pub room: String,
    /// The log that the seqs count in.
    pub epoch: String,
    /// Ascending by seq.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// Open rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomList {
    /// Sorted by id; the server names 1000 at most.
    pub rooms: Vec<RoomInfo>,
    /// How many there are.
    pub room_count: u64,
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomInfo {
    /// Which room.
    pub id: String,
    /// Users in it.
    pub user_count: u64,
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserList {
    /// Which room.
    pub room: String,
    /// In order of joining; the server names 1000 at most.
    pub users: Vec<String>,
    /// How many there are.
    pub user_count: u64,
}

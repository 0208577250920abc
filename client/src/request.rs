//! What was asked of the server and has no answer yet.

use alloc::string::String;

use crate::room::RoomKey;
use crate::wire::Body;

/// A request that changes nothing, so it may be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) call: u64,
    pub(crate) about: About,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Rooms {
        after: Option<String>,
    },
    Users {
        room: String,
    },
    History {
        room: String,
        before: Option<u64>,
        limit: Option<u64>,
    },
}

impl Question {
    pub(crate) fn room(&self) -> Option<&str> {
        match &self.about {
            About::Rooms { .. } => None,
            About::Users { room } | About::History { room, .. } => Some(room),
        }
    }

    /// Whether it is about the history of a room.
    pub(crate) fn is_history_of(&self, id: &str) -> bool {
        matches!(&self.about, About::History { room, .. } if room == id)
    }

    pub(crate) fn body(&self) -> Body<'_> {
        match &self.about {
            About::Rooms { after } => Body::ListRooms {
                after: after.as_deref(),
            },
            About::Users { room } => Body::ListUsers { room_id: room },
            About::History {
                room,
                before,
                limit,
            } => Body::GetHistory {
                room_id: room,
                before: *before,
                limit: *limit,
            },
        }
    }
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The `ref` that its answer echoes; `typing` has no answer.
    pub(crate) reference: Option<String>,
    pub(crate) what: Asked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Hello,
    Ping,
    Typing,
    Join(RoomKey),
    Leave(RoomKey),
    /// The first message in the outbox.
    Message(RoomKey),
    Question(Question),
}

impl Asked {
    /// Whether a frame of a type may answer it. A type that is unknown, or is no answer, may: it
    /// is overlooked.
    pub(crate) fn may_be_answered_by(&self, frame: &str) -> bool {
        let expected = match self {
            Self::Hello => "hello",
            Self::Ping => "pong",
            Self::Typing => return true,
            Self::Join(_) => "joined",
            Self::Leave(_) => "left",
            Self::Message(_) => "message",
            Self::Question(question) => match question.about {
                About::Rooms { .. } => "room_list",
                About::Users { .. } => "user_list",
                About::History { .. } => "history",
            },
        };
        frame == expected || !ANSWERS.contains(&frame)
    }
}

/// The types that answer a request, `error` apart, which may answer any.
const ANSWERS: [&str; 8] = [
    "hello",
    "pong",
    "joined",
    "left",
    "message",
    "room_list",
    "user_list",
    "history",
];

//! The messages of the wire protocol as values: what a client may ask ([`Request`]) and what the
//! server says ([`ServerMessage`]). [`decode`](crate::decode) and [`encode`](crate::encode) turn
//! them from and into JSON; README.md has the tables with an example of every message.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize, Serializer};

use crate::entry::Entry;
use crate::error::{Cause, ErrorCode};
use crate::limits::AnnouncedLimits;
use crate::types::{
    ClientMsgId, Epoch, MessageText, Ref, ResumeToken, RoomId, Seq, Timestamp, Username,
};

/// The version of the protocol that this crate speaks.
pub const PROTOCOL: u64 = 1;

/// What `hello` says the server is.
pub const SERVER: &str = concat!("parlor/", env!("CARGO_PKG_VERSION"));

/// A well-formed request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The client's tag, echoed by the answer.
    pub reference: Option<Ref>,
    /// What it asks.
    pub kind: RequestKind,
}

/// What a request asks.
// The attributes of its schema say how it looks on the wire, since serde's are those of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(
        tag = "type",
        rename_all = "snake_case",
        rename_all_fields = "camelCase"
    )
)]
pub enum RequestKind {
    /// Introduces the client.
    // The token is not here: whoever verifies it says `Identified`.
    Hello {
        /// The version that the client speaks: 1.
        protocol: u64,
        /// The guest it was before. One that nobody has is ignored.
        #[cfg_attr(feature = "schema", schemars(with = "Option<alloc::string::String>"))]
        resume_token: Option<ResumeToken>,
    },
    /// Enters a room, or catches up in it.
    Join {
        /// Which room.
        #[cfg_attr(feature = "schema", schemars(rename = "roomId"))]
        room: RoomId,
        /// The name to be known by; needed once.
        username: Option<Username>,
        /// The last entry seen.
        since: Option<Since>,
        /// How many entries to replay when `since` does not recover.
        history: Option<u32>,
    },
    /// Leaves a room.
    Leave {
        /// Which room.
        #[cfg_attr(feature = "schema", schemars(rename = "roomId"))]
        room: RoomId,
    },
    /// Says something to a room.
    Message {
        /// Which room.
        #[cfg_attr(feature = "schema", schemars(rename = "roomId"))]
        room: RoomId,
        /// What.
        text: MessageText,
        /// Makes the request safe to retry.
        client_msg_id: Option<ClientMsgId>,
    },
    /// Tells a room that somebody is typing, or stopped.
    Typing {
        /// Which room.
        #[cfg_attr(feature = "schema", schemars(rename = "roomId"))]
        room: RoomId,
        /// Typing or stopped.
        active: bool,
    },
    /// Asks for the open rooms.
    ListRooms {
        /// Only ids behind this one.
        after: Option<RoomId>,
    },
    /// Asks who is in a room.
    ListUsers {
        /// Which room.
        #[cfg_attr(feature = "schema", schemars(rename = "roomId"))]
        room: RoomId,
    },
    /// Asks for a page of a room's log.
    GetHistory {
        /// Which room.
        #[cfg_attr(feature = "schema", schemars(rename = "roomId"))]
        room: RoomId,
        /// How many entries, at least 1.
        #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
        limit: Option<u32>,
        /// Only entries before this one.
        before: Option<Seq>,
    },
    /// Asks for a sign of life.
    Ping,
}

impl RequestKind {
    /// The room it is about.
    #[must_use]
    pub const fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Join { room, .. }
            | Self::Leave { room }
            | Self::Message { room, .. }
            | Self::Typing { room, .. }
            | Self::ListUsers { room }
            | Self::GetHistory { room, .. } => Some(room),
            Self::Hello { .. } | Self::ListRooms { .. } | Self::Ping => None,
        }
    }

    /// What is to be said.
    #[must_use]
    pub const fn text(&self) -> Option<&MessageText> {
        match self {
            Self::Message { text, .. } => Some(text),
            Self::Hello { .. }
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Typing { .. }
            | Self::ListRooms { .. }
            | Self::ListUsers { .. }
            | Self::GetHistory { .. }
            | Self::Ping => None,
        }
    }

    /// The sender's own id of what it says.
    #[must_use]
    pub const fn client_msg_id(&self) -> Option<&ClientMsgId> {
        match self {
            Self::Message { client_msg_id, .. } => client_msg_id.as_ref(),
            Self::Hello { .. }
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Typing { .. }
            | Self::ListRooms { .. }
            | Self::ListUsers { .. }
            | Self::GetHistory { .. }
            | Self::Ping => None,
        }
    }

    /// Whether its answer may wait for the store or be large, so that nothing of the same
    /// connection may be handed over behind it before it is answered (T-8).
    #[must_use]
    pub const fn holds(&self) -> bool {
        match self {
            Self::Join { .. }
            | Self::GetHistory { .. }
            | Self::ListRooms { .. }
            | Self::ListUsers { .. } => true,
            Self::Hello { .. }
            | Self::Leave { .. }
            | Self::Message { .. }
            | Self::Typing { .. }
            | Self::Ping => false,
        }
    }

    /// As how many frames it counts in flood control. An answer of up to 256 KiB, or a look at
    /// thousands of rooms or users, takes as much as ten messages. Whoever comes and goes is
    /// announced to everybody each time; it counts for less, so that a client can come back into
    /// its rooms within seconds.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        match self {
            Self::GetHistory { .. } | Self::ListRooms { .. } | Self::ListUsers { .. } => 10,
            Self::Join { .. } | Self::Leave { .. } => 5,
            Self::Hello { .. } | Self::Message { .. } | Self::Typing { .. } | Self::Ping => 1,
        }
    }
}

/// The place in a room's log up to which a client has seen everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Since {
    /// The epoch it saw.
    pub epoch: Epoch,
    /// The last seq it saw.
    pub seq: Seq,
}

/// A refused request: what `error` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// The room it was about.
    pub room: Option<RoomId>,
    /// The request's tag.
    pub reference: Option<Ref>,
    /// The message's own id.
    pub client_msg_id: Option<ClientMsgId>,
    /// When to try again, ms from now.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal that says no more than why.
    #[must_use]
    pub const fn new(code: ErrorCode) -> Self {
        Self {
            code,
            room: None,
            reference: None,
            client_msg_id: None,
            retry_after_ms: None,
        }
    }
}

/// What the server says. Serialises as the JSON object of the wire protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Answers `hello`.
    Hello(Hello),
    /// Answers `join`.
    Joined(Joined),
    /// Answers `leave`, or tells that a room was taken away.
    Left(Left),
    /// An entry of a room's log.
    Message(Delivery),
    /// Somebody came into a room.
    UserJoined(UserJoined),
    /// Somebody is no longer in a room.
    UserLeft(UserLeft),
    /// Somebody types, or stopped.
    Typing(Typing),
    /// Answers `list_rooms`.
    RoomList(RoomList),
    /// Answers `list_users`.
    UserList(UserList),
    /// Ends the answer to `get_history`.
    History(History),
    /// Answers `ping`.
    Pong(Pong),
    /// Refuses a request, or says that the server goes away.
    Error(ErrorMessage),
}

/// `hello`: who the server is and what it allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u64,
    /// [`SERVER`].
    pub server: &'static str,
    /// With it, a guest's further connection is the same guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<ResumeToken>,
    /// The name of the user, when it has one already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// The server's clock.
    pub time: Timestamp,
    /// Between two pings of the server, ms.
    pub ping_interval_ms: u32,
    /// What the server allows.
    pub limits: AnnouncedLimits,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
}

/// `joined`: the room at the moment of joining.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Which room.
    pub room_id: RoomId,
    /// Its users in order of joining, oneself included.
    pub users: Vec<Username>,
    /// How many users there are, listed or not.
    pub user_count: u32,
    /// The life of the log.
    pub epoch: Epoch,
    /// The last entry so far; 0 when there is none.
    pub seq: Seq,
    /// Whether everything since the request's `since` follows.
    pub recovered: bool,
    /// How many `message` follow as history.
    pub history: u32,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
}

/// `left`: the connection is no longer in the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// Which room.
    pub room_id: RoomId,
    /// Why, when it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cause>,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
}

/// `message`: an entry on its way to one or many connections, which share it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(with = "DeliveryFields<'static>")
)]
pub struct Delivery {
    /// Which room.
    pub room: RoomId,
    /// What was said.
    pub entry: Arc<Entry>,
    /// Whether this copy is for the one who said it, and tells the id it was said with.
    pub own: bool,
    /// Whether it answers a retry of something already said.
    pub duplicate: bool,
    /// The request's tag.
    pub reference: Option<Ref>,
}

impl Delivery {
    /// The copy of everybody but the sender, and of a page of history.
    #[must_use]
    pub const fn plain(room: RoomId, entry: Arc<Entry>) -> Self {
        Self {
            room,
            entry,
            own: false,
            duplicate: false,
            reference: None,
        }
    }

    /// The copy that a join brings to somebody called `name`: what they said themselves tells its
    /// id, so that they need not ask whether it was stored. As with retries, the name decides.
    #[must_use]
    pub fn replayed(room: RoomId, entry: Arc<Entry>, name: Option<&Username>) -> Self {
        let own = name.is_some_and(|name| name.key() == entry.from.key());
        Self {
            own,
            ..Self::plain(room, entry)
        }
    }
}

/// The fields of a [`Delivery`] on the wire.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct DeliveryFields<'a> {
    /// Which room.
    room_id: &'a RoomId,
    /// Who said it, as the name was spelled.
    from: &'a Username,
    /// What was said.
    text: &'a MessageText,
    /// When.
    timestamp: Timestamp,
    /// Its place in the log.
    seq: Seq,
    /// The sender's own id of it, for the sender alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_msg_id: Option<&'a ClientMsgId>,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a Ref>,
    /// There, and true, when it answers a retry of something already said.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DeliveryFields {
            room_id: &self.room,
            from: &self.entry.from,
            text: &self.entry.text,
            timestamp: self.entry.at,
            seq: self.entry.seq,
            client_msg_id: self.entry.client_msg_id.as_ref().filter(|_| self.own),
            reference: self.reference.as_ref(),
            duplicate: self.duplicate.then_some(true),
        }
        .serialize(serializer)
    }
}

/// `user_joined`: a user's first connection came into a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserJoined {
    /// Which room.
    pub room_id: RoomId,
    /// Who.
    pub username: Username,
}

/// `user_left`: a user's last connection is no longer in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserLeft {
    /// Which room.
    pub room_id: RoomId,
    /// Who.
    pub username: Username,
    /// Why.
    pub reason: Cause,
}

/// `typing`: clients forget it after 6 seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Typing {
    /// Which room.
    pub room_id: RoomId,
    /// Who.
    pub username: Username,
    /// Typing or stopped.
    pub active: bool,
}

/// `room_list`: open rooms one may join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RoomList {
    /// Sorted by id, behind the request's `after`.
    pub rooms: Vec<RoomInfo>,
    /// How many there are in all.
    pub room_count: u32,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
}

/// A room in a `room_list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RoomInfo {
    /// Which room.
    pub id: RoomId,
    /// How many users are in it.
    pub user_count: u32,
}

/// `user_list`: who is in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserList {
    /// Which room.
    pub room_id: RoomId,
    /// In order of joining.
    pub users: Vec<Username>,
    /// How many there are, listed or not.
    pub user_count: u32,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
}

/// `history`: the end of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Which room.
    pub room_id: RoomId,
    /// The life of the log.
    pub epoch: Epoch,
    /// How many `message` came before this.
    pub count: u32,
    /// Whether there are older entries.
    pub has_more: bool,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
}

/// `pong`: a sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pong {
    /// The server's clock.
    pub time: Timestamp,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
}

/// `error`: a [`Refusal`] with its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(with = "ErrorFields<'static>")
)]
pub struct ErrorMessage(pub Refusal);

/// The fields of an [`ErrorMessage`] on the wire.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct ErrorFields<'a> {
    /// Why.
    code: ErrorCode,
    /// A sentence for people that says what to do.
    message: &'static str,
    /// The room it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    /// The request's tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a Ref>,
    /// The message's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_msg_id: Option<&'a ClientMsgId>,
    /// When to try again, ms from the time it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Serialize for ErrorMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(refusal) = self;
        ErrorFields {
            code: refusal.code,
            message: refusal.code.message(),
            room_id: refusal.room.as_ref(),
            reference: refusal.reference.as_ref(),
            client_msg_id: refusal.client_msg_id.as_ref(),
            retry_after_ms: refusal.retry_after_ms,
        }
        .serialize(serializer)
    }
}

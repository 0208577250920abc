//! What can go wrong: the codes of `error`, the codes with which a connection is closed, and why a
//! user is no longer in a room.
//!
//! Programs match the code, people read the sentence. The tables are part of the protocol; a
//! snapshot test makes every change of them visible.

use core::fmt;

use serde::{Deserialize, Serialize, Serializer};

macro_rules! error_codes {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum ErrorCode {
            $(#[doc = $message] #[serde(rename = $code)] $name,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code that clients match.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A sentence that says what to do.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

error_codes! {
    InvalidJson = "INVALID_JSON", "Send one JSON object per text frame.";
    UnknownMessage = "UNKNOWN_MESSAGE", "Set `type` to one of hello, join, leave, message, typing, list_rooms, list_users, get_history, ping.";
    InvalidUsername = "INVALID_USERNAME", "Send a username of 1 to 32 visible characters without white space at either end.";
    InvalidRoomId = "INVALID_ROOM_ID", "Send a roomId of 1 to 64 visible characters without white space at either end.";
    InvalidMessage = "INVALID_MESSAGE", "Send a text of 1 to 2000 characters.";
    InvalidLimit = "INVALID_LIMIT", "Send a whole number: limit is at least 1, history at least 0.";
    InvalidField = "INVALID_FIELD", "A field has the wrong type or value, or stands there twice: see the protocol table.";
    NotIdentified = "NOT_IDENTIFIED", "Send hello with a token first.";
    Unauthorized = "UNAUTHORIZED", "Get a new token: this one is missing, invalid or not yours to use here.";
    Forbidden = "FORBIDDEN", "Ask the operator for access: your token does not cover this room.";
    UnsupportedProtocol = "UNSUPPORTED_PROTOCOL", "Update the client or the server: this server speaks protocol 1.";
    UsernameTaken = "USERNAME_TAKEN", "Choose another username: somebody is using this one.";
    UsernameMismatch = "USERNAME_MISMATCH", "Keep the username of your first join, or open another connection.";
    AlreadyInRoom = "ALREADY_IN_ROOM", "You are in this room; send join with since to catch up.";
    NotInRoom = "NOT_IN_ROOM", "Join the room first.";
    RoomFull = "ROOM_FULL", "Try again when somebody has left the room.";
    TooManyRooms = "TOO_MANY_ROOMS", "Leave a room before you join another.";
    ServerFull = "SERVER_FULL", "Try again later or join a room that is open: the server has as many rooms as it can hold.";
    RateLimited = "RATE_LIMITED", "Send more slowly; wait retryAfterMs before the next.";
    DuplicateId = "DUPLICATE_ID", "Use a new clientMsgId for a new text.";
    HistoryFetchFailed = "HISTORY_FETCH_FAILED", "Ask for the history again later.";
    StoreUnavailable = "STORE_UNAVAILABLE", "Try again later with the same clientMsgId: the server cannot store messages at the moment.";
    ServerShutdown = "SERVER_SHUTDOWN", "Reconnect after retryAfterMs: the server is going away.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! close_reasons {
    ($($name:ident = $code:literal, $text:literal, $doc:literal;)*) => {
        /// Why the server closes a connection: 1000 to 1015 are RFC 6455's (section 7.4.1), after
        /// 4000 to 4499 a client reconnects, after 4500 to 4999 it does not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum CloseReason {
            $(#[doc = $doc] $name,)*
        }

        impl CloseReason {
            /// Every reason, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code of the close frame.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The text of the close frame, at most 123 bytes (RFC 6455, section 5.5).
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

close_reasons! {
    Normal = 1000, "", "Answers a close of the client, whose own code an adapter may send back instead.";
    GoingAway = 1001, "server is going away", "The server shuts down.";
    ProtocolError = 1002, "protocol error", "A frame broke RFC 6455: unmasked, reserved bits, unknown opcode.";
    UnsupportedData = 1003, "send text frames", "A binary frame.";
    InvalidUtf8 = 1007, "text is not UTF-8", "A text frame that is not UTF-8.";
    TooBig = 1009, "message is too big", "A frame or message above the limit.";
    Restart = 1012, "server restarts", "The state is rebuilt from the store: reconnect and recover with since.";
    Slow = 4000, "too slow: read faster, then reconnect with since", "The connection's outbox overflowed.";
    NoPong = 4001, "no pong in time", "No sign of life after a ping.";
    Flooding = 4002, "flooding", "Too many refused frames in a row.";
    Unauthorized = 4500, "unauthorized", "A token is missing or bad.";
    TokenExpired = 4500, "token expired", "The token that the connection came with is over.";
    UnsupportedProtocol = 4501, "unsupported protocol version", "The client speaks another version.";
    Internal = 4502, "internal error on this connection", "Something broke that concerns this connection only.";
    NoHello = 4503, "no hello in time", "A token is required and none came.";
    Removed = 4504, "removed by the application", "The application that the server is in wants it gone.";
}

/// Why a user is no longer in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It left.
    Left,
    /// Its connection ended.
    Disconnected,
    /// Its connection gave no sign of life.
    Timeout,
    /// Its connection read too slowly.
    Slow,
    /// Its connection sent too much.
    Flooding,
    /// It may no longer be there.
    Forbidden,
}

impl CloseReason {
    /// What `user_left` says of a connection that was closed so.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::NoPong => Cause::Timeout,
            Self::Slow => Cause::Slow,
            Self::Flooding => Cause::Flooding,
            Self::Removed => Cause::Forbidden,
            Self::Normal
            | Self::GoingAway
            | Self::ProtocolError
            | Self::UnsupportedData
            | Self::InvalidUtf8
            | Self::TooBig
            | Self::Restart
            | Self::Unauthorized
            | Self::TokenExpired
            | Self::UnsupportedProtocol
            | Self::Internal
            | Self::NoHello => Cause::Disconnected,
        }
    }
}

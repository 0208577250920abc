//! What went wrong.

use alloc::string::{String, ToString};
use core::fmt;

use parlor_core::ErrorCode;
use serde::{Serialize, Serializer};

/// What went wrong: a code for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// A sentence that says what to do, the server's own if it is from there.
    pub message: String,
    /// About which room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// About which message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<String>,
    /// How long to wait, ms; at most 300,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl core::error::Error for Failure {}

/// Which failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The client's own.
    Client(ClientError),
    /// The server's, or the client's in its place when the server would refuse for certain.
    Server(ErrorCode),
    /// The server's, and unknown to this client.
    Unknown(String),
}

impl Code {
    pub(crate) fn of_server(text: &str) -> Self {
        let known = ErrorCode::ALL.iter().find(|code| code.as_str() == text);
        known.map_or_else(
            || Self::Unknown(text.to_string()),
            |&code| Self::Server(code),
        )
    }

    /// The stable code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Client(error) => error.as_str(),
            Self::Server(code) => code.as_str(),
            Self::Unknown(code) => code,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! client_errors {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// What this client adds to the codes of the server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ClientError {
            $(#[doc = $message] $name,)*
        }

        impl ClientError {
            /// Every one, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code.
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

client_errors! {
    Closed = "CLOSED", "Open another client: this one is closed.";
    Left = "LEFT", "Join the room again to send this: it was left before.";
    QueueFull = "QUEUE_FULL", "Wait until some of what is pending has been answered.";
    OutcomeUnknown = "OUTCOME_UNKNOWN", "Look whether the message is there before sending it again: the connection broke and too much was said meanwhile to tell.";
}

/// Why, before it is known what about.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    code: Code,
    message: String,
}

impl Why {
    pub(crate) fn about(&self, room: Option<&str>, client_msg_id: Option<&str>) -> Failure {
        Failure {
            code: self.code.clone(),
            message: self.message.clone(),
            room: room.map(String::from),
            client_msg_id: client_msg_id.map(String::from),
            retry_after_ms: None,
        }
    }
}

impl From<ClientError> for Why {
    fn from(error: ClientError) -> Self {
        Self {
            code: Code::Client(error),
            message: error.message().into(),
        }
    }
}

impl From<ErrorCode> for Why {
    fn from(code: ErrorCode) -> Self {
        Self {
            code: Code::Server(code),
            message: code.message().into(),
        }
    }
}

impl From<&Failure> for Why {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code.clone(),
            message: failure.message.clone(),
        }
    }
}

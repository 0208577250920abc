//! From requests to frames, and from frames to their fields.

use alloc::string::String;
use alloc::vec::Vec;

use parlor_core::limits::AnnouncedLimits;
use parlor_core::protocol::PROTOCOL;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::input::Position;
use crate::output::RoomInfo;

/// The numbers that JSON carries exactly everywhere, 2^53 - 1.
pub(crate) const MOST_COUNT: u64 = 9_007_199_254_740_991;

/// What a client says.
#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Body<'a> {
    Hello {
        protocol: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resume_token: Option<&'a str>,
    },
    Join {
        room_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        username: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<&'a Position>,
        #[serde(skip_serializing_if = "Option::is_none")]
        history: Option<u64>,
    },
    Leave {
        room_id: &'a str,
    },
    Message {
        room_id: &'a str,
        text: &'a str,
        client_msg_id: &'a str,
    },
    Typing {
        room_id: &'a str,
        active: bool,
    },
    ListRooms {
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<&'a str>,
    },
    ListUsers {
        room_id: &'a str,
    },
    GetHistory {
        room_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    Ping,
}

impl<'a> Body<'a> {
    pub(crate) const fn hello(token: Option<&'a str>, resume_token: Option<&'a str>) -> Self {
        Self::Hello {
            protocol: PROTOCOL,
            token,
            resume_token,
        }
    }

    /// The frame.
    pub(crate) fn encode(self, reference: Option<&str>) -> String {
        #[derive(Serialize)]
        struct Frame<'a> {
            #[serde(flatten)]
            body: Body<'a>,
            #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
            reference: Option<&'a str>,
        }
        let frame = Frame {
            body: self,
            reference,
        };
        serde_json::to_string(&frame)
            .expect("every key is a string, and no value refuses to serialise")
    }
}

/// The fields of a server's frame. Whatever is not of the type that the protocol gives it counts
/// as absent, and absence is up to whoever asks: nothing that a server says is an error here.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Of a frame that is a JSON object.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(String::from)
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        count(self.0.get(name)?)
    }

    /// A number of milliseconds that is one to wait for.
    pub(crate) fn wait_ms(&self, name: &str) -> Option<u64> {
        self.count(name).filter(|&ms| ms > 0)
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// A list's texts.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let list = self.0.get(name)?.as_array()?;
        Some(
            list.iter()
                .filter_map(Value::as_str)
                .map(String::from)
                .collect(),
        )
    }

    /// The rooms in a list.
    pub(crate) fn rooms(&self) -> Vec<RoomInfo> {
        let list = self.0.get("rooms").and_then(Value::as_array);
        let room = |room: &Value| {
            Some(RoomInfo {
                id: room.get("id")?.as_str()?.into(),
                user_count: count(room.get("userCount")?)?,
            })
        };
        list.into_iter().flatten().filter_map(room).collect()
    }

    /// What the server allows; protocol 1's default where it does not say.
    pub(crate) fn limits(&self) -> Option<AnnouncedLimits> {
        let limits = self.0.get("limits")?.as_object()?;
        let or = |name: &str, default: u32| {
            let told = limits.get(name).and_then(count);
            told.and_then(|count| u32::try_from(count).ok())
                .unwrap_or(default)
        };
        let default = parlor_core::Limits::default().announced();
        Some(AnnouncedLimits {
            username: or("username", default.username),
            text: or("text", default.text),
            room_id: or("roomId", default.room_id),
            client_msg_id: or("clientMsgId", default.client_msg_id),
            frame_bytes: or("frameBytes", default.frame_bytes),
            history_page: or("historyPage", default.history_page),
            replay: or("replay", default.replay),
            rooms_per_connection: or("roomsPerConnection", default.rooms_per_connection),
            members_per_room: or("membersPerRoom", default.members_per_room),
            messages_per_second: or("messagesPerSecond", default.messages_per_second),
            burst: or("burst", default.burst),
        })
    }
}

/// A whole number, however it is written: `5.0` is 5.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a cast from a float saturates, and one that lost anything is not equal"
)]
fn count(value: &Value) -> Option<u64> {
    let whole = |float: f64| {
        let count = float as u64;
        (count as f64 == float).then_some(count)
    };
    let count = value.as_u64().or_else(|| value.as_f64().and_then(whole))?;
    (count <= MOST_COUNT).then_some(count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_the_whole_numbers_that_json_carries_exactly() {
        for (value, expected) in [
            (json!(0), Some(0)),
            (json!(-0.0), Some(0)),
            (json!(5.0), Some(5)),
            (json!(1e15), Some(1_000_000_000_000_000)),
            (json!(MOST_COUNT), Some(MOST_COUNT)),
            (json!(MOST_COUNT + 1), None),
            (json!(9_007_199_254_740_992.0), None),
            (json!(1e300), None),
            (json!(u64::MAX), None),
            (json!(-1), None),
            (json!(0.5), None),
            (json!("5"), None),
            (json!(null), None),
        ] {
            assert_eq!(count(&value), expected, "{value}");
        }
    }

    #[test]
    fn only_an_object_is_a_frame() {
        for text in [
            "",
            "nonsense",
            "[]",
            "null",
            "5",
            "\"text\"",
            "{} {}",
            "\u{feff}{}",
        ] {
            assert!(Fields::parse(text).is_none(), "{text}");
        }
        assert!(Fields::parse(" {}\n").is_some());
    }
}

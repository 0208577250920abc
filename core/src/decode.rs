//! From the text of a frame to a [`Request`], in two stages: one flat object with borrowed strings
//! and whatever types the client sent, then the newtypes, in the order of the protocol table, so
//! that the error names the first rule that broke.

use alloc::borrow::Cow;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::ErrorCode;
use crate::protocol::{Refusal, Request, RequestKind, Since};
use crate::types::{
    ClientMsgId, Epoch, InvalidText, MessageText, Ref, ResumeToken, RoomId, Seq, Token, Username,
};

/// A decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The request.
    pub request: Request,
    /// The token of a `hello`. Kept apart: it is for whoever verifies it and never enters the
    /// state or a trace.
    pub token: Option<Token>,
}

/// Decodes one text frame.
///
/// # Errors
/// The one `error` that the frame gets: `INVALID_JSON` if it is not a JSON object,
/// `UNKNOWN_MESSAGE` if its type is missing or unknown, else the code of the first bad field, with
/// `ref`, `roomId` and `clientMsgId` echoed where they are good.
pub fn decode(text: &str) -> Result<Decoded, Refusal> {
    let frame = parse(text).map_err(|_| Refusal::new(ErrorCode::InvalidJson))?;
    request(&frame).map_err(|code| {
        let known = code != ErrorCode::UnknownMessage;
        Refusal {
            code,
            room: frame.room().ok().filter(|_| known && frame.names_room()),
            reference: frame.reference().ok().flatten(),
            client_msg_id: frame
                .client_msg_id()
                .ok()
                .flatten()
                .filter(|_| frame.is("message")),
            retry_after_ms: None,
        }
    })
}

fn parse(text: &str) -> Result<Frame<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let frame = Frame::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(frame)
}

/// The second stage. Fields are checked in the order of the protocol table, `ref` last.
fn request(frame: &Frame<'_>) -> Result<Decoded, ErrorCode> {
    let Field::Good(kind) = &frame.kind else {
        return Err(ErrorCode::UnknownMessage);
    };
    let mut token = None;
    let kind = match &**kind {
        "hello" => {
            let protocol = match frame.protocol {
                Field::Good(protocol) => protocol,
                Field::Absent | Field::Bad => return Err(ErrorCode::InvalidField),
            };
            token = frame
                .token
                .optional(ErrorCode::InvalidField)?
                .map(|text| Token::new(text));
            let resume_token = frame.resume_token.optional(ErrorCode::InvalidField)?;
            // One that cannot have been given to anybody is like any other unknown one.
            let resume_token =
                resume_token.map(|text| ResumeToken::parse(text).unwrap_or(ResumeToken::UNKNOWN));
            RequestKind::Hello {
                protocol,
                resume_token,
            }
        }
        "join" => RequestKind::Join {
            room: frame.room()?,
            username: frame
                .username
                .text(ErrorCode::InvalidUsername, Username::new)?,
            since: frame.since()?,
            history: frame.count(&frame.history, 0)?,
        },
        "leave" => RequestKind::Leave {
            room: frame.room()?,
        },
        "message" => RequestKind::Message {
            room: frame.room()?,
            text: frame
                .text
                .text(ErrorCode::InvalidMessage, MessageText::new)?
                .ok_or(ErrorCode::InvalidMessage)?,
            client_msg_id: frame.client_msg_id()?,
        },
        "typing" => RequestKind::Typing {
            room: frame.room()?,
            active: *frame
                .active
                .optional(ErrorCode::InvalidField)?
                .ok_or(ErrorCode::InvalidField)?,
        },
        "list_rooms" => RequestKind::ListRooms {
            after: frame.after.text(ErrorCode::InvalidRoomId, RoomId::new)?,
        },
        "list_users" => RequestKind::ListUsers {
            room: frame.room()?,
        },
        "get_history" => RequestKind::GetHistory {
            room: frame.room()?,
            limit: frame.count(&frame.limit, 1)?,
            before: frame
                .before
                .optional(ErrorCode::InvalidField)?
                .copied()
                .map(Seq),
        },
        "ping" => RequestKind::Ping,
        _ => return Err(ErrorCode::UnknownMessage),
    };
    Ok(Decoded {
        request: Request {
            reference: frame.reference()?,
            kind,
        },
        token,
    })
}

impl Frame<'_> {
    fn is(&self, kind: &str) -> bool {
        matches!(&self.kind, Field::Good(found) if found == kind)
    }

    /// Whether the protocol table gives this kind of request a `roomId`.
    fn names_room(&self) -> bool {
        !(self.is("hello") || self.is("list_rooms") || self.is("ping"))
    }

    fn room(&self) -> Result<RoomId, ErrorCode> {
        self.room
            .text(ErrorCode::InvalidRoomId, RoomId::new)?
            .ok_or(ErrorCode::InvalidRoomId)
    }

    fn reference(&self) -> Result<Option<Ref>, ErrorCode> {
        self.reference.text(ErrorCode::InvalidField, Ref::new)
    }

    fn client_msg_id(&self) -> Result<Option<ClientMsgId>, ErrorCode> {
        self.client_msg_id
            .text(ErrorCode::InvalidField, ClientMsgId::new)
    }

    fn since(&self) -> Result<Option<Since>, ErrorCode> {
        let Some(since) = self.since.optional(ErrorCode::InvalidField)? else {
            return Ok(None);
        };
        let epoch = since.epoch.text(ErrorCode::InvalidField, Epoch::new)?;
        let seq = since.seq.optional(ErrorCode::InvalidField)?;
        let (Some(epoch), Some(&seq)) = (epoch, seq) else {
            return Err(ErrorCode::InvalidField);
        };
        Ok(Some(Since {
            epoch,
            seq: Seq(seq),
        }))
    }

    /// A whole number of at least `least`. The core clamps it to its maximum.
    fn count(&self, field: &Field<u64>, least: u64) -> Result<Option<u32>, ErrorCode> {
        match field.optional(ErrorCode::InvalidLimit)? {
            Some(&count) if count < least => Err(ErrorCode::InvalidLimit),
            Some(&count) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
            None => Ok(None),
        }
    }
}

/// A field of the first stage. An explicit null is an absent field.
#[derive(Debug, Default)]
enum Field<T> {
    #[default]
    Absent,
    /// Of the wrong type, or given twice.
    Bad,
    Good(T),
}

impl<T> Field<T> {
    fn optional(&self, code: ErrorCode) -> Result<Option<&T>, ErrorCode> {
        match self {
            Self::Absent => Ok(None),
            Self::Bad => Err(code),
            Self::Good(value) => Ok(Some(value)),
        }
    }
}

impl Field<Cow<'_, str>> {
    fn text<N>(
        &self,
        code: ErrorCode,
        new: fn(&str) -> Result<N, InvalidText>,
    ) -> Result<Option<N>, ErrorCode> {
        match self.optional(code)? {
            Some(text) => new(text).map(Some).map_err(|_| code),
            None => Ok(None),
        }
    }
}

/// Declares an object of the first stage: its fields, their JSON names and types. Unknown fields
/// are skipped; one given twice is bad; a value of the wrong type is bad, not an error, so that
/// every error of serde means that the text is not a JSON object.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        struct $name<'a> {
            $($field: Field<$type>,)*
            lifetime: PhantomData<&'a str>,
        }

        impl<'de: 'a, 'a> $name<'a> {
            fn read<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
                #[allow(non_camel_case_types, reason = "the keys are named like the fields")]
                enum Key { $($field,)* Unknown }

                struct KeyVisitor;
                impl Visitor<'_> for KeyVisitor {
                    type Value = Key;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a field name")
                    }
                    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                        Ok(match name { $($key => Key::$field,)* _ => Key::Unknown })
                    }
                }
                impl<'de> Deserialize<'de> for Key {
                    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                        d.deserialize_identifier(KeyVisitor)
                    }
                }

                #[derive(Default)]
                struct Seen { $($field: bool,)* }

                let (mut object, mut seen) = (Self::default(), Seen::default());
                while let Some(key) = map.next_key()? {
                    match key {
                        $(Key::$field => {
                            let value = map.next_value()?;
                            let twice = core::mem::replace(&mut seen.$field, true);
                            object.$field = if twice { Field::Bad } else { value };
                        })*
                        Key::Unknown => { map.next_value::<IgnoredAny>()?; }
                    }
                }
                Ok(object)
            }
        }
    };
}

object! {
    /// Every field that any request has.
    Frame {
        kind: Cow<'a, str> = "type",
        reference: Cow<'a, str> = "ref",
        room: Cow<'a, str> = "roomId",
        text: Cow<'a, str> = "text",
        client_msg_id: Cow<'a, str> = "clientMsgId",
        username: Cow<'a, str> = "username",
        since: SinceObject<'a> = "since",
        history: u64 = "history",
        active: bool = "active",
        after: Cow<'a, str> = "after",
        limit: u64 = "limit",
        before: u64 = "before",
        protocol: u64 = "protocol",
        token: Cow<'a, str> = "token",
        resume_token: Cow<'a, str> = "resumeToken",
    }
}

object! {
    /// The value of `since`.
    SinceObject {
        epoch: Cow<'a, str> = "epoch",
        seq: u64 = "seq",
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Frame<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FrameVisitor<'a>(PhantomData<&'a str>);
        impl<'de: 'a, 'a> Visitor<'de> for FrameVisitor<'a> {
            type Value = Frame<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Frame<'a>, A::Error> {
                Frame::read(map)
            }
        }
        // Not a derived struct: that would take a JSON array as well.
        deserializer.deserialize_map(FrameVisitor(PhantomData))
    }
}

/// What a field's type makes of each kind of JSON value; none is the wrong type.
trait Value<'de>: Sized {
    fn of_text(_: Cow<'de, str>) -> Option<Self> {
        None
    }
    fn of_number(_: u64) -> Option<Self> {
        None
    }
    fn of_bool(_: bool) -> Option<Self> {
        None
    }
    fn of_object<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de: 'a, 'a> Value<'de> for Cow<'a, str> {
    fn of_text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl Value<'_> for u64 {
    fn of_number(number: u64) -> Option<Self> {
        Some(number)
    }
}

impl Value<'_> for bool {
    fn of_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl<'de: 'a, 'a> Value<'de> for SinceObject<'a> {
    fn of_object<A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        SinceObject::read(map).map(Some)
    }
}

impl<'de, T: Value<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor<T>(PhantomData<T>);

        fn field<T>(value: Option<T>) -> Field<T> {
            value.map_or(Field::Bad, Field::Good)
        }

        impl<'de, T: Value<'de>> Visitor<'de> for FieldVisitor<T> {
            type Value = Field<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Field<T>, E> {
                Ok(Field::Absent)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Field<T>, E> {
                Ok(field(T::of_bool(value)))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Field<T>, E> {
                Ok(field(T::of_number(number)))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Field<T>, E> {
                Ok(field(u64::try_from(number).ok().and_then(T::of_number)))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Field<T>, E> {
                // 50.0 and 1e2 are whole numbers too; above 2^64 the conversion saturates.
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "the comparison finds what was lost"
                )]
                let whole = number as u64;
                #[allow(
                    clippy::cast_precision_loss,
                    clippy::float_cmp,
                    reason = "exactness is the question"
                )]
                let exact = whole as f64 == number || number > u64::MAX as f64;
                Ok(field(Some(whole).filter(|_| exact).and_then(T::of_number)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
                Ok(field(T::of_text(Cow::Owned(text.into()))))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<T>, E> {
                Ok(field(T::of_text(Cow::Borrowed(text))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<T>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Field::Bad)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field<T>, A::Error> {
                Ok(field(T::of_object(map)?))
            }
        }
        deserializer.deserialize_any(FieldVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use std::fmt::Write as _;

    use super::*;

    /// Decodes each frame and compares it with a line that says what it means: the kind of request
    /// and its fields, or the code of the error and what it echoes.
    fn check(cases: &[(&str, &str)]) {
        for (frame, expected) in cases {
            assert_eq!(told(frame), *expected, "{frame}");
        }
    }

    fn told(frame: &str) -> String {
        match decode(frame) {
            Ok(Decoded { request, token }) => {
                let mut line = told_kind(&request.kind);
                tell(&mut line, "token", token.as_ref().map(Token::reveal));
                tell(&mut line, "ref", request.reference);
                line
            }
            Err(refusal) => {
                assert_eq!(refusal.retry_after_ms, None);
                let mut line = String::from(refusal.code.as_str());
                tell(&mut line, "room", refusal.room);
                tell(&mut line, "ref", refusal.reference);
                tell(&mut line, "id", refusal.client_msg_id);
                line
            }
        }
    }

    fn told_kind(kind: &RequestKind) -> String {
        match kind {
            RequestKind::Hello {
                protocol,
                resume_token,
            } => {
                let mut line = format!("hello {protocol}");
                tell(&mut line, "resume", resume_token.map(|_| "token"));
                line
            }
            RequestKind::Join {
                room,
                username,
                since,
                history,
            } => {
                let mut line = format!("join {room}");
                tell(&mut line, "as", username.as_ref());
                let since = since
                    .as_ref()
                    .map(|at| format!("{} {}", at.epoch, at.seq.0));
                tell(&mut line, "since", since);
                tell(&mut line, "history", *history);
                line
            }
            RequestKind::Leave { room } => format!("leave {room}"),
            RequestKind::Message {
                room,
                text,
                client_msg_id,
            } => {
                let mut line = format!("message {room} {:?}", text.as_str());
                tell(&mut line, "id", client_msg_id.as_ref());
                line
            }
            RequestKind::Typing { room, active } => format!("typing {room} {active}"),
            RequestKind::ListRooms { after } => {
                let mut line = String::from("list_rooms");
                tell(&mut line, "after", after.as_ref());
                line
            }
            RequestKind::ListUsers { room } => format!("list_users {room}"),
            RequestKind::GetHistory {
                room,
                limit,
                before,
            } => {
                let mut line = format!("get_history {room}");
                tell(&mut line, "limit", *limit);
                tell(&mut line, "before", before.map(|seq| seq.0));
                line
            }
            RequestKind::Ping => String::from("ping"),
        }
    }

    fn tell(line: &mut String, name: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            write!(line, " {name}={value}").unwrap();
        }
    }

    #[test]
    fn what_is_no_json_object() {
        check(&[
            ("", "INVALID_JSON"),
            (" ", "INVALID_JSON"),
            ("null", "INVALID_JSON"),
            ("true", "INVALID_JSON"),
            ("5", "INVALID_JSON"),
            (r#""ping""#, "INVALID_JSON"),
            ("[]", "INVALID_JSON"),
            (r#"["ping"]"#, "INVALID_JSON"),
            (r#"[{"type":"ping"}]"#, "INVALID_JSON"),
            ("{", "INVALID_JSON"),
            (r#"{"type":"ping""#, "INVALID_JSON"),
            (r#"{"type":"ping",}"#, "INVALID_JSON"),
            (r#"{"type":"ping"}x"#, "INVALID_JSON"),
            (r#"{"type":"ping"}{}"#, "INVALID_JSON"),
            (r#"{type:"ping"}"#, "INVALID_JSON"),
            (r#"{"type":'ping'}"#, "INVALID_JSON"),
            ("{\"type\":\"ping\",\"ref\":\"\n\"}", "INVALID_JSON"),
            ("\u{feff}{\"type\":\"ping\"}", "INVALID_JSON"),
            (" \t\r\n{ \"type\" : \"ping\" } \n", "ping"),
        ]);
    }

    #[test]
    fn types() {
        check(&[
            ("{}", "UNKNOWN_MESSAGE"),
            (r#"{"ref":"r","roomId":"a"}"#, "UNKNOWN_MESSAGE ref=r"),
            (r#"{"type":null}"#, "UNKNOWN_MESSAGE"),
            (r#"{"type":1}"#, "UNKNOWN_MESSAGE"),
            (r#"{"type":["ping"]}"#, "UNKNOWN_MESSAGE"),
            (r#"{"type":""}"#, "UNKNOWN_MESSAGE"),
            (r#"{"type":"Ping"}"#, "UNKNOWN_MESSAGE"),
            (r#"{"type":"ping","type":"ping"}"#, "UNKNOWN_MESSAGE"),
            (r#"{"type":"shout","clientMsgId":"c"}"#, "UNKNOWN_MESSAGE"),
        ]);
    }

    #[test]
    fn hello() {
        check(&[
            (r#"{"type":"hello","protocol":1}"#, "hello 1"),
            (r#"{"type":"hello","protocol":1.0}"#, "hello 1"),
            (r#"{"type":"hello","protocol":2}"#, "hello 2"),
            (
                r#"{"type":"hello","protocol":1,"token":"t","ref":"r"}"#,
                "hello 1 token=t ref=r",
            ),
            (
                r#"{"type":"hello","protocol":1,"resumeToken":"00000000000000000000000000000abc"}"#,
                "hello 1 resume=token",
            ),
            (
                r#"{"type":"hello","protocol":1,"resumeToken":"0ABC"}"#,
                "hello 1 resume=token",
            ),
            (
                r#"{"type":"hello","protocol":1,"token":null,"resumeToken":null}"#,
                "hello 1",
            ),
            (r#"{"type":"hello","ref":"r"}"#, "INVALID_FIELD ref=r"),
            (r#"{"type":"hello","protocol":null}"#, "INVALID_FIELD"),
            (r#"{"type":"hello","protocol":"1"}"#, "INVALID_FIELD"),
            (r#"{"type":"hello","protocol":-1}"#, "INVALID_FIELD"),
            (
                r#"{"type":"hello","protocol":1,"token":5,"roomId":"a"}"#,
                "INVALID_FIELD",
            ),
            (
                r#"{"type":"hello","protocol":1,"resumeToken":5}"#,
                "INVALID_FIELD",
            ),
        ]);
    }

    #[test]
    fn join() {
        check(&[
            (r#"{"type":"join","roomId":"a"}"#, "join a"),
            (
                r#"{"type":"join","roomId":"a","username":"Al","since":{"epoch":"e","seq":7},"history":5,"ref":"r"}"#,
                "join a as=Al since=e 7 history=5 ref=r",
            ),
            (
                r#"{"type":"join","roomId":"a","username":null,"since":null,"history":null,"ref":null}"#,
                "join a",
            ),
            (r#"{"type":"join"}"#, "INVALID_ROOM_ID"),
            (
                r#"{"type":"join","roomId":"a","username":""}"#,
                "INVALID_USERNAME room=a",
            ),
            (
                r#"{"type":"join","roomId":"a","username":["Al"]}"#,
                "INVALID_USERNAME room=a",
            ),
            (
                r#"{"type":"join","roomId":"a","username":"Al","username":"Al"}"#,
                "INVALID_USERNAME room=a",
            ),
        ]);
    }

    #[test]
    fn since() {
        for (since, expected) in [
            (r#"{"epoch":"e","seq":0}"#, "join a since=e 0"),
            (r#"{"seq":1,"more":[],"epoch":"e"}"#, "join a since=e 1"),
            ("{}", "INVALID_FIELD room=a"),
            (r#"{"epoch":"e"}"#, "INVALID_FIELD room=a"),
            (r#"{"seq":1}"#, "INVALID_FIELD room=a"),
            (r#"{"epoch":"e","seq":null}"#, "INVALID_FIELD room=a"),
            (r#"{"epoch":"","seq":1}"#, "INVALID_FIELD room=a"),
            (r#"{"epoch":"é","seq":1}"#, "INVALID_FIELD room=a"),
            (r#"{"epoch":5,"seq":1}"#, "INVALID_FIELD room=a"),
            (r#"{"epoch":"e","seq":-1}"#, "INVALID_FIELD room=a"),
            (r#"{"epoch":"e","seq":1,"seq":1}"#, "INVALID_FIELD room=a"),
            (r#"["e",1]"#, "INVALID_FIELD room=a"),
            (r#""e:1""#, "INVALID_FIELD room=a"),
            ("1", "INVALID_FIELD room=a"),
        ] {
            let frame = format!(r#"{{"type":"join","roomId":"a","since":{since}}}"#);
            check(&[(&frame, expected)]);
        }
    }

    #[test]
    fn leave_and_list_users() {
        check(&[
            (
                r#"{"type":"leave","roomId":"a","ref":"r"}"#,
                "leave a ref=r",
            ),
            (r#"{"type":"leave"}"#, "INVALID_ROOM_ID"),
            (r#"{"type":"list_users","roomId":"a"}"#, "list_users a"),
            (r#"{"type":"list_users","roomId":7}"#, "INVALID_ROOM_ID"),
        ]);
    }

    #[test]
    fn message() {
        check(&[
            (
                r#"{"type":"message","roomId":"a","text":"hi"}"#,
                r#"message a "hi""#,
            ),
            (
                r#"{"type":"message","roomId":"a","text":" ","clientMsgId":"c","ref":"r"}"#,
                r#"message a " " id=c ref=r"#,
            ),
            (
                r#"{"type":"message","roomId":"","text":"hi","clientMsgId":"c","ref":"r"}"#,
                "INVALID_ROOM_ID ref=r id=c",
            ),
            (
                r#"{"type":"message","roomId":"a","clientMsgId":"c"}"#,
                "INVALID_MESSAGE room=a id=c",
            ),
            (
                r#"{"type":"message","roomId":"a","text":null}"#,
                "INVALID_MESSAGE room=a",
            ),
            (
                r#"{"type":"message","roomId":"a","text":{"a":[1]}}"#,
                "INVALID_MESSAGE room=a",
            ),
            (
                r#"{"type":"message","roomId":"a","text":"hi","clientMsgId":5}"#,
                "INVALID_FIELD room=a",
            ),
            (
                r#"{"type":"message","roomId":"a","text":"hi","clientMsgId":""}"#,
                "INVALID_FIELD room=a",
            ),
        ]);
    }

    #[test]
    fn typing() {
        check(&[
            (
                r#"{"type":"typing","roomId":"a","active":false}"#,
                "typing a false",
            ),
            (r#"{"type":"typing","roomId":"a"}"#, "INVALID_FIELD room=a"),
            (
                r#"{"type":"typing","roomId":"a","active":1}"#,
                "INVALID_FIELD room=a",
            ),
        ]);
    }

    #[test]
    fn list_rooms_and_ping() {
        check(&[
            (r#"{"type":"list_rooms"}"#, "list_rooms"),
            (r#"{"type":"list_rooms","after":"a"}"#, "list_rooms after=a"),
            (r#"{"type":"list_rooms","after":""}"#, "INVALID_ROOM_ID"),
            (
                r#"{"type":"list_rooms","after":" ","roomId":"a"}"#,
                "INVALID_ROOM_ID",
            ),
            (r#"{"type":"ping","roomId":5}"#, "ping"),
        ]);
    }

    #[test]
    fn counts_are_whole_numbers() {
        for (count, limit, history) in [
            ("1", Some("1"), Some("1")),
            ("50.0", Some("50"), Some("50")),
            ("1e2", Some("100"), Some("100")),
            ("4294967296", Some("4294967295"), Some("4294967295")),
            (
                "18446744073709551616",
                Some("4294967295"),
                Some("4294967295"),
            ),
            ("1e300", Some("4294967295"), Some("4294967295")),
            ("0", None, Some("0")),
            ("-0.0", None, Some("0")),
            ("-1", None, None),
            ("-1e300", None, None),
            ("1.5", None, None),
            ("1e-5", None, None),
            (r#""5""#, None, None),
            ("true", None, None),
            ("[5]", None, None),
            ("{}", None, None),
        ] {
            let frame = format!(r#"{{"type":"get_history","roomId":"a","limit":{count}}}"#);
            let refused = String::from("INVALID_LIMIT room=a");
            let good = limit.map(|limit| format!("get_history a limit={limit}"));
            assert_eq!(told(&frame), good.unwrap_or_else(|| refused.clone()));
            let frame = format!(r#"{{"type":"join","roomId":"a","history":{count}}}"#);
            let good = history.map(|history| format!("join a history={history}"));
            assert_eq!(told(&frame), good.unwrap_or(refused));
        }
    }

    #[test]
    fn a_number_beyond_what_json_readers_can_hold_is_no_json() {
        check(&[
            (r#"{"type":"get_history","limit":1e400}"#, "INVALID_JSON"),
            (r#"{"type":"ping","limit":1e400}"#, "INVALID_JSON"),
            (r#"{"type":"ping","unknown":1e400}"#, "ping"),
        ]);
    }

    #[test]
    fn get_history() {
        check(&[
            (r#"{"type":"get_history","roomId":"a"}"#, "get_history a"),
            (
                r#"{"type":"get_history","roomId":"a","limit":9,"before":0,"ref":"r"}"#,
                "get_history a limit=9 before=0 ref=r",
            ),
            (
                r#"{"type":"get_history","roomId":"a","before":-1}"#,
                "INVALID_FIELD room=a",
            ),
            (
                r#"{"type":"get_history","roomId":"a","before":"1"}"#,
                "INVALID_FIELD room=a",
            ),
        ]);
    }

    #[test]
    fn the_first_bad_field_in_the_order_of_the_table_names_the_code() {
        check(&[
            (
                r#"{"ref":5,"history":-1,"since":5,"username":5,"roomId":5,"type":"join"}"#,
                "INVALID_ROOM_ID",
            ),
            (
                r#"{"ref":5,"history":-1,"since":5,"username":5,"roomId":"a","type":"join"}"#,
                "INVALID_USERNAME room=a",
            ),
            (
                r#"{"ref":5,"history":-1,"since":5,"roomId":"a","type":"join"}"#,
                "INVALID_FIELD room=a",
            ),
            (
                r#"{"ref":5,"history":-1,"roomId":"a","type":"join"}"#,
                "INVALID_LIMIT room=a",
            ),
            (
                r#"{"ref":5,"roomId":"a","type":"join"}"#,
                "INVALID_FIELD room=a",
            ),
            (
                r#"{"clientMsgId":5,"text":5,"roomId":"a","type":"message"}"#,
                "INVALID_MESSAGE room=a",
            ),
            (
                r#"{"before":-1,"limit":0,"roomId":"a","type":"get_history"}"#,
                "INVALID_LIMIT room=a",
            ),
        ]);
    }

    #[test]
    fn a_field_given_twice_is_bad_and_not_echoed() {
        check(&[
            (
                r#"{"type":"leave","roomId":"a","roomId":"a","ref":"r"}"#,
                "INVALID_ROOM_ID ref=r",
            ),
            (
                r#"{"type":"leave","roomId":null,"roomId":"a"}"#,
                "INVALID_ROOM_ID",
            ),
            (
                r#"{"type":"leave","roomId":"a","ref":"r","ref":"r"}"#,
                "INVALID_FIELD room=a",
            ),
            (
                r#"{"type":"ping","ref":"r","r\u0065f":null}"#,
                "INVALID_FIELD",
            ),
            (r#"{"type":"ping","unknown":1,"unknown":2}"#, "ping"),
        ]);
    }

    #[test]
    fn references_are_1_to_64_printable_ascii_characters() {
        let longest = "x".repeat(64);
        let frame = |reference: &str| format!(r#"{{"type":"ping","ref":"{reference}"}}"#);
        check(&[
            (&frame(&longest), &format!("ping ref={longest}")),
            (&frame(&format!("{longest}x")), "INVALID_FIELD"),
            (&frame(" ~"), "ping ref= ~"),
            (&frame(""), "INVALID_FIELD"),
            (&frame("é"), "INVALID_FIELD"),
            (&frame(r"\u007f"), "INVALID_FIELD"),
        ]);
    }

    #[test]
    fn escapes_mean_what_they_stand_for() {
        check(&[
            (r#"{"\u0074ype":"p\u0069ng","ref":"\u0041"}"#, "ping ref=A"),
            (
                r#"{"type":"message","roomId":"\ud834\udd1e","text":"\n\u0000"}"#,
                r#"message 𝄞 "\n\0""#,
            ),
        ]);
    }

    #[test]
    fn half_a_surrogate_pair_is_no_json_where_it_is_read() {
        check(&[
            (
                r#"{"type":"message","roomId":"a","text":"\ud800"}"#,
                "INVALID_JSON",
            ),
            (
                r#"{"type":"message","roomId":"a","text":"\udc00"}"#,
                "INVALID_JSON",
            ),
            (r#"{"type":"ping","\ud800":1}"#, "INVALID_JSON"),
            (r#"{"type":"ping","unknown":"\ud800"}"#, "ping"),
        ]);
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        const DEPTH: usize = 30_000;
        let arrays = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
        let objects = r#"{"a":"#.repeat(DEPTH) + "1" + &"}".repeat(DEPTH);
        for deep in [&arrays, &objects] {
            check(&[
                (&format!(r#"{{"type":"ping","unknown":{deep}}}"#), "ping"),
                (
                    &format!(r#"{{"type":"ping","ref":{deep}}}"#),
                    "INVALID_FIELD",
                ),
                (
                    &format!(r#"{{"type":"leave","roomId":{deep}}}"#),
                    "INVALID_ROOM_ID",
                ),
                (
                    &format!(r#"{{"type":"join","roomId":"a","since":{deep}}}"#),
                    "INVALID_FIELD room=a",
                ),
                (
                    &format!(
                        r#"{{"type":"join","roomId":"a","since":{{"epoch":{deep},"seq":1}}}}"#
                    ),
                    "INVALID_FIELD room=a",
                ),
                (
                    deep,
                    if deep.starts_with('[') {
                        "INVALID_JSON"
                    } else {
                        "UNKNOWN_MESSAGE"
                    },
                ),
            ]);
        }
    }
}

//! The bodies of the fuzz targets. `fuzz/` calls them with whatever libFuzzer thinks of, and a
//! test calls them with the corpus that it left behind. Each panics when something is wrong.

use std::fmt;

use parlor_core::decode::decode;
use parlor_core::protocol::RequestKind;
use parlor_core::session::{Due, Verdict};
use parlor_core::types::{ClientMsgId, Epoch, MessageText, Ref};
use parlor_core::{
    ConnId, Effect, ErrorCode, Event, Input, Limits, Page, Refusal, ResumeToken, RoomId,
    ServerMessage, Session, State, StoredLog, Timestamp, Username,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::action::Action;
use crate::run::{Setup, World};

/// Target `step`: a setup and actions from bytes, core against model.
pub fn steps(bytes: &[u8]) {
    let Some((&setup, bytes)) = bytes.split_first() else {
        return;
    };
    // Longer ones are slower and find nothing that short ones do not.
    let mut actions = Action::all_from_bytes(bytes);
    actions.truncate(200);
    let mut world = World::new(&Setup::small(setup)).quick();
    let done = actions.iter().try_for_each(|action| world.act(action));
    if let Err(failure) = done.and_then(|()| world.finish()) {
        panic!("{failure:?}\nafter {actions:?}");
    }
}

/// Target `decode`: every text has one outcome, the one that a slower reading of it gives.
pub fn decoding(text: &str) {
    let outcome = decode(text);
    let Some(fields) = fields(text) else {
        return assert_eq!(outcome, Err(Refusal::new(ErrorCode::InvalidJson)));
    };
    let fields = match fields {
        Fields::Readable(fields) => fields,
        Fields::Unreadable => return,
    };
    let found = outcome
        .as_ref()
        .map_or_else(|refusal| Some(refusal.code), |_| None);
    assert_eq!(found, fields.first_bad(since_repeats(text)), "{text}");
    let (room, reference) = match &outcome {
        Ok(decoded) => (None, &decoded.request.reference),
        Err(refusal) => (refusal.room.as_ref(), &refusal.reference),
    };
    // What is echoed is what was sent, and a good `ref` always is.
    let sent = |name| fields.one(name).and_then(Value::as_str);
    assert!(
        room.is_none_or(|room| sent("roomId") == Some(room.as_str())),
        "{text}"
    );
    let good = sent("ref").filter(|text| Ref::new(text).is_ok());
    assert_eq!(reference.as_ref().map(Ref::as_str), good, "{text}");
}

/// The members of a JSON object in their order, as often as they stand there.
struct Object(Vec<(String, Value)>);

/// Whether a field of `since` stands there twice, which a [`Value`] does not show.
fn since_repeats(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Frame {
        #[serde(rename = "since")]
        _since: Option<Since>,
    }
    #[derive(serde::Deserialize)]
    struct Since {
        #[serde(rename = "epoch")]
        _epoch: Option<IgnoredAny>,
        #[serde(rename = "seq")]
        _seq: Option<IgnoredAny>,
    }
    let error = serde_json::from_str::<Frame>(text).err();
    error.is_some_and(|error| error.to_string().starts_with("duplicate field"))
}

enum Fields {
    Readable(Object),
    /// An object with something in it that only who looks at it finds wrong: numbers out of range,
    /// halves of characters, depth.
    Unreadable,
}

fn fields(text: &str) -> Option<Fields> {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) if !value.is_object() => None,
        Ok(_) => {
            let object = serde_json::from_str(text).expect("it was just read as an object");
            Some(Fields::Readable(object))
        }
        Err(_) if !text.trim_start().starts_with('{') => None,
        Err(_) => Some(Fields::Unreadable),
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Object {
    fn all(&self, name: &str) -> impl Iterator<Item = &Value> {
        let members = self.0.iter().filter(move |(found, _)| found == name);
        members.map(|(_, value)| value)
    }

    /// The value of a field that stands there once and is not null.
    fn one(&self, name: &str) -> Option<&Value> {
        let value = self.all(name).next()?;
        (self.all(name).count() == 1 && !value.is_null()).then_some(value)
    }

    fn optional(&self, name: &str, is_good: impl Fn(&Value) -> bool) -> bool {
        match self.all(name).count() {
            0 => true,
            1 => self.one(name).is_none_or(is_good),
            _ => false,
        }
    }

    fn required(&self, name: &str, is_good: impl Fn(&Value) -> bool) -> bool {
        self.one(name).is_some_and(is_good)
    }

    /// The code of the first field that breaks its rule, by the table of the protocol.
    fn first_bad(&self, since_repeats: bool) -> Option<ErrorCode> {
        use ErrorCode as E;
        let text = |is_good: fn(&str) -> bool| move |v: &Value| v.as_str().is_some_and(is_good);
        let whole = |v: &Value| {
            let float = v.as_f64().filter(|f| f.fract() == 0.0 && *f >= 0.0);
            v.as_u64().is_some() || float.is_some()
        };
        let positive = |v: &Value| whole(v) && v.as_f64() != Some(0.0);
        let room = || {
            (
                self.required("roomId", text(|t| RoomId::new(t).is_ok())),
                E::InvalidRoomId,
            )
        };
        let since = |v: &Value| {
            let epoch = v["epoch"].as_str().is_some_and(|e| Epoch::new(e).is_ok());
            epoch && whole(&v["seq"]) && !since_repeats
        };
        let id = text(|t| ClientMsgId::new(t).is_ok());
        let any = text(|_| true);
        let mut checks = match self.one("type").and_then(Value::as_str) {
            Some("hello") => vec![
                (self.required("protocol", whole), E::InvalidField),
                (self.optional("token", any), E::InvalidField),
                (self.optional("resumeToken", any), E::InvalidField),
            ],
            Some("join") => vec![
                room(),
                (
                    self.optional("username", text(|t| Username::new(t).is_ok())),
                    E::InvalidUsername,
                ),
                (self.optional("since", since), E::InvalidField),
                (self.optional("history", whole), E::InvalidLimit),
            ],
            Some("leave" | "list_users") => vec![room()],
            Some("message") => vec![
                room(),
                (
                    self.required("text", text(|t| MessageText::new(t).is_ok())),
                    E::InvalidMessage,
                ),
                (self.optional("clientMsgId", id), E::InvalidField),
            ],
            Some("typing") => vec![
                room(),
                (self.required("active", Value::is_boolean), E::InvalidField),
            ],
            Some("list_rooms") => {
                vec![(
                    self.optional("after", text(|t| RoomId::new(t).is_ok())),
                    E::InvalidRoomId,
                )]
            }
            Some("get_history") => vec![
                room(),
                (self.optional("limit", positive), E::InvalidLimit),
                (self.optional("before", whole), E::InvalidField),
            ],
            Some("ping") => Vec::new(),
            Some(_) | None => return Some(E::UnknownMessage),
        };
        checks.push((
            self.optional("ref", text(|t| Ref::new(t).is_ok())),
            E::InvalidField,
        ));
        let bad = checks.into_iter().find(|(is_good, _)| !is_good);
        bad.map(|(_, code)| code)
    }
}

/// Target `session`: each line is a frame behind two characters, which say how much time passes
/// and what else happens. Every frame has one outcome, and no deadline is ever in the past.
pub fn session(text: &str) {
    let limits = Setup::small(0).limits;
    let mut now = Timestamp(1_000_000);
    let mut session = Session::new(&limits, now);
    let mut server = Server::new(limits, now);
    for line in text.lines().take(300) {
        let mut chars = line.chars();
        let (Some(time), Some(what)) = (chars.next(), chars.next()) else {
            continue;
        };
        now = match u64::from(u32::from(time) % 64) {
            63 => Timestamp(now.0 - 1000),
            steps => now.plus_ms(steps * steps * 25),
        };
        match session.due(now) {
            Due::Close(_) => return,
            Due::Ping | Due::Nothing => assert!(session.deadline() > now, "{session:?}"),
        }
        assert_eq!(session.due(now), Due::Nothing);
        let verdict = match u32::from(what) % 8 {
            6 => session.control(now),
            7 => {
                session.released(now);
                continue;
            }
            _ => session.text(chars.as_str(), now),
        };
        assert_eq!(
            session.due(now),
            Due::Nothing,
            "any frame is a sign of life"
        );
        let is_open = match verdict {
            Verdict::Admit { request, .. } => {
                let is_typing = matches!(request.kind, RequestKind::Typing { .. });
                let answers = usize::from(!is_typing)..=1;
                let conn = CONN;
                let (found, is_open) = server.answers(Input::Received { conn, request }, now);
                assert!(answers.contains(&found), "{found} answers to {line}");
                is_open
            }
            Verdict::Refuse(refusal) => {
                let conn = CONN;
                let (found, is_open) = server.answers(Input::Refused { conn, refusal }, now);
                assert_eq!(found, 1, "{line}");
                is_open
            }
            Verdict::Ignore => true,
            Verdict::Close(_) => false,
        };
        if !is_open {
            return;
        }
    }
}

const CONN: ConnId = ConnId(1);

/// A state with one connection, and a store that is empty and at hand.
struct Server(State);

impl Server {
    fn new(limits: Limits, now: Timestamp) -> Self {
        let mut server = Self(State::new(limits));
        let resume_token = ResumeToken::from_random(1);
        let conn = CONN;
        server.answers(Input::Connected { conn, resume_token }, now);
        server
    }

    /// How many answers `input` has, and whether the connection stands.
    fn answers(&mut self, input: Input, at: Timestamp) -> (usize, bool) {
        let (mut inputs, mut answers, mut is_open) = (vec![input], Vec::new(), true);
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.0.apply(Event { at, input }, &mut effects);
            assert_eq!(self.0.check(), Ok(()));
            for effect in effects {
                match effect {
                    Effect::Send { message, .. } => answers.push(message),
                    Effect::LoadRoom { room, load } => {
                        let log = StoredLog::empty(Epoch::new("e").expect("it is short"));
                        inputs.push(Input::RoomLoaded { room, load, log });
                    }
                    Effect::FetchPage(fetch) => {
                        let page = Page::default();
                        inputs.push(Input::PageFetched { fetch, page });
                    }
                    Effect::Close { .. } => is_open = false,
                    Effect::Append { .. } | Effect::ReleaseRoom { .. } => {}
                }
            }
        }
        // A replay and a page have one message that says what the others are.
        let whole = |message: &&ServerMessage| {
            matches!(
                message,
                ServerMessage::Joined(_) | ServerMessage::History(_)
            )
        };
        let found = answers.iter().filter(whole).count();
        (if found > 0 { found } else { answers.len() }, is_open)
    }
}

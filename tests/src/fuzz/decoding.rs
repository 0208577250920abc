//! Target `decode`.

use parlor_core::decode::decode;
use parlor_core::types::{ClientMsgId, Epoch, MessageText, Ref};
use parlor_core::{ErrorCode, Refusal, RoomId, Username};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::object::{Fields, Object, fields};

/// Every text has one outcome, the one that a slower reading of it gives.
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
    assert_eq!(found, first_bad(&fields, since_repeats(text)), "{text}");
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

/// The code of the first field that breaks its rule, by the table of the protocol.
fn first_bad(fields: &Object, since_repeats: bool) -> Option<ErrorCode> {
    use ErrorCode as E;
    let text = |is_good: fn(&str) -> bool| move |v: &Value| v.as_str().is_some_and(is_good);
    let whole = |v: &Value| {
        let float = v.as_f64().filter(|f| f.fract() == 0.0 && *f >= 0.0);
        v.as_u64().is_some() || float.is_some()
    };
    let positive = |v: &Value| whole(v) && v.as_f64() != Some(0.0);
    let room = || {
        (
            fields.required("roomId", text(|t| RoomId::new(t).is_ok())),
            E::InvalidRoomId,
        )
    };
    let since = |v: &Value| {
        let epoch = v["epoch"].as_str().is_some_and(|e| Epoch::new(e).is_ok());
        epoch && whole(&v["seq"]) && !since_repeats
    };
    let id = text(|t| ClientMsgId::new(t).is_ok());
    let any = text(|_| true);
    let mut checks = match fields.one("type").and_then(Value::as_str) {
        Some("hello") => vec![
            (fields.required("protocol", whole), E::InvalidField),
            (fields.optional("token", any), E::InvalidField),
            (fields.optional("resumeToken", any), E::InvalidField),
        ],
        Some("join") => vec![
            room(),
            (
                fields.optional("username", text(|t| Username::new(t).is_ok())),
                E::InvalidUsername,
            ),
            (fields.optional("since", since), E::InvalidField),
            (fields.optional("history", whole), E::InvalidLimit),
        ],
        Some("leave" | "list_users") => vec![room()],
        Some("message") => vec![
            room(),
            (
                fields.required("text", text(|t| MessageText::new(t).is_ok())),
                E::InvalidMessage,
            ),
            (fields.optional("clientMsgId", id), E::InvalidField),
        ],
        Some("typing") => vec![
            room(),
            (
                fields.required("active", Value::is_boolean),
                E::InvalidField,
            ),
        ],
        Some("list_rooms") => {
            vec![(
                fields.optional("after", text(|t| RoomId::new(t).is_ok())),
                E::InvalidRoomId,
            )]
        }
        Some("get_history") => vec![
            room(),
            (fields.optional("limit", positive), E::InvalidLimit),
            (fields.optional("before", whole), E::InvalidField),
        ],
        Some("ping") => Vec::new(),
        Some(_) | None => return Some(E::UnknownMessage),
    };
    checks.push((
        fields.optional("ref", text(|t| Ref::new(t).is_ok())),
        E::InvalidField,
    ));
    let bad = checks.into_iter().find(|(is_good, _)| !is_good);
    bad.map(|(_, code)| code)
}

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

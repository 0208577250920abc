//! A trace in words, for people. What is in a trace may come from anywhere, so nothing of it gets to
//! a terminal as more than text: see [`printable`].

use std::fmt::{self, Write as _};

use parlor_core::{ConnId, Effect, Fetch, Input, Recipients, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Begin, Head, Recorded, Texts, Why};

/// Elements of a list that are shown.
const SHOWN: usize = 8;

/// The first line: who wrote it, when, and what is left out.
#[must_use]
pub fn head(head: &Head) -> String {
    let mut text = format!(
        "recorded by {} from {}, texts are {}",
        printable(&head.server),
        Utc(head.at),
        match head.texts {
            Texts::Redacted => "redacted",
            Texts::Plain => "as they were",
        }
    );
    if let Some(crash) = &head.crash {
        let panic = quoted(&crash.panic);
        // A string takes everything.
        let _ = write!(
            text,
            "\nthe hub panicked behind event {}: {panic}",
            crash.event
        );
        if let Some(conn) = crash.conn {
            let _ = write!(text, ", by {conn}");
        }
        if let Some(recording) = &crash.recording {
            let _ = write!(
                text,
                "\na recording goes on from the beginning to there: \
                 parlor replay {} --until {}",
                quoted(recording),
                crash.event
            );
        }
    }
    text
}

/// A beginning.
#[must_use]
pub fn begin(begin: &Begin) -> String {
    let why = match begin.why {
        Why::Start => "the server started",
        Why::Rotated => "the file before this was full",
        Why::Rebuilt => "the hub began anew after a panic or a failed commit",
        Why::Lost => "the recording could not keep up",
    };
    let mut text = format!("# a state begins before event {}: {why}", begin.event);
    if begin.lost > 0 {
        let _ = write!(text, "; {} events are lost", begin.lost);
    }
    match &begin.state {
        Some(state) => {
            let (connections, rooms) = (state.connection_count(), state.room_count());
            let _ = write!(text, " ({connections} connections, {rooms} rooms)");
        }
        None => text.push_str(" (it is not known, so events are not applied)"),
    }
    text
}

/// An event.
#[must_use]
pub fn event(event: &Recorded) -> String {
    let mut text = format!("{} {}", event.number, Utc(event.at));
    if let Some(conn) = event.input.conn() {
        let _ = write!(text, " {conn}");
    }
    match &event.input {
        Input::Received { request, .. } => {
            variant(&mut text, &request.kind);
            if let Some(reference) = &request.reference {
                let _ = write!(text, " ref={}", quoted(reference.as_str()));
            }
        }
        Input::Connected { .. }
        | Input::Identified { .. }
        | Input::Refused { .. }
        | Input::Disconnected { .. }
        | Input::Published { .. }
        | Input::RoomLoaded { .. }
        | Input::LoadFailed { .. }
        | Input::PageFetched { .. }
        | Input::FetchFailed { .. }
        | Input::StoreFailed
        | Input::StoreRecovered
        | Input::Shutdown => variant(&mut text, &event.input),
    }
    text
}

/// An effect.
#[must_use]
pub fn effect(effect: &Effect) -> String {
    let Effect::Send { to, message } = effect else {
        let mut text = String::from("do");
        if let Effect::Close { conn, .. } | Effect::FetchPage(Fetch { conn, .. }) = effect {
            let _ = write!(text, " {conn}");
        }
        variant(&mut text, effect);
        return text;
    };
    let mut text = String::from("->");
    match to {
        Recipients::One(conn) => {
            let _ = write!(text, " {conn}:");
        }
        Recipients::Room { members, except } => {
            let others = members.iter().filter(|&&conn| Some(conn) != *except);
            let others: Vec<ConnId> = others.copied().collect();
            for conn in others.iter().take(SHOWN) {
                let _ = write!(text, " {conn}");
            }
            if others.len() > SHOWN {
                let _ = write!(text, " … {} in all", others.len());
            }
            text.push(':');
        }
    }
    let mut value = value(message);
    if let Some(Value::String(kind)) = value.as_object_mut().and_then(|it| it.remove("type")) {
        let _ = write!(text, " {kind}");
    }
    fields(&mut text, &value);
    text
}

/// The name of an enum's variant, and its fields.
fn variant(text: &mut String, of: &impl Serialize) {
    match value(of) {
        Value::String(name) => {
            let _ = write!(text, " {name}");
        }
        Value::Object(variants) => {
            for (name, value) in variants {
                let _ = write!(text, " {name}");
                fields(text, &value);
            }
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            fields(text, &other);
        }
    }
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("whatever is in a trace can be written")
}

/// The fields of an object, each behind a blank; without those that are null, and the connection,
/// which stands in front.
fn fields(text: &mut String, value: &Value) {
    let Value::Object(object) = value else {
        text.push(' ');
        return words(text, value);
    };
    let shown = object.iter();
    for (name, value) in shown.filter(|(name, value)| !value.is_null() && *name != "conn") {
        let _ = write!(text, " {name}=");
        words(text, value);
    }
}

fn words(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push('-'),
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(text, "{value}");
        }
        Value::String(string) => {
            let _ = write!(text, "{}", quoted(string));
        }
        Value::Array(list) => {
            text.push('[');
            for (place, value) in list.iter().take(SHOWN).enumerate() {
                text.push_str(if place == 0 { "" } else { ", " });
                words(text, value);
            }
            if list.len() > SHOWN {
                let _ = write!(text, ", … {} in all", list.len());
            }
            text.push(']');
        }
        Value::Object(_) => {
            let mut inner = String::new();
            fields(&mut inner, value);
            let _ = write!(text, "{{{}}}", inner.trim_start());
        }
    }
}

/// A text as a JSON string of which nothing is invisible.
#[must_use]
pub fn quoted(text: &str) -> impl fmt::Display + '_ {
    Quoted(text, true)
}

/// A text in which nothing can drive a terminal: what is not to be seen is escaped as in JSON.
#[must_use]
pub fn printable(text: &str) -> impl fmt::Display + '_ {
    Quoted(text, false)
}

struct Quoted<'a>(&'a str, bool);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, quotes) = *self;
        if quotes {
            f.write_char('"')?;
        }
        for c in text.chars() {
            match c {
                '"' | '\\' if quotes => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '"' | '\'' | '\\' => f.write_char(c)?,
                // The standard library knows what can be printed; combining characters alone cannot.
                _ if c.escape_debug().len() == 1 => f.write_char(c)?,
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        if quotes {
            f.write_char('"')?;
        }
        Ok(())
    }
}

/// A time as people write it, in UTC: RFC 3339.
struct Utc(Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Timestamp(ms)) = *self;
        let (day, ms) = (ms / 86_400_000, ms % 86_400_000);
        let (year, month, day) = date(day);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        let ms = ms % 1000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

/// The date of a day since 1970: `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level
/// Date Algorithms", for days that are not negative.
const fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    // Its years begin in March.
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + era * 400 + next, month, of_month)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parlor_core::decode::decode;
    use parlor_core::protocol::{Pong, UserList};
    use parlor_core::types::LoadId;
    use parlor_core::{
        Cause, CloseReason, Epoch, Identity, Limits, RoomId, Seq, ServerMessage, State, Username,
    };

    use super::super::{Crash, Digest};
    use super::*;

    const CONN: ConnId = ConnId(7);

    fn room() -> RoomId {
        RoomId::new("general").unwrap()
    }

    fn username(name: &str) -> Username {
        Username::new(name).unwrap()
    }

    #[test]
    fn a_head_says_who_recorded_what() {
        let mut of = Head::new(Timestamp(0), Texts::Redacted, Limits::default());
        of.server = "parlor/9\u{1b}".into();
        let first = "recorded by parlor/9\\u001b from 1970-01-01T00:00:00.000Z, texts are";
        assert_eq!(head(&of), format!("{first} redacted"));
        of.texts = Texts::Plain;
        assert_eq!(head(&of), format!("{first} as they were"));

        of.crash = Some(Crash {
            panic: "oops".into(),
            conn: None,
            event: 7,
            recording: None,
        });
        let panicked = format!("{first} as they were\nthe hub panicked behind event 7: \"oops\"");
        assert_eq!(head(&of), panicked);
        let crash = of.crash.as_mut().unwrap();
        crash.conn = Some(CONN);
        crash.recording = Some("my trace".into());
        let recording = "a recording goes on from the beginning to there: \
                         parlor replay \"my trace\" --until 7";
        assert_eq!(head(&of), format!("{panicked}, by c7\n{recording}"));
    }

    #[test]
    fn a_beginning_says_why_and_what_is_lost() {
        let shown = |why, lost, state| {
            begin(&Begin {
                event: 5,
                why,
                lost,
                digest: Digest::default(),
                state,
            })
        };
        let state = || Some(State::new(Limits::default()));
        assert_eq!(
            shown(Why::Rotated, 0, state()),
            "# a state begins before event 5: the file before this was full \
             (0 connections, 0 rooms)"
        );
        assert_eq!(
            shown(Why::Lost, 3, None),
            "# a state begins before event 5: the recording could not keep up; 3 events are lost \
             (it is not known, so events are not applied)"
        );
    }

    #[test]
    fn an_event_is_what_was_asked_or_what_happened() {
        let asked = |text: &str| Input::Received {
            conn: CONN,
            request: decode(text).unwrap().request,
        };
        for (input, expected) in [
            (Input::Shutdown, "Shutdown"),
            (
                Input::Disconnected {
                    conn: CONN,
                    cause: Cause::Slow,
                },
                r#"c7 Disconnected cause="slow""#,
            ),
            (
                Input::LoadFailed {
                    room: room(),
                    load: LoadId(2),
                },
                r#"LoadFailed load=2 room="general""#,
            ),
            (
                Input::Identified {
                    conn: CONN,
                    identity: Identity {
                        subject: username("Ann"),
                        rooms: Some(Arc::default()),
                    },
                },
                r#"c7 Identified identity={rooms=[] subject="Ann"}"#,
            ),
            (asked(r#"{"type":"ping"}"#), "c7 Ping"),
            (
                asked(r#"{"type":"typing","roomId":"general","active":true,"ref":"a\"b"}"#),
                r#"c7 Typing active=true room="general" ref="a\"b""#,
            ),
            (
                asked(r#"{"type":"join","roomId":"general","since":{"epoch":"e","seq":4}}"#),
                r#"c7 Join room="general" since={epoch="e" seq=4}"#,
            ),
        ] {
            let recorded = Recorded {
                number: 3,
                at: Timestamp(0),
                input,
                digest: None,
            };
            let expected = format!("3 1970-01-01T00:00:00.000Z {expected}");
            assert_eq!(event(&recorded), expected);
        }
    }

    #[test]
    fn an_effect_is_what_is_done_or_said_and_to_whom() {
        let pong = ServerMessage::Pong(Pong {
            time: Timestamp(5),
            reference: None,
        });
        let to = |members: u64, except| Effect::Send {
            to: Recipients::Room {
                members: (1..=members).map(ConnId).collect(),
                except,
            },
            message: pong.clone(),
        };
        let list = |users: u64| Effect::Send {
            to: Recipients::One(CONN),
            message: ServerMessage::UserList(UserList {
                room_id: room(),
                users: (1..=users)
                    .map(|user| username(&user.to_string()))
                    .collect(),
                user_count: 9,
                reference: None,
            }),
        };
        let close = Effect::Close {
            conn: CONN,
            reason: CloseReason::Slow,
        };
        let fetch = Effect::FetchPage(Fetch {
            conn: CONN,
            room: room(),
            epoch: Epoch::new("e").unwrap(),
            before: Seq(4),
            limit: 2,
            reference: None,
        });
        let eight = r#""1", "2", "3", "4", "5", "6", "7", "8""#;
        for (of, expected) in [
            (close, r#"do c7 Close reason="Slow""#),
            (
                fetch,
                r#"do c7 FetchPage before=4 epoch="e" limit=2 room="general""#,
            ),
            (
                Effect::ReleaseRoom { room: room() },
                r#"do ReleaseRoom room="general""#,
            ),
            (to(2, None), "-> c1 c2: pong time=5"),
            (to(3, Some(ConnId(2))), "-> c1 c3: pong time=5"),
            (to(8, None), "-> c1 c2 c3 c4 c5 c6 c7 c8: pong time=5"),
            (
                to(10, Some(ConnId(1))),
                "-> c2 c3 c4 c5 c6 c7 c8 c9 … 9 in all: pong time=5",
            ),
            (
                list(8),
                &format!(r#"-> c7: user_list roomId="general" userCount=9 users=[{eight}]"#),
            ),
            (
                list(9),
                &format!(
                    r#"-> c7: user_list roomId="general" userCount=9 users=[{eight}, … 9 in all]"#
                ),
            ),
        ] {
            assert_eq!(effect(&of), expected);
        }
    }

    #[test]
    fn times_are_dates() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (13_574_563_200_000, "2400-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        ] {
            assert_eq!(Utc(Timestamp(ms)).to_string(), expected);
        }
        assert!(!Utc(Timestamp(u64::MAX)).to_string().is_empty());
    }

    #[test]
    fn nothing_drives_a_terminal() {
        let hostile = "a\u{1b}[2J\r\n\t\u{9b}\u{202e}\u{200b}\u{7f}\u{e0001}\u{2028}";
        for shown in [quoted(hostile).to_string(), printable(hostile).to_string()] {
            let bad = |c: char| c.is_control() || "\u{202e}\u{200b}\u{e0001}\u{2028}".contains(c);
            assert!(!shown.contains(bad), "{shown:?}");
        }
        assert_eq!(printable("one\ntwo").to_string(), "one\\ntwo");
        // What is quoted is JSON.
        let text = quoted(hostile).to_string();
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
        let usual = "Grüße, \"語\" 🙂 it's \\ fine";
        let text = quoted(usual).to_string();
        assert_eq!(text, r#""Grüße, \"語\" 🙂 it's \\ fine""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), usual);
        assert_eq!(printable(usual).to_string(), usual);
    }
}

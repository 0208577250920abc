//! A trace in words, for people. What is in a trace may come from anywhere, so nothing of it gets to
//! a terminal as more than text: see [`printable`].

use std::fmt::{self, Write as _};

use parlor_core::{ConnId, Effect, Input, Recipients, Timestamp};
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
        let mut text = "do".into();
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
    use super::*;

    #[test]
    fn times_are_dates() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
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

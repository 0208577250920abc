//! Frames for the decoder and the schema to agree on.

use parlor_core::limits::{ROOM_ID_CHARS, TEXT_CHARS, TOKEN_CHARS, USERNAME_CHARS};
use parlor_tests::action::REQUESTS;
use parlor_tests::dice::Dice;
use serde_json::{Map, Value, json};

/// The fields of all requests, each with a good value.
fn good() -> Value {
    json!({
        "ref": "r",
        "roomId": "a",
        "text": "Hello!",
        "clientMsgId": "c",
        "username": "ann",
        "since": { "epoch": "e1", "seq": 1 },
        "history": 2,
        "active": true,
        "after": "a",
        "limit": 1,
        "before": 3,
        "protocol": 1,
        "token": "t",
        "resumeToken": "0".repeat(32),
        "unknown": [],
    })
}

/// A frame that is good or has one or two things wrong with it, or odd.
pub(super) fn random(dice: &mut Dice) -> Value {
    let mut frame = Map::new();
    let kind = REQUESTS[dice.pick(REQUESTS.len() as u64)];
    frame.insert("type".into(), kind.into());
    for (name, value) in good().as_object().expect("it is one") {
        if !dice.one_in(8) {
            frame.insert(name.clone(), value.clone());
        }
    }
    for _ in 0..dice.roll(3) {
        let names: Vec<String> = frame.keys().cloned().collect();
        let name = names[dice.pick(names.len() as u64)].clone();
        let odd = odd(dice);
        match frame.get_mut(&name) {
            Some(Value::Object(since)) if !dice.one_in(4) => {
                let inner = if dice.one_in(2) { "epoch" } else { "seq" };
                since.insert(inner.into(), odd);
            }
            _ => drop(frame.insert(name, odd)),
        }
    }
    frame.into()
}

/// A value at the border of what some field takes, or of another type.
fn odd(dice: &mut Dice) -> Value {
    let texts = [
        "",
        " ",
        "a ",
        "\ta",
        "a b",
        "~",
        "\u{7f}",
        "é",
        "\u{a0}a",
        "a\u{200b}",
        "a\u{2028}",
        "\u{3164}",
        "\u{3164}a",
        "\u{e0001}a",
        "\u{110bd}",
        "a\n",
        "hello",
        "nonsense",
    ];
    let numbers = [
        json!(0),
        json!(-0.0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(2.0),
        json!(-2.0),
        json!(1e2),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1u64 << 53),
    ];
    let others = [
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!([1]),
        json!({}),
        json!({ "epoch": "e", "seq": 0, "more": null }),
    ];
    let lengths = [USERNAME_CHARS, TOKEN_CHARS, ROOM_ID_CHARS, TEXT_CHARS];
    match dice.roll(5) {
        0 | 1 => texts[dice.pick(texts.len() as u64)].into(),
        2 => numbers[dice.pick(numbers.len() as u64)].clone(),
        3 => others[dice.pick(others.len() as u64)].clone(),
        _ => {
            let length = lengths[dice.pick(lengths.len() as u64)] as usize + dice.pick(2);
            ["x", "é", "𝄞"][dice.pick(3)].repeat(length).into()
        }
    }
}

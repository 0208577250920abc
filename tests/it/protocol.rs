//! The machine-readable protocol in `protocol/`: the schema says what the server does, and the files
//! say what the types do. `INSTA_UPDATE=always` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use parlor_core::decode::decode;
use parlor_core::encode::encode;
use parlor_core::types::{ClientMsgId, MessageText};
use parlor_core::{
    CloseReason, Effect, ErrorCode, Input, Request, RoomId, State, Username, schema, step,
};
use parlor_tests::action::{Action, FRAMES, REQUESTS};
use parlor_tests::dice::Dice;
use parlor_tests::run::{SETUPS, Setup, World};
use parlor_tests::script::SERVER_MESSAGES;
use serde_json::{Value, json};

mod asyncapi;
mod frames;

/// A definition of the schema, to validate by.
fn validator(definition: &str) -> Validator {
    validator_in(schema::protocol(), definition)
}

fn validator_in(mut schema: Value, definition: &str) -> Validator {
    schema.as_object_mut().unwrap().remove("anyOf");
    schema["$ref"] = format!("#/$defs/{definition}").into();
    jsonschema::validator_for(&schema).unwrap()
}

/// Of what the server says, without a field more than the schema tells of.
fn strict_server() -> Validator {
    let mut schema = schema::protocol();
    for (name, definition) in schema["$defs"].as_object_mut().unwrap() {
        if name.starts_with("server.") {
            definition["additionalProperties"] = false.into();
        }
    }
    validator_in(schema, "server")
}

/// Whether a frame is taken, by the server as by the schema. A frame is made from a value, since a
/// schema sees one of two fields of the same name alone.
fn is_taken(frame: &Value, by: &Validator) -> bool {
    let taken = decode(&frame.to_string()).is_ok();
    assert_eq!(by.is_valid(frame), taken, "{frame}");
    taken
}

#[test]
fn the_schema_takes_a_frame_exactly_if_the_server_does() {
    let request = validator("request");
    let mut dice = Dice::new(super::properties::seed());
    let mut outcomes = BTreeSet::new();
    for _ in 0..20_000 {
        let frame = frames::random(&mut dice);
        let kind = frame["type"].as_str().unwrap_or_default().to_string();
        outcomes.insert((kind, is_taken(&frame, &request)));
    }
    for kind in REQUESTS {
        for taken in [true, false] {
            assert!(outcomes.contains(&(kind.into(), taken)), "{kind}: {taken}");
        }
    }
}

#[test]
fn the_schema_takes_what_others_found_exactly_if_the_server_does() {
    let request = validator("request");
    let found = files("fuzz/corpus/decode");
    let scripts = files("tests/it/scripts");
    let lines = scripts
        .iter()
        .flat_map(|script| script.split(|byte| *byte == b'\n'));
    let said = lines.filter_map(|line| {
        line.iter()
            .position(|byte| *byte == b'{')
            .map(|at| &line[at..])
    });
    let frames = found
        .iter()
        .map(|file| &**file)
        .chain(said)
        .chain(FRAMES.iter().map(|frame| frame.as_bytes()));
    // What is no JSON, or none that fits into a value, no schema sees.
    let mut taken = [0, 0];
    for frame in frames.filter_map(|text| serde_json::from_slice(text).ok()) {
        taken[usize::from(is_taken(&frame, &request))] += 1;
    }
    assert!(taken.iter().all(|count| *count > 50), "{taken:?}");
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(root().join(folder)).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn the_schema_takes_a_character_exactly_if_the_server_does() {
    type Rule = fn(&str) -> bool;
    let rules: [(&str, Rule); 4] = [
        ("RoomId", |text| RoomId::new(text).is_ok()),
        ("Username", |text| Username::new(text).is_ok()),
        ("ClientMsgId", |text| ClientMsgId::new(text).is_ok()),
        ("MessageText", |text| MessageText::new(text).is_ok()),
    ];
    let forms: [fn(char) -> String; 3] = [
        |c| format!("{c}"),
        |c| format!("a{c}"),
        |c| format!("a{c}a"),
    ];
    for (definition, is_good) in rules {
        let schema = validator(definition);
        let agree = |text: &str| {
            let valid = schema.is_valid(&Value::from(text));
            assert_eq!(valid, is_good(text), "{definition} {text:?}");
        };
        for form in forms {
            // Where the answer changes, on either side, and here and there between.
            let mut last = form('\0');
            for c in '\0'..=char::MAX {
                let text = form(c);
                if is_good(&text) != is_good(&last) || u32::from(c) % 499 == 0 {
                    agree(&last);
                    agree(&text);
                }
                last = text;
            }
        }
    }
}

/// A random conversation: what was asked, as frames, and what was said.
fn conversation(seed: u64, setup: u8) -> (Vec<(Request, Value)>, Vec<Value>) {
    let (mut asked, mut said) = (Vec::new(), Vec::new());
    let setup = Setup::small(setup);
    let mut world = World::new(&setup);
    for action in Action::random(seed, 120) {
        world.act(&action).unwrap();
    }
    let mut state = State::new(setup.limits);
    for event in world.events() {
        if let Input::Received { request, .. } = &event.input {
            asked.push((request.clone(), frame(request)));
        }
        let (after, effects) = step(state, event.clone());
        state = after;
        said.extend(effects.iter().filter_map(message));
    }
    (asked, said)
}

fn message(effect: &Effect) -> Option<Value> {
    match effect {
        Effect::Send { message, .. } => Some(serde_json::from_slice(&encode(message)).unwrap()),
        Effect::Append { .. }
        | Effect::Answer { .. }
        | Effect::Tell(_)
        | Effect::Close { .. }
        | Effect::LoadRoom { .. }
        | Effect::FetchPage(_)
        | Effect::ReleaseRoom { .. } => None,
    }
}

/// The frame of a request, by the names that its fields have in Rust.
fn frame(request: &Request) -> Value {
    let kind = serde_json::to_value(&request.kind).unwrap();
    let (kind, fields) = match kind.as_str() {
        Some(kind) => (kind.to_string(), json!({})),
        None => kind
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .next()
            .unwrap(),
    };
    let mut frame = json!({ "type": snake_case(&kind), "ref": request.reference });
    for (name, value) in fields.as_object().unwrap() {
        let name = if name == "room" { "room_id" } else { name };
        frame[camel_case(name)] = value.clone();
    }
    frame
}

fn snake_case(name: &str) -> String {
    let word = |c: char| {
        if c.is_uppercase() {
            format!("_{}", c.to_ascii_lowercase())
        } else {
            c.into()
        }
    };
    name.chars()
        .map(word)
        .collect::<String>()
        .trim_start_matches('_')
        .into()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_string();
    words.fold(first, |name, word| {
        name + &word[..1].to_uppercase() + &word[1..]
    })
}

#[test]
fn every_request_and_every_answer_of_a_random_conversation_is_valid() {
    /// So often all setups are tried; more often if a message did not occur, some of which are rare.
    const ROUNDS: u64 = 8;
    const MOST_ROUNDS: u64 = 200;
    let seed = super::properties::seed();
    let (request, server) = (validator("request"), strict_server());
    let mut kinds = BTreeSet::new();
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && kinds == messages() {
            break;
        }
        for setup in 0..SETUPS {
            let case = round * u64::from(SETUPS) + u64::from(setup);
            let (asked, said) = conversation(seed.wrapping_add(case), setup);
            for (asked, frame) in asked {
                assert!(is_taken(&frame, &request), "{frame}");
                assert_eq!(decode(&frame.to_string()).unwrap().request, asked);
                kinds.insert(format!("request.{}", frame["type"].as_str().unwrap()));
            }
            for message in said {
                assert!(server.is_valid(&message), "{message}");
                kinds.insert(format!("server.{}", message["type"].as_str().unwrap()));
            }
        }
    }
    assert_eq!(kinds, messages());
}

/// The names that all messages have in the schema.
fn messages() -> BTreeSet<String> {
    let requests = REQUESTS.map(|kind| format!("request.{kind}"));
    let messages = SERVER_MESSAGES.map(|kind| format!("server.{kind}"));
    requests.into_iter().chain(messages).collect()
}

/// The examples in the protocol tables of README.md.
fn examples() -> BTreeMap<String, Value> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut side = None;
    let mut examples = BTreeMap::new();
    for line in readme.lines() {
        match line {
            "### What a client sends" => side = Some("request"),
            "### What the server sends" => side = Some("server"),
            _ if line.starts_with('#') => side = None,
            _ => {}
        }
        let example = line
            .strip_suffix("` |")
            .and_then(|row| row.rsplit_once(" | `"));
        if let (Some(side), Some((_, example))) = (side, example) {
            let example: Value = serde_json::from_str(example).unwrap();
            let kind = example["type"].as_str().unwrap();
            examples.insert(format!("{side}.{kind}"), example);
        }
    }
    examples
}

#[test]
fn the_readme_has_a_valid_example_of_every_message() {
    let examples = examples();
    let (request, server) = (validator("request"), strict_server());
    let names: BTreeSet<String> = examples.keys().cloned().collect();
    assert_eq!(names, messages());
    for (name, example) in examples {
        if name.starts_with("request") {
            assert!(is_taken(&example, &request), "{example}");
        } else {
            assert!(server.is_valid(&example), "{example}");
        }
    }
}

#[test]
fn the_tables_of_codes_are_whole() {
    let schema = schema::protocol();
    let consts = |definition: &str, all: &str| -> Vec<Value> {
        let all = schema["$defs"][definition][all].as_array().unwrap();
        all.iter().map(|one| one["const"].clone()).collect()
    };
    let errors = ErrorCode::ALL.iter().map(|code| json!(code.as_str()));
    assert_eq!(consts("ErrorCode", "oneOf"), errors.collect::<Vec<_>>());
    let closes = CloseReason::ALL.iter().map(|reason| json!(reason.code()));
    assert_eq!(consts("CloseCode", "anyOf"), closes.collect::<Vec<_>>());
}

#[test]
fn the_files_are_what_the_types_say() {
    let schema = schema::protocol();
    is_kept(
        "protocol/asyncapi.json",
        &asyncapi::document(&schema, &examples()),
    );
    is_kept("protocol/schema.json", &schema);
}

fn is_kept(file: &str, document: &Value) {
    let path = root().join(file);
    let text = printed(document);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{file} is not what the types say");
}

/// As JSON, in which whatever lies beyond U+FFFF is escaped: much of it cannot be seen.
fn printed(document: &Value) -> String {
    let mut printed = String::new();
    for c in serde_json::to_string_pretty(document).unwrap().chars() {
        if c > '\u{ffff}' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                printed += &format!("\\u{unit:04x}");
            }
        } else {
            printed.push(c);
        }
    }
    printed + "\n"
}

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap()
}

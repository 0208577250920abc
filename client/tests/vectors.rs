//! The vectors in `vectors/`: what a client does, input for input, as the JavaScript client did it.
//! `PARLOR_VECTORS` names another folder of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use parlor_client::{Client, ClientError, Input, Options};
use serde_json::{Value, json};

struct Vector {
    name: String,
    lines: Vec<Value>,
}

#[test]
fn every_vector_is_repeated() {
    let mut failures = Vec::new();
    for vector in vectors() {
        failures.extend(repeat(&vector).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Drives a client by the inputs of a vector; the first line that it does not repeat.
fn repeat(vector: &Vector) -> Result<(), String> {
    let (options, steps) = vector.lines.split_first().expect("a vector has options");
    let options: Options = serde_json::from_value(options.clone()).expect("they are options");
    let mut client = Client::new(options);
    for (index, step) in steps.iter().enumerate() {
        let at_ms = step["at"].as_u64().expect("a step has a time");
        let mut outputs = Vec::new();
        client.handle(at_ms, input(&step["input"]), &mut outputs);
        let outputs: Vec<Value> = outputs.iter().map(told).collect();
        let found = json!({ "outputs": outputs, "deadline": client.deadline() });
        let expected = json!({ "outputs": step["outputs"], "deadline": step["deadline"] });
        if found != expected {
            let (name, line, input) = (&vector.name, index + 2, &step["input"]);
            return Err(format!(
                "{name}, line {line}: {input}\nexpected {expected}\n   found {found}"
            ));
        }
    }
    Ok(())
}

/// A vector has frames as objects where that says everything.
fn input(value: &Value) -> Input {
    let mut value = value.clone();
    let fields = value.as_object_mut().expect("an input is an object");
    if let Some(frame) = fields.remove("frame") {
        fields.insert("text".into(), frame.to_string().into());
    }
    serde_json::from_value(value).expect("it is an input")
}

fn told(output: &parlor_client::Output) -> Value {
    let mut value = serde_json::to_value(output).expect("an output can be written");
    let fields = value.as_object_mut().expect("an output is an object");
    if fields["do"] == "transmit" {
        let text = fields.remove("text").expect("a frame has a text");
        let frame = serde_json::from_str(text.as_str().expect("it is text"));
        fields.insert("frame".into(), frame.expect("a frame is JSON"));
    }
    value
}

fn vectors() -> Vec<Vector> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let folder = env::var_os("PARLOR_VECTORS").map_or_else(|| own.into(), PathBuf::from);
    let files = fs::read_dir(&folder).expect("the vectors are there");
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.expect("the folder can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "there is no vector in {}",
        folder.display()
    );
    paths.iter().map(read).collect()
}

fn read(path: &PathBuf) -> Vector {
    let text = fs::read_to_string(path).expect("a vector is UTF-8");
    let line = |line: &str| serde_json::from_str(line).expect("a line is JSON");
    Vector {
        name: path
            .file_stem()
            .map_or_else(String::new, |name| name.to_string_lossy().into()),
        lines: text.lines().map(line).collect(),
    }
}

/// Collects the strings at `path` of every input or output.
fn all(steps: &[Value], each: impl Fn(&Value) -> Vec<String>) -> BTreeSet<String> {
    steps.iter().flat_map(each).collect()
}

#[test]
fn the_vectors_reach_everything_there_is() {
    let steps: Vec<Value> = vectors()
        .into_iter()
        .flat_map(|vector| vector.lines.into_iter().skip(1))
        .collect();
    let text = |value: &Value| value.as_str().map(String::from);
    let of_outputs = |name: &'static str| {
        all(&steps, move |step| {
            let outputs = step["outputs"].as_array().expect("a step has outputs");
            let at = outputs.iter().map(|output| output.pointer(name));
            at.flatten().filter_map(text).collect()
        })
    };
    let of_inputs = |name: &'static str| {
        all(&steps, move |step| {
            step["input"]
                .pointer(name)
                .and_then(text)
                .into_iter()
                .collect()
        })
    };

    let sets = [
        ("inputs", of_inputs("/do"), INPUTS),
        ("outputs", of_outputs("/do"), OUTPUTS),
        ("events", of_outputs("/type"), EVENTS),
        ("states", of_outputs("/event/state"), STATES),
        ("requests", of_outputs("/frame/type"), REQUESTS),
    ];
    for (what, found, expected) in sets {
        assert_eq!(
            found,
            expected.iter().map(ToString::to_string).collect(),
            "{what}"
        );
    }
    let frames = of_inputs("/frame/type");
    for frame in ANSWERS {
        assert!(frames.contains(*frame), "no server says {frame}");
    }
    let mut codes = of_outputs("/failure/code");
    codes.extend(of_outputs("/event/code"));
    let own = ClientError::ALL.iter().map(|error| error.as_str());
    for code in own.chain(REFUSALS.iter().copied()) {
        assert!(codes.contains(code), "nothing fails with {code}");
    }
}

const INPUTS: &[&str] = &[
    "connect",
    "opened",
    "received",
    "closed",
    "tick",
    "remembered",
    "join",
    "leave",
    "send",
    "typing",
    "history",
    "rooms",
    "users",
    "retry",
    "close",
];
const OUTPUTS: &[&str] = &[
    "connect", "transmit", "hangUp", "remember", "emit", "resolve", "reject",
];
const EVENTS: &[&str] = &[
    "state", "joined", "left", "message", "gap", "presence", "typing", "error",
];
const STATES: &[&str] = &["connecting", "online", "offline", "closed"];
const REQUESTS: &[&str] = &[
    "hello",
    "join",
    "leave",
    "message",
    "typing",
    "list_rooms",
    "list_users",
    "get_history",
    "ping",
];
const ANSWERS: &[&str] = &[
    "hello",
    "joined",
    "left",
    "message",
    "user_joined",
    "user_left",
    "typing",
    "room_list",
    "user_list",
    "history",
    "pong",
    "error",
];
/// What a client refuses in the server's place.
const REFUSALS: &[&str] = &[
    "INVALID_USERNAME",
    "INVALID_ROOM_ID",
    "INVALID_MESSAGE",
    "INVALID_LIMIT",
    "INVALID_FIELD",
    "NOT_IN_ROOM",
];

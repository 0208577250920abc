//! The protocol as an AsyncAPI document: where it is spoken, and by whom each message is sent. Its
//! schemas are those of the JSON Schema, which mean the same to it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The document, with an example for each message.
pub(super) fn document(schema: &Value, examples: &BTreeMap<String, Value>) -> Value {
    let schemas = moved(&schema["$defs"]);
    let described = |(name, example): (&String, &Value)| {
        let message = json!({
            "name": example["type"],
            "summary": schemas[name]["description"],
            "payload": reference(&format!("components/schemas/{name}")),
            "examples": [{ "payload": example }],
        });
        (name.clone(), message)
    };
    let of_channel = |name: &String| {
        let message = reference(&format!("components/messages/{name}"));
        (name.clone(), message)
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Parlor",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A chat: rooms, presence, broadcast and history. Each text frame is one JSON object.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": "Where it listens without options; with a certificate it is wss.",
            },
        },
        "channels": {
            "chat": {
                "address": "/ws",
                "servers": [reference("servers/local")],
                "messages": examples.keys().map(of_channel).collect::<Map<_, _>>(),
                "bindings": { "ws": { "method": "GET" } },
            },
        },
        "operations": {
            "receive": operation("receive", "request", "What a client asks.", examples),
            "send": operation("send", "server", "What the server answers and tells.", examples),
        },
        "components": {
            "messages": examples.iter().map(described).collect::<Map<_, _>>(),
            "schemas": schemas,
        },
    })
}

fn operation(action: &str, side: &str, summary: &str, examples: &BTreeMap<String, Value>) -> Value {
    let of_side = |name: &&String| name.split_once('.').is_some_and(|(found, _)| found == side);
    let message = |name: &String| reference(&format!("channels/chat/messages/{name}"));
    json!({
        "action": action,
        "channel": reference("channels/chat"),
        "summary": summary,
        "messages": examples.keys().filter(of_side).map(message).collect::<Vec<_>>(),
    })
}

fn reference(path: &str) -> Value {
    json!({ "$ref": format!("#/{path}") })
}

/// The schemas with every reference to where AsyncAPI keeps them.
fn moved(schemas: &Value) -> Value {
    match schemas {
        Value::String(text) => text.replacen("#/$defs/", "#/components/schemas/", 1).into(),
        Value::Array(all) => all.iter().map(moved).collect(),
        Value::Object(all) => all
            .iter()
            .map(|(key, one)| (key.clone(), moved(one)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => schemas.clone(),
    }
}

//! The protocol as JSON Schema (draft 2020-12), generated from the types that have it.
//!
//! A request is valid exactly if [`decode`](crate::decode::decode) takes it, but for what a schema
//! cannot say: that a field which stands there twice is bad, and half of a surrogate pair no JSON.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::error::CloseReason;
use crate::name::is_ignorable;
use crate::protocol::{RequestKind, ServerMessage};
use crate::types::is_invisible;

/// A schema of all that is said. Each message is a definition: `request.join` is what a client
/// sends, `server.joined` what the server does, and `request` and `server` are any of these. The
/// other definitions are what they consist of, and `CloseCode`.
#[must_use]
pub fn protocol() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(drop_format));
    let read = settings.clone().for_deserialize();
    let written = settings
        .with_transform(RecursiveTransform(drop_null))
        .for_serialize();

    let mut definitions = Map::new();
    let requests = root::<RequestKind>(read.into_generator());
    define("request", requests, &mut definitions, |kind, fields| {
        if kind == "hello" {
            fields.insert("token".into(), token());
        }
        fields.insert("ref".into(), reference());
    });
    let messages = root::<ServerMessage>(written.into_generator());
    define("server", messages, &mut definitions, |_, _| {});
    definitions.insert("CloseCode".into(), close_codes());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What is said between Parlor and its clients",
        "anyOf": [{ "$ref": "#/$defs/request" }, { "$ref": "#/$defs/server" }],
        "$defs": definitions,
    })
}

fn root<T: JsonSchema>(generator: SchemaGenerator) -> Map<String, Value> {
    let schema = generator.into_root_schema_for::<T>();
    let object = schema.as_object().cloned();
    object.expect("neither side may say anything")
}

/// Makes a definition of each message of one side, and of what they consist of.
fn define(
    side: &str,
    mut root: Map<String, Value>,
    definitions: &mut Map<String, Value>,
    complete: impl Fn(&str, &mut Map<String, Value>),
) {
    let (Some(Value::Array(messages)), Some(Value::Object(mut values))) =
        (root.remove("oneOf"), root.remove("$defs"))
    else {
        unreachable!("both sides are enums, and their messages name rooms");
    };
    let mut all = Vec::new();
    for mut message in messages {
        inline(&mut message, &mut values);
        let fields = message["properties"].as_object_mut();
        let fields = fields.expect("every message has fields");
        let kind = fields["type"]["const"].as_str();
        let kind: String = kind.expect("every message has a type").into();
        complete(&kind, fields);
        let name = format!("{side}.{kind}");
        all.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name, message);
    }
    definitions.extend(values);
    let any = json!({ "description": root.remove("description"), "oneOf": all });
    definitions.insert(side.into(), any);
}

/// Gives a message the fields that it refers to. Readers of older drafts see nothing beside a
/// reference.
fn inline(message: &mut Value, values: &mut Map<String, Value>) {
    let path = message.get("$ref").and_then(Value::as_str);
    let name = path.and_then(|path| path.strip_prefix("#/$defs/"));
    let Some(mut fields) = name.and_then(|name| values.remove(name)) else {
        return;
    };
    fields["description"] = message["description"].take();
    fields["properties"]["type"] = message["properties"]["type"].take();
    if let Some(required) = fields["required"].as_array_mut() {
        required.insert(0, "type".into());
    }
    *message = fields;
}

/// The token of a `hello`, which is decoded and not part of the request.
fn token() -> Value {
    json!({
        "description": "Proves who it is, to a server that requires that.",
        "type": ["string", "null"],
    })
}

fn reference() -> Value {
    json!({
        "description": "The client's tag, echoed by the answer.",
        "anyOf": [{ "$ref": "#/$defs/Ref" }, { "type": "null" }],
    })
}

/// The codes with which the server closes a connection.
fn close_codes() -> Value {
    let reasons = root::<CloseReason>(SchemaGenerator::default());
    let documented = reasons["oneOf"].as_array().into_iter().flatten();
    let code = |(reason, documented): (&CloseReason, &Value)| {
        json!({
            "const": reason.code(),
            "title": reason.text(),
            "description": documented["description"],
        })
    };
    let codes: Vec<Value> = CloseReason::ALL.iter().zip(documented).map(code).collect();
    json!({ "description": reasons["description"], "type": "integer", "anyOf": codes })
}

/// A number is any that JSON can hold: the formats of schemars say how Rust holds it.
fn drop_format(schema: &mut Schema) {
    schema.remove("format");
}

/// What is absent the server leaves out, so none of its fields is ever null.
fn drop_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [name] = &mut types[..] {
            let name = name.take();
            schema.insert("type".into(), name);
        }
    }
    if let Some(Value::Array(mut any)) = schema.remove("anyOf") {
        any.retain(|one| one["type"] != "null");
        match &mut any[..] {
            [Value::Object(only)] => schema.ensure_object().append(only),
            _ => drop(schema.insert("anyOf".into(), any.into())),
        }
    }
}

// The rules of the same names in `types`.

pub(crate) fn length(most: u32) -> impl Transform {
    move |schema: &mut Schema| {
        schema.insert("minLength".into(), 1.into());
        schema.insert("maxLength".into(), most.into());
    }
}

pub(crate) fn printable_ascii(most: u32) -> impl Transform {
    move |schema: &mut Schema| {
        length(most).transform(schema);
        schema.insert("pattern".into(), "^[ -~]*$".into());
    }
}

pub(crate) fn visible(most: u32) -> impl Transform {
    move |schema: &mut Schema| {
        length(most).transform(schema);
        let inner = class(is_invisible);
        let outer = class(|c| is_invisible(c) || c.is_whitespace());
        let pattern = format!("^[^{outer}]([^{inner}]*[^{outer}])?$");
        schema.insert("pattern".into(), pattern.into());
    }
}

/// Something is left of a name when what can be ignored is dropped.
pub(crate) fn has_key(schema: &mut Schema) {
    let pattern = format!("[^{}]", class(is_ignorable));
    schema.insert("allOf".into(), json!([{ "pattern": pattern }]));
}

/// What stands in a class of a regular expression for all characters that `belong`. Not by names of
/// properties, which some languages lack; those beyond U+FFFF have no escape that all of them have.
fn class(belong: impl Fn(char) -> bool) -> String {
    let mut ranges: Vec<RangeInclusive<char>> = Vec::new();
    for c in ('\0'..=char::MAX).filter(|&c| belong(c)) {
        match ranges.last_mut() {
            Some(last) if u32::from(*last.end()) + 1 == u32::from(c) => *last = *last.start()..=c,
            _ => ranges.push(c..=c),
        }
    }
    let escaped = |c: char| match u16::try_from(u32::from(c)) {
        Ok(unit) => format!("\\u{unit:04x}"),
        Err(_) => c.into(),
    };
    let text = |range: RangeInclusive<char>| match range.into_inner() {
        (first, last) if first == last => escaped(first),
        (first, last) => format!("{}-{}", escaped(first), escaped(last)),
    };
    ranges.into_iter().map(text).collect()
}

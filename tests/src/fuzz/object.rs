//! JSON objects as slow and naive code reads them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// The members of a JSON object in their order, as often as they stand there.
pub(super) struct Object(Vec<(String, Value)>);

pub(super) enum Fields {
    Readable(Object),
    /// An object with something in it that only who looks at it finds wrong: numbers out of range,
    /// halves of characters, depth.
    Unreadable,
}

pub(super) fn fields(text: &str) -> Option<Fields> {
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
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Value> {
        let members = self.0.iter().filter(move |(found, _)| found == name);
        members.map(|(_, value)| value)
    }

    /// The value of a field that stands there once and is not null.
    pub(super) fn one(&self, name: &str) -> Option<&Value> {
        let value = self.all(name).next()?;
        (self.all(name).count() == 1 && !value.is_null()).then_some(value)
    }

    pub(super) fn optional(&self, name: &str, is_good: impl Fn(&Value) -> bool) -> bool {
        match self.all(name).count() {
            0 => true,
            1 => self.one(name).is_none_or(is_good),
            _ => false,
        }
    }

    pub(super) fn required(&self, name: &str, is_good: impl Fn(&Value) -> bool) -> bool {
        self.one(name).is_some_and(is_good)
    }
}

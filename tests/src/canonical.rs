//! When two worlds are the same but for names: a key that leaves out what nobody can tell apart, as
//! which of two rooms, two users and several connections is which, and the numbers that are counted
//! up for connections, users, loads, arrivals, tokens and epochs.
//!
//! Worlds with one key can be turned into each other by exchanging such names, so what follows from
//! one follows from the other under other names. This rests on nobody deciding by the order of
//! names: they are compared for equality, and where the core walks rooms or connections in their
//! order, what it does to each does not depend on those before.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

/// Two names of the same length, one of which may stand for the other.
pub type Pair = (&'static str, &'static str);

/// The numbers to be given next, which nobody has yet; a place in an order that is told by the order
/// itself; and what is the same in all worlds.
const LEFT_OUT: &[&str] = &[
    "next_load",
    "next_user",
    "next_arrival",
    "arrival",
    "limits",
];

/// The key of a world as JSON, when each of `pairs` may be exchanged: the least of those that it has
/// under all those names.
#[must_use]
pub fn key(world: &Value, pairs: &[Pair]) -> u128 {
    let all = 0..1_usize << pairs.len();
    let keys = all.map(|chosen| {
        let is_chosen = |&(place, _): &(usize, &Pair)| chosen >> place & 1 == 1;
        let exchanged = pairs.iter().enumerate().filter(is_chosen);
        let exchanged: Vec<Pair> = exchanged.map(|(_, &pair)| pair).collect();
        digest(&Writer::canonical(world, &exchanged))
    });
    keys.min().unwrap_or_default()
}

/// So long that no two texts have the same by chance.
#[must_use]
pub fn digest(text: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Conn,
    Load,
    Token,
    Epoch,
}

/// Writes a world down under new names.
#[derive(Clone, Debug)]
struct Writer<'a> {
    exchanged: &'a [Pair],
    /// A user is told by its name (I-8).
    users: BTreeMap<String, String>,
    /// The connection, and its token, as which everything is seen: all others look the same.
    viewer: Option<(&'a str, &'a str)>,
    /// In the order in which they are met.
    numbers: BTreeMap<(Kind, String), usize>,
    text: String,
}

impl<'a> Writer<'a> {
    fn canonical(world: &'a Value, exchanged: &'a [Pair]) -> String {
        let mut writer = Self {
            exchanged,
            users: BTreeMap::new(),
            viewer: None,
            numbers: BTreeMap::new(),
            text: String::new(),
        };
        let presence = &world["state"]["presence"];
        for (id, user) in presence["users"].as_object().into_iter().flatten() {
            let name = writer.string(user["name"].as_str().unwrap_or_default());
            writer.users.insert(id.clone(), name);
        }
        writer.number_connections(world);
        writer.value("", world);
        writer.text
    }

    /// In the order of what each is to the others, so that it does not matter who came first.
    fn number_connections(&mut self, world: &'a Value) {
        let presence = &world["state"]["presence"];
        let around = [&presence["users"], &presence["rooms"], &world["fetches"]];
        let around = ["users", "rooms", "fetches"].into_iter().zip(around);
        let connections = presence["connections"].as_object().into_iter().flatten();
        let mut connections: Vec<(String, &String)> = connections
            .map(|(id, connection)| {
                let mut writer = self.clone();
                writer.viewer = Some((id, connection["resume_token"].as_str().unwrap_or_default()));
                let parts = [("", connection)].into_iter().chain(around.clone());
                parts.for_each(|(field, part)| writer.value(field, part));
                (writer.text, id)
            })
            .collect();
        connections.sort();
        for (_, id) in connections {
            self.number(Kind::Conn, id);
        }
    }

    fn value(&mut self, field: &str, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) => self.atom(&value.to_string()),
            Value::Number(number) => {
                let number = self.numbered(field, &number.to_string());
                self.atom(&number);
            }
            Value::String(text) => {
                let text = self.string(text);
                self.atom(&text);
            }
            Value::Array(all) => self.array(field, all),
            Value::Object(_) if field == "arrivals" => self.arrivals(value),
            Value::Object(_) => self.object(field, value),
        }
    }

    fn atom(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push(' ');
    }

    /// A list of nothing but names is a set.
    fn array(&mut self, field: &str, all: &[Value]) {
        let field = match field {
            "members" | "connections" => "conn",
            other => other,
        };
        self.text.push('[');
        if all.iter().all(|item| item.is_number() || item.is_string()) {
            let mut names: Vec<String> = all
                .iter()
                .map(|item| match item.as_str() {
                    Some(text) => self.string(text),
                    None => self.numbered(field, &item.to_string()),
                })
                .collect();
            names.sort();
            names.iter().for_each(|name| self.atom(name));
        } else {
            all.iter().for_each(|item| self.value(field, item));
        }
        self.text.push(']');
    }

    /// Of arrivals only the order counts.
    fn arrivals(&mut self, arrivals: &Value) {
        let mut users: Vec<(u64, &Value)> = arrivals
            .as_object()
            .into_iter()
            .flatten()
            .map(|(arrival, user)| (arrival.parse().unwrap_or(u64::MAX), user))
            .collect();
        users.sort_by_key(|&(arrival, _)| arrival);
        users.iter().for_each(|(_, user)| self.value("user", user));
    }

    fn object(&mut self, field: &str, object: &Value) {
        let fields = object.as_object().into_iter().flatten();
        let fields = fields.filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
        let mut fields: Vec<(String, &str, &Value)> = fields
            .map(|(name, value)| match field {
                "connections" => (self.numbered("conn", name), "", value),
                "users" => (self.numbered("user", name), "", value),
                "names" | "guests" => (self.string(name), "user", value),
                "rooms" | "logs" | "loads" | "retries" => (self.string(name), "", value),
                _ => (name.clone(), &**name, value),
            })
            .collect();
        fields.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        self.text.push('{');
        for (name, field, value) in fields {
            self.atom(&name);
            self.value(field, value);
        }
        self.text.push('}');
    }

    fn numbered(&mut self, field: &str, number: &str) -> String {
        match field {
            "conn" => self.number(Kind::Conn, number),
            "load" | "loading" => self.number(Kind::Load, number),
            "user" => {
                (self.users.get(number).cloned()).unwrap_or_else(|| format!("nobody {number}"))
            }
            _ => number.to_owned(),
        }
    }

    fn string(&mut self, text: &str) -> String {
        for &(one, other) in self.exchanged {
            if text == one {
                return other.to_owned();
            }
            if text == other {
                return one.to_owned();
            }
        }
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() == 32 {
            return self.number(Kind::Token, text);
        }
        if text.strip_prefix('e').is_some_and(digits) {
            return self.number(Kind::Epoch, text);
        }
        text.to_owned()
    }

    fn number(&mut self, kind: Kind, name: &str) -> String {
        if let Some((conn, token)) = self.viewer
            && matches!(kind, Kind::Conn | Kind::Token)
        {
            let is_own = name == conn || name == token;
            return if is_own { "own" } else { "other" }.to_owned();
        }
        let next = self.numbers.len();
        let number = self.numbers.entry((kind, name.to_owned())).or_insert(next);
        number.to_string()
    }
}

//! The digest of effects: by it a replay knows that it did what the server did.
//!
//! The digest behind an event covers the one before and what came of the event: each effect as JSON,
//! as the core's own types define it, what is sent as it goes over the wire. Two things differ. The
//! members of a room are a digest of their own, since each of its messages names them all; and the
//! version in `hello` is left out, so that another version can be compared.

use std::fmt;
use std::sync::Arc;

use parlor_core::{ConnId, Effect, Recipients, ServerMessage};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// 128 bits of a SHA-256: enough to find mistakes, not to convict a forger.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest([u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = is_digits.then(|| u128::from_str_radix(&text, 16).ok());
        let bits = bits.flatten().ok_or("a digest is 32 hexadecimal digits")?;
        Ok(Self(bits.to_be_bytes()))
    }
}

/// Member lists whose digests are known, and members in them: some MiB.
const KNOWN_LISTS: usize = 8192;
const KNOWN_MEMBERS: usize = 1 << 19;

/// Digests effects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher {
    /// By where they are, which is theirs as long as they are held here.
    lists: FxHashMap<usize, (Arc<[ConnId]>, Digest)>,
    members: usize,
    scratch: Vec<u8>,
}

impl Hasher {
    /// The digest behind an event with these effects.
    pub(crate) fn digest(&mut self, before: Digest, effects: &[Effect]) -> Digest {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.extend(before.0);
        for effect in effects {
            self.encode(effect, &mut bytes);
            // No JSON has this byte, so nothing is the beginning of something else.
            bytes.push(b'\n');
        }
        let digest = of(&bytes);
        bytes.shrink_to(1 << 20);
        self.scratch = bytes;
        digest
    }

    fn encode(&mut self, effect: &Effect, bytes: &mut Vec<u8>) {
        let Effect::Send { to, message } = effect else {
            return json(effect, bytes);
        };
        match to {
            Recipients::One(conn) => json(conn, bytes),
            Recipients::Room { members, except } => {
                json(&(self.of_list(members), except), bytes);
            }
        }
        match message {
            ServerMessage::Hello(hello) => {
                let mut hello = hello.clone();
                hello.server = "";
                json(&ServerMessage::Hello(hello), bytes);
            }
            ServerMessage::Joined(_)
            | ServerMessage::Left(_)
            | ServerMessage::Message(_)
            | ServerMessage::UserJoined(_)
            | ServerMessage::UserLeft(_)
            | ServerMessage::Typing(_)
            | ServerMessage::RoomList(_)
            | ServerMessage::UserList(_)
            | ServerMessage::History(_)
            | ServerMessage::Pong(_)
            | ServerMessage::Error(_) => json(message, bytes),
        }
    }

    fn of_list(&mut self, list: &Arc<[ConnId]>) -> Digest {
        let place = list.as_ptr().addr();
        if let Some((_, digest)) = self.lists.get(&place) {
            return *digest;
        }
        if self.lists.len() >= KNOWN_LISTS || self.members >= KNOWN_MEMBERS {
            self.lists.clear();
            self.members = 0;
        }
        let mut bytes = Vec::with_capacity(list.len() * 8);
        bytes.extend(list.iter().flat_map(|conn| conn.0.to_be_bytes()));
        let digest = of(&bytes);
        self.members += list.len();
        self.lists.insert(place, (list.clone(), digest));
        digest
    }
}

fn json(value: &impl Serialize, bytes: &mut Vec<u8>) {
    serde_json::to_writer(bytes, value).expect("effects serialise, and memory takes them");
}

fn of(bytes: &[u8]) -> Digest {
    let hash = Sha256::digest(bytes);
    Digest(*hash.first_chunk().expect("it has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use parlor_core::protocol::Pong;
    use parlor_core::{RoomId, Timestamp};

    use super::*;

    fn pong(to: Recipients, time: u64) -> Effect {
        let pong = Pong {
            time: Timestamp(time),
            reference: None,
        };
        Effect::Send {
            to,
            message: ServerMessage::Pong(pong),
        }
    }

    fn room(members: &[u64], except: Option<u64>) -> Recipients {
        Recipients::Room {
            members: members.iter().copied().map(ConnId).collect(),
            except: except.map(ConnId),
        }
    }

    #[test]
    fn everything_about_effects_counts() {
        let mut hasher = Hasher::default();
        let release = |room| Effect::ReleaseRoom {
            room: RoomId::new(room).unwrap(),
        };
        let different = [
            vec![],
            vec![pong(room(&[1, 2], None), 1)],
            vec![pong(room(&[1, 2], Some(1)), 1)],
            vec![pong(room(&[1, 3], None), 1)],
            vec![pong(room(&[1], None), 1)],
            vec![pong(Recipients::One(ConnId(1)), 1)],
            vec![pong(Recipients::One(ConnId(1)), 2)],
            vec![release("a"), release("b")],
            vec![release("b"), release("a")],
            vec![release("a")],
        ];
        let mut seen = Vec::new();
        for effects in &different {
            let digest = hasher.digest(Digest::default(), effects);
            assert_eq!(digest, Hasher::default().digest(Digest::default(), effects));
            assert_ne!(
                digest,
                hasher.digest(digest, effects),
                "what was before counts"
            );
            assert!(!seen.contains(&digest), "{effects:?}");
            seen.push(digest);
        }
    }

    #[test]
    fn it_is_the_same_on_every_machine() {
        let effects = [
            pong(room(&[1, 2], Some(2)), 7),
            pong(Recipients::One(ConnId(3)), 8),
        ];
        let digest = Hasher::default().digest(Digest::default(), &effects);
        // Computed elsewhere.
        assert_eq!(digest.to_string(), "2f3b5189a74edc0b4038e8d9e5f42037");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"0\"").is_err());
    }

    #[test]
    fn lists_are_known_within_bounds() {
        let mut hasher = Hasher::default();
        for conn in 0..2 * KNOWN_LISTS as u64 {
            let effect = pong(room(&[conn], None), 1);
            let digest = hasher.digest(Digest::default(), std::slice::from_ref(&effect));
            assert_eq!(
                digest,
                Hasher::default().digest(Digest::default(), &[effect])
            );
            assert!(hasher.lists.len() <= KNOWN_LISTS);
        }
    }

    #[test]
    fn lists_are_known_until_their_members_are_too_many() {
        let mut hasher = Hasher::default();
        let list = |len: usize| -> Arc<[ConnId]> { vec![ConnId(1); len].into() };
        let lists = [list(1), list(KNOWN_MEMBERS), list(1)];
        let known = lists.map(|list| {
            hasher.of_list(&list);
            hasher.lists.len()
        });
        assert_eq!(known, [1, 2, 1]);
    }
}

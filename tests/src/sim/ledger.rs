//! What is true of all connections together: what was said, what was seen of it, and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parlor_client::Message;
use parlor_core::{Entry, Limits, RoomId};
use serde_json::Value;

use super::disk::Disk;
use super::{Checked, number, rule, text};
use crate::observe::Failure;

/// A message by its identity.
type Place = (String, String, u64);

/// What everybody saw.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Where it has to be stored.
    pub disk: Disk,
    /// What was seen under each number: everybody sees the same.
    seen: BTreeMap<Place, Seen>,
    /// How often each text was said.
    said: BTreeMap<String, u64>,
    /// Texts of messages that were refused.
    refused: BTreeSet<String>,
    /// Messages that their sender knows to be stored, by room, sender and id.
    acknowledged: BTreeMap<(String, String, String), Place>,
    /// Resume tokens that were given to anybody.
    pub tokens: Vec<String>,
    /// Epochs that anybody saw.
    pub epochs: BTreeSet<String>,
    /// How often each kind of thing happened.
    pub reached: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    from: String,
    text: String,
    timestamp: u64,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub const fn new(disk: Disk) -> Self {
        Self {
            disk,
            seen: BTreeMap::new(),
            said: BTreeMap::new(),
            refused: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            tokens: Vec::new(),
            epochs: BTreeSet::new(),
            reached: BTreeMap::new(),
        }
    }

    /// Something happened.
    pub fn note(&mut self, kind: impl Into<String>) {
        *self.reached.entry(kind.into()).or_default() += 1;
    }

    /// A message left the server: it is stored, and what everybody else saw (T-2).
    ///
    /// # Errors
    /// When it is not.
    pub fn see(&mut self, room: &str, epoch: &str, message: &Value) -> Checked {
        let seq = number(message, "seq");
        let seen = Seen {
            from: text(message, "from").into(),
            text: text(message, "text").into(),
            timestamp: number(message, "timestamp"),
        };
        let entry = self.disk.get(room, epoch, seq);
        let stored = entry.map(|entry| Seen {
            from: entry.from.as_str().into(),
            text: entry.text.as_str().into(),
            timestamp: entry.at.0,
        });
        rule("A-4", stored.as_ref() == Some(&seen), || {
            format!("{message} of {epoch} is stored as {stored:?}")
        })?;
        let place = (room.to_string(), epoch.to_string(), seq);
        let first = self.seen.entry(place).or_insert_with(|| seen.clone());
        rule("T-2", *first == seen, || {
            format!("{message} was seen as {first:?}")
        })
    }

    /// A message came to the server.
    pub fn say(&mut self, text: &str) {
        *self.said.entry(text.to_string()).or_default() += 1;
    }

    /// A message was refused.
    pub fn refuse(&mut self, text: &str) {
        self.refused.insert(text.to_string());
    }

    /// Its sender was told that a message is stored.
    ///
    /// # Errors
    /// When it is not.
    pub fn acknowledge(&mut self, (from, id): (String, String), place: Place) -> Checked {
        let key = (place.0.clone(), from, id);
        let entry = self.disk.get(&place.0, &place.1, place.2);
        let own = entry.as_ref().is_some_and(|entry| {
            let own_id = entry.client_msg_id.as_ref().map(|id| id.as_str());
            (entry.from.as_str(), own_id) == (&key.1, Some(&key.2))
        });
        rule("acknowledged", own || self.disk.is_lost(&place.1), || {
            format!("{key:?} is said to be {entry:?}")
        })?;
        self.acknowledged.insert(key, place);
        Ok(())
    }

    /// T-2: a message came to a client as it left the server.
    ///
    /// # Errors
    /// When it did not.
    pub fn check_seen(&self, message: &Message) -> Checked {
        let place = (message.room.clone(), message.epoch.clone(), message.seq);
        let seen = self.seen.get(&place);
        let same = seen.is_some_and(|seen| {
            (&seen.from, &seen.text, seen.timestamp)
                == (&message.from, &message.text, message.timestamp)
        });
        rule("T-2", same, || format!("{message:?} was seen as {seen:?}"))
    }

    /// What has to be true of what is stored, whatever happened.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_stored(&self, limits: &Limits) -> Checked {
        let entries = self.disk.entries();
        let (mut ids, mut times) = (BTreeMap::new(), BTreeMap::new());
        let mut stored = BTreeMap::new();
        for (room, epoch, entry) in &entries {
            let place = (room.as_str().into(), epoch.as_str().into(), entry.seq.0);
            stored.insert(place, entry.text.as_str());
            let text = entry.text.as_str();
            let is_refused = self.refused.contains(text) && self.said.get(text) == Some(&1);
            rule("T-4", !is_refused, || {
                format!("{entry:?} was refused and is stored")
            })?;
            let log = times.entry((room, epoch)).or_insert(entry.at);
            rule("I-1", *log <= entry.at, || {
                format!("{entry:?} comes behind {log:?}")
            })?;
            *log = entry.at;
            let Some(id) = &entry.client_msg_id else {
                continue;
            };
            let key = (room, epoch, entry.from.as_str(), id.as_str());
            if let Some(first) = ids.insert(key, entry.seq) {
                let log = entries
                    .iter()
                    .filter(|(own, of, _)| (own, of) == (room, epoch));
                let between = log.map(|(_, _, entry)| entry);
                let between = between.filter(|other| (first..entry.seq).contains(&other.seq));
                rule("twice", !is_in_tail(between, room, limits), || {
                    format!("{entry:?} is stored as {first:?}, too")
                })?;
            }
        }
        for (place, seen) in &self.seen {
            let kept = stored.get(place);
            let same = kept == Some(&&seen.text[..]) || self.disk.is_lost(&place.1);
            rule("A-4", same, || {
                format!("{place:?} was seen as {seen:?} and is gone")
            })?;
        }
        for ((_, _, id), place) in &self.acknowledged {
            let kept = stored.contains_key(place) || self.disk.is_lost(&place.1);
            rule("acknowledged", kept, || {
                format!("{id} was stored at {place:?} and is gone")
            })?;
        }
        Ok(())
    }
}

/// Whether the first of these entries was certainly still in the tail behind the last.
fn is_in_tail<'a>(
    entries: impl Iterator<Item = &'a Arc<Entry>>,
    room: &RoomId,
    limits: &Limits,
) -> bool {
    // The fields of a frame with their names, but for what stands in them.
    const FRAME_BYTES: usize = 160;
    let (mut count, mut bytes) = (0, 0);
    for entry in entries {
        let id = entry
            .client_msg_id
            .as_ref()
            .map_or(0, |id| id.as_str().len());
        count += 1;
        bytes += FRAME_BYTES
            + id
            + room.as_str().len()
            + entry.from.as_str().len()
            + entry.text.as_str().len();
    }
    count <= limits.tail_entries as usize && bytes <= limits.tail_bytes as usize
}

/// Fails when there is none.
pub(super) fn found<T>(
    rule: &'static str,
    what: Option<T>,
    detail: impl FnOnce() -> String,
) -> Result<T, Failure> {
    what.ok_or_else(|| Failure {
        rule,
        detail: detail(),
    })
}

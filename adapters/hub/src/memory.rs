//! The store that forgets with the process: it keeps the tail of every room, and the tails of
//! rooms that emptied within bounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use parlor_core::{Entry, Epoch, Fetch, Limits, Page, RoomId, Seq, StoredLog, Timestamp};

use crate::store::{Append, Store, StoreError};

/// How much of the rooms that emptied is kept; beyond it the ones that emptied first go.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Rooms.
    pub rooms: usize,
    /// Bytes of their frames, together.
    pub bytes: u64,
    /// Since they emptied, ms.
    pub age_ms: u64,
}

impl Default for Retention {
    /// 1,000 rooms, 64 MiB, one hour: people who lose their connection find their room again, and
    /// the server still runs anywhere.
    fn default() -> Self {
        Self {
            rooms: 1000,
            bytes: 64 << 20,
            age_ms: 60 * 60 * 1000,
        }
    }
}

/// A [`Store`] in memory. It never fails.
pub struct MemoryStore {
    tail_entries: usize,
    tail_bytes: u64,
    retention: Retention,
    new_epoch: Box<dyn FnMut() -> Epoch + Send>,
    /// The logs in which something was said.
    logs: BTreeMap<RoomId, StoredTail>,
    /// Those of them whose room is empty, by when it emptied.
    released: BTreeSet<(Timestamp, RoomId)>,
    released_bytes: u64,
}

struct StoredTail {
    epoch: Epoch,
    last_seq: Seq,
    last_at: Timestamp,
    entries: VecDeque<Arc<Entry>>,
    bytes: u64,
    released_at: Option<Timestamp>,
}

impl MemoryStore {
    /// An empty store that keeps as much of each room as `limits` let in memory. `new_epoch` makes
    /// the epoch of a log that begins; it never gives the same one twice, not even after a restart
    /// of the process.
    pub fn new(limits: &Limits, new_epoch: impl FnMut() -> Epoch + Send + 'static) -> Self {
        Self {
            tail_entries: limits.tail_entries as usize,
            tail_bytes: limits.tail_bytes.into(),
            retention: Retention::default(),
            new_epoch: Box::new(new_epoch),
            logs: BTreeMap::new(),
            released: BTreeSet::new(),
            released_bytes: 0,
        }
    }

    /// The same with other bounds for rooms that emptied.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Takes a log out of those that may be forgotten.
    fn hold(&mut self, room: &RoomId) -> Option<&mut StoredTail> {
        let log = self.logs.get_mut(room)?;
        if let Some(at) = log.released_at.take() {
            self.released.remove(&(at, room.clone()));
            self.released_bytes -= log.bytes;
        }
        Some(log)
    }

    fn forget_beyond_retention(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.released.first() {
            let within = self.released.len() <= self.retention.rooms
                && self.released_bytes <= self.retention.bytes
                && now.ms_since(*at) <= self.retention.age_ms;
            if within {
                return;
            }
            if let Some((_, room)) = self.released.pop_first()
                && let Some(log) = self.logs.remove(&room)
            {
                self.released_bytes -= log.bytes;
            }
        }
    }
}

impl Store for MemoryStore {
    fn load(&mut self, room: &RoomId, _: u32) -> Result<StoredLog, StoreError> {
        let Some(log) = self.hold(room) else {
            return Ok(StoredLog::empty((self.new_epoch)()));
        };
        let tail = log.entries.iter().cloned().collect();
        StoredLog::new(log.epoch.clone(), log.last_seq, log.last_at, tail).map_err(StoreError::new)
    }

    fn append(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        for Append { room, epoch, entry } in batch {
            let log = self.logs.entry(room.clone()).or_insert_with(|| StoredTail {
                epoch: epoch.clone(),
                last_seq: Seq(0),
                last_at: Timestamp(0),
                entries: VecDeque::new(),
                bytes: 0,
                released_at: None,
            });
            log.last_seq = entry.seq;
            log.last_at = entry.at;
            log.bytes += entry.frame_bytes(room) as u64;
            log.entries.push_back(entry.clone());
            while log.entries.len() > self.tail_entries || log.bytes > self.tail_bytes {
                let Some(oldest) = log.entries.pop_front() else {
                    break;
                };
                log.bytes -= oldest.frame_bytes(room) as u64;
            }
        }
        Ok(())
    }

    fn page(&mut self, fetch: &Fetch) -> Result<Page, StoreError> {
        let log = self
            .logs
            .get(&fetch.room)
            .filter(|log| log.epoch == fetch.epoch);
        let Some(log) = log else {
            return Ok(Page::default());
        };
        let end = log
            .entries
            .partition_point(|entry| entry.seq < fetch.before);
        let start = end.saturating_sub(fetch.limit as usize);
        let entries = log.entries.range(start..end).cloned().collect();
        Ok(Page {
            entries,
            has_more: start > 0,
        })
    }

    fn release(&mut self, room: &RoomId, at: Timestamp) {
        if let Some(log) = self.logs.get_mut(room)
            && log.released_at.is_none()
        {
            log.released_at = Some(at);
            self.released_bytes += log.bytes;
            self.released.insert((at, room.clone()));
        }
        self.forget_beyond_retention(at);
    }

    fn reopen(&mut self, at: Timestamp) -> Result<(), StoreError> {
        let in_use = self
            .logs
            .iter()
            .filter(|(_, log)| log.released_at.is_none());
        let in_use: Vec<RoomId> = in_use.map(|(room, _)| room.clone()).collect();
        for room in in_use {
            self.release(&room, at);
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "MemoryStore({} logs, {} of them empty rooms')",
            self.logs.len(),
            self.released.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use parlor_core::types::MessageText;
    use parlor_core::{ConnId, Username};

    use super::*;

    fn store(retention: Retention) -> MemoryStore {
        let mut next = 0;
        let new_epoch = move || {
            next += 1;
            Epoch::new(&format!("e{next}")).unwrap()
        };
        let limits = Limits {
            tail_entries: 3,
            ..Limits::default()
        };
        MemoryStore::new(&limits, new_epoch).with_retention(retention)
    }

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    /// Says `count` things in a room, after loading it and before releasing it at `at`.
    fn visit(store: &mut MemoryStore, name: &str, count: u64, at: u64) -> StoredLog {
        let loaded = store.load(&room(name), 300).unwrap();
        let json = serde_json::to_value(&loaded).unwrap();
        let epoch = Epoch::new(json["epoch"].as_str().unwrap()).unwrap();
        let last = json["last_seq"].as_u64().unwrap();
        let say = |seq| Append {
            room: room(name),
            epoch: epoch.clone(),
            entry: Arc::new(Entry {
                seq: Seq(seq),
                at: Timestamp(at),
                from: Username::new("alice").unwrap(),
                text: MessageText::new("hi").unwrap(),
                client_msg_id: None,
            }),
        };
        let batch: Vec<Append> = (last + 1..=last + count).map(say).collect();
        store.append(&batch).unwrap();
        store.release(&room(name), Timestamp(at));
        loaded
    }

    /// What an entry of [`visit`] takes.
    fn entry_bytes() -> u64 {
        let mut store = store(Retention::default());
        visit(&mut store, "a", 1, 1);
        store.released_bytes
    }

    fn last_seq(log: &StoredLog) -> u64 {
        serde_json::to_value(log).unwrap()["last_seq"]
            .as_u64()
            .unwrap()
    }

    #[test]
    fn a_room_that_comes_back_goes_on_counting() {
        let mut store = store(Retention::default());
        visit(&mut store, "a", 5, 1);
        let again = visit(&mut store, "a", 0, 2);
        assert_eq!(last_seq(&again), 5);
    }

    #[test]
    fn the_rooms_that_emptied_first_are_forgotten_first() {
        let mut store = store(Retention {
            rooms: 2,
            ..Retention::default()
        });
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            visit(&mut store, name, 1, at as u64);
        }
        assert_eq!(last_seq(&store.load(&room("b"), 300).unwrap()), 1);
        assert_eq!(last_seq(&store.load(&room("c"), 300).unwrap()), 1);
        assert_eq!(last_seq(&store.load(&room("a"), 300).unwrap()), 0);
    }

    #[test]
    fn old_and_large_logs_of_empty_rooms_are_forgotten() {
        let mut aged = store(Retention {
            age_ms: 10,
            ..Retention::default()
        });
        visit(&mut aged, "a", 1, 0);
        visit(&mut aged, "b", 1, 11);
        assert_eq!(last_seq(&aged.load(&room("a"), 300).unwrap()), 0);

        let mut small = store(Retention {
            bytes: 300,
            ..Retention::default()
        });
        visit(&mut small, "a", 2, 0);
        visit(&mut small, "b", 2, 1);
        assert_eq!(last_seq(&small.load(&room("a"), 300).unwrap()), 0);
        assert_eq!(last_seq(&small.load(&room("b"), 300).unwrap()), 2);
    }

    #[test]
    fn a_room_in_use_is_never_forgotten() {
        let mut store = store(Retention {
            rooms: 0,
            bytes: 0,
            age_ms: 0,
        });
        let loaded = store.load(&room("a"), 300).unwrap();
        visit(&mut store, "b", 1, 1);
        assert_eq!(last_seq(&loaded), 0);
        visit(&mut store, "a", 2, 5);
        assert_eq!(
            last_seq(&store.load(&room("a"), 300).unwrap()),
            0,
            "released, so forgotten"
        );
    }

    #[test]
    fn a_page_ends_before_and_says_whether_there_is_more() {
        let mut store = store(Retention::default());
        visit(&mut store, "a", 5, 1); // 3, 4 and 5 are kept
        let page = |before, limit| {
            let fetch = Fetch {
                conn: ConnId(1),
                room: room("a"),
                epoch: Epoch::new("e1").unwrap(),
                before: Seq(before),
                limit,
                reference: None,
            };
            let page = store.page(&fetch).unwrap();
            let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq.0).collect();
            (seqs, page.has_more)
        };
        let mut page = page;
        assert_eq!(page(6, 2), (vec![4, 5], true));
        assert_eq!(page(4, 2), (vec![3], false));
        assert_eq!(page(3, 2), (vec![], false));
    }

    #[test]
    fn a_tail_is_kept_within_its_bytes() {
        for (tail_bytes, kept) in [(0, 0), (1, 1), (2, 2), (4, 3)] {
            let mut store = store(Retention::default());
            store.tail_bytes = tail_bytes * entry_bytes();
            visit(&mut store, "a", 2, 1);
            visit(&mut store, "a", 3, 2);
            assert_eq!(store.load(&room("a"), 300).unwrap().tail().len(), kept);
        }
    }

    #[test]
    fn what_empty_rooms_take_is_counted_once() {
        let mut store = store(Retention {
            bytes: 2 * entry_bytes(),
            ..Retention::default()
        });
        for at in 0..5 {
            visit(&mut store, "a", u64::from(at == 0), at);
        }
        assert_eq!(store.released_bytes, entry_bytes());
        // Both just fit.
        visit(&mut store, "b", 1, 5);
        assert_eq!(last_seq(&store.load(&room("a"), 300).unwrap()), 1);
        assert_eq!(last_seq(&store.load(&room("b"), 300).unwrap()), 1);
        assert_eq!(store.released_bytes, 0);
    }

    #[test]
    fn no_room_is_in_use_when_it_begins_anew() {
        let mut store = store(Retention {
            rooms: 1,
            ..Retention::default()
        });
        for (at, name) in [(1, "a"), (2, "b")] {
            visit(&mut store, name, 1, at);
            store.load(&room(name), 300).unwrap();
        }
        assert_eq!(store.logs.len(), 2, "both are in use");
        store.reopen(Timestamp(3)).unwrap();
        assert_eq!(store.logs.len(), 1);
    }
}

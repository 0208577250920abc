//! Whatever is asked of them, the store on the disk and the store in memory answer alike, and
//! opening the one on the disk again changes nothing.

use std::collections::BTreeMap;

use parlor_core::{Epoch, Limits, StoredLog, Timestamp};
use parlor_hub::{MemoryStore, Store};
use parlor_sqlite::SqliteStore;
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{counters, epoch, open_in, page, room, said};

const ROOMS: [&str; 4] = ["a", "a:*", "Å ß", "x\"'; --"];
const TEXTS: [&str; 4] = ["hi", "\u{0}", "'", "é\n\u{1f9d1}\u{200d}"];

#[derive(Clone, Debug)]
enum Action {
    Load {
        room: usize,
        tail_entries: u32,
    },
    Append(Vec<(usize, usize, u64)>),
    Page {
        room: usize,
        before: u64,
        limit: u32,
        foreign: bool,
    },
    Release {
        room: usize,
    },
    Reopen,
    Restart,
    Maintain,
}

fn action() -> impl Strategy<Value = Action> {
    let rooms = || 0..ROOMS.len();
    prop_oneof![
        3 => (rooms(), 1..8u32)
            .prop_map(|(room, tail_entries)| Action::Load { room, tail_entries }),
        4 => vec((rooms(), 0..TEXTS.len(), 0..3u64), 0..6).prop_map(Action::Append),
        3 => (rooms(), 0..12u64, 0..6u32, prop::bool::weighted(0.1)).prop_map(
            |(room, before, limit, foreign)| Action::Page { room, before, limit, foreign }
        ),
        1 => rooms().prop_map(|room| Action::Release { room }),
        1 => Just(Action::Reopen),
        1 => Just(Action::Restart),
        1 => Just(Action::Maintain),
    ]
}

struct Both {
    dir: TempDir,
    /// None only between the two halves of a restart.
    sqlite: Option<SqliteStore>,
    memory: MemoryStore,
    /// How often the one on the disk was opened.
    opened: u32,
    /// What somebody who uses the rooms knows of them.
    rooms: BTreeMap<usize, (Epoch, u64, u64)>,
    now: u64,
}

impl Both {
    fn new() -> Self {
        let limits = Limits {
            tail_entries: 10_000,
            ..Limits::default()
        };
        let mut both = Self {
            dir: tempfile::tempdir().unwrap(),
            sqlite: None,
            memory: MemoryStore::new(&limits, || epoch("e1")),
            opened: 0,
            rooms: BTreeMap::new(),
            now: 1_700_000_000_000,
        };
        both.restart();
        both
    }

    fn restart(&mut self) {
        self.sqlite = None;
        self.opened += 1;
        self.sqlite = Some(open_in(self.dir.path(), &format!("e{}", self.opened)));
    }

    fn sqlite(&mut self) -> &mut SqliteStore {
        self.sqlite.as_mut().unwrap()
    }

    fn load(&mut self, index: usize, tail_entries: u32) -> Result<(), TestCaseError> {
        let room = room(ROOMS[index]);
        let there = self.sqlite().load(&room, tail_entries).unwrap();
        let here = self.memory.load(&room, tail_entries).unwrap();
        // The store in memory gives all that it has.
        let tail = here.tail();
        let tail = tail[tail.len().saturating_sub(tail_entries as usize)..].to_vec();
        let (epoch, last_seq, last_at) = counters(&here);
        let expected = StoredLog::new(
            epoch.clone(),
            parlor_core::Seq(last_seq),
            Timestamp(last_at),
            tail,
        );
        prop_assert_eq!(there, expected.unwrap());
        self.rooms.insert(index, (epoch, last_seq, last_at));
        Ok(())
    }

    fn run(&mut self, action: &Action) -> Result<(), TestCaseError> {
        self.now += 1;
        let now = Timestamp(self.now);
        match action {
            Action::Load { room, tail_entries } => self.load(*room, *tail_entries)?,
            Action::Append(said_there) => {
                let mut batch = Vec::new();
                for (index, text, later) in said_there {
                    if !self.rooms.contains_key(index) {
                        self.load(*index, 3)?;
                    }
                    let (epoch, last_seq, last_at) = self.rooms.get_mut(index).unwrap();
                    *last_seq += 1;
                    *last_at = (*last_at).max(self.now) + later;
                    let name = ROOMS[*index];
                    batch.push(said(name, epoch, *last_seq, *last_at, TEXTS[*text]));
                }
                self.memory.append(&batch).unwrap();
                self.sqlite().append(&batch).unwrap();
            }
            Action::Page {
                room,
                before,
                limit,
                foreign,
            } => {
                if !self.rooms.contains_key(room) {
                    self.load(*room, 3)?;
                }
                let own = self.rooms[room].0.clone();
                let of = if *foreign { epoch("other") } else { own };
                let name = ROOMS[*room];
                let there = page(self.sqlite(), name, &of, *before, *limit);
                let here = page(&mut self.memory, name, &of, *before, *limit);
                prop_assert_eq!(there, here);
            }
            Action::Release { room: index } => {
                self.rooms.remove(index);
                self.memory.release(&room(ROOMS[*index]), now);
                self.sqlite().release(&room(ROOMS[*index]), now);
            }
            Action::Reopen => {
                self.rooms.clear();
                self.memory.reopen(now).unwrap();
                self.sqlite().reopen(now).unwrap();
            }
            Action::Restart => self.restart(),
            Action::Maintain => {
                prop_assert!(!self.memory.maintain(now));
                prop_assert!(!self.sqlite().maintain(now));
            }
        }
        Ok(())
    }
}

proptest! {
    // Most of the time goes into waiting for the disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_stores_answer_every_sequence_of_calls_alike(actions in vec(action(), 1..40)) {
        let mut both = Both::new();
        for action in &actions {
            both.run(action)?;
        }
        both.restart();
        for index in 0..ROOMS.len() {
            both.load(index, 10_000)?;
        }
    }
}

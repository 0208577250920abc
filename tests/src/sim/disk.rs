//! What outlives a process, and the faults of it. Around a real [`Store`] or around a model of one
//! that is durable: what an append was acknowledged for is there after a crash, and what was being
//! appended then is there as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use parlor_core::{Entry, Epoch, Fetch, Limits, Page, RoomId, Seq, StoredLog, Timestamp};
use parlor_hub::{Append, MemoryStore, Store, StoreError};

use crate::logs::{Logs, epoch};
use crate::observe::Failure;

/// Makes a store for a process that starts.
pub type Open = Box<dyn FnMut() -> Box<dyn Store> + Send>;

/// The epoch of all rooms on disks that have one.
pub const ONE_EPOCH: &str = "epoch-of-all";

/// Where the data lies, process after process. Its clones are the same.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Content>>);

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk({} logs)", self.content().logs.len())
    }
}

struct Content {
    open: Open,
    /// What appends were acknowledged for, since the store last forgot everything.
    logs: BTreeMap<(RoomId, Epoch), BTreeMap<Seq, Arc<Entry>>>,
    /// Epochs in which something was stored that is forgotten.
    lost: BTreeSet<Epoch>,
    durable: bool,
    failing: Failing,
    /// What no store may be asked to do, and was.
    broken_rule: Option<Failure>,
}

/// What goes wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failing {
    /// The next append fails. Whether it is kept all the same.
    pub append: Option<bool>,
    /// Loads fail.
    pub load: bool,
    /// Pages cannot be read.
    pub page: bool,
    /// Reopening fails.
    pub reopen: bool,
}

/// What one process has of it.
struct Opened {
    disk: Disk,
    store: Box<dyn Store>,
    broken: bool,
    /// What a failed append kept, until the store is reopened.
    torn: Vec<Append>,
}

impl Disk {
    /// A disk that `open` opens. Whether what it keeps outlives a process.
    #[must_use]
    pub fn new(durable: bool, open: Open) -> Self {
        Self(Arc::new(Mutex::new(Content {
            open,
            logs: BTreeMap::new(),
            lost: BTreeSet::new(),
            durable,
            failing: Failing::default(),
            broken_rule: None,
        })))
    }

    /// A disk that keeps everything, without one. A room has an epoch of its own, or all have
    /// [`ONE_EPOCH`].
    #[must_use]
    pub fn modelled(one_epoch: bool) -> Self {
        let logs = if one_epoch {
            Logs::of_one_epoch(Epoch::new(ONE_EPOCH).expect("it is short and ASCII"))
        } else {
            Logs::default()
        };
        let kept = Kept(Arc::new(Mutex::new(logs)));
        Self::new(true, Box::new(move || Box::new(kept.clone())))
    }

    /// None: each process has a store in memory of its own.
    #[must_use]
    pub fn none(limits: &Limits) -> Self {
        let limits = limits.clone();
        let epochs = Arc::new(Mutex::new(0));
        let open = move || -> Box<dyn Store> {
            let epochs = epochs.clone();
            let next = move || {
                let mut epochs = lock(&epochs);
                *epochs += 1;
                epoch(*epochs)
            };
            Box::new(MemoryStore::new(&limits, next))
        };
        Self::new(false, Box::new(open))
    }

    /// The store of a process that starts.
    #[must_use]
    pub fn open(&self) -> Box<dyn Store> {
        let store = {
            let mut content = self.content();
            content.failing = Failing::default();
            if !content.durable {
                content.forget();
            }
            (content.open)()
        };
        Box::new(Opened {
            disk: self.clone(),
            store,
            broken: false,
            torn: Vec::new(),
        })
    }

    /// What is to go wrong.
    pub fn fail(&self, change: impl FnOnce(&mut Failing)) {
        change(&mut self.content().failing);
    }

    /// Whether `entry` is stored.
    #[must_use]
    pub fn get(&self, room: &str, epoch: &str, seq: u64) -> Option<Arc<Entry>> {
        let (room, epoch) = (RoomId::new(room).ok()?, Epoch::new(epoch).ok()?);
        let content = self.content();
        content.logs.get(&(room, epoch))?.get(&Seq(seq)).cloned()
    }

    /// The last seq of a log.
    #[must_use]
    pub fn last(&self, room: &str, epoch: &str) -> u64 {
        let key = RoomId::new(room).ok().zip(Epoch::new(epoch).ok());
        let content = self.content();
        let log = key.and_then(|key| content.logs.get(&key));
        log.and_then(|log| log.last_key_value())
            .map_or(0, |(seq, _)| seq.0)
    }

    /// Whether everything in `epoch` is gone, as a store in memory is with its process.
    #[must_use]
    pub fn is_lost(&self, epoch: &str) -> bool {
        Epoch::new(epoch).is_ok_and(|epoch| self.content().lost.contains(&epoch))
    }

    /// The first thing that it was asked to do and no store may be.
    #[must_use]
    pub fn broken_rule(&self) -> Option<Failure> {
        self.content().broken_rule.clone()
    }

    /// Everything that is stored.
    #[must_use]
    pub fn entries(&self) -> Vec<(RoomId, Epoch, Arc<Entry>)> {
        let content = self.content();
        let logs = content.logs.iter().flat_map(|((room, epoch), log)| {
            log.values()
                .map(move |entry| (room.clone(), epoch.clone(), entry.clone()))
        });
        logs.collect()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.0)
    }
}

impl Content {
    fn forget(&mut self) {
        let logs = std::mem::take(&mut self.logs);
        self.lost.extend(logs.into_keys().map(|(_, epoch)| epoch));
    }

    fn keep(&mut self, batch: &[Append]) {
        let mut broken = None;
        for Append { room, epoch, entry } in batch {
            let log = self.logs.entry((room.clone(), epoch.clone())).or_default();
            let last = log.last_key_value().map_or(0, |(seq, _)| seq.0);
            if entry.seq != Seq(last + 1) {
                let detail = format!("{:?} of {room} is stored behind {last}", entry.seq);
                broken.get_or_insert(detail);
            }
            log.insert(entry.seq, entry.clone());
        }
        if let Some(detail) = broken {
            self.breaks(detail);
        }
    }

    fn breaks(&mut self, detail: String) {
        self.broken_rule.get_or_insert(Failure {
            rule: "I-6",
            detail,
        });
    }
}

impl Opened {
    fn begin(&self, fails: impl FnOnce(&Failing) -> bool) -> Result<(), StoreError> {
        if self.broken || fails(&self.disk.content().failing) {
            return Err(StoreError::new("planned"));
        }
        Ok(())
    }
}

impl Opened {
    /// The store itself has no reason to refuse anything.
    fn keep(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let kept = self.store.append(batch);
        let mut content = self.disk.content();
        match &kept {
            Ok(()) => content.keep(batch),
            Err(error) => content.breaks(error.to_string()),
        }
        kept
    }
}

impl Store for Opened {
    fn load(&mut self, room: &RoomId, tail_entries: u32) -> Result<StoredLog, StoreError> {
        self.begin(|failing| failing.load)?;
        self.store.load(room, tail_entries)
    }

    fn append(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let failing = self.disk.content().failing.append.take();
        if let Some(is_kept) = failing {
            self.broken = true;
            if is_kept {
                self.torn = batch.to_vec();
            }
        }
        self.begin(|_| false)?;
        self.keep(batch)
    }

    fn page(&mut self, fetch: &Fetch) -> Result<Page, StoreError> {
        self.begin(|failing| failing.page)?;
        self.store.page(fetch)
    }

    fn release(&mut self, room: &RoomId, at: Timestamp) {
        self.store.release(room, at);
    }

    fn reopen(&mut self, at: Timestamp) -> Result<(), StoreError> {
        self.broken = false;
        let reopened = self.begin(|failing| failing.reopen);
        self.broken = reopened.is_err();
        reopened?;
        let torn = std::mem::take(&mut self.torn);
        if !torn.is_empty() {
            self.keep(&torn)?;
        }
        self.store.reopen(at)
    }

    fn maintain(&mut self, at: Timestamp) -> bool {
        self.store.maintain(at)
    }
}

/// A store that keeps everything; its clones are the same.
#[derive(Clone, Debug)]
struct Kept(Arc<Mutex<Logs>>);

impl Store for Kept {
    fn load(&mut self, room: &RoomId, tail_entries: u32) -> Result<StoredLog, StoreError> {
        lock(&self.0).load(room, tail_entries)
    }

    fn append(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        lock(&self.0).append(batch)
    }

    fn page(&mut self, fetch: &Fetch) -> Result<Page, StoreError> {
        Ok(lock(&self.0).page(fetch))
    }

    fn release(&mut self, _: &RoomId, _: Timestamp) {}

    fn reopen(&mut self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is locked")
}

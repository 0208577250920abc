//! What a store that keeps everything has: the logs of all rooms.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlor_core::{Entry, Epoch, Fetch, Page, RoomId, Seq, StoredLog};
use parlor_hub::{Append, StoreError};

/// The logs of all rooms.
#[derive(Debug, Default)]
pub struct Logs {
    rooms: BTreeMap<RoomId, (Epoch, Vec<Arc<Entry>>)>,
    /// The epoch of all rooms; a room has one of its own if there is none.
    one_epoch: Option<Epoch>,
    epochs: u64,
}

impl Logs {
    /// None yet; all of them will be of one epoch.
    #[must_use]
    pub fn of_one_epoch(epoch: Epoch) -> Self {
        Self {
            one_epoch: Some(epoch),
            ..Self::default()
        }
    }

    /// As [`Store::load`](parlor_hub::Store::load).
    ///
    /// # Errors
    /// Never: what was kept was good.
    pub fn load(&mut self, room: &RoomId, tail_entries: u32) -> Result<StoredLog, StoreError> {
        self.epochs += 1;
        let Some((epoch, entries)) = self.rooms.get(room) else {
            let own = || epoch(self.epochs);
            return Ok(StoredLog::empty(self.one_epoch.clone().unwrap_or_else(own)));
        };
        let (last_seq, last_at) = entries.last().map(|last| (last.seq, last.at)).unzip();
        let tail = entries.len().saturating_sub(tail_entries as usize);
        StoredLog::new(
            epoch.clone(),
            last_seq.unwrap_or_default(),
            last_at.unwrap_or_default(),
            entries[tail..].to_vec(),
        )
        .map_err(StoreError::new)
    }

    /// As [`Store::append`](parlor_hub::Store::append).
    ///
    /// # Errors
    /// I-6: when an entry does not follow the last one of its room.
    pub fn append(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        for Append { room, epoch, entry } in batch {
            let begin = || (epoch.clone(), Vec::new());
            let (own, entries) = self.rooms.entry(room.clone()).or_insert_with(begin);
            if own != epoch || entry.seq != Seq(entries.len() as u64 + 1) {
                let detail = format!("I-6: {entry:?} of {epoch:?} in {room}, {own:?}");
                return Err(StoreError::new(detail));
            }
            entries.push(entry.clone());
        }
        Ok(())
    }

    /// As [`Store::page`](parlor_hub::Store::page).
    #[must_use]
    pub fn page(&self, fetch: &Fetch) -> Page {
        let Some((_, entries)) = self.rooms.get(&fetch.room) else {
            return Page::default();
        };
        let end = entries.partition_point(|entry| entry.seq < fetch.before);
        let start = end.saturating_sub(fetch.limit as usize);
        Page {
            entries: entries[start..end].to_vec(),
            has_more: start > 0,
        }
    }

    /// The epoch and the entries of a room, if anything was said in it.
    #[must_use]
    pub fn get(&self, room: &str) -> Option<&(Epoch, Vec<Arc<Entry>>)> {
        self.rooms.get(&RoomId::new(room).ok()?)
    }
}

/// An epoch by its number.
///
/// # Panics
/// Never: it is short and ASCII.
#[must_use]
pub fn epoch(number: u64) -> Epoch {
    Epoch::new(&format!("epoch-{number}")).expect("it is short and ASCII")
}

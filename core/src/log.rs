//! A room's log as far as it is in memory: its counter (I-6), its tail and the index by which
//! retries are recognised (I-7). Nobody else changes any of them.

use alloc::collections::{BTreeMap, VecDeque, vec_deque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::check::{Invariant, Violation, ensure};
use crate::entry::Entry;
use crate::limits::Limits;
use crate::name::NameKey;
use crate::protocol::Since;
use crate::redact::{self, Redact};
use crate::types::{ClientMsgId, Epoch, MessageText, RoomId, Seq, Timestamp, Username};

/// What a store knows of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedLog")]
pub struct StoredLog {
    epoch: Epoch,
    last_seq: Seq,
    last_at: Timestamp,
    tail: Vec<Arc<Entry>>,
}

/// No store counts beyond half of what JSON numbers hold exactly, so counting on from what was
/// loaded cannot reach that end: at 1,000 messages a second it lies 140,000 years away.
const MOST_STORED: Seq = Seq(1 << 52);

impl StoredLog {
    /// A log in which nothing was ever said.
    #[must_use]
    pub const fn empty(epoch: Epoch) -> Self {
        Self {
            epoch,
            last_seq: Seq(0),
            last_at: Timestamp(0),
            tail: Vec::new(),
        }
    }

    /// The log whose last entry, at `last_at`, was `last_seq`, and of which `tail` are the last
    /// entries, ascending. The tail may be shorter than the log, and empty.
    ///
    /// # Errors
    /// When those do not fit each other: the store is damaged.
    pub fn new(
        epoch: Epoch,
        last_seq: Seq,
        last_at: Timestamp,
        tail: Vec<Arc<Entry>>,
    ) -> Result<Self, DamagedLog> {
        let steps = tail
            .windows(2)
            .all(|two| two[0].seq.next() == two[1].seq && two[0].at <= two[1].at);
        let starts = tail.first().is_none_or(|first| first.seq > Seq(0));
        let ends = tail
            .last()
            .is_none_or(|last| last.seq == last_seq && last.at <= last_at);
        if !(steps && starts && ends && last_seq <= MOST_STORED) {
            return Err(DamagedLog);
        }
        Ok(Self {
            epoch,
            last_seq,
            last_at,
            tail,
        })
    }

    /// Its last entries, ascending.
    #[must_use]
    pub fn tail(&self) -> &[Arc<Entry>] {
        &self.tail
    }

    /// The texts of its entries, to be replaced in a trace.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut MessageText> {
        self.tail
            .iter_mut()
            .map(|entry| &mut Arc::make_mut(entry).text)
    }
}

/// The entries of a stored log are not consecutive, or do not end where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedLog;

impl fmt::Display for DamagedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of the stored log do not follow each other up to its end")
    }
}

impl core::error::Error for DamagedLog {}

#[derive(Deserialize)]
struct UncheckedLog {
    epoch: Epoch,
    last_seq: Seq,
    last_at: Timestamp,
    tail: Vec<Arc<Entry>>,
}

impl TryFrom<UncheckedLog> for StoredLog {
    type Error = DamagedLog;

    fn try_from(log: UncheckedLog) -> Result<Self, DamagedLog> {
        Self::new(log.epoch, log.last_seq, log.last_at, log.tail)
    }
}

/// What a store or a tail has of the page that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// In ascending order of seq.
    pub entries: Vec<Arc<Entry>>,
    /// Whether there are older ones.
    pub has_more: bool,
}

impl Page {
    /// Leaves out what is older than `oldest`; if there is any, everything before it is as well.
    pub(crate) fn drop_older(&mut self, oldest: Timestamp) {
        let found = self.entries.len();
        self.entries.retain(|entry| entry.at >= oldest);
        self.has_more &= self.entries.len() == found;
    }
}

/// The log of an open room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    epoch: Epoch,
    last_seq: Seq,
    last_at: Timestamp,
    tail: VecDeque<Arc<Entry>>,
    /// What the frames of the tail take together, by [`Entry::frame_bytes`].
    tail_bytes: u64,
    /// Where in the tail a sender's own id stands. By the key of the name, not by the user: a
    /// guest who reconnects after its connection was given up, or after a restart, is another user
    /// but holds the same name, and its retry must be recognised.
    retries: BTreeMap<NameKey, BTreeMap<ClientMsgId, Seq>>,
}

/// The newest of `entries` whose frames fit into `budget` bytes, at most `most`, in their order.
pub(crate) fn newest<'a>(
    room: &RoomId,
    entries: impl DoubleEndedIterator<Item = &'a Arc<Entry>>,
    most: usize,
    mut budget: usize,
) -> Vec<Arc<Entry>> {
    let mut kept = Vec::new();
    for entry in entries.rev().take(most) {
        let Some(rest) = budget.checked_sub(entry.frame_bytes(room)) else {
            break;
        };
        budget = rest;
        kept.push(entry.clone());
    }
    kept.reverse();
    kept
}

impl Log {
    /// The log as the store has it, as much of its tail as `limits` let in memory.
    pub(crate) fn open(room: &RoomId, stored: StoredLog, limits: &Limits) -> Self {
        let mut log = Self {
            epoch: stored.epoch,
            last_seq: stored.last_seq,
            last_at: stored.last_at,
            tail: VecDeque::new(),
            tail_bytes: 0,
            retries: BTreeMap::new(),
        };
        for entry in stored.tail {
            log.keep(room, entry, limits);
        }
        log
    }

    pub(crate) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(crate) const fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Adds what somebody said at `now`, under the next seq (I-6).
    pub(crate) fn append(
        &mut self,
        room: &RoomId,
        now: Timestamp,
        from: Username,
        text: MessageText,
        client_msg_id: Option<ClientMsgId>,
        limits: &Limits,
    ) -> Arc<Entry> {
        self.last_seq = self.last_seq.next();
        // What was loaded may come from a clock that was ahead of this one.
        self.last_at = self.last_at.max(now);
        let (seq, at) = (self.last_seq, self.last_at);
        let entry = Arc::new(Entry {
            seq,
            at,
            from,
            text,
            client_msg_id,
        });
        self.keep(room, entry.clone(), limits);
        entry
    }

    /// The entry that `sender` said under this id, if it is in the tail.
    pub(crate) fn retried(&self, sender: &NameKey, id: &ClientMsgId) -> Option<&Arc<Entry>> {
        self.entry(*self.retries.get(sender)?.get(id)?)
    }

    /// Everything behind `since`, if all of it is in the tail, no older than `oldest`, and fits into
    /// `budget` bytes.
    pub(crate) fn recover(
        &self,
        room: &RoomId,
        since: &Since,
        oldest: Timestamp,
        budget: usize,
    ) -> Option<Vec<Arc<Entry>>> {
        let missed = self.last_seq.0.checked_sub(since.seq.0)?;
        let missed = usize::try_from(missed).ok()?;
        let shown = self.shown(oldest);
        if since.epoch != self.epoch || missed > shown.len() {
            return None;
        }
        let entries = newest(room, shown, missed, budget);
        (entries.len() == missed).then_some(entries)
    }

    /// The last entries, at most `most`, no older than `oldest`, that fit into `budget` bytes.
    pub(crate) fn last(
        &self,
        room: &RoomId,
        most: u32,
        oldest: Timestamp,
        budget: usize,
    ) -> Vec<Arc<Entry>> {
        newest(room, self.shown(oldest), most as usize, budget)
    }

    /// The last `limit` entries before `before` that are no older than `oldest`, if the tail alone
    /// can tell them and whether there are more.
    pub(crate) fn page(&self, before: Seq, limit: u32, oldest: Timestamp) -> Option<Page> {
        let end = before.0.saturating_sub(1).min(self.last_seq.0);
        if end == 0 {
            return Some(Page::default());
        }
        let start = (end + 1).saturating_sub(u64::from(limit)).max(1);
        let too_old = self.too_old(oldest);
        let first = self.first_kept().0 + too_old as u64;
        // What lies before something too old is too old itself. Without such only the store knows
        // whether there is anything before the first entry of the tail.
        let is_known = first == 1 || too_old > 0;
        if start <= first && !is_known {
            return None;
        }
        let entries = (start.max(first)..=end)
            .filter_map(|seq| self.entry(Seq(seq)).cloned())
            .collect();
        Some(Page {
            entries,
            has_more: start > first,
        })
    }

    /// How many entries at the beginning of the tail are older than `oldest`. Time does not go back
    /// within a log (I-1), so all behind them are not.
    fn too_old(&self, oldest: Timestamp) -> usize {
        self.tail.partition_point(|entry| entry.at < oldest)
    }

    /// The entries of the tail that are not.
    fn shown(&self, oldest: Timestamp) -> vec_deque::Iter<'_, Arc<Entry>> {
        self.tail.range(self.too_old(oldest)..)
    }

    /// The seq of the first entry in the tail, or of the next to come when the tail is empty.
    fn first_kept(&self) -> Seq {
        self.tail
            .front()
            .map_or_else(|| self.last_seq.next(), |entry| entry.seq)
    }

    fn entry(&self, seq: Seq) -> Option<&Arc<Entry>> {
        let index = seq.0.checked_sub(self.first_kept().0)?;
        self.tail.get(usize::try_from(index).ok()?)
    }

    /// Puts `entry` at the end of the tail and drops from its front what is beyond the limits (I-7).
    fn keep(&mut self, room: &RoomId, entry: Arc<Entry>, limits: &Limits) {
        self.tail_bytes += entry.frame_bytes(room) as u64;
        if let Some(id) = &entry.client_msg_id {
            let ids = self.retries.entry(entry.from.key().clone()).or_default();
            ids.insert(id.clone(), entry.seq);
        }
        self.tail.push_back(entry);
        while self.tail.len() > limits.tail_entries as usize
            || self.tail_bytes > u64::from(limits.tail_bytes)
        {
            let Some(oldest) = self.tail.pop_front() else {
                return;
            };
            self.tail_bytes -= oldest.frame_bytes(room) as u64;
            self.forget_retry(&oldest);
        }
    }

    fn forget_retry(&mut self, entry: &Entry) {
        let Some(id) = &entry.client_msg_id else {
            return;
        };
        let sender = entry.from.key();
        let Some(ids) = self.retries.get_mut(sender) else {
            return;
        };
        if ids.get(id) == Some(&entry.seq) {
            ids.remove(id);
        }
        if ids.is_empty() {
            self.retries.remove(sender);
        }
    }

    /// I-7: replacements take as many bytes.
    pub(crate) fn redact(&mut self, by: &impl Redact) {
        self.tail.iter_mut().for_each(|it| redact::entry(it, by));
    }

    /// I-6, I-7 and the room's part of I-1.
    pub(crate) fn check(&self, room: &RoomId, limits: &Limits) -> Result<(), Violation> {
        let steps = |one: &Arc<Entry>, next: &Arc<Entry>| one.seq.next() == next.seq;
        let in_order = |one: &Arc<Entry>, next: &Arc<Entry>| one.at <= next.at;
        let pairs = || self.tail.iter().zip(self.tail.iter().skip(1));
        ensure(
            pairs().all(|(one, next)| in_order(one, next)),
            Invariant::Clock,
            || alloc::format!("entries of {room} go back in time"),
        )?;
        let last = self.tail.back();
        ensure(
            last.is_none_or(|last| last.at <= self.last_at),
            Invariant::Clock,
            || alloc::format!("the last entry of {room} is later than its log"),
        )?;
        let ends = last.is_none_or(|last| last.seq == self.last_seq);
        ensure(
            ends && pairs().all(|(one, next)| steps(one, next)),
            Invariant::Seqs,
            || alloc::format!("the tail of {room} does not run up to {}", self.last_seq.0),
        )?;
        let bytes: u64 = self
            .tail
            .iter()
            .map(|entry| entry.frame_bytes(room) as u64)
            .sum();
        ensure(bytes == self.tail_bytes, Invariant::Tail, || {
            alloc::format!(
                "the tail of {room} takes {bytes} bytes, not {}",
                self.tail_bytes
            )
        })?;
        let fits = self.tail.len() <= limits.tail_entries as usize
            && bytes <= u64::from(limits.tail_bytes);
        ensure(fits, Invariant::Tail, || {
            alloc::format!("the tail of {room} is too long")
        })?;
        let mut retries: BTreeMap<NameKey, BTreeMap<ClientMsgId, Seq>> = BTreeMap::new();
        for entry in &self.tail {
            if let Some(id) = &entry.client_msg_id {
                retries
                    .entry(entry.from.key().clone())
                    .or_default()
                    .insert(id.clone(), entry.seq);
            }
        }
        ensure(retries == self.retries, Invariant::Tail, || {
            alloc::format!("the index of retries of {room} does not match its tail")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> RoomId {
        RoomId::new("r").unwrap()
    }

    fn entry(seq: u64) -> Arc<Entry> {
        Arc::new(Entry {
            seq: Seq(seq),
            at: Timestamp(seq),
            from: Username::new("ann").unwrap(),
            text: MessageText::new("hi").unwrap(),
            client_msg_id: None,
        })
    }

    #[test]
    fn i_7_a_tail_takes_as_much_as_the_limits_let() {
        let bytes = u32::try_from(entry(1).frame_bytes(&room())).unwrap();
        let kept = |tail_entries, tail_bytes| {
            let limits = Limits {
                tail_entries,
                tail_bytes,
                ..Limits::default()
            };
            let tail = (1..=5).map(entry).collect();
            let epoch = Epoch::new("e").unwrap();
            let stored = StoredLog::new(epoch, Seq(5), Timestamp(5), tail).unwrap();
            let log = Log::open(&room(), stored, &limits);
            log.check(&room(), &limits).unwrap();
            log.tail.len()
        };
        assert_eq!(kept(3, 5 * bytes), 3);
        assert_eq!(kept(5, 2 * bytes), 2);
        assert_eq!(kept(5, 2 * bytes - 1), 1);
    }
}

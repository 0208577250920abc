//! Deletes what is older than an operator wants to keep, a little at a time.
//!
//! A walk over all rooms deletes from the beginning of each log what is beyond the bounds, never
//! from its middle, and never its counters. A step takes some milliseconds at most, since a commit
//! may have to wait for it.

use std::num::NonZeroU32;

use parlor_core::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

/// Messages that one step deletes at most. They lie on as many pages, so this is what a step takes:
/// some 5 ms where a commit of one message takes 0.3.
const MOST_DELETED: u32 = 200;
/// Rooms that one step looks at.
const MOST_ROOMS: usize = 250;
/// From the end of a walk to the beginning of the next.
const REST_MS: u64 = 60_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How much of each room's log is kept; none is everything. What is beyond is deleted in the
/// background, within minutes when there is little to do.
///
/// A room in use has its last entries in memory, whatever was deleted meanwhile. What is too old in
/// days is not shown from there either, provided that [`Limits::history_age_ms`] says the same; what
/// is too many in number never is there, since a tail is always kept.
///
/// [`Limits::history_age_ms`]: parlor_core::Limits::history_age_ms
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The last messages of a room. Fewer than [`Limits::tail_entries`] count as that many: by them
    /// a retry is recognised, and what was missed recovered, after a restart as before.
    ///
    /// [`Limits::tail_entries`]: parlor_core::Limits
    pub messages: Option<NonZeroU32>,
    /// Messages of that many days of 24 hours. What is older is deleted even if it is a room's last:
    /// a retry of it is then a message like any other.
    pub days: Option<NonZeroU32>,
}

/// How far the deleting has come.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The last room that was done.
    room: i64,
    /// When the next one begins, once this one is over.
    begins_at: Timestamp,
}

/// The beginning of a room's log, and where it ends.
struct Start {
    room: i64,
    last_seq: i64,
    /// Seq and time of the first message.
    first: Option<(i64, i64)>,
}

/// What is beyond the bounds at some time.
struct Bounds {
    messages: Option<i64>,
    since_ms: Option<i64>,
}

impl Bounds {
    fn excludes(&self, last_seq: i64, (seq, at_ms): (i64, i64)) -> bool {
        let too_many = |most| last_seq.saturating_sub(seq) >= most;
        self.messages.is_some_and(too_many) || self.since_ms.is_some_and(|since| at_ms < since)
    }
}

impl Walk {
    /// Goes on, at `now`. True if there is more to do at once.
    pub(crate) fn step(
        &mut self,
        connection: &mut Connection,
        retention: Retention,
        tail_entries: u32,
        now: Timestamp,
    ) -> rusqlite::Result<bool> {
        let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
        let most = |most: NonZeroU32| most.get().max(tail_entries).into();
        let since_ms = |days: NonZeroU32| now_ms.saturating_sub(i64::from(days.get()) * DAY_MS);
        let bounds = Bounds {
            messages: retention.messages.map(most),
            since_ms: retention.days.map(since_ms),
        };
        let unbounded = bounds.messages.is_none() && bounds.since_ms.is_none();
        if unbounded || (self.room == 0 && now < self.begins_at) {
            return Ok(false);
        }
        let starts = starts(connection, self.room)?;
        let Some(last) = starts.last() else {
            self.rest(now);
            return Ok(false);
        };
        let mut done = last.room;
        let excluded: Vec<&Start> = starts
            .iter()
            .filter(|start| {
                let beyond = |first| bounds.excludes(start.last_seq, first);
                start.first.is_some_and(beyond)
            })
            .collect();
        if !excluded.is_empty() {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut left = MOST_DELETED;
            for start in excluded {
                left -= delete(&transaction, start, &bounds, left)?;
                if left == 0 {
                    // There may be more in this one.
                    done = start.room - 1;
                    break;
                }
            }
            transaction.commit()?;
        }
        self.room = done;
        Ok(true)
    }

    /// Begins anew, some time later.
    pub(crate) fn rest(&mut self, now: Timestamp) {
        self.room = 0;
        self.begins_at = now.plus_ms(REST_MS);
    }
}

/// The next rooms behind `room`.
fn starts(connection: &Connection, room: i64) -> rusqlite::Result<Vec<Start>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, last_seq, first.seq, first.at
         FROM rooms LEFT JOIN messages AS first ON first.room_id = rooms.id
           AND first.seq = (SELECT min(seq) FROM messages WHERE room_id = rooms.id)
         WHERE rooms.id > ?1 ORDER BY rooms.id LIMIT ?2",
    )?;
    let rows = statement.query_map((room, MOST_ROOMS), |row| {
        let seq: Option<i64> = row.get(2)?;
        let at_ms: Option<i64> = row.get(3)?;
        Ok(Start {
            room: row.get(0)?,
            last_seq: row.get(1)?,
            first: seq.zip(at_ms),
        })
    })?;
    rows.collect()
}

/// Deletes at most `most` messages from the beginning of a log; how many it were.
fn delete(
    connection: &Connection,
    start: &Start,
    bounds: &Bounds,
    most: u32,
) -> rusqlite::Result<u32> {
    let mut oldest = connection
        .prepare_cached("SELECT seq, at FROM messages WHERE room_id = ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = oldest.query((start.room, most))?;
    let mut last = None;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let message = (row.get(0)?, row.get(1)?);
        if !bounds.excludes(start.last_seq, message) {
            break;
        }
        last = Some(message.0);
        count += 1;
    }
    if let Some(last) = last {
        connection
            .prepare_cached("DELETE FROM messages WHERE room_id = ?1 AND seq <= ?2")?
            .execute((start.room, last))?;
    }
    Ok(count)
}

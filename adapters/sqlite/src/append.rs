//! Adds to logs: what everybody waits for, so it does as little as it can.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use parlor_core::types::ClientMsgId;
use parlor_core::{Entry, RoomId, Seq, Timestamp};
use parlor_hub::{Append, StoreError};
use rusqlite::{Connection, Statement, TransactionBehavior};

use crate::error::failed;
use crate::store::stored;

/// `rooms.id` of rooms in use, as far as it was looked up already.
pub(crate) type Ids = BTreeMap<RoomId, i64>;

/// What a batch adds to one log.
struct Added<'a> {
    id: i64,
    first: &'a Append,
    last: (Seq, Timestamp),
}

/// One transaction for the whole batch. After a failure `ids` are of no use any more.
pub(crate) fn append(
    connection: &mut Connection,
    ids: &mut Ids,
    batch: &[Append],
) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let mut message = transaction
        .prepare_cached(
            "INSERT INTO messages (room_id, seq, at, username, text, client_msg_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(failed)?;
    let mut logs: BTreeMap<&RoomId, Added<'_>> = BTreeMap::new();
    for append in batch {
        let entry = &append.entry;
        let id = match logs.entry(&append.room) {
            Occupied(mut log) => {
                let log = log.get_mut();
                let (seq, at) = log.last;
                if append.epoch != log.first.epoch || entry.seq != seq.next() || entry.at < at {
                    return Err(does_not_follow(append));
                }
                log.last = (entry.seq, entry.at);
                log.id
            }
            Vacant(log) => {
                let id = id(&transaction, ids, append)?;
                log.insert(Added {
                    id,
                    first: append,
                    last: (entry.seq, entry.at),
                });
                id
            }
        };
        insert(&mut message, id, entry).map_err(failed)?;
    }
    drop(message);
    for added in logs.values() {
        count(&transaction, added)?;
    }
    transaction.commit().map_err(failed)
}

/// The id of the log that `first` goes on with or begins.
fn id(connection: &Connection, ids: &mut Ids, first: &Append) -> Result<i64, StoreError> {
    if let Some(id) = ids.get(&first.room) {
        return Ok(*id);
    }
    let id = match stored(connection, &first.room)? {
        Some(log) => log.id,
        None => begin(connection, first).map_err(failed)?,
    };
    ids.insert(first.room.clone(), id);
    Ok(id)
}

/// The log that `first` begins, in the epoch in which the room was loaded: that of new rooms may have
/// changed meanwhile, but this room had no message in either.
fn begin(connection: &Connection, first: &Append) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("INSERT INTO rooms (room, epoch, last_seq, last_at) VALUES (?1, ?2, 0, 0)")?
        .insert((first.room.as_str(), first.epoch.as_str()))
}

fn insert(message: &mut Statement<'_>, room: i64, entry: &Entry) -> rusqlite::Result<usize> {
    message.execute((
        room,
        entry.seq.0,
        entry.at.0,
        entry.from.as_str(),
        entry.text.as_str(),
        entry.client_msg_id.as_ref().map(ClientMsgId::as_str),
    ))
}

/// I-6, once more, where it matters: a log goes on where the stored one ends, so a seq that was
/// given is never given again. An id that was looked up earlier may belong to another room by now,
/// if an operator deleted this one.
fn count(connection: &Connection, added: &Added<'_>) -> Result<(), StoreError> {
    let Append { room, epoch, entry } = added.first;
    let Some(before) = entry.seq.0.checked_sub(1) else {
        return Err(does_not_follow(added.first));
    };
    let (last_seq, last_at) = added.last;
    let counted = || {
        connection
            .prepare_cached(
                "UPDATE rooms SET last_seq = ?2, last_at = ?3
                 WHERE id = ?1 AND room = ?4 AND epoch = ?5 AND last_seq = ?6 AND last_at <= ?7",
            )?
            .execute((
                added.id,
                last_seq.0,
                last_at.0,
                room.as_str(),
                epoch.as_str(),
                before,
                entry.at.0,
            ))
    };
    match counted().map_err(failed)? {
        1 => Ok(()),
        _ => Err(does_not_follow(added.first)),
    }
}

fn does_not_follow(Append { room, epoch, entry }: &Append) -> StoreError {
    StoreError::new(format!(
        "the entry {} at {} in epoch {epoch} of the room {room} does not follow what is stored",
        entry.seq.0, entry.at.0
    ))
}

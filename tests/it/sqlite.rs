//! The SQLite store from outside: against the store in memory, across restarts and kills, on bad
//! files, and what an operator does with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alike;
mod backup;
mod crash;
mod epochs;
mod opening;
mod reading;
mod retention;

use std::path::Path;
use std::sync::Arc;

use parlor_core::types::{ClientMsgId, MessageText};
use parlor_core::{
    ConnId, Entry, Epoch, Fetch, Limits, Page, RoomId, Seq, StoredLog, Timestamp, Username,
};
use parlor_hub::{Append, Store};
use parlor_sqlite::{DatabaseError, SqliteStore};

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn epoch(name: &str) -> Epoch {
    Epoch::new(name).unwrap()
}

/// Makes the epochs `e1`, `e2` …
fn epochs(prefix: &str) -> impl FnMut() -> Epoch + Send + use<> {
    let prefix = prefix.to_string();
    let mut last = 0;
    move || {
        last += 1;
        epoch(&format!("{prefix}{last}"))
    }
}

fn try_open(dir: &Path) -> Result<SqliteStore, DatabaseError> {
    SqliteStore::open(dir, &Limits::default(), epochs("e"))
}

/// Opens it; if it is made, its rooms begin in `in_epoch`.
fn open_in(dir: &Path, in_epoch: &str) -> SqliteStore {
    SqliteStore::open(dir, &Limits::default(), || epoch(in_epoch)).unwrap()
}

fn open(dir: &Path) -> SqliteStore {
    try_open(dir).unwrap()
}

fn said(name: &str, epoch: &Epoch, seq: u64, at: u64, text: &str) -> Append {
    Append {
        room: room(name),
        epoch: epoch.clone(),
        entry: Arc::new(Entry {
            seq: Seq(seq),
            at: Timestamp(at),
            from: Username::new("Åsa").unwrap(),
            text: MessageText::new(text).unwrap(),
            client_msg_id: Some(ClientMsgId::new(&format!("id {seq}")).unwrap()),
        }),
    }
}

/// Says the messages of these seqs, each at the time of its seq, in one batch.
fn say(store: &mut SqliteStore, name: &str, in_epoch: &str, seqs: std::ops::RangeInclusive<u64>) {
    let in_epoch = epoch(in_epoch);
    let batch: Vec<Append> = seqs
        .map(|seq| said(name, &in_epoch, seq, seq, &format!("text {seq}")))
        .collect();
    store.append(&batch).unwrap();
}

/// The epoch, the last seq and the last time of a log.
fn counters(log: &StoredLog) -> (Epoch, u64, u64) {
    let json = serde_json::to_value(log).unwrap();
    let number = |name: &str| json[name].as_u64().unwrap();
    (
        epoch(json["epoch"].as_str().unwrap()),
        number("last_seq"),
        number("last_at"),
    )
}

fn epoch_of(store: &mut SqliteStore, name: &str) -> Epoch {
    counters(&store.load(&room(name), 1).unwrap()).0
}

/// A room in short: epoch, last seq, how many entries its tail has, and the first of them.
fn loaded(store: &mut SqliteStore, name: &str) -> String {
    let log = store.load(&room(name), 300).unwrap();
    let (epoch, last_seq, _) = counters(&log);
    let first = log.tail().first().map_or(0, |entry| entry.seq.0);
    format!("{epoch} {last_seq}: {} from {first}", log.tail().len())
}

fn page(store: &mut impl Store, name: &str, epoch: &Epoch, before: u64, limit: u32) -> Page {
    store
        .page(&Fetch {
            conn: ConnId(1),
            room: room(name),
            epoch: epoch.clone(),
            before: Seq(before),
            limit,
            reference: None,
        })
        .unwrap()
}

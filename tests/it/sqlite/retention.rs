//! What is deleted, and what is kept whatever is deleted.

use std::num::NonZeroU32;
use std::path::Path;

use parlor_core::{Limits, Timestamp};
use parlor_hub::Store;
use parlor_sqlite::{Retention, SqliteStore};
use rusqlite::Connection;

use super::{epoch, epochs, loaded, page, said, say};

const DAY_MS: u64 = 86_400_000;

/// A store whose rooms have a tail of 10.
fn open(dir: &Path, messages: u32, days: u32) -> SqliteStore {
    let limits = Limits {
        tail_entries: 10,
        ..Limits::default()
    };
    let store = SqliteStore::open(dir, &limits, epochs("e")).unwrap();
    store.with_retention(Retention {
        messages: NonZeroU32::new(messages),
        days: NonZeroU32::new(days),
    })
}

fn say_at(store: &mut SqliteStore, name: &str, first: u64, times: &[u64]) {
    let batch: Vec<_> = (first..)
        .zip(times)
        .map(|(seq, at)| said(name, &epoch("e1"), seq, *at, "text"))
        .collect();
    store.append(&batch).unwrap();
}

/// Everything that is to be done at `at`; in how many steps.
fn maintain(store: &mut SqliteStore, at: u64) -> u32 {
    let mut steps = 0;
    while store.maintain(Timestamp(at)) {
        steps += 1;
        assert!(steps < 1000, "it never ends");
    }
    steps
}

fn stored(dir: &Path) -> u32 {
    let shell = Connection::open(dir.join("parlor.db")).unwrap();
    let count = shell.query_row("SELECT count(*) FROM messages", [], |row| row.get(0));
    count.unwrap()
}

#[test]
fn without_bounds_everything_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0, 0);
    say(&mut store, "a", "e1", 1..=1000);
    assert_eq!(maintain(&mut store, 1000 * DAY_MS), 0);
    assert_eq!(stored(dir.path()), 1000);
}

#[test]
fn the_newest_messages_of_each_room_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 20, 0);
    for (name, count) in [("a", 100), ("b", 20), ("c", 21), ("d", 1)] {
        say(&mut store, name, "e1", 1..=count);
    }
    maintain(&mut store, 1000);
    assert_eq!(loaded(&mut store, "a"), "e1 100: 20 from 81");
    assert_eq!(loaded(&mut store, "b"), "e1 20: 20 from 1");
    assert_eq!(loaded(&mut store, "c"), "e1 21: 20 from 2");
    assert_eq!(loaded(&mut store, "d"), "e1 1: 1 from 1");
    let e1 = epoch("e1");
    assert!(page(&mut store, "a", &e1, 101, 19).has_more);
    assert!(!page(&mut store, "a", &e1, 101, 20).has_more);
    assert!(page(&mut store, "a", &e1, 81, 5).entries.is_empty());
    // Counting goes on where it was.
    say(&mut store, "a", "e1", 101..=101);
}

#[test]
fn fewer_messages_than_a_tail_are_a_tail() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 1, 0);
    say(&mut store, "a", "e1", 1..=30);
    maintain(&mut store, 1000);
    assert_eq!(loaded(&mut store, "a"), "e1 30: 10 from 21");
}

#[test]
fn old_messages_go_and_the_counters_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 0, 2);
    say_at(&mut store, "a", 1, &[1, 1, DAY_MS, 2 * DAY_MS]);
    say_at(&mut store, "b", 1, &[1, 2, 3]);
    maintain(&mut store, 2 * DAY_MS + 1);
    assert_eq!(stored(dir.path()), 7, "all are two days old at most");
    maintain(&mut store, 2 * DAY_MS + 60_001 + 1);
    assert_eq!(loaded(&mut store, "a"), "e1 4: 2 from 3");
    assert_eq!(loaded(&mut store, "b"), "e1 3: 0 from 0");
    drop(store);
    let mut store = open(dir.path(), 0, 2);
    assert_eq!(loaded(&mut store, "b"), "e1 3: 0 from 0");
    assert_eq!(page(&mut store, "b", &epoch("e1"), 4, 5), <_>::default());
    say_at(&mut store, "b", 4, &[3 * DAY_MS]);
    assert_eq!(loaded(&mut store, "b"), "e1 4: 1 from 4");
}

#[test]
fn it_is_done_in_small_steps_and_reaches_every_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 10, 0);
    say(&mut store, "large", "e1", 1..=2000);
    for number in 0..600 {
        say(&mut store, &format!("room {number}"), "e1", 1..=12);
    }
    let mut left = stored(dir.path());
    while store.maintain(Timestamp(1)) {
        let now = stored(dir.path());
        assert!(left - now <= 200, "{left} {now}");
        left = now;
        // Commits come in between.
        let last = loaded(&mut store, "busy");
        let last: u64 = last[last.find(' ').unwrap() + 1..last.find(':').unwrap()]
            .parse()
            .unwrap();
        say(&mut store, "busy", "e1", last + 1..=last + 1);
        left += 1;
    }
    let busy = stored(dir.path()) - 10 * 601;
    assert!((10..=40).contains(&busy), "{busy}");
    assert_eq!(loaded(&mut store, "large"), "e1 2000: 10 from 1991");
    assert_eq!(loaded(&mut store, "room 599"), "e1 12: 10 from 3");
}

#[test]
fn the_next_walk_begins_after_a_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 10, 0);
    say(&mut store, "a", "e1", 1..=5);
    maintain(&mut store, 1000);
    say(&mut store, "a", "e1", 6..=20);
    assert_eq!(maintain(&mut store, 60_999), 0);
    assert_eq!(stored(dir.path()), 20);
    assert!(maintain(&mut store, 61_000) > 0);
    assert_eq!(stored(dir.path()), 10);
}

#[test]
fn what_an_operator_broke_does_not_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), 10, 1);
    say(&mut store, "a", "e1", 1..=20);
    say(&mut store, "b", "e1", 1..=20);
    let shell = Connection::open(dir.path().join("parlor.db")).unwrap();
    shell
        .execute_batch(
            "UPDATE messages SET at = -5 WHERE room_id = 1;
             UPDATE messages SET seq = -7 WHERE room_id = 1 AND seq = 3",
        )
        .unwrap();
    maintain(&mut store, 1000);
    assert_eq!(stored(dir.path()), 20);
}

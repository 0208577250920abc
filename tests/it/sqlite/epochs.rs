//! A room keeps its epoch, even before anything was said in it, until one of its seqs might be given
//! a second time; then that epoch never comes back.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use parlor_core::{Epoch, Timestamp};
use parlor_hub::Store;
use parlor_sqlite::{DatabaseError, SqliteStore, backup, restore};
use rusqlite::Connection;

use super::{epoch, epoch_of, epochs, loaded, open_in, room, said, say};

/// What an operator does meanwhile.
fn shell(dir: &Path, sql: &str) -> rusqlite::Result<()> {
    Connection::open(dir.join("parlor.db"))?.execute_batch(sql)
}

/// Says so much in a room in which nothing was said; its epoch.
fn begin(store: &mut SqliteStore, name: &str, last_seq: u64) -> Epoch {
    let epoch = epoch_of(store, name);
    say(store, name, epoch.as_str(), 1..=last_seq);
    epoch
}

/// The next message of a room in that epoch is refused, and the store reopened.
fn refuses(store: &mut SqliteStore, name: &str, epoch: &Epoch, seq: u64) {
    store
        .append(&[said(name, epoch, seq, seq, "text")])
        .unwrap_err();
    store.reopen(Timestamp(0)).unwrap();
}

#[test]
fn a_room_in_which_nothing_was_said_keeps_its_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (first, killed) = (dir.path().join("first"), dir.path().join("killed"));
    let mut store = open_in(&first, "created");
    assert_eq!(loaded(&mut store, "silent"), "created 0: 0 from 0");
    store.release(&room("silent"), Timestamp(0));
    assert_eq!(begin(&mut store, "other", 3), epoch("created"));
    assert_eq!(loaded(&mut store, "silent"), "created 0: 0 from 0");
    store.reopen(Timestamp(0)).unwrap();
    assert_eq!(loaded(&mut store, "silent"), "created 0: 0 from 0");
    refuses(&mut store, "other", &epoch("created"), 3);
    assert_eq!(loaded(&mut store, "silent"), "created 0: 0 from 0");
    // As after a kill: part of it is in the log alone.
    fs::create_dir(&killed).unwrap();
    for name in ["parlor.db", "parlor.db-wal"] {
        fs::copy(first.join(name), killed.join(name)).unwrap();
    }
    drop(store);
    for dir in [&killed, &first] {
        let mut store = open_in(dir, "opened");
        assert_eq!(loaded(&mut store, "silent"), "created 0: 0 from 0");
        begin(&mut store, "silent", 2);
        assert_eq!(loaded(&mut store, "silent"), "created 2: 2 from 1");
    }
}

#[test]
fn a_restored_backup_begins_rooms_in_another_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = dir.path().join("backup");
    let mut store = open_in(&from, "created");
    begin(&mut store, "said in before", 1);
    backup(&from, &file).unwrap();
    // What the backup knows nothing of.
    begin(&mut store, "said in behind", 1);
    for restored in ["m", "n"] {
        restore(&file, &to, true, epochs(restored)).unwrap();
        let mut store = open_in(&to, "opened");
        for (name, seqs) in [
            ("said in before", "1: 1 from 1"),
            ("said in behind", "0: 0 from 0"),
            ("silent", "0: 0 from 0"),
        ] {
            assert_eq!(loaded(&mut store, name), format!("{restored}1 {seqs}"));
        }
    }
}

#[test]
fn a_room_that_is_deleted_never_has_an_epoch_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_in(dir.path(), "created");
    let mut had = BTreeSet::new();
    for round in 0..3 {
        let epoch = begin(&mut store, "a", 2);
        assert!(had.insert(epoch.clone()), "{epoch} again");
        // By which epoch it goes on does not matter.
        if round == 1 {
            shell(dir.path(), "UPDATE rooms SET epoch = 'by hand'").unwrap();
        }
        shell(dir.path(), "DELETE FROM rooms").unwrap();
        // It is still open in memory.
        refuses(&mut store, "a", &epoch, 3);
        drop(store);
        store = open_in(dir.path(), "opened");
    }
    assert!(!had.contains(&epoch_of(&mut store, "a")));
}

#[test]
fn a_room_is_not_disturbed_when_another_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_in(dir.path(), "created");
    begin(&mut store, "deleted", 1);
    begin(&mut store, "kept", 1);
    // Nothing was said in it, so there is no row.
    shell(dir.path(), "DELETE FROM rooms WHERE room = 'open'").unwrap();
    let created = epoch("created");
    assert_eq!(epoch_of(&mut store, "open"), created);
    shell(dir.path(), "DELETE FROM rooms WHERE room = 'deleted'").unwrap();
    let next = epoch_of(&mut store, "another");
    assert_ne!(next, created);
    // This one was joined before, and goes on as those who are in it know it.
    say(&mut store, "open", "created", 1..=2);
    assert_eq!(loaded(&mut store, "open"), "created 2: 2 from 1");
    assert_eq!(loaded(&mut store, "kept"), "created 1: 1 from 1");
    shell(dir.path(), "DELETE FROM rooms WHERE room = 'open'").unwrap();
    assert!(![created, next].contains(&epoch_of(&mut store, "open")));
}

#[test]
fn a_room_that_gets_the_name_of_another_does_not_get_its_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_in(dir.path(), "created");
    for name in ["a", "b"] {
        begin(&mut store, name, 3);
    }
    shell(dir.path(), "DELETE FROM rooms WHERE room = 'b'").unwrap();
    let between = epoch_of(&mut store, "b");
    shell(dir.path(), "UPDATE rooms SET room = 'b'").unwrap();
    let (a, b) = (epoch_of(&mut store, "a"), epoch_of(&mut store, "b"));
    for new in [&a, &b] {
        assert!(![&between, &epoch("created")].contains(&new));
    }
    assert_eq!(loaded(&mut store, "b"), format!("{b} 3: 3 from 1"));
    // Both are still open in memory.
    refuses(&mut store, "a", &epoch("created"), 4);
    refuses(&mut store, "b", &between, 1);
    say(&mut store, "a", a.as_str(), 1..=1);
    say(&mut store, "b", b.as_str(), 4..=4);
}

#[test]
fn an_epoch_that_an_operator_set_is_used_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_in(dir.path(), "created");
    let created = begin(&mut store, "a", 2);
    shell(dir.path(), "UPDATE rooms SET epoch = 'by hand'").unwrap();
    refuses(&mut store, "a", &created, 3);
    assert_eq!(loaded(&mut store, "a"), "by hand 2: 2 from 1");
    for spoilt in ["''", "'é'", "CAST(x'ff' AS TEXT)"] {
        shell(dir.path(), &format!("UPDATE rooms SET epoch = {spoilt}")).unwrap();
        store.load(&room("a"), 1).unwrap_err();
        refuses(&mut store, "a", &created, 3);
    }
}

#[test]
fn without_an_epoch_no_room_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = dir.path().join("backup");
    for sql in [
        "UPDATE new_rooms SET epoch = ''",
        "UPDATE new_rooms SET epoch = 'é'",
        "UPDATE new_rooms SET epoch = CAST(x'ff' AS TEXT)",
        "DELETE FROM new_rooms",
        "DROP TABLE new_rooms",
    ] {
        let mut store = open_in(&from, "created");
        shell(&from, "INSERT INTO new_rooms (epoch) VALUES ('a second')").unwrap_err();
        begin(&mut store, "a", 1);
        backup(&from, &file).unwrap();
        shell(&from, sql).unwrap();
        store.load(&room("silent"), 1).unwrap_err();
        assert_eq!(loaded(&mut store, "a"), "created 1: 1 from 1");
        drop(store);

        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        let error = restore(&file, &to, true, epochs("n")).unwrap_err();
        assert!(matches!(error, DatabaseError::Damaged { .. }), "{error}");
        fs::remove_file(&file).unwrap();
        fs::remove_dir_all(&from).unwrap();
    }
}

//! Copies of a database in use, and databases from copies.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parlor_hub::{Append, Store};
use parlor_sqlite::{DatabaseError, backup, restore};
use rusqlite::Connection;

use super::{counters, epoch, epochs, loaded, open, room, said, say};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// All texts of a room, in order.
fn texts(dir: &Path, name: &str) -> Vec<String> {
    let log = open(dir).load(&room(name), 10_000).unwrap();
    let text = |entry: &std::sync::Arc<parlor_core::Entry>| entry.text.as_str().to_string();
    log.tail().iter().map(text).collect()
}

#[test]
fn a_restored_backup_has_the_same_texts_in_new_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = dir.path().join("backup");
    let mut store = open(&from);
    for name in ["a", "b"] {
        say(&mut store, name, "e1", 1..=400);
    }
    backup(&from, &file).unwrap();
    say(&mut store, "a", "e1", 401..=500);
    drop(store);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(names(dir.path()), ["backup", "from"]);

    restore(&file, &to, false, epochs("n")).unwrap();
    assert_eq!(names(&to), ["parlor.db", "parlor.lock"]);
    assert_eq!(
        fs::metadata(&to).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut store = open(&to);
    assert_eq!(loaded(&mut store, "a"), "n1 400: 300 from 101");
    assert_eq!(loaded(&mut store, "b"), "n1 400: 300 from 101");
    say(&mut store, "a", "n1", 401..=401);
    drop(store);
    assert_eq!(texts(&to, "b"), texts(&from, "b"));
    assert_eq!(texts(&to, "a")[..400], texts(&from, "a")[..400]);
}

#[test]
fn a_backup_is_one_file_of_one_moment_that_anything_can_read() {
    // Twenty times what is copied in one go, and more batches than come while it is copied.
    const FIRST: u64 = 20_000;
    const MOST: u64 = FIRST + 100_000;
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let file = dir.path().join("backup");
    let mut store = open(&from);
    let long = "x".repeat(1000);
    let e1 = epoch("e1");
    let first: Vec<Append> = (1..=FIRST)
        .map(|seq| said("a", &e1, seq, seq, &long))
        .collect();
    store.append(&first).unwrap();
    let done = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut last = FIRST;
            while last < MOST && !done.load(Ordering::Relaxed) {
                say(&mut store, "a", "e1", last + 1..=last + 10);
                last += 10;
            }
            last
        });
        backup(&from, &file).unwrap();
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(last < MOST, "it does not begin anew with each commit");
    assert_eq!(counters(&store.load(&room("a"), 1).unwrap()).1, last);
    assert_eq!(names(dir.path()), ["backup", "from"]);
    let shell = Connection::open(&file).unwrap();
    let verdict: String = shell
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let (count, largest, last_seq): (u64, u64, u64) = shell
        .query_row(
            "SELECT count(*), max(seq), last_seq FROM messages, rooms",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert!(count == largest && largest == last_seq && last_seq <= last);
    assert_eq!(count % 10, 0, "whole batches");
}

#[test]
fn nothing_is_overwritten_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = dir.path().join("backup");
    say(&mut open(&from), "a", "e1", 1..=3);
    backup(&from, &file).unwrap();
    let before = fs::read(&file).unwrap();
    let error = backup(&from, &file).unwrap_err();
    assert!(matches!(error, DatabaseError::InTheWay { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), before);

    let mut server = open(&to);
    say(&mut server, "b", "e1", 1..=5);
    let error = restore(&file, &to, true, epochs("n")).unwrap_err();
    assert!(matches!(error, DatabaseError::Locked { .. }), "{error}");
    drop(server);
    let error = restore(&file, &to, false, epochs("n")).unwrap_err();
    assert!(matches!(error, DatabaseError::InTheWay { .. }), "{error}");
    assert_eq!(loaded(&mut open(&to), "b"), "e1 5: 5 from 1");

    for epoch in ["n", "m"] {
        restore(&file, &to, true, epochs(epoch)).unwrap();
        assert_eq!(loaded(&mut open(&to), "a"), format!("{epoch}1 3: 3 from 1"));
    }
    assert_eq!(
        names(&to),
        ["parlor.db", "parlor.db.replaced", "parlor.lock"]
    );
}

#[test]
fn a_restore_takes_the_log_of_what_it_replaces_away_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = dir.path().join("backup");
    say(&mut open(&from), "a", "e1", 1..=3);
    backup(&from, &file).unwrap();
    // As after a kill: part of it is in the log alone.
    let mut server = open(&to);
    say(&mut server, "b", "e1", 1..=5);
    let killed = dir.path().join("killed");
    fs::create_dir(&killed).unwrap();
    for name in ["parlor.db", "parlor.db-wal"] {
        fs::copy(to.join(name), killed.join(name)).unwrap();
    }
    restore(&file, &killed, true, epochs("n")).unwrap();
    assert_eq!(loaded(&mut open(&killed), "a"), "n1 3: 3 from 1");
    let replaced = Connection::open(killed.join("parlor.db.replaced")).unwrap();
    let count: u32 = replaced
        .query_row("SELECT count(*) FROM history", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 5);
    drop(replaced);
    // Interrupted before anything took its place: nobody begins with nothing, and it can be done
    // again.
    fs::remove_file(killed.join("parlor.db")).unwrap();
    parlor_sqlite::SqliteStore::open(&killed, &parlor_core::Limits::default(), epochs("e"))
        .unwrap_err();
    restore(&file, &killed, true, epochs("m")).unwrap();
    assert_eq!(loaded(&mut open(&killed), "a"), "m1 3: 3 from 1");
}

#[test]
fn what_is_no_good_backup_is_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = dir.path().join("backup");
    say(&mut open(&from), "a", "e1", 1..=300);
    backup(&from, &file).unwrap();
    let good = fs::read(&file).unwrap();
    say(&mut open(&to), "b", "e1", 1..=5);
    let refused = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let error = restore(&file, &to, true, epochs("n")).unwrap_err();
        assert!(
            error.to_string().contains(file.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(fs::read(&file).unwrap(), content);
        assert_eq!(names(&to), ["parlor.db", "parlor.lock"]);
        assert_eq!(loaded(&mut open(&to), "b"), "e1 5: 5 from 1");
        error
    };
    let damaged = |error| matches!(error, DatabaseError::Damaged { .. });
    assert!(damaged(refused(&good[..good.len() / 2])));
    let mut scribbled = good.clone();
    let middle = good.len() / 2 / 4096 * 4096;
    scribbled[middle..middle + 4096].fill(0xff);
    assert!(damaged(refused(&scribbled)));
    let number_at = |at: usize, number: u32| {
        let mut changed = good.clone();
        changed[at..at + 4].copy_from_slice(&number.to_be_bytes());
        changed
    };
    let newer = refused(&number_at(60, 99));
    assert!(matches!(newer, DatabaseError::Newer { version: 99, .. }));
    assert!(matches!(
        refused(&number_at(68, 7)),
        DatabaseError::Foreign { .. }
    ));
    assert!(matches!(
        refused(b"text"),
        DatabaseError::NotADatabase { .. }
    ));

    fs::write(&file, &good).unwrap();
    let shell = Connection::open(&file).unwrap();
    shell
        .execute_batch("UPDATE rooms SET last_seq = 299")
        .unwrap();
    drop(shell);
    assert!(damaged(refused(&fs::read(&file).unwrap())));

    fs::write(&file, &good).unwrap();
    fs::write(dir.path().join("backup-wal"), "something").unwrap();
    assert!(damaged(refused(&good)));
    let missing = restore(&dir.path().join("none"), &to, true, epochs("n")).unwrap_err();
    assert!(matches!(missing, DatabaseError::File { .. }));
}

#[test]
fn only_a_database_of_ours_is_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup");
    let missing = backup(dir.path(), &file).unwrap_err();
    assert!(
        matches!(missing, DatabaseError::Missing { .. }),
        "{missing}"
    );
    let shell = Connection::open(dir.path().join("parlor.db")).unwrap();
    shell
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE rooms (id)")
        .unwrap();
    drop(shell);
    let foreign = backup(dir.path(), &file).unwrap_err();
    assert!(
        matches!(foreign, DatabaseError::Foreign { .. }),
        "{foreign}"
    );
    assert_eq!(names(dir.path())[0], "parlor.db");
    assert!(!file.exists());
}

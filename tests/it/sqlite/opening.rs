//! Who may open what, and what is said when it cannot be opened.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use parlor_core::{ConnId, Fetch, Seq};
use parlor_hub::Store;
use parlor_sqlite::DatabaseError;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{epoch, loaded, open, room, say, try_open};

/// Every file in `dir` but the lock.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != "parlor.lock" {
            files.insert(name, fs::read(entry.path()).unwrap_or_default());
        }
    }
    files
}

/// Opening this directory fails, with that line, and leaves the files as they are.
fn refused(dir: &Path, expected: &str) -> DatabaseError {
    let before = files(dir);
    let error = try_open(dir).unwrap_err();
    let line = error.to_string().replace(dir.to_str().unwrap(), "DIR");
    assert_eq!(line, expected);
    let after = files(dir);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    assert!(before == after, "{expected}");
    error
}

/// A directory whose database is `content`.
fn dir_with(content: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("parlor.db"), content).unwrap();
    dir
}

/// A directory with a few hundred messages, closed.
fn used() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    say(&mut open(dir.path()), "a", "e1", 1..=300);
    dir
}

/// A database as SQLite itself makes it, after `sql`.
fn dir_after(dir: TempDir, sql: &str) -> TempDir {
    let connection = Connection::open(dir.path().join("parlor.db")).unwrap();
    connection.execute_batch(sql).unwrap();
    connection.close().unwrap();
    dir
}

#[test]
fn a_directory_is_made_for_this_user_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("not/there/yet");
    let mut store = open(&dir);
    say(&mut store, "a", "e1", 1..=1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_string());
    }
    names.sort();
    assert_eq!(
        names,
        ["parlor.db", "parlor.db-shm", "parlor.db-wal", "parlor.lock"]
    );
    drop(store);
    assert!(files(&dir).keys().eq(["parlor.db"]));
}

#[test]
fn a_second_server_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path());
    for _ in 0..2 {
        let error = try_open(dir.path()).unwrap_err();
        assert!(matches!(error, DatabaseError::Locked { .. }), "{error}");
    }
    say(&mut first, "a", "e1", 1..=2);
    drop(first);
    assert_eq!(loaded(&mut open(dir.path()), "a"), "e1 2: 2 from 1");
}

#[test]
fn a_directory_that_is_none_is_refused() {
    let dir = dir_with(b"");
    let path = dir.path().join("parlor.db");
    let error = try_open(&path).unwrap_err();
    assert!(matches!(error, DatabaseError::Directory { .. }), "{error}");

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("parlor.db")).unwrap();
    let error = refused(
        dir.path(),
        "DIR/parlor.db cannot be used: Is a directory (os error 21); \
         see to it that this user may read and write it",
    );
    assert!(matches!(error, DatabaseError::File { .. }));

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("parlor.lock")).unwrap();
    refused(
        dir.path(),
        "DIR/parlor.lock cannot be used: Is a directory (os error 21); \
         see to it that this user may read and write it",
    );
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let garbage: Vec<u8> = (0..9000u32).map(|byte| (byte % 251) as u8).collect();
    for content in [&b""[..], b"SQLite format 3\0", &garbage] {
        let error = refused(
            dir_with(content).path(),
            "DIR/parlor.db is no SQLite database: move it away, or restore a backup",
        );
        assert!(matches!(error, DatabaseError::NotADatabase { .. }));
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    for sql in [
        "CREATE TABLE rooms (id)",
        "PRAGMA application_id = 7; CREATE TABLE rooms (id)",
        "PRAGMA journal_mode = WAL; CREATE TABLE rooms (id)",
    ] {
        let dir = dir_after(tempfile::tempdir().unwrap(), sql);
        let error = refused(
            dir.path(),
            "DIR/parlor.db belongs to another program: name another directory or file",
        );
        assert!(matches!(error, DatabaseError::Foreign { .. }));
    }
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let dir = dir_after(used(), "PRAGMA user_version = 99");
    let error = refused(
        dir.path(),
        "DIR/parlor.db was written by a newer parlor (layout 99): \
         use that version, or restore an older backup",
    );
    assert!(matches!(error, DatabaseError::Newer { version: 99, .. }));
}

#[test]
fn a_newer_version_that_is_only_in_the_log_is_refused_too() {
    let dir = used();
    let path = dir.path().join("parlor.db");
    // As after a kill: what is in the log is not in the database.
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["parlor.db", "parlor.db-wal"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let before = files(copy.path());
    let error = try_open(copy.path()).unwrap_err();
    assert!(
        matches!(error, DatabaseError::Newer { version: 99, .. }),
        "{error}"
    );
    let mut after = files(copy.path());
    // It holds nothing that is not in the others.
    after.remove("parlor.db-shm");
    assert!(before == after);
}

#[test]
fn a_damaged_database_is_refused() {
    let half = |dir: &Path| {
        let file = fs::File::options().write(true).open(dir.join("parlor.db"));
        let file = file.unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let scribble = |dir: &Path| {
        let file = fs::File::options().write(true).open(dir.join("parlor.db"));
        file.unwrap().write_all_at(&[0xff; 500], 100).unwrap();
    };
    for damage in [&half as &dyn Fn(&Path), &scribble] {
        let dir = used();
        damage(dir.path());
        let error = refused(
            dir.path(),
            "DIR/parlor.db is damaged (database disk image is malformed): \
             keep a copy, then restore a backup",
        );
        assert!(matches!(error, DatabaseError::Damaged { .. }));
    }
    let dir = dir_after(used(), "DROP INDEX messages_by_room");
    refused(
        dir.path(),
        "DIR/parlor.db is damaged (no such index: messages_by_room): \
         keep a copy, then restore a backup",
    );
    for sql in [
        "DELETE FROM new_rooms",
        "UPDATE new_rooms SET epoch = ''",
        "UPDATE new_rooms SET epoch = 'é'",
    ] {
        refused(
            dir_after(used(), sql).path(),
            "DIR/parlor.db is damaged (the table new_rooms has no row with a good epoch): \
             keep a copy, then restore a backup",
        );
    }
}

#[test]
fn a_log_without_its_database_is_refused() {
    for name in ["parlor.db-wal", "parlor.db.replaced"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), "something").unwrap();
        let error = refused(
            dir.path(),
            "DIR/parlor.db is missing, but its write-ahead log (DIR/parlor.db-wal) or a replaced \
             database (DIR/parlor.db.replaced) is there: put it back, or restore a backup",
        );
        assert!(matches!(error, DatabaseError::Torn { .. }));
    }
}

#[test]
fn a_damage_that_is_found_later_is_an_error_and_not_a_lie() {
    let dir = tempfile::tempdir().unwrap();
    say(&mut open(dir.path()), "a", "e1", 1..=5000);
    let file = fs::File::options()
        .write(true)
        .open(dir.path().join("parlor.db"));
    let file = file.unwrap();
    // In the middle of what was said.
    let middle = file.metadata().unwrap().len() / 2 / 4096 * 4096;
    file.write_all_at(&[0xff; 4096], middle).unwrap();
    drop(file);
    let mut store = open(dir.path());
    assert_eq!(loaded(&mut store, "a"), "e1 5000: 300 from 4701");
    let all = Fetch {
        conn: ConnId(1),
        room: room("a"),
        epoch: epoch("e1"),
        before: Seq(5001),
        limit: 5000,
        reference: None,
    };
    store.page(&all).unwrap_err();
}

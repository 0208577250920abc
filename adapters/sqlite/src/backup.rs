//! A copy of a database in use, and a database from such a copy.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use parlor_core::Epoch;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, TransactionBehavior};

use crate::database::{check_tables, keep, look, put, scratch};
use crate::error::DatabaseError;
use crate::files::{self, DataDir, REPLACED, beside, has_content};
use crate::schema;

/// What is copied in one go: 1 MiB, so that a server that writes to the same disk gets its turn.
const PAGES_AT_ONCE: i32 = 256;
const PAUSE: Duration = Duration::from_millis(2);

/// Copies the database in `dir` to `file`: one file, as of one moment, which anything that reads
/// SQLite can open, and which [`restore`] takes back.
///
/// A server may be using the directory. It is not held up, except that its write-ahead log cannot
/// begin anew as long as this takes and grows by what is said meanwhile.
///
/// # Errors
/// When there is no database of ours in `dir`, when `file` is there already, or when it cannot be
/// written; nothing is left of it then.
pub fn backup(dir: &Path, file: &Path) -> Result<(), DatabaseError> {
    let path = files::database(dir);
    let source = look(&path)?;
    keep(&source, &path)?;
    if fs::symlink_metadata(file).is_ok() {
        return Err(DatabaseError::InTheWay { path: file.into() });
    }
    let (target, mut copy) = scratch(file)?;
    copy_pages(&source, &mut copy).map_err(DatabaseError::sqlite(file))?;
    put(target, copy, file)
}

fn copy_pages(source: &Connection, copy: &mut Connection) -> rusqlite::Result<()> {
    // The whole copy reads this one state. A copy that takes up what was written between two of its
    // steps begins anew each time, under load without end.
    let state = source.unchecked_transaction()?;
    let _: i64 = state.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let pages = Backup::new(source, copy)?;
    while pages.step(PAGES_AT_ONCE)? != StepResult::Done {
        thread::sleep(PAUSE);
    }
    drop(pages);
    single_file(copy)
}

/// Takes back the copied mark that there is a write-ahead log beside the file.
fn single_file(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
}

/// Puts the database of a [`backup`], `file`, into `dir`, which no server may be using. Every room
/// gets the epoch that `new_epoch` makes, which none ever had, since the numbers behind the backup
/// are given a second time; clients that were there see that it is another log.
///
/// A database that is there already is in the way, unless `replace` is set: then it is kept as
/// `parlor.db.replaced` until it happens again.
///
/// # Errors
/// When a server uses `dir`, a database is in the way, or `file` is not whole; `dir` is as it was
/// then.
pub fn restore(
    file: &Path,
    dir: &Path,
    replace: bool,
    new_epoch: impl FnOnce() -> Epoch,
) -> Result<(), DatabaseError> {
    files::check_head(file)?;
    if has_content(&beside(file, "-wal")) {
        return Err(DatabaseError::Damaged {
            path: file.into(),
            cause:
                "it is no backup but a part of a database, the rest of which is in its -wal file"
                    .into(),
        });
    }
    let dir = DataDir::take(dir)?;
    let path = dir.database();
    let there = fs::symlink_metadata(&path).is_ok() || files::remains(&path);
    if there && !replace {
        return Err(DatabaseError::InTheWay { path });
    }
    let (target, scratch) = scratch(&path)?;
    drop(scratch);
    File::open(file)
        .and_then(|mut source| io::copy(&mut source, &mut target.as_file()))
        .map_err(DatabaseError::file(file))?;
    let failed = DatabaseError::sqlite(file);
    let mut copy = Connection::open(target.path()).map_err(&failed)?;
    single_file(&copy).map_err(&failed)?;
    check_all(&copy, file)?;
    schema::migrate(&mut copy, schema::MIGRATIONS).map_err(&failed)?;
    begin_anew(&mut copy, &new_epoch()).map_err(&failed)?;
    if there {
        set_aside(&path).map_err(DatabaseError::file(&path))?;
    }
    put(target, copy, &path)
}

/// Reads everything once.
fn check_all(connection: &Connection, file: &Path) -> Result<(), DatabaseError> {
    let failed = DatabaseError::sqlite(file);
    let damaged = |cause: String| DatabaseError::Damaged {
        path: file.into(),
        cause,
    };
    let verdict: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(&failed)?;
    if verdict != "ok" {
        return Err(damaged(verdict));
    }
    check_tables(connection).map_err(|cause| damaged(cause.to_string()))?;
    let astray: bool = connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM messages LEFT JOIN rooms ON id = room_id
                            WHERE id IS NULL OR seq > last_seq)",
            [],
            |row| row.get(0),
        )
        .map_err(&failed)?;
    if astray {
        return Err(damaged("messages do not belong to their rooms".into()));
    }
    Ok(())
}

/// Puts every room into `epoch`, those without a message included. It may be the same one, since the
/// logs of two rooms have nothing to do with each other.
fn begin_anew(connection: &mut Connection, epoch: &Epoch) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE rooms SET epoch = ?1", [epoch.as_str()])?;
    transaction.execute("UPDATE new_rooms SET epoch = ?1", [epoch.as_str()])?;
    transaction.commit()
}

/// Renames the database at `path` and the log that belongs to it. As long as that is all that was
/// done no server starts here, and the next attempt brings it to an end.
fn set_aside(path: &Path) -> io::Result<()> {
    let replaced = beside(path, REPLACED);
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    if fs::symlink_metadata(path).is_ok() {
        gone(fs::remove_file(beside(&replaced, "-wal")))?;
        fs::rename(path, &replaced)?;
    }
    gone(fs::rename(beside(path, "-wal"), beside(&replaced, "-wal")))?;
    gone(fs::remove_file(beside(path, "-shm")))?;
    // Before another one has its name: a loss of power must not leave the old log beside that.
    files::sync_dir(files::folder(path))
}

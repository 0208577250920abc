//! The database as SQLite sees it: made, looked at and opened.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use parlor_core::Epoch;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, OptionalExtension, TransactionBehavior};
use tempfile::NamedTempFile;

use crate::append::Ids;
use crate::checkpoint::{self, Checkpointer, checkpoint};
use crate::error::DatabaseError;
use crate::{files, schema};

/// How long somebody else's lock, such as a write in the `sqlite3` shell, is waited for. Longer is a
/// failed store; it is well below the 30 s after which the hub takes the store for dead.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is wrong without [`epoch_of_new_rooms`].
pub(crate) const NO_EPOCH: &str = "the table new_rooms has no row with a good epoch";

/// What was committed is on the disk. The second is for macOS, whose fsync is content with less.
const SYNC: &str = "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;";

/// Every statement of the store is prepared once.
const STATEMENTS: usize = 32;

/// Sixteen times the default: the inner pages of a few million messages stay in memory.
const CACHE_KIB: i64 = 32 * 1024;

/// An open database, to be written by this process alone.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) writer: Connection,
    pub(crate) ids: Ids,
    pub(crate) checkpointer: Checkpointer,
}

/// Makes an empty database at `path`, whose rooms begin in `epoch`. It is made under another name
/// first, so that whatever is at `path` is a whole database of ours.
pub(crate) fn create(path: &Path, epoch: &Epoch) -> Result<(), DatabaseError> {
    let (file, mut connection) = scratch(path)?;
    let failed = DatabaseError::sqlite(path);
    schema::migrate(&mut connection, schema::MIGRATIONS).map_err(&failed)?;
    connection
        .execute(
            "INSERT INTO new_rooms (epoch) VALUES (?1)",
            [epoch.as_str()],
        )
        .map_err(&failed)?;
    put(file, connection, path)
}

/// An empty file beside `path`, for this user alone, that is gone unless it is [`put`] there. What a
/// killed process leaves tells by its name what it was to be.
pub(crate) fn scratch(path: &Path) -> Result<(NamedTempFile, Connection), DatabaseError> {
    let file = tempfile::Builder::new()
        .prefix(&files::scratch_prefix(path))
        .suffix(files::SCRATCH)
        .tempfile_in(files::folder(path))
        .map_err(DatabaseError::file(path))?;
    let connection = Connection::open(file.path()).map_err(DatabaseError::sqlite(path))?;
    // If this process ends the file is of no use, so it needs no journal.
    connection
        .execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;")
        .map_err(DatabaseError::sqlite(path))?;
    Ok((file, connection))
}

/// Gives a file that was made beside `path` that name, unless something is there, for good.
pub(crate) fn put(
    file: NamedTempFile,
    connection: Connection,
    path: &Path,
) -> Result<(), DatabaseError> {
    connection
        .close()
        .map_err(|(_, cause)| DatabaseError::sqlite(path)(cause))?;
    file.as_file()
        .sync_all()
        .map_err(DatabaseError::file(path))?;
    file.persist_noclobber(path).map_err(|failed| {
        if failed.error.kind() == std::io::ErrorKind::AlreadyExists {
            DatabaseError::InTheWay { path: path.into() }
        } else {
            DatabaseError::file(path)(failed.error)
        }
    })?;
    files::sync_dir(files::folder(path)).map_err(DatabaseError::file(path))
}

/// A connection to the database at `path`, which is ours and looks sound. Neither the database nor
/// its write-ahead log is changed by this, not even when it is closed; see [`keep`].
pub(crate) fn look(path: &Path) -> Result<Connection, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::Missing { path: path.into() });
    }
    // Closing the last connection would bring what is in the log into the database. If there is
    // nothing in it, it takes away the files that reading has put beside the database.
    let leaves_log = files::has_content(&files::beside(path, "-wal"));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(DatabaseError::sqlite(path))?;
    let looked = || -> rusqlite::Result<(u32, u32)> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leaves_log)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
        // The id is a signed number to SQLite.
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        Ok((id.cast_unsigned(), number("user_version")?))
    };
    let (application_id, version) = looked().map_err(DatabaseError::sqlite(path))?;
    files::check_identity(path, application_id, version)?;
    if version == schema::version() {
        check_tables(&connection).map_err(|cause| DatabaseError::Damaged {
            path: path.into(),
            cause: cause.to_string(),
        })?;
    }
    Ok(connection)
}

/// Whether the tables are there, with their columns, and can be read at their ends, and a room can
/// begin. This takes the same few pages however large they are.
pub(crate) fn check_tables(connection: &Connection) -> Result<(), Box<dyn Error>> {
    for query in [
        "SELECT id, room, epoch, last_seq, last_at FROM rooms ORDER BY id DESC LIMIT 1",
        "SELECT room_id, seq, at, username, text, client_msg_id FROM messages
         ORDER BY rowid DESC LIMIT 1",
        "SELECT seq FROM messages INDEXED BY messages_by_room ORDER BY room_id DESC LIMIT 1",
    ] {
        let mut statement = connection.prepare(query)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    epoch_of_new_rooms(connection)?.ok_or(NO_EPOCH)?;
    Ok(())
}

/// The epoch of all rooms in which nothing was said yet; none if an operator spoilt it.
pub(crate) fn epoch_of_new_rooms(connection: &Connection) -> rusqlite::Result<Option<Epoch>> {
    let epoch: Option<String> = connection
        .prepare_cached("SELECT epoch FROM new_rooms")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(epoch.and_then(|epoch| Epoch::try_from(epoch).ok()))
}

/// From here on the connection may change the database, and tidies up when it is closed.
pub(crate) fn keep(connection: &Connection, path: &Path) -> Result<(), DatabaseError> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(DatabaseError::sqlite(path))?;
    Ok(())
}

impl Database {
    /// Opens the database at `path`, in the layout of this version, ready to be written.
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let mut writer = look(path)?;
        let failed = DatabaseError::sqlite(path);
        if writer.is_readonly(MAIN_DB).map_err(&failed)? {
            return Err(DatabaseError::ReadOnly { path: path.into() });
        }
        keep(&writer, path)?;
        let mut prepare = || -> rusqlite::Result<String> {
            let mode =
                writer.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
            writer.execute_batch(&format!(
                "{SYNC}
                 PRAGMA wal_autocheckpoint = 0;
                 PRAGMA journal_size_limit = {};
                 PRAGMA cache_size = -{CACHE_KIB};",
                checkpoint::KEPT_BYTES
            ))?;
            writer.set_prepared_statement_cache_capacity(STATEMENTS);
            schema::migrate(&mut writer, schema::MIGRATIONS)?;
            Ok(mode)
        };
        let mode = prepare().map_err(&failed)?;
        if mode != "wal" {
            let cause = std::io::Error::other("no write-ahead log can be kept on its file system");
            return Err(DatabaseError::file(path)(cause));
        }
        let own = look(path)?;
        keep(&own, path)?;
        own.execute_batch(SYNC).map_err(&failed)?;
        let checkpointer =
            Checkpointer::start(checkpoint::SIZES, &mut writer, own).map_err(&failed)?;
        Ok(Self {
            writer,
            ids: Ids::new(),
            checkpointer,
        })
    }

    /// Copies the write-ahead log into the database and writes something behind it.
    ///
    /// What a log holds that was left behind by a failure may be in the system's memory only: when
    /// the disk refused to write it, it does not try again. Copied into the database it is written
    /// anew. False if that is not possible yet, since somebody reads an old state.
    pub(crate) fn renew(&mut self) -> rusqlite::Result<bool> {
        self.writer.busy_timeout(Duration::ZERO)?;
        let renewed = !checkpoint(&self.writer, "TRUNCATE")?.is_busy;
        self.writer.busy_timeout(BUSY_TIMEOUT)?;
        let transaction = self
            .writer
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Writes the first page, whatever it held.
        transaction.pragma_update(None, "user_version", schema::version())?;
        transaction.commit()?;
        Ok(renewed)
    }
}

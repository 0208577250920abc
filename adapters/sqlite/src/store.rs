//! The store: rooms and their logs, read and written on the one thread that owns it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parlor_core::types::{ClientMsgId, MessageText};
use parlor_core::{Entry, Epoch, Fetch, Limits, Page, RoomId, Seq, StoredLog, Timestamp, Username};
use parlor_hub::{Append, Store, StoreError};
use rusqlite::{Connection, OptionalExtension, Row};
use tracing::warn;

use crate::append::append;
use crate::database::{self, Database, NO_EPOCH, epoch_of_new_rooms};
use crate::error::{DatabaseError, failed};
use crate::files::{self, DataDir, Identity};
use crate::retention::{Retention, Walk};

/// A [`Store`] in a SQLite database. See the [crate](crate) for what it promises.
pub struct SqliteStore {
    /// None from a failure on until it is reopened.
    database: Option<Database>,
    /// The file that it is.
    identity: Identity,
    tail_entries: u32,
    tail_bytes: u32,
    retention: Retention,
    walk: Walk,
    /// The lock goes last.
    dir: DataDir,
}

impl SqliteStore {
    /// The store in `dir`, which is made, for this user alone, if it is not there. Nobody else can
    /// open it as long as this lives. `new_epoch` is asked when there is no database yet, for the
    /// epoch in which its rooms begin; it never gives the same one twice, not even after a restart
    /// of the process.
    ///
    /// This takes the same time however much is stored.
    ///
    /// # Errors
    /// When another server uses `dir`, or there is something that this cannot work with. It is left
    /// as it is.
    pub fn open(
        dir: &Path,
        limits: &Limits,
        new_epoch: impl FnOnce() -> Epoch,
    ) -> Result<Self, DatabaseError> {
        let dir = DataDir::take(dir)?;
        let path = dir.database();
        if path.try_exists().map_err(DatabaseError::file(&path))? {
            files::check_head(&path)?;
        } else if files::remains(&path) {
            return Err(DatabaseError::Torn { path });
        } else {
            database::create(&path, &new_epoch())?;
        }
        let mut database = Database::open(&path)?;
        // Somebody who still reads an old state, such as a backup, is no reason not to start.
        let _: bool = database.renew().map_err(DatabaseError::sqlite(&path))?;
        Ok(Self {
            database: Some(database),
            identity: files::identity(&path).map_err(DatabaseError::file(&path))?,
            tail_entries: limits.tail_entries,
            tail_bytes: limits.tail_bytes,
            retention: Retention::default(),
            walk: Walk::default(),
            dir,
        })
    }

    /// The same, which does not keep everything for ever.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    fn working(&mut self) -> Result<&mut Database, StoreError> {
        let refused = || StoreError::new("it failed before and was not reopened yet");
        self.database.as_mut().ok_or_else(refused)
    }
}

impl Store for SqliteStore {
    fn load(&mut self, room: &RoomId, tail_entries: u32) -> Result<StoredLog, StoreError> {
        let bounds = (u64::from(tail_entries), self.tail_bytes as usize);
        load(&self.working()?.writer, room, bounds)
    }

    fn append(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let identity = self.identity;
        let path = self.dir.database();
        let database = self.working()?;
        let appended = append(&mut database.writer, &mut database.ids, batch)
            // What is not there under its name any more is lost when it is closed.
            .and_then(|()| files::check_place(&path, identity).map_err(StoreError::new));
        if let Err(error) = appended {
            // Whatever state it is in, it is opened anew.
            self.database = None;
            return Err(error);
        }
        database.checkpointer.after_commit(&database.writer);
        Ok(())
    }

    fn page(&mut self, fetch: &Fetch) -> Result<Page, StoreError> {
        page(&self.working()?.writer, fetch)
    }

    /// Logs are kept, whoever is there.
    fn release(&mut self, room: &RoomId, _: Timestamp) {
        if let Some(database) = &mut self.database {
            database.ids.remove(room);
        }
    }

    fn reopen(&mut self, _: Timestamp) -> Result<(), StoreError> {
        let after_failure = self.database.take().is_none();
        let path = self.dir.database();
        // Another database would take over the write-ahead log of this one.
        files::check_place(&path, self.identity).map_err(StoreError::new)?;
        let mut database = Database::open(&path).map_err(StoreError::new)?;
        if after_failure && !database.renew().map_err(failed)? {
            return Err(StoreError::new(
                "another process reads the database; it is reopened when that is over",
            ));
        }
        self.database = Some(database);
        Ok(())
    }

    fn maintain(&mut self, at: Timestamp) -> bool {
        let Some(database) = &mut self.database else {
            return false;
        };
        let stepped = self
            .walk
            .step(&mut database.writer, self.retention, self.tail_entries, at);
        database.checkpointer.after_commit(&database.writer);
        stepped.unwrap_or_else(|error| {
            warn!(%error, "old messages cannot be deleted yet");
            self.walk.rest(at);
            false
        })
    }
}

/// What is stored of a room besides its messages.
pub(crate) struct Stored {
    pub(crate) id: i64,
    epoch: Epoch,
    last_seq: Seq,
    last_at: Timestamp,
}

pub(crate) fn stored(connection: &Connection, room: &RoomId) -> Result<Option<Stored>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, epoch, last_seq, last_at FROM rooms WHERE room = ?1")
        .map_err(failed)?;
    let row = statement
        .query_row([room.as_str()], |row| {
            let epoch: String = row.get(1)?;
            Ok((row.get(0)?, epoch, row.get(2)?, row.get(3)?))
        })
        .optional()
        .map_err(failed)?;
    let Some((id, epoch, last_seq, last_at)) = row else {
        return Ok(None);
    };
    Ok(Some(Stored {
        id,
        epoch: Epoch::try_from(epoch).map_err(StoreError::new)?,
        last_seq: Seq(last_seq),
        last_at: Timestamp(last_at),
    }))
}

fn load(
    connection: &Connection,
    room: &RoomId,
    (tail_entries, tail_bytes): (u64, usize),
) -> Result<StoredLog, StoreError> {
    let Some(log) = stored(connection, room)? else {
        let epoch = epoch_of_new_rooms(connection).map_err(failed)?;
        let epoch = epoch.ok_or_else(|| StoreError::new(NO_EPOCH))?;
        return Ok(StoredLog::empty(epoch));
    };
    let newest = newest(connection, room, log.id, None, (tail_entries, tail_bytes))?;
    if newest
        .iter()
        .flatten()
        .any(|entry| entry.seq > log.last_seq)
    {
        return Err(StoreError::new(format!(
            "the room {room} has messages beyond its last_seq {}: it cannot be used until that is mended",
            log.last_seq.0
        )));
    }
    // An operator may have deleted some.
    let mut tail = Vec::new();
    let (mut seq, mut at) = (log.last_seq, log.last_at);
    for entry in newest {
        let Some(entry) = entry.filter(|entry| entry.seq == seq && entry.at <= at) else {
            break;
        };
        (seq, at) = (Seq(seq.0 - 1), entry.at);
        tail.push(Arc::new(entry));
    }
    tail.reverse();
    StoredLog::new(log.epoch, log.last_seq, log.last_at, tail).map_err(StoreError::new)
}

fn page(connection: &Connection, fetch: &Fetch) -> Result<Page, StoreError> {
    let log = stored(connection, &fetch.room)?.filter(|log| log.epoch == fetch.epoch);
    let Some(log) = log else {
        return Ok(Page::default());
    };
    let limit = u64::from(fetch.limit);
    // One more tells whether there are more.
    let mut newest = newest(
        connection,
        &fetch.room,
        log.id,
        Some(fetch.before),
        (limit + 1, usize::MAX),
    )?;
    let has_more = newest.len() as u64 > limit;
    if has_more {
        newest.pop();
    }
    Ok(Page {
        entries: newest.into_iter().rev().flatten().map(Arc::new).collect(),
        has_more,
    })
}

/// The last `most` messages before a seq, descending, and none behind the one with which their texts
/// take more than `most_bytes`. One that no client could have sent, which an operator may have made
/// of it, is none.
fn newest(
    connection: &Connection,
    room: &RoomId,
    id: i64,
    before: Option<Seq>,
    (most, most_bytes): (u64, usize),
) -> Result<Vec<Option<Entry>>, StoreError> {
    let before = before.and_then(|seq| i64::try_from(seq.0).ok());
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, at, username, text, client_msg_id FROM messages
             WHERE room_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query((id, before.unwrap_or(i64::MAX), most))
        .map_err(failed)?;
    let mut newest = Vec::new();
    let mut bytes = 0;
    while bytes <= most_bytes
        && let Some(row) = rows.next().map_err(failed)?
    {
        let entry = entry(row);
        bytes += entry.as_ref().map_or(0, |entry| entry.text.as_str().len());
        if entry.is_none() {
            let seq: i64 = row.get(0).map_err(failed)?;
            warn!(%room, seq, "a stored message breaks the rules for messages; it is not shown");
        }
        newest.push(entry);
    }
    Ok(newest)
}

fn entry(row: &Row<'_>) -> Option<Entry> {
    let text = |column| row.get_ref(column).ok()?.as_str().ok();
    let id = row.get_ref(4).ok()?.as_str_or_null().ok()?;
    let seq = Seq(row.get(0).ok()?);
    // I-6: the first is 1.
    (seq > Seq(0)).then_some(Entry {
        seq,
        at: Timestamp(row.get(1).ok()?),
        from: Username::new(text(2)?).ok()?,
        text: MessageText::new(text(3)?).ok()?,
        client_msg_id: id.map(ClientMsgId::new).transpose().ok()?,
    })
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("dir", &self.dir.path())
            .field("works", &self.database.is_some())
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use parlor_core::ConnId;
    use tempfile::TempDir;

    use super::*;

    fn open(dir: &TempDir) -> SqliteStore {
        let new_epoch = || Epoch::new("e1").unwrap();
        SqliteStore::open(dir.path(), &Limits::default(), new_epoch).unwrap()
    }

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    fn said(name: &str, epoch: &str, seq: u64, at: u64, text: &str) -> Append {
        Append {
            room: room(name),
            epoch: Epoch::new(epoch).unwrap(),
            entry: Arc::new(Entry {
                seq: Seq(seq),
                at: Timestamp(at),
                from: Username::new("Åsa").unwrap(),
                text: MessageText::new(text).unwrap(),
                client_msg_id: seq
                    .is_multiple_of(2)
                    .then(|| ClientMsgId::new("id").unwrap()),
            }),
        }
    }

    fn batch(name: &str, epoch: &str, seqs: std::ops::RangeInclusive<u64>) -> Vec<Append> {
        seqs.map(|seq| said(name, epoch, seq, seq, "hi")).collect()
    }

    /// Its epoch, last seq and time, and the seqs of its tail.
    fn loaded(store: &mut SqliteStore, name: &str) -> String {
        let log = store.load(&room(name), 300).unwrap();
        let json = serde_json::to_value(&log).unwrap();
        let tail: Vec<u64> = log.tail().iter().map(|entry| entry.seq.0).collect();
        let field = |name: &str| json[name].to_string().replace('"', "");
        let (epoch, seq, at) = (field("epoch"), field("last_seq"), field("last_at"));
        format!("{epoch} {seq} {at} {tail:?}")
    }

    fn paged(store: &mut SqliteStore, before: u64, limit: u32) -> String {
        let fetch = Fetch {
            conn: ConnId(1),
            room: room("a"),
            epoch: Epoch::new("e1").unwrap(),
            before: Seq(before),
            limit,
            reference: None,
        };
        let page = store.page(&fetch).unwrap();
        let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq.0).collect();
        format!("{seqs:?} {}", page.has_more)
    }

    fn execute(store: &SqliteStore, sql: &str) {
        let database = store.database.as_ref().unwrap();
        database.writer.execute_batch(sql).unwrap();
    }

    /// It refuses everything until it is reopened, and has then what it had before.
    fn recovers(store: &mut SqliteStore, had: &str) {
        store.load(&room("a"), 300).unwrap_err();
        store.append(&[]).unwrap_err();
        store.append(&batch("z", "e9", 1..=1)).unwrap_err();
        assert!(!store.maintain(Timestamp(0)));
        store.reopen(Timestamp(0)).unwrap();
        assert_eq!(loaded(store, "a"), had);
        assert!(loaded(store, "z").ends_with(" 0 0 []"));
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let texts = [
            "\u{0}a\u{0}",
            "\u{1f9d1}\u{200d}\n",
            " ",
            &"\u{10ffff}".repeat(2000),
        ];
        let said: Vec<Append> = (1..)
            .zip(texts)
            .map(|(seq, text)| said("a", "e1", seq, 1 << 50, text))
            .collect();
        open(&dir).append(&said).unwrap();
        let log = open(&dir).load(&room("a"), 300).unwrap();
        let said: Vec<Arc<Entry>> = said.into_iter().map(|append| append.entry).collect();
        assert_eq!(log.tail(), said);
    }

    #[test]
    fn no_more_of_a_tail_is_read_than_memory_holds() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        let long = "\u{10ffff}".repeat(2000);
        let said: Vec<Append> = (1..=300)
            .map(|seq| said("a", "e1", seq, seq, &long))
            .collect();
        store.append(&said).unwrap();
        let log = store.load(&room("a"), 300).unwrap();
        let read = log.tail().len() * long.len();
        let most = Limits::default().tail_bytes as usize;
        assert!((most..most + 2 * long.len()).contains(&read), "{read}");
        assert_eq!(log.tail().last().unwrap().seq, Seq(300));
    }

    #[test]
    fn a_room_in_which_nothing_was_said_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        let changes = |store: &SqliteStore| {
            let database = store.database.as_ref().unwrap();
            database.writer.total_changes()
        };
        let before = changes(&store);
        assert_eq!(loaded(&mut store, "a"), "e1 0 0 []");
        assert_eq!(loaded(&mut store, "a"), "e1 0 0 []");
        store.release(&room("a"), Timestamp(1));
        assert_eq!(changes(&store), before);
        store.append(&batch("a", "e1", 1..=2)).unwrap();
        assert_eq!(loaded(&mut store, "a"), "e1 2 2 [1, 2]");
        assert_eq!(loaded(&mut store, "b"), "e1 0 0 []");
    }

    #[test]
    fn what_does_not_follow_is_refused_with_its_whole_batch() {
        for wrong in [
            said("a", "e1", 3, 9, "a seq again"),
            said("a", "e1", 5, 9, "a gap"),
            said("a", "e2", 4, 9, "another epoch"),
            said("a", "e1", 4, 2, "back in time"),
            said("b", "e1", 2, 9, "a log that does not begin"),
            said("b", "e1", 0, 9, "before the first"),
            said("a", "e1", 4, u64::MAX, "no time"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut store = open(&dir);
            store.append(&batch("a", "e1", 1..=3)).unwrap();
            let mut failing = batch("z", "e9", 1..=3);
            failing.insert(2, wrong);
            store.append(&failing).unwrap_err();
            recovers(&mut store, "e1 3 3 [1, 2, 3]");
        }
    }

    #[test]
    fn a_batch_that_does_not_fit_is_not_stored_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=3)).unwrap();
        execute(&store, "PRAGMA max_page_count = 20");
        let long = "x".repeat(2000);
        let many: Vec<Append> = (1..=100)
            .map(|seq| said("z", "e9", seq, seq, &long))
            .collect();
        let error = store.append(&many).unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        recovers(&mut store, "e1 3 3 [1, 2, 3]");
        // There is room again.
        store.append(&many).unwrap();
        assert!(loaded(&mut store, "z").starts_with("e9 100 100 [1,"));
    }

    #[test]
    fn a_store_without_its_file_is_not_reopened_and_makes_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=3)).unwrap();
        store.append(&batch("a", "e1", 1..=3)).unwrap_err();
        let (path, elsewhere) = (store.dir.database(), dir.path().join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        store.reopen(Timestamp(0)).unwrap_err();
        fs::create_dir(&path).unwrap();
        store.reopen(Timestamp(0)).unwrap_err();
        fs::remove_dir(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        recovers(&mut store, "e1 3 3 [1, 2, 3]");
    }

    #[test]
    fn nothing_is_stored_in_a_file_that_is_not_there_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=3)).unwrap();
        let (path, elsewhere) = (store.dir.database(), dir.path().join("elsewhere"));
        for another in [false, true] {
            fs::rename(&path, &elsewhere).unwrap();
            if another {
                fs::copy(&elsewhere, &path).unwrap();
            }
            let last = if another { 5 } else { 4 };
            let error = store.append(&batch("a", "e1", last..=last)).unwrap_err();
            assert!(error.to_string().contains("put it back"), "{error}");
            store.reopen(Timestamp(0)).unwrap_err();
            fs::rename(&elsewhere, &path).unwrap();
            // It was not acknowledged, and is there all the same.
            recovers(
                &mut store,
                &format!("e1 {last} {last} {:?}", (1..=last).collect::<Vec<u64>>()),
            );
        }
    }

    #[test]
    fn a_store_that_works_may_be_reopened_while_somebody_reads() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=3)).unwrap();
        let shell = Connection::open(store.dir.database()).unwrap();
        shell
            .execute_batch("BEGIN; SELECT * FROM history;")
            .unwrap();
        store.append(&batch("a", "e1", 4..=5)).unwrap();
        store.reopen(Timestamp(0)).unwrap();
        assert_eq!(loaded(&mut store, "a"), "e1 5 5 [1, 2, 3, 4, 5]");
    }

    #[test]
    fn a_store_that_failed_is_reopened_when_nobody_reads_its_old_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=3)).unwrap();
        let shell = Connection::open(store.dir.database()).unwrap();
        shell
            .execute_batch("BEGIN; SELECT * FROM history;")
            .unwrap();
        store.append(&batch("a", "e1", 3..=3)).unwrap_err();
        store.reopen(Timestamp(0)).unwrap_err();
        shell.execute_batch("COMMIT").unwrap();
        recovers(&mut store, "e1 3 3 [1, 2, 3]");
    }

    #[test]
    fn a_page_ends_before_and_says_whether_there_is_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("b", "e2", 1..=9)).unwrap();
        store.append(&batch("a", "e1", 1..=5)).unwrap();
        assert_eq!(paged(&mut store, 6, 2), "[4, 5] true");
        assert_eq!(paged(&mut store, u64::MAX, 4), "[2, 3, 4, 5] true");
        assert_eq!(paged(&mut store, 4, 3), "[1, 2, 3] false");
        assert_eq!(paged(&mut store, 3, 1), "[2] true");
        assert_eq!(paged(&mut store, 1, 2), "[] false");
        execute(&store, "DELETE FROM messages WHERE seq IN (1, 3)");
        assert_eq!(paged(&mut store, 6, 2), "[4, 5] true");
        assert_eq!(paged(&mut store, 4, 2), "[2] false");
        execute(&store, "UPDATE rooms SET epoch = 'e3' WHERE room = 'a'");
        assert_eq!(paged(&mut store, 6, 2), "[] false");
    }

    #[test]
    fn the_tail_is_what_an_operator_left_of_it() {
        for (sql, left) in [
            ("DELETE FROM messages WHERE seq = 5", "e1 5 5 []"),
            ("DELETE FROM messages WHERE seq = 3", "e1 5 5 [4, 5]"),
            ("DELETE FROM messages", "e1 5 5 []"),
            ("UPDATE messages SET text = '' WHERE seq = 4", "e1 5 5 [5]"),
            (
                "UPDATE messages SET username = ' ' WHERE seq = 4",
                "e1 5 5 [5]",
            ),
            (
                "UPDATE messages SET text = CAST(x'ff' AS TEXT) WHERE seq = 4",
                "e1 5 5 [5]",
            ),
            ("UPDATE messages SET at = 6 WHERE seq = 4", "e1 5 5 [5]"),
            (
                "UPDATE messages SET at = -1 WHERE seq = 1",
                "e1 5 5 [2, 3, 4, 5]",
            ),
            (
                "INSERT INTO messages SELECT room_id, 0, at, username, text, NULL
                 FROM messages WHERE seq = 1",
                "e1 5 5 [1, 2, 3, 4, 5]",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut store = open(&dir);
            store.append(&batch("a", "e1", 1..=5)).unwrap();
            execute(&store, sql);
            assert_eq!(loaded(&mut store, "a"), left, "{sql}");
        }
    }

    #[test]
    fn a_room_that_was_deleted_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=5)).unwrap();
        store.release(&room("a"), Timestamp(5));
        execute(&store, "DELETE FROM rooms");
        store.append(&batch("a", "e2", 1..=2)).unwrap();
        assert_eq!(loaded(&mut store, "a"), "e2 2 2 [1, 2]");
    }

    #[test]
    fn a_room_that_was_deleted_while_in_use_takes_no_other_along() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=5)).unwrap();
        execute(&store, "DELETE FROM rooms");
        // It gets the number that `a` had.
        store.append(&batch("b", "e1", 1..=5)).unwrap();
        store.append(&batch("a", "e1", 6..=6)).unwrap_err();
        store.reopen(Timestamp(0)).unwrap();
        assert_eq!(loaded(&mut store, "b"), "e1 5 5 [1, 2, 3, 4, 5]");
        store.append(&batch("a", "e2", 1..=1)).unwrap();
        assert_eq!(loaded(&mut store, "a"), "e2 1 1 [1]");
    }

    #[test]
    fn a_room_whose_counter_was_turned_back_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store.append(&batch("a", "e1", 1..=5)).unwrap();
        execute(&store, "UPDATE rooms SET last_seq = 4");
        store.load(&room("a"), 300).unwrap_err();
        assert_eq!(loaded(&mut store, "b"), "e1 0 0 []", "others are");
    }

    #[test]
    fn an_operator_reads_the_chat_while_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        store
            .append(&[said("a", "e1", 1, 1_700_000_000_123, "Hello")])
            .unwrap();
        let shell = Connection::open(store.dir.database()).unwrap();
        let line: String = shell
            .query_row(
                "SELECT room || ' ' || seq || ' ' || time || ' ' || username || ' ' || text
                 FROM history",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(line, "a 1 2023-11-14 22:13:20 Åsa Hello");
    }
}

//! What the tables look like, and how an older layout becomes this one.

use rusqlite::{Connection, TransactionBehavior};

/// Stands in the header of every database of ours: "Parl".
pub(crate) const APPLICATION_ID: u32 = 0x5061_726c;

/// What leads from one version of the layout to the next; version 0 is an empty file. A step that
/// was released is never changed again.
pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE rooms (
  id       INTEGER PRIMARY KEY,     -- messages.room_id
  room     TEXT    NOT NULL UNIQUE, -- roomId, as clients know it
  epoch    TEXT    NOT NULL,        -- names this life of the room's log; no seq repeats within it
  last_seq INTEGER NOT NULL,        -- the last number given, even if that message is gone
  last_at  INTEGER NOT NULL         -- when, in ms since 1970, UTC
) STRICT;
CREATE TABLE new_rooms (            -- its one row is for all rooms that have none in rooms
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  epoch    TEXT    NOT NULL         -- what they begin in; none of them ever had a message in it
) STRICT;
CREATE TABLE messages (             -- in the order in which they came
  room_id  INTEGER NOT NULL,        -- rooms.id
  seq      INTEGER NOT NULL,        -- 1, 2, 3 ... in its room
  at       INTEGER NOT NULL,        -- in ms since 1970, UTC
  username TEXT    NOT NULL,
  text     TEXT    NOT NULL,
  client_msg_id TEXT                -- the sender's own id, by which a retry is recognised
) STRICT;
CREATE UNIQUE INDEX messages_by_room ON messages (room_id, seq);
CREATE VIEW history AS              -- for people
  SELECT room, seq, strftime('%Y-%m-%d %H:%M:%S', at / 1000, 'unixepoch') AS time, username, text
  FROM messages JOIN rooms ON rooms.id = room_id;
CREATE TRIGGER room_deleted AFTER DELETE ON rooms BEGIN
  DELETE FROM messages WHERE room_id = old.id;
  UPDATE new_rooms SET epoch = lower(hex(randomblob(8)));
END;
CREATE TRIGGER room_renamed AFTER UPDATE OF room ON rooms BEGIN
  UPDATE rooms SET epoch = lower(hex(randomblob(8))) WHERE id = new.id;
  UPDATE new_rooms SET epoch = lower(hex(randomblob(8)));
END;
"];

/// The version that this program reads and writes.
pub(crate) fn version() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("there are few of them")
}

/// Makes of whatever version there is the one that `migrations` lead to, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from: usize = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if from == migrations.len() {
        return Ok(());
    }
    for migration in migrations.iter().skip(from) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", migrations.len())?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE one (a TEXT) STRICT; INSERT INTO one VALUES ('kept');";
    const SECOND: &str = "ALTER TABLE one ADD COLUMN b INTEGER NOT NULL DEFAULT 2;";

    fn user_version(connection: &Connection) -> u32 {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
        version.unwrap()
    }

    #[test]
    fn every_version_becomes_the_last_one() {
        for from in 0..=2 {
            let steps = [FIRST, SECOND];
            let mut connection = Connection::open_in_memory().unwrap();
            migrate(&mut connection, &steps[..from]).unwrap();
            assert_eq!(user_version(&connection) as usize, from);
            migrate(&mut connection, &steps).unwrap();
            assert_eq!(user_version(&connection), 2);
            let row: (String, i64) = connection
                .query_row("SELECT a, b FROM one", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            assert_eq!(row, ("kept".to_string(), 2));
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST]).unwrap();
        migrate(&mut connection, &[FIRST, SECOND, "no SQL"]).unwrap_err();
        assert_eq!(user_version(&connection), 1);
        connection.prepare("SELECT b FROM one").unwrap_err();
    }
}

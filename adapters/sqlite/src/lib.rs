//! The durable store of parlor: every room's log in one SQLite database, `parlor.db`, that an
//! operator can read with the `sqlite3` shell while the server runs.
//!
//! [`SqliteStore`] is the [`Store`](parlor_hub::Store) to run behind
//! [`Hub::with_store_thread`](parlor_hub::Hub::with_store_thread); [`backup`] copies the database of
//! a server that may be running, [`restore`] puts such a copy in place.
//!
//! # What is promised
//!
//! - What [`append`](parlor_hub::Store::append) took is on the disk when it returns, all of the
//!   batch or nothing of it: one transaction, `journal_mode = WAL`, `synchronous = FULL`.
//! - An entry that does not follow the stored end of its room's log, or belongs to another epoch, is
//!   refused, and with it its batch. Whatever the caller believes, seqs never repeat.
//! - After a batch that failed nothing is answered until the store was reopened, which succeeds only
//!   when the database takes a write again.
//! - A room's epoch, last seq and last time outlive all of its messages; the epoch is kept before the
//!   first of them, too, although loading a room writes nothing.
//! - The tail that is loaded runs up to the last seq without a gap, or is empty, whatever retention
//!   or an operator deleted.
//! - A database that cannot be used is left as it is, byte for byte.
//!
//! # The layout
//!
//! `rooms` has a row for each room in which something was ever said, `messages` one for each
//! message, and the view `history` shows both to people; `.schema` in the shell explains the columns.
//! `new_rooms` has the one epoch of all other rooms: a room takes it along into its row. Whatever could
//! give a room an epoch a second time puts another one in its place: that a row of `rooms` is deleted or
//! gets another name, and [`restore`].
//!
//! What everybody waits for is the commit, so this is the layout that is written fastest. In 10,000
//! rooms at random, a table in order of arrival with an index by `(room_id, seq)` took 1.7 times as
//! many messages a second as a `WITHOUT ROWID` table in batches of 100, and 2.3 times as many in
//! batches of 1,000; loading a tail of 50 takes 0.1 ms instead of 0.02. Naming rooms by their text in
//! each message instead of a number halved what batches of 1,000 reach.
//!
//! An operator may delete messages, or rooms that nobody is in, and change texts while the server
//! runs; what is open in memory shows it once the room was empty. A room that is deleted begins anew,
//! in another epoch; so does, when it is loaded again, every room in which nothing was said yet.

mod append;
mod backup;
mod checkpoint;
mod database;
mod error;
mod files;
mod retention;
mod schema;
mod store;

pub use backup::{backup, restore};
pub use error::DatabaseError;
pub use retention::Retention;
pub use store::SqliteStore;

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
//! - A room's epoch, last seq and last time outlive all of its messages.
//! - The tail that is loaded runs up to the last seq without a gap, or is empty, whatever retention
//!   or an operator deleted.
//! - A database that cannot be used is left as it is, byte for byte.
//!
//! # The layout
//!
//! Three tables would say the same in fewer bytes or read better alone; this is the fastest to
//! write, because everybody waits for the commit. Measured on 10,000 rooms in turn, a table in order
//! of arrival with an index by `(room_id, seq)` took 1.7 times as many messages a second as a
//! `WITHOUT ROWID` table in batches of 100, and 2.3 times as many in batches of 1,000; loading a
//! tail takes 0.1 ms instead of 0.02. Naming rooms by their text in every message halved what batches
//! of 1,000 reach. The view `history` puts the names back for people.

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

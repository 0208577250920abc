//! Keeps the write-ahead log small without anybody waiting for it.
//!
//! A checkpoint copies pages from the log into the database, at random places, and waits for the
//! disk: it is done by a thread with a connection of its own, which holds up neither commits nor
//! reads. But the log starts again at its beginning only when all of it was copied, and under load
//! there is always something that came meanwhile. So once the log is large and little of it is left
//! to be copied, the thread rests, and the store copies that behind its next commit. Only when the
//! disk is so slow that the log goes on growing all the same does the store wait for it.
//!
//! As long as somebody reads an old state, such as a shell in a transaction, nothing behind that
//! state can be copied, and the log grows by whatever is said.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tracing::warn;

/// How large the log becomes, in pages of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// From here on they are copied in the background.
    pub(crate) copy: u32,
    /// From here on the store itself makes an end of it, if little is left.
    pub(crate) end: u32,
    /// That is little.
    pub(crate) little: u32,
    /// From here on it makes an end of it even if that is much.
    pub(crate) most: u32,
}

/// 16 MiB, four times what SQLite does by default, since pages that change often are then copied
/// once instead of four times; 64 MiB; 4 MiB, some milliseconds; and 256 MiB.
pub(crate) const SIZES: Sizes = Sizes {
    copy: 4096,
    end: 16_384,
    little: 1024,
    most: 65_536,
};

/// What is kept of the log's file, in bytes.
pub(crate) const KEPT_BYTES: u32 = SIZES.end * 4096;

/// Who copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Nobody,
    Thread,
    Store,
}

impl Sizes {
    /// Whose turn it is when the log has `frames` pages, of which `left` are not in the database.
    const fn turn(self, frames: u32, left: u32, is_held: bool) -> Turn {
        let large = frames >= self.end && left <= self.little || frames >= self.most;
        if frames < self.copy {
            Turn::Nobody
        } else if large && !is_held {
            Turn::Store
        } else {
            Turn::Thread
        }
    }
}

/// The log, in pages.
#[derive(Debug, Default)]
struct Log {
    /// As of the last commit.
    frames: AtomicU32,
    /// Of them in the database, as of the last checkpoint.
    copied: AtomicU32,
    /// Somebody reads an old state: the last checkpoint could not copy everything. Whether that is
    /// over, the thread finds out.
    is_held: AtomicBool,
    /// The last checkpoint failed.
    is_failing: AtomicBool,
}

/// The thread; it ends with this.
pub(crate) struct Checkpointer {
    sizes: Sizes,
    log: Arc<Log>,
    orders: SyncSender<Order>,
    /// Held by the thread while it copies.
    copying: Arc<Mutex<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
enum Order {
    Copy,
    End,
}

impl Checkpointer {
    /// Begins to watch what `writer` commits. The thread works with `own`, another connection to
    /// the same database.
    pub(crate) fn start(
        sizes: Sizes,
        writer: &mut Connection,
        own: Connection,
    ) -> rusqlite::Result<Self> {
        // One order that waits is as good as many.
        let (orders, ordered) = sync_channel(1);
        let log = Arc::<Log>::default();
        let seen = log.clone();
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.grew(u32::try_from(pages).unwrap_or_default());
            Ok(())
        }))?;
        let copying = Arc::<Mutex<()>>::default();
        let (held, copied) = (copying.clone(), log.clone());
        Ok(Self {
            sizes,
            log,
            orders,
            copying,
            thread: Some(thread::spawn(move || run(&own, &copied, &ordered, &held))),
        })
    }

    /// Has the log copied when it is time to; to be called behind a commit.
    pub(crate) fn after_commit(&self, writer: &Connection) {
        let frames = self.log.frames.load(Ordering::Relaxed);
        let left = frames.saturating_sub(self.log.copied.load(Ordering::Relaxed));
        let is_held = self.log.is_held.load(Ordering::Relaxed);
        match self.sizes.turn(frames, left, is_held) {
            Turn::Nobody => {}
            Turn::Thread => {
                // Fails only when one waits already.
                let _ = self.orders.try_send(Order::Copy);
            }
            Turn::Store => {
                let at_rest = if frames < self.sizes.most {
                    self.copying.try_lock().ok()
                } else {
                    self.copying.lock().ok()
                };
                if at_rest.is_some() {
                    self.log.copy(writer);
                }
            }
        }
    }
}

impl Log {
    fn grew(&self, frames: u32) {
        if self.frames.swap(frames, Ordering::Relaxed) > frames {
            // It began anew.
            self.copied.store(0, Ordering::Relaxed);
        }
    }

    /// Copies what can be copied without waiting. What could not be stays in the log, so nothing is
    /// lost, and the next one tries again.
    fn copy(&self, connection: &Connection) {
        match checkpoint(connection, "PASSIVE") {
            Ok(done) => {
                self.copied.store(done.copied, Ordering::Relaxed);
                self.is_held
                    .store(done.copied < done.frames, Ordering::Relaxed);
                self.is_failing.store(false, Ordering::Relaxed);
            }
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                warn!(%error, "the write-ahead log cannot be copied into the database; it grows meanwhile");
            }
            Err(_) => {}
        }
    }
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// Somebody stood in the way.
    pub(crate) is_busy: bool,
    /// Pages in the log.
    frames: u32,
    /// Of them in the database now.
    copied: u32,
}

/// Copies what can be copied without waiting, or, in the mode `TRUNCATE`, everything.
pub(crate) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Done> {
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&pragma, [], |row| {
        // Both are -1 when another checkpoint is under way.
        let pages = |column| {
            row.get(column)
                .map(|pages: i64| u32::try_from(pages).unwrap_or_default())
        };
        Ok(Done {
            is_busy: row.get(0)?,
            frames: pages(1)?,
            copied: pages(2)?,
        })
    })
}

fn run(own: &Connection, log: &Log, orders: &Receiver<Order>, copying: &Mutex<()>) {
    while let Ok(Order::Copy) = orders.recv() {
        let _held = copying.lock();
        log.copy(own);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Either fails only if it panicked, which it does not; its connection is closed anyway.
            let _ = self.orders.send(Order::End);
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpointer")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grew_large_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let connection = Connection::open(dir.path().join("a.db")).unwrap();
            connection
                .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;")
                .unwrap();
            connection
        };
        let mut writer = open();
        // The thread never gets an order.
        let sizes = Sizes {
            copy: 20,
            end: 20,
            little: 20,
            most: 20,
        };
        let checkpointer = Checkpointer::start(sizes, &mut writer, open()).unwrap();
        writer.execute_batch("CREATE TABLE t (x TEXT)").unwrap();
        let mut largest = 0;
        for _ in 0..100 {
            writer.execute("INSERT INTO t VALUES ('y')", []).unwrap();
            checkpointer.after_commit(&writer);
            largest = checkpointer.log.frames.load(Ordering::Relaxed).max(largest);
        }
        assert_eq!(largest, 20);
    }

    #[test]
    fn the_store_copies_only_what_is_little() {
        let sizes = Sizes {
            copy: 10,
            end: 40,
            little: 5,
            most: 100,
        };
        for (frames, left, is_held, expected) in [
            (9, 9, false, Turn::Nobody),
            (10, 10, false, Turn::Thread),
            (39, 1, false, Turn::Thread),
            (40, 6, false, Turn::Thread),
            (40, 5, false, Turn::Store),
            (99, 99, false, Turn::Thread),
            (100, 100, false, Turn::Store),
            (40, 5, true, Turn::Thread),
            (100, 100, true, Turn::Thread),
            (9, 1, true, Turn::Nobody),
        ] {
            assert_eq!(
                sizes.turn(frames, left, is_held),
                expected,
                "{frames} {left}"
            );
        }
    }

    #[test]
    fn who_reads_an_old_state_is_noticed_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Connection::open(dir.path().join("a.db")).unwrap();
        let (writer, shell) = (open(), open());
        writer
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x TEXT);")
            .unwrap();
        let log = Log::default();
        shell.execute_batch("BEGIN; SELECT * FROM t;").unwrap();
        writer.execute("INSERT INTO t VALUES ('y')", []).unwrap();
        log.copy(&writer);
        assert!(log.is_held.load(Ordering::Relaxed));
        shell.execute_batch("COMMIT").unwrap();
        log.copy(&writer);
        assert!(!log.is_held.load(Ordering::Relaxed));
    }
}

//! Keeps the write-ahead log small without anybody waiting for it.
//!
//! A checkpoint copies pages from the log into the database, at random places, and waits for the
//! disk: it is done by a thread with a connection of its own, which holds up neither commits nor
//! reads. But the log starts again at its beginning only when all of it was copied, and under load
//! there is always something that came meanwhile. So once the log is large, the thread rests, and
//! the store copies what is left, which is little, behind its next commit. Only when the disk is so
//! slow that the log goes on growing until the thread comes to rest does the store wait for it.
//!
//! As long as somebody reads an old state, such as a shell in a transaction, nothing behind that
//! state can be copied, and the log grows by whatever is said. All of that is the thread's.

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
    /// From here on the store itself makes an end of it, if the thread is at rest.
    pub(crate) end: u32,
    /// From here on it waits until the thread is.
    pub(crate) most: u32,
}

/// 16 MiB, four times what SQLite does by default, since pages that change often are then copied
/// once instead of four times; 64 MiB; and 256 MiB.
pub(crate) const SIZES: Sizes = Sizes {
    copy: 4096,
    end: 16_384,
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
    /// Whose turn it is when the log has `frames` pages.
    const fn turn(self, frames: u32, is_held: bool) -> Turn {
        if frames < self.copy {
            Turn::Nobody
        } else if frames < self.end || is_held {
            Turn::Thread
        } else {
            Turn::Store
        }
    }
}

/// The log, in pages.
#[derive(Debug, Default)]
struct Log {
    /// As of the last commit.
    frames: AtomicU32,
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
            let pages = u32::try_from(pages).unwrap_or_default();
            seen.frames.store(pages, Ordering::Relaxed);
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
        let is_held = self.log.is_held.load(Ordering::Relaxed);
        match self.sizes.turn(frames, is_held) {
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
    /// Copies what can be copied without waiting. What could not be stays in the log, so nothing is
    /// lost, and the next one tries again.
    fn copy(&self, connection: &Connection) {
        match checkpoint(connection, "PASSIVE") {
            Ok(done) => {
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
    fn a_log_that_somebody_holds_is_left_to_the_thread() {
        let sizes = Sizes {
            copy: 10,
            end: 40,
            most: 100,
        };
        for (frames, is_held, expected) in [
            (9, false, Turn::Nobody),
            (10, false, Turn::Thread),
            (39, false, Turn::Thread),
            (40, false, Turn::Store),
            (100, false, Turn::Store),
            (9, true, Turn::Nobody),
            (40, true, Turn::Thread),
            (100, true, Turn::Thread),
        ] {
            assert_eq!(sizes.turn(frames, is_held), expected, "{frames} {is_held}");
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

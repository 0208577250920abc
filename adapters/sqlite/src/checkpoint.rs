//! Keeps the write-ahead log small without anybody waiting for it.
//!
//! A checkpoint copies pages from the log into the database, at random places, and waits for the
//! disk: it is done by a thread with a connection of its own, which holds up neither commits nor
//! reads. But the log starts again at its beginning only when all of it was copied, and under load
//! there is always something that came meanwhile. So once the log is large, the thread rests, and
//! the store copies what is left, which is little, behind its next commit. Only when the disk is so
//! slow that the log goes on growing until the thread comes to rest does the store wait for it.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
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

/// The thread; it ends with this.
pub(crate) struct Checkpointer {
    sizes: Sizes,
    /// Pages in the log, as of the last commit.
    frames: Arc<AtomicU32>,
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
        let frames = Arc::<AtomicU32>::default();
        let (order, seen) = (orders.clone(), frames.clone());
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            let pages = u32::try_from(pages).unwrap_or_default();
            seen.store(pages, Ordering::Relaxed);
            if (sizes.copy..sizes.end).contains(&pages) {
                // Fails only when one waits already.
                let _ = order.try_send(Order::Copy);
            }
            Ok(())
        }))?;
        let copying = Arc::<Mutex<()>>::default();
        let held = copying.clone();
        Ok(Self {
            sizes,
            frames,
            orders,
            copying,
            thread: Some(thread::spawn(move || run(&own, &ordered, &held))),
        })
    }

    /// Makes an end of a log that the thread alone does not; to be called behind a commit.
    pub(crate) fn after_commit(&self, writer: &Connection) {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames < self.sizes.end {
            return;
        }
        let at_rest = if frames < self.sizes.most {
            self.copying.try_lock().ok()
        } else {
            self.copying.lock().ok()
        };
        if at_rest.is_some() {
            report(checkpoint(writer, "PASSIVE"));
        }
    }

    #[cfg(test)]
    pub(crate) fn frames(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }
}

/// Copies what can be copied without waiting, or, in the mode `TRUNCATE`, everything. False if
/// somebody stood in the way.
pub(crate) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    let busy: bool = connection.query_row(&pragma, [], |row| row.get(0))?;
    Ok(!busy)
}

fn run(own: &Connection, orders: &Receiver<Order>, copying: &Mutex<()>) {
    while let Ok(Order::Copy) = orders.recv() {
        let _held = copying.lock();
        report(checkpoint(own, "PASSIVE"));
    }
}

/// What could not be copied stays in the log, so nothing is lost and the next one tries again.
fn report(done: rusqlite::Result<bool>) {
    if let Err(error) = done {
        warn!(%error, "the write-ahead log cannot be copied into the database; it grows meanwhile");
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
            .field("frames", &self.frames)
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
            largest = checkpointer.frames().max(largest);
        }
        assert_eq!(largest, 20);
    }
}

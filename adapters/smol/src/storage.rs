//! Where a server keeps what is said: in memory, or on the disk.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::thread;

use parlor_core::Limits;
use parlor_hub::{Handle, Hub, HubConfig, MemoryStore, Store, epochs};
use parlor_sqlite::{Retention, SqliteStore};
use smol::channel::{self, Receiver};
use tracing::info;

use crate::server::ServerError;

/// Where a server keeps what is said.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In memory; it is gone with the server.
    Memory,
    /// In the database of a directory, which is made if it is not there.
    Directory {
        /// Which.
        dir: PathBuf,
        /// How much of it.
        retention: Retention,
    },
}

/// A store that is ready, and the way to run it.
pub(crate) enum OpenStore {
    /// It answers at once, so the hub calls it.
    Inside(Box<dyn Store>),
    /// It waits for a disk, so it has a thread.
    Thread(Box<dyn Store>),
}

/// The thread of a store.
#[derive(Debug)]
pub(crate) struct StoreThread {
    /// Closed when it ends.
    ended: Receiver<Infallible>,
}

impl StoreThread {
    /// Waits until the store is closed, which it is some time after its hub is gone.
    pub(crate) async fn ended(&self) {
        // Nothing is ever sent.
        let _ = self.ended.recv().await;
    }
}

impl Storage {
    /// Opens it. Blocks the thread.
    pub(crate) fn open(&self, limits: &Limits) -> Result<OpenStore, ServerError> {
        let new_epoch = epochs().map_err(ServerError::Random)?;
        Ok(match self {
            Self::Memory => OpenStore::Inside(Box::new(MemoryStore::new(limits, new_epoch))),
            Self::Directory { dir, retention } => {
                let store = SqliteStore::open(dir, limits, new_epoch);
                let store = store.map_err(ServerError::Database)?;
                info!(dir = %dir.display(), "what is said is kept");
                OpenStore::Thread(Box::new(store.with_retention(*retention)))
            }
        })
    }
}

impl OpenStore {
    /// A hub with this store.
    pub(crate) fn start(
        self,
        config: HubConfig,
    ) -> Result<(Hub, Handle, Option<StoreThread>), ServerError> {
        match self {
            Self::Inside(store) => {
                let (hub, handle) = Hub::new(config, store);
                Ok((hub, handle, None))
            }
            Self::Thread(store) => {
                let (hub, handle, worker) = Hub::with_store_thread(config, store);
                let (running, ended) = channel::bounded(1);
                let run = move || {
                    worker.run();
                    drop(running);
                };
                let thread = thread::Builder::new().name("parlor-store".into());
                thread.spawn(run).map_err(ServerError::Thread)?;
                Ok((hub, handle, Some(StoreThread { ended })))
            }
        }
    }
}

impl fmt::Debug for OpenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inside(_) => "Inside",
            Self::Thread(_) => "Thread",
        })
    }
}

//! The loop around [`parlor_core`]: it batches events, keeps the write-ahead order, carries out
//! effects through [`Outlet`]s and survives panics. It belongs to no async runtime: it needs an
//! executor to [`Hub::run`] on and somebody to [`Handle::tick`] once a second, nothing else.
//!
//! An adapter accepts sockets, makes an [`Outlet`] of each writing half, calls [`Handle::connect`],
//! and hands over what the session admits from the reading half through its [`Connection`].

mod application;
mod batch;
mod clock;
pub mod connection;
mod crash;
pub mod entrance;
mod epochs;
mod fanout;
mod frame;
mod handle;
mod hub;
mod inbox;
mod memory;
mod metrics;
mod outlet;
mod pipe;
mod store;
pub mod testing;
pub mod trace;

pub use application::PublishError;
pub use clock::Clock;
pub use crash::CrashReport;
pub use epochs::epochs;
pub use frame::{Frame, Opcode, close_frame, frame};
pub use handle::{Connection, Handle, HubGone};
pub use hub::{Happened, Hub, HubConfig, HubError};
pub use memory::{MemoryStore, Retention};
pub use metrics::{Metrics, TurnedAway};
pub use outlet::Outlet;
pub use pipe::{LastWord, PipeOutlet, PipeReader, pipe};
pub use store::{Append, Store, StoreError, StoreWorker};

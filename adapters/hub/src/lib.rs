//! The loop around [`parlor_core`]: it batches events, keeps the write-ahead order, carries out
//! effects through [`Outlet`]s and survives panics. It belongs to no async runtime: it needs an
//! executor to [`Hub::run`] on and somebody to [`Handle::tick`] once a second, nothing else.
//!
//! # Which part is for what
//!
//! - **An application** has a [`Handle`]: it [publishes](Handle::publish), lists [rooms](Handle::rooms)
//!   and [users](Handle::users), [disconnects](Handle::disconnect_user), and through
//!   [`HubConfig::observer`] it is told what [happened](Happened).
//! - **Its tests** have a whole chat in their own thread and in virtual time: [`testing`].
//! - **An adapter** for another runtime or transport accepts sockets, makes an [`Outlet`] of each
//!   writing half, calls [`Handle::connect`], and hands over what the session admits from the reading
//!   half through its [`Connection`]. For WebSocket that is all here already: [`entrance`] answers
//!   the request, [`connection::run`] does the rest with a stream and a [`connection::Timer`]; a stream
//!   that cannot be written to at once, such as TLS, gets a [`pipe`](fn@pipe).
//! - **A store** of one's own is a [`Store`]; [`MemoryStore`] is one, `parlor-sqlite` has another.
//!   One that waits for a disk gets a thread: [`Hub::with_store_thread`].
//! - **Operators** have [`Metrics`], the [report](CrashReport) of each panic, and [`trace`]s of what
//!   the core was fed, which can be replayed.
//!
//! # What is bounded
//!
//! The inbox has 4096 places, and whoever sends more waits. The queue of each connection is bounded by
//! [`Limits::outbox_bytes`](parlor_core::Limits::outbox_bytes) and all of them together by
//! [`Limits::outbox_total_bytes`](parlor_core::Limits::outbox_total_bytes); one that takes nothing is
//! closed. A panic is survived three times in a minute, then the hub ends with an error.
//!
//! # Stability
//!
//! What an application, its tests and a store use is promised as
//! [`parlor_core`'s](parlor_core#stability) API is. What adapters share ([`connection`],
//! [`entrance`], [`Outlet`]) may still change with a minor version more often than that.

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
mod signals;
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

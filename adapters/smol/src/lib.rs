//! parlor on smol: listens, accepts, serves HTTP, and lets each WebSocket connection talk to the
//! [hub](parlor_hub). The binary `parlor` is a command line around [`Server`].
//!
//! What is this runtime's own is here: sockets, timers, tasks. What a chat is, is in
//! [`parlor_core`].

mod admin;
mod crash;
mod http;
mod metrics;
mod outlet;
mod page;
#[cfg(target_os = "linux")]
mod process;
mod record;
mod server;
#[cfg(all(target_os = "linux", not(parlor_portable)))]
mod socket;
#[cfg(any(not(target_os = "linux"), parlor_portable))]
#[path = "socket_portable.rs"]
mod socket;
mod storage;
mod timer;
mod tls;

pub use ipnet::IpNet;
pub use parlor_hub::entrance::{AllowedOrigin, BadOrigin};
pub use parlor_sqlite::Retention;
pub use parlor_token::{BadToken, KeyError, Verifier, sign};
pub use record::Recording;
pub use server::{Config, Listen, Server, ServerError};
pub use storage::Storage;
pub use tls::{Tls, TlsError};

/// The examples of the README, which therefore work.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

//! parlor on smol: listens, accepts, serves HTTP, and lets each WebSocket connection talk to the
//! [hub](parlor_hub). The binary `parlor` is a command line around [`Server`].
//!
//! What is this runtime's own is here: sockets, timers, tasks. What a chat is, is in
//! [`parlor_core`].

mod admin;
mod admission;
mod beside;
mod chat;
mod connection;
mod crash;
mod entrance;
mod forwarded;
mod http;
mod metrics;
mod origin;
mod outlet;
mod page;
#[cfg(target_os = "linux")]
mod process;
mod record;
mod seldom;
mod server;
#[cfg(all(target_os = "linux", not(parlor_portable)))]
mod socket;
#[cfg(any(not(target_os = "linux"), parlor_portable))]
#[path = "socket_portable.rs"]
mod socket;
mod storage;
mod tls;
mod token;
mod websocket;

pub use chat::Chat;
pub use connection::{ConnectionClock, Flow, Protocol};
pub use forwarded::client_address;
pub use ipnet::IpNet;
pub use origin::{AllowedOrigin, BadOrigin};
pub use parlor_sqlite::Retention;
pub use record::Recording;
pub use server::{Config, Listen, Server, ServerError};
pub use storage::{Storage, epochs};
pub use tls::{Tls, TlsError};
pub use token::{BadToken, KeyError, Verified, Verifier, sign};

/// The examples of the README, which therefore work.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

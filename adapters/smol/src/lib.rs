//! parlor on smol: listens, accepts, serves HTTP, and lets each WebSocket connection talk to the
//! [hub](parlor_hub). The binary `parlor` is a command line around [`Server`].
//!
//! A server within a process of one's own, which ends when it is told to stop:
//!
//! ```
//! use std::net::SocketAddr;
//! use std::sync::Arc;
//!
//! use parlor_smol::{Config, Listen, Server, ServerError};
//!
//! # fn main() -> Result<(), ServerError> {
//! let listen = Listen::Address(SocketAddr::from(([127, 0, 0, 1], 0))); // any free port
//! let config = Config { listen, ..Config::default() };
//! let executor = Arc::new(smol::Executor::new());
//! smol::block_on(executor.clone().run(async {
//!     let server = Server::bind(config, executor.clone()).await?;
//!     println!("listening on {}", server.url());
//!     let stop = async {}; // when it is ready, the server says goodbye to everybody
//!     server.run(stop).await
//! }))
//! # }
//! ```
//!
//! What is this runtime's own is here: sockets, timers, tasks. What a chat is, is in
//! [`parlor_core`], and what is the same on every runtime in [`parlor_hub`].
//!
//! # Stability
//!
//! What the binary takes, writes and measures is what this crate promises, see
//! [`parlor_core`](parlor_core#stability); its library is there for the binary and for tests, and may
//! change with each minor version.

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

//! Servers over real sockets. What is awaited is read, never slept for; a guard in the client
//! panics when nothing comes at all.
//!
//! What every server of the chat does is in `scenarios`, which each runtime has to pass, as it has
//! those of the Rust client; the rest is of the server on smol.

use parlor_core::Limits;
use parlor_tests::server::TestServer;

mod admin;
mod application;
mod client_on_smol;
mod client_on_tokio;
mod entrance;
mod http;
mod on_smol;
mod on_tokio;
mod page;
mod panics;
mod proxy;
mod supervision;
mod tls;
mod tokens;

fn server() -> TestServer {
    TestServer::start(unlimited())
}

/// No flood control: tests talk faster than people.
fn unlimited() -> Limits {
    Limits {
        messages_per_second: 0,
        ..Limits::default()
    }
}

//! The server over real sockets. What is awaited is read, never slept for; a guard in the client
//! panics when nothing comes at all.

use parlor_core::Limits;
use parlor_tests::server::TestServer;

mod admin;
mod chat;
mod closing;
mod entrance;
mod errors;
mod hostile;
mod http;
mod page;
mod shutdown;
mod supervision;
mod tls;
mod tokens;

fn server() -> TestServer {
    TestServer::start(unlimited())
}

/// The same server over TCP and over TLS.
fn both(limits: &Limits) -> [TestServer; 2] {
    [TestServer::start, TestServer::start_tls].map(|start| start(limits.clone()))
}

/// No flood control: tests talk faster than people.
fn unlimited() -> Limits {
    Limits {
        messages_per_second: 0,
        ..Limits::default()
    }
}

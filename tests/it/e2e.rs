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

//! The server on smol, over TCP and over TLS.

#![allow(clippy::duplicate_mod, reason = "each runtime has the scenarios")]

use parlor_core::Limits;
use parlor_tests::server::TestServer;

use super::unlimited;

#[path = "scenarios/chat.rs"]
mod chat;
#[path = "scenarios/closing.rs"]
mod closing;
#[path = "scenarios/errors.rs"]
mod errors;
#[path = "scenarios/hostile.rs"]
pub(super) mod hostile;
#[path = "scenarios/shutdown.rs"]
mod shutdown;

fn server() -> TestServer {
    start(unlimited())
}

fn start(limits: Limits) -> TestServer {
    TestServer::start(limits)
}

fn both(limits: &Limits) -> [TestServer; 2] {
    [TestServer::start, TestServer::start_tls].map(|start| start(limits.clone()))
}

//! A chat in an application on tokio, over TCP and over a stream that it knows nothing of.

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
mod hostile;
#[path = "scenarios/shutdown.rs"]
mod shutdown;

fn server() -> TestServer {
    start(unlimited())
}

fn start(limits: Limits) -> TestServer {
    TestServer::start_tokio(limits)
}

fn both(limits: &Limits) -> [TestServer; 2] {
    [TestServer::start_tokio, TestServer::start_tokio_opaque].map(|start| start(limits.clone()))
}

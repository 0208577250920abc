//! The Rust client on tokio.

#![allow(clippy::duplicate_mod, reason = "each runtime has the scenarios")]

use std::future::Future;

use parlor_client_async::{Chat, ConnectError, Events, Options};
use parlor_tests::client::PATIENCE;
use tokio::runtime::Runtime;
use tokio::time::timeout;

#[path = "scenarios/client.rs"]
mod client;

fn connect(url: &str, options: Options) -> (Chat, Events) {
    parlor_client_async::tokio::connect(url, options).expect("it is a good URL")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = Runtime::new().expect("there are threads");
    let guarded = async { timeout(PATIENCE, future).await };
    runtime.block_on(guarded).expect("what is awaited comes")
}

#[test]
fn without_a_runtime_there_is_no_client() {
    let made = parlor_client_async::tokio::connect("ws://127.0.0.1:1/ws", Options::guest("Alice"));
    assert_eq!(made.err(), Some(ConnectError::NoRuntime));
}

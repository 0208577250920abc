//! The hub, driven by hand: what an adapter and a store see of it.

use parlor_core::Limits;
use parlor_tests::driven_hub::Client;

mod application;
mod dice;
mod ends;
mod faults;
mod metrics;
mod observer;
mod order;
mod panics;
mod pipe;
mod random;
mod returning;
mod slow;
mod store;
mod trace;

/// No flood control, and the smallest queues: an answer of 16 KiB, 64 KiB in all.
fn limits() -> Limits {
    Limits {
        messages_per_second: 0,
        answer_bytes: 0,
        outbox_bytes: 0,
        ..Limits::default()
    }
}

const PING: &str = r#"{"type":"ping"}"#;

/// A text whose message takes a little more than a KiB.
fn kib() -> String {
    "k".repeat(1000)
}

/// Everything that each of `clients` got since the last time.
fn read<const N: usize>(clients: [&Client; N]) -> [Vec<String>; N] {
    clients.map(Client::read)
}

//! A server that goes away says so.

use parlor_core::Limits;
use parlor_tests::client::{Client, Incoming};
use serde_json::json;

use super::{both, server};
use crate::e2e::unlimited;

#[test]
fn everybody_is_told_and_closed_with_1001() {
    for mut server in both(&unlimited()) {
        let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(server.door())).collect();
        for (i, client) in clients.iter_mut().enumerate().take(9) {
            client.join("lobby", &format!("user{i}"));
        }
        for (i, client) in clients.iter_mut().enumerate().take(9) {
            for _ in i + 1..9 {
                client.expect(&json!({ "type": "user_joined" }));
            }
        }
        server.stop();
        let mut waits: Vec<u64> = clients
            .iter_mut()
            .map(|client| {
                // Nothing but the goodbye: nobody hears of the others leaving.
                let told = client.expect(&json!({ "type": "error", "code": "SERVER_SHUTDOWN" }));
                assert_eq!(client.expect_close(), Some(1001));
                told["retryAfterMs"].as_u64().expect("a time to wait")
            })
            .collect();
        waits.sort_unstable();
        waits.dedup();
        assert_eq!(waits.len(), 10, "not all at once: {waits:?}");
        drop(clients);
        server.wait();
    }
}

#[test]
fn nobody_is_let_in_any_more() {
    let mut server = server();
    let address = server.address();
    let mut client = Client::connect(address);
    // Whoever has an answer is known to the hub.
    client.join("lobby", "Alice");
    server.stop();
    client.expect(&json!({ "type": "error", "code": "SERVER_SHUTDOWN" }));
    drop(client);
    server.wait();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn who_does_not_read_does_not_keep_the_server() {
    let limits = Limits {
        close_grace_ms: 1,
        send_buffer_bytes: 4 << 10,
        ..unlimited()
    };
    for mut server in both(&limits) {
        let mut alice = Client::connect(server.door());
        let mut sleepy = Client::connect_narrow(server.door());
        alice.join("lobby", "Alice");
        sleepy.join("lobby", "Sleepy");
        alice.expect(&json!({ "type": "user_joined" }));
        // More than two kernels hold for it, less than its outbox.
        let text = "x".repeat(2000);
        for seq in 1..=400 {
            alice.say("lobby", &text);
            alice.expect(&json!({ "type": "message", "seq": seq }));
        }
        server.stop();
        alice.expect(&json!({ "type": "error", "code": "SERVER_SHUTDOWN" }));
        drop(alice);
        server.wait();
        drop(sleepy);
    }
}

#[test]
fn what_was_said_before_arrives_before_the_goodbye() {
    for mut server in both(&unlimited()) {
        let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
        alice.join("lobby", "Alice");
        bob.join("lobby", "Bob");
        alice.expect(&json!({ "type": "user_joined" }));
        let text = "x".repeat(2000);
        for seq in 1..=100 {
            alice.say("lobby", &text);
            alice.expect(&json!({ "type": "message", "seq": seq }));
        }
        server.stop();
        for seq in 1..=100 {
            bob.expect(&json!({ "type": "message", "seq": seq }));
        }
        bob.expect(&json!({ "type": "error", "code": "SERVER_SHUTDOWN" }));
        let Incoming::Close(code) = bob.incoming() else {
            panic!("the goodbye ends with a close");
        };
        assert_eq!(code, Some(1001));
        server.wait();
    }
}

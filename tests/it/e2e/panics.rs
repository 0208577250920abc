//! A panic in what a connection speaks.

use std::ops::ControlFlow;

use parlor_core::Timestamp;
use parlor_core::session::Due;
use parlor_hub::Connection;
use parlor_hub::connection::{Access, Chat, ConnectionClock, Flow, Protocol};
use parlor_tests::client::Client;
use parlor_tests::server::TestServer;
use serde_json::json;

use super::unlimited;

/// The chat, with one text that is its undoing.
struct Fragile(Chat);

impl Protocol for Fragile {
    async fn text(&mut self, connection: &Connection, text: &str, clock: ConnectionClock) -> Flow {
        assert_ne!(text, "panic", "as the test wants it");
        self.0.text(connection, text, clock).await
    }

    async fn binary(&mut self, _: &Connection, _: &[u8]) -> Flow {
        ControlFlow::Continue(())
    }

    fn control(&mut self, now: Timestamp) -> Flow {
        self.0.control(now)
    }

    fn due(&mut self, now: Timestamp) -> Due {
        self.0.due(now)
    }

    fn deadline(&self) -> Timestamp {
        self.0.deadline()
    }
}

#[test]
fn a_panic_ends_its_own_connection_with_4502_and_no_other() {
    let limits = unlimited();
    let protocol = move |now| Fragile(Chat::new(&limits, Access::Guests, now));
    for server in [
        TestServer::start_protocol(unlimited(), protocol.clone()),
        TestServer::start_tls_protocol(unlimited(), protocol),
    ] {
        let [mut alice, mut unlucky] = [(); 2].map(|()| Client::connect(server.door()));
        alice.join("lobby", "Alice");
        unlucky.join("lobby", "Unlucky");
        alice.expect(&json!({ "type": "user_joined" }));
        unlucky.say("lobby", "before");
        unlucky.expect(&json!({ "type": "message" }));
        unlucky.send_text("panic");
        assert_eq!(unlucky.expect_close(), Some(4502));
        alice.expect(&json!({ "type": "message", "text": "before" }));
        alice.expect(
            &json!({ "type": "user_left", "username": "Unlucky", "reason": "disconnected" }),
        );
        alice.say("lobby", "still here");
        alice.expect(&json!({ "type": "message", "text": "still here" }));
        Client::connect(server.door()).join("lobby", "Unlucky");
    }
}

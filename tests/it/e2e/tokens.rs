//! Who gets in, what it may see, and until when, on a server that requires tokens.

use std::time::SystemTime;

use parlor_core::types::RoomPattern;
use parlor_core::{CloseReason, Identity, Limits, Timestamp, Username};
use parlor_smol::{Verifier, sign};
use parlor_tests::client::{Client, Incoming, head};
use parlor_tests::server::TestServer;
use serde_json::{Value, json};

use super::unlimited;

const SECRET: &[u8] = b"a secret for tests, of 32 bytes!";
/// The year 2100.
const FAR: Timestamp = Timestamp(4_102_444_800_000);

fn server() -> TestServer {
    with_limits(unlimited())
}

fn with_limits(limits: Limits) -> TestServer {
    let verifier = Verifier::from_secret(SECRET).expect("it is long enough");
    TestServer::start_with_verifier(limits, verifier)
}

fn token(subject: &str, rooms: Option<&[&str]>, expires_at: Timestamp) -> String {
    let pattern = |room: &&str| RoomPattern((*room).into());
    let identity = Identity {
        subject: Username::new(subject).expect("it is a name"),
        rooms: rooms.map(|rooms| rooms.iter().map(pattern).collect()),
    };
    sign(SECRET, &identity, expires_at).expect("the secret is long enough")
}

fn hello(token: &str) -> Value {
    json!({ "type": "hello", "protocol": 1, "token": token, "ref": "h" })
}

/// A connection that came with a good token.
fn enter(server: &TestServer, subject: &str, rooms: Option<&[&str]>) -> Client {
    let mut client = Client::connect(server.address());
    client.send(&hello(&token(subject, rooms, FAR)));
    client.expect(&json!({ "type": "hello", "username": subject, "ref": "h" }));
    client
}

#[track_caller]
fn expect_end(client: &mut Client, reason: CloseReason) {
    let (head, payload) = client.next_frame();
    assert_eq!(head, head::CLOSE, "{}", String::from_utf8_lossy(&payload));
    let (code, text) = payload.split_at(2);
    assert_eq!(code, reason.code().to_be_bytes());
    assert_eq!(text, reason.text().as_bytes());
}

#[test]
fn before_a_good_token_there_is_only_ping() {
    let server = server();
    let mut client = Client::connect(server.address());
    for kind in [
        "join",
        "leave",
        "list_rooms",
        "list_users",
        "get_history",
        "message",
        "typing",
    ] {
        client.send(&json!({
            "type": kind, "roomId": "lobby", "username": "Alice", "text": "hi", "active": true,
        }));
        client.expect(&json!({ "type": "error", "code": "NOT_IDENTIFIED" }));
    }
    client.send(&json!({ "type": "ping", "ref": "p" }));
    client.expect(&json!({ "type": "pong", "ref": "p" }));
    client.send(&hello(&token("Alice", None, FAR)));
    let answer = client.expect(&json!({ "type": "hello", "username": "Alice" }));
    assert_eq!(answer.get("resumeToken"), None);
    client.send(&json!({ "type": "join", "roomId": "lobby" }));
    client.expect(&json!({ "type": "joined", "users": ["Alice"] }));
}

#[test]
fn a_bad_token_is_the_end_of_the_connection() {
    let server = server();
    let good = token("Alice", None, FAR);
    for bad in [
        String::new(),
        String::from("nonsense"),
        good[..good.len() - 1].to_string(),
        token("Alice", None, Timestamp(0)),
        "x".repeat(20_000),
    ] {
        let mut client = Client::connect(server.address());
        client.send_all(&[hello(&bad), json!({ "type": "ping" })]);
        client.expect(&json!({ "type": "error", "code": "UNAUTHORIZED", "ref": "h" }));
        expect_end(&mut client, CloseReason::Unauthorized);
    }
    let mut client = Client::connect(server.address());
    client.send(&json!({ "type": "hello", "protocol": 1, "ref": "h" }));
    client.expect(&json!({ "type": "error", "code": "UNAUTHORIZED", "ref": "h" }));
    expect_end(&mut client, CloseReason::Unauthorized);
}

#[test]
fn a_bad_token_ends_even_a_connection_that_came_with_a_good_one() {
    let server = server();
    let mut alice = enter(&server, "Alice", None);
    alice.send(&hello("nonsense"));
    alice.expect(&json!({ "type": "error", "code": "UNAUTHORIZED", "ref": "h" }));
    expect_end(&mut alice, CloseReason::Unauthorized);
}

#[test]
fn a_connection_stays_with_its_subject_and_a_name_with_its_user() {
    let server = server();
    let mut alice = enter(&server, "Alice", None);
    let mut imitator = Client::connect(server.address());
    imitator.send(&hello(&token("ALICE", None, FAR)));
    imitator.expect(&json!({ "type": "error", "code": "UNAUTHORIZED" }));
    expect_end(&mut imitator, CloseReason::Unauthorized);
    alice.send(&hello(&token("Bob", None, FAR)));
    alice.expect(&json!({ "type": "error", "code": "UNAUTHORIZED" }));
    expect_end(&mut alice, CloseReason::Unauthorized);
}

#[test]
fn without_hello_in_time_the_connection_is_closed() {
    let limits = Limits {
        hello_timeout_ms: 1,
        ..unlimited()
    };
    let server = with_limits(limits);
    let mut client = Client::connect(server.address());
    expect_end(&mut client, CloseReason::NoHello);
}

#[test]
fn a_token_covers_the_rooms_that_it_names() {
    let server = server();
    let mut root = enter(&server, "Root", None);
    for room in ["lobby", "staff", "team-a"] {
        root.send(&json!({ "type": "join", "roomId": room }));
        root.expect(&json!({ "type": "joined", "roomId": room }));
    }
    let mut alice = enter(&server, "Alice", Some(&["lobby", "team-*"]));
    for request in [
        json!({ "type": "join", "roomId": "staff" }),
        json!({ "type": "list_users", "roomId": "staff" }),
    ] {
        alice.send(&request);
        alice.expect(&json!({ "type": "error", "code": "FORBIDDEN", "roomId": "staff" }));
    }
    for room in ["lobby", "team-a"] {
        alice.send(&json!({ "type": "join", "roomId": room }));
        alice.expect(&json!({ "type": "joined", "users": ["Root", "Alice"] }));
        root.expect(&json!({ "type": "user_joined", "username": "Alice" }));
    }
    alice.send(&json!({ "type": "list_rooms" }));
    let rooms = json!([{ "id": "lobby", "userCount": 2 }, { "id": "team-a", "userCount": 2 }]);
    alice.expect(&json!({ "type": "room_list", "rooms": rooms }));
    // A later token that covers less takes rooms away.
    alice.send(&hello(&token("Alice", Some(&["lobby"]), FAR)));
    alice.expect(&json!({ "type": "left", "roomId": "team-a", "reason": "forbidden" }));
    alice.expect(&json!({ "type": "hello" }));
    let left = json!({ "type": "user_left", "roomId": "team-a", "reason": "forbidden" });
    root.expect(&left);
}

#[test]
fn a_user_with_two_connections_is_there_once() {
    let server = server();
    let mut bob = enter(&server, "Bob", None);
    bob.send(&json!({ "type": "join", "roomId": "lobby" }));
    bob.expect(&json!({ "type": "joined" }));
    let [mut phone, mut laptop] = [(); 2].map(|()| enter(&server, "Alice", None));
    phone.send(&json!({ "type": "join", "roomId": "lobby" }));
    phone.expect(&json!({ "type": "joined", "users": ["Bob", "Alice"] }));
    bob.expect(&json!({ "type": "user_joined", "username": "Alice" }));
    laptop.send(&json!({ "type": "join", "roomId": "lobby" }));
    laptop.expect(&json!({ "type": "joined", "users": ["Bob", "Alice"], "userCount": 2 }));
    phone.close();
    bob.expect_silence();
    laptop.close();
    bob.expect(&json!({ "type": "user_left", "username": "Alice" }));
}

#[test]
fn a_token_that_expires_ends_the_connection_unless_another_came() {
    // Nothing else makes the server look at the time before the client loses patience.
    const LATER: u32 = 600_000;
    let server = with_limits(Limits {
        hello_timeout_ms: LATER,
        ping_interval_ms: LATER,
        ..unlimited()
    });
    let mut clients = (0..).find_map(|second| let_in_until_soon(&server, second));
    let [brief, extended] = clients.as_mut().expect("a machine is not that slow");
    expect_end(brief, CloseReason::TokenExpired);
    // Had its first token still counted, it would have been closed before.
    extended.send(&json!({ "type": "ping" }));
    extended.expect(&json!({ "type": "pong" }));
    extended.expect_silence();
}

/// Two connections with a token that expires within a second, and this many more; the second of
/// them then came with a lasting one. Nothing if the machine was so slow that it expired on the way.
fn let_in_until_soon(server: &TestServer, second: u64) -> Option<[Client; 2]> {
    const LEEWAY_MS: u64 = 5000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(now.expect("it is later").as_millis()).expect("it is not that late");
    let soon = Timestamp(now + (second + 1) * 1000 - LEEWAY_MS);
    let token = token("Alice", None, soon);
    let mut clients = [(); 2].map(|()| Client::connect(server.address()));
    let [brief, extended] = &mut clients;
    let lasting = self::token("Alice", None, FAR);
    let in_time =
        is_let_in(brief, &token) && is_let_in(extended, &token) && is_let_in(extended, &lasting);
    in_time.then_some(clients)
}

fn is_let_in(client: &mut Client, token: &str) -> bool {
    client.send(&hello(token));
    matches!(client.incoming(), Incoming::Message(answer) if answer["type"] == "hello")
}

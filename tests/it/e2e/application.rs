//! A chat inside an application on tokio, which knows its users.

use std::sync::mpsc;

use parlor_core::types::{MessageText, Seq};
use parlor_core::{Cause, Change, Limits, RoomId, Username};
use parlor_hub::Happened;
use parlor_tests::client::{Client, handshake};
use parlor_tests::server::TestServer;
use parlor_tokio::{Chat, StartError};
use serde_json::json;
use tokio::runtime;

use super::http::{ask, header, status};
use super::unlimited;

fn with_users(limits: Limits) -> TestServer {
    TestServer::start_chat(Chat::builder().limits(limits).identified()).0
}

fn name(name: &str) -> Username {
    Username::new(name).expect("a good name")
}

fn text(text: &str) -> MessageText {
    MessageText::new(text).expect("a good text")
}

/// Somebody whom the application knows as `name`.
fn known(server: &TestServer, name: &str) -> Client {
    Client::connect_to(server.door(), &format!("/as/{name}"))
}

#[test]
fn who_somebody_is_the_application_says() {
    let server = with_users(unlimited());
    let mut alice = known(&server, "alice");
    alice.send(&json!({ "type": "hello", "protocol": 1 }));
    alice.expect(&json!({ "type": "hello", "username": "alice" }));
    alice.send(&json!({ "type": "join", "roomId": "lobby", "username": "bob" }));
    alice.expect(&json!({ "type": "error", "code": "USERNAME_MISMATCH" }));
    alice.send(&json!({ "type": "join", "roomId": "lobby" }));
    alice.expect(&json!({ "type": "joined", "users": ["alice"] }));
    // A second tab of hers, without a hello.
    let mut tab = known(&server, "alice");
    tab.send(&json!({ "type": "join", "roomId": "lobby" }));
    tab.expect(&json!({ "type": "joined", "users": ["alice"] }));
    alice.say("lobby", "hi");
    tab.expect(&json!({ "type": "message", "from": "alice", "text": "hi" }));
}

#[test]
fn nobody_else_gets_in() {
    let server = with_users(unlimited());
    let mut guest = Client::connect(server.door());
    guest.send(&json!({ "type": "join", "roomId": "lobby", "username": "alice" }));
    guest.expect(&json!({ "type": "error", "code": "NOT_IDENTIFIED" }));
    guest.send(&json!({ "type": "hello", "protocol": 1, "token": "made up" }));
    guest.expect(&json!({ "type": "error", "code": "UNAUTHORIZED" }));
    assert_eq!(guest.expect_close(), Some(4500));
    let refused = ask(&server, &handshake("/as/%20"));
    assert_eq!(status(&refused), "401");
}

#[test]
fn a_chat_of_guests_is_told_of_nobody() {
    let server = TestServer::start_tokio(unlimited());
    let refused = ask(&server, &handshake("/as/alice"));
    assert_eq!(status(&refused), "500");
    assert!(refused.contains("This chat is for guests."), "{refused}");
}

#[test]
fn it_takes_part_without_a_connection() {
    let chat = Chat::builder().limits(unlimited());
    let (server, chat) = TestServer::start_chat(chat);
    let mut alice = Client::connect(server.door());
    alice.join("lobby", "alice");
    let mut tab = Client::connect(server.door());
    tab.send(&json!({ "type": "join", "roomId": "lobby", "username": "bob" }));
    tab.expect(&json!({ "type": "joined", "users": ["alice", "bob"] }));
    alice.expect(&json!({ "type": "user_joined", "username": "bob" }));

    let (room, handle) = (RoomId::new("lobby").unwrap(), chat.handle());
    let publish = handle.publish(room.clone(), name("ops"), text("Lunch!"), None);
    let published = smol::block_on(publish).expect("it is stored");
    assert_eq!((published.seq, published.duplicate), (Seq(1), false));
    let lunch = json!({ "type": "message", "from": "ops", "text": "Lunch!", "seq": 1 });
    alice.expect(&lunch);
    tab.expect(&lunch);

    let users = smol::block_on(handle.users(room.clone())).expect("it runs");
    assert_eq!(users, [name("alice"), name("bob")]);
    let rooms = smol::block_on(handle.rooms()).expect("it runs");
    assert_eq!(rooms.len(), 1);
    assert_eq!((&rooms[0].id, rooms[0].user_count), (&room, 2));

    smol::block_on(handle.disconnect_user(name("BOB"))).expect("it runs");
    assert_eq!(tab.expect_close(), Some(4504));
    alice.expect(&json!({ "type": "user_left", "username": "bob", "reason": "forbidden" }));
}

#[test]
fn it_is_told_what_happens() {
    let (tell, happened) = mpsc::channel();
    let observer = move |it| drop(tell.send(it));
    let chat = Chat::builder().limits(unlimited()).observer(observer);
    let (server, _chat) = TestServer::start_chat(chat);
    let mut alice = Client::connect(server.door());
    alice.join("lobby", "alice");
    alice.say("lobby", "hi");
    alice.expect(&json!({ "type": "message", "text": "hi" }));
    alice.close();

    let (room, username) = (RoomId::new("lobby").unwrap(), name("alice"));
    let joined = Change::Joined {
        room: room.clone(),
        username: username.clone(),
    };
    assert_eq!(happened.recv(), Ok(Happened::Presence(joined)));
    let Ok(Happened::Stored(said)) = happened.recv() else {
        panic!("it is stored before she goes");
    };
    assert_eq!((&said.room, said.entry.seq), (&room, Seq(1)));
    assert_eq!(
        (&said.entry.from, said.entry.text.as_str()),
        (&username, "hi")
    );
    let cause = Cause::Disconnected;
    let left = Change::Left {
        room,
        username,
        cause,
    };
    assert_eq!(happened.recv(), Ok(Happened::Presence(left)));
    drop(server);
    assert_eq!(happened.recv(), Ok(Happened::Presence(Change::AllLeft)));
}

#[test]
fn what_is_no_websocket_is_told_so() {
    let server = TestServer::start_tokio(unlimited());
    let plain = ask(&server, "GET /ws HTTP/1.1\r\nHost: parlor\r\n\r\n");
    assert_eq!(status(&plain), "426");
    assert_eq!(header(&plain, "upgrade"), Some("websocket"));
    let old = handshake("/ws").replace("Version: 13", "Version: 8");
    assert_eq!(status(&ask(&server, &old)), "400");
    let foreign = "Host: parlor\r\nOrigin: http://evil.example";
    let foreign = handshake("/ws").replace("Host: parlor", foreign);
    assert_eq!(status(&ask(&server, &foreign)), "403");
}

#[test]
fn an_address_has_as_many_connections_as_it_may() {
    let limits = Limits {
        connections_per_address: 1,
        ..unlimited()
    };
    let server = TestServer::start_tokio(limits);
    let alice = Client::connect(server.door());
    assert_eq!(status(&ask(&server, &handshake("/ws"))), "429");
    alice.close();
    while status(&ask(&server, &handshake("/ws"))) == "429" {}
}

#[test]
fn there_are_as_many_connections_as_there_may_be() {
    let limits = Limits {
        connections: 1,
        ..unlimited()
    };
    let server = TestServer::start_tokio_opaque(limits);
    let alice = Client::connect(server.door());
    let refused = ask(&server, &handshake("/ws"));
    assert_eq!(status(&refused), "503");
    assert_eq!(header(&refused, "retry-after"), Some("5"));
    alice.close();
    while status(&ask(&server, &handshake("/ws"))) == "503" {}
}

#[test]
fn without_a_runtime_it_does_not_start() {
    let started = Chat::builder().start();
    assert!(matches!(started, Err(StartError::NoRuntime)));
}

#[test]
fn it_ends_when_nobody_has_it() {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let chat = Chat::builder().start().expect("it starts");
        let handle = chat.handle().clone();
        drop(chat);
        drop(handle);
        // Its hub and its clock are tasks: both end.
        let tasks = || runtime::Handle::current().metrics().num_alive_tasks();
        while tasks() > 0 {
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
    });
}

//! What people do, and what the seed got wrong about it.

use std::thread;

use parlor_core::Limits;
use parlor_tests::client::{Client, Incoming, frame, handshake, head};
use serde_json::{Value, json};

use super::{both, server, start};
use crate::e2e::unlimited;

fn names(message: &Value) -> Vec<&str> {
    let users = message["users"].as_array().expect("a list of users");
    users
        .iter()
        .map(|user| user.as_str().expect("a name"))
        .collect()
}

// The five tests of the seed.

#[test]
fn one_can_join_a_room() {
    let server = server();
    let mut alice = Client::connect(server.door());
    let joined = alice.join("test-room", "Alice");
    assert_eq!(names(&joined), ["Alice"]);
    assert_eq!(
        (&joined["userCount"], &joined["seq"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn what_is_said_reaches_every_member() {
    for server in both(&unlimited()) {
        let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
        alice.join("chat", "Alice");
        bob.join("chat", "Bob");
        alice.expect(&json!({ "type": "user_joined", "username": "Bob" }));
        alice.say("chat", "Hello, Bob!");
        let said = json!({ "type": "message", "roomId": "chat", "from": "Alice", "text": "Hello, Bob!", "seq": 1 });
        bob.expect(&said);
        alice.expect(&said);
    }
}

#[test]
fn members_hear_who_comes_and_who_leaves() {
    let server = server();
    let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
    alice.join("lobby", "Alice");
    let joined = bob.join("lobby", "Bob");
    assert_eq!(names(&joined), ["Alice", "Bob"]);
    alice.expect(&json!({ "type": "user_joined", "roomId": "lobby", "username": "Bob" }));
    bob.send(&json!({ "type": "leave", "roomId": "lobby" }));
    bob.expect(&json!({ "type": "left", "roomId": "lobby" }));
    alice.expect(
        &json!({ "type": "user_left", "roomId": "lobby", "username": "Bob", "reason": "left" }),
    );
}

#[test]
fn members_hear_whose_connection_ended() {
    for server in both(&unlimited()) {
        let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
        alice.join("temp", "Alice");
        bob.join("temp", "Bob");
        alice.expect(&json!({ "type": "user_joined" }));
        drop(bob);
        alice.expect(&json!({ "type": "user_left", "username": "Bob", "reason": "disconnected" }));
    }
}

#[test]
fn one_cannot_speak_in_a_room_that_one_did_not_join() {
    let server = server();
    let mut alice = Client::connect(server.door());
    alice.join("room1", "Alice");
    alice.say("room2", "Sneaky!");
    alice.expect(&json!({ "type": "error", "code": "NOT_IN_ROOM", "roomId": "room2" }));
}

// What the seed got wrong.

#[test]
fn room_ids_are_opaque() {
    const ROOMS: [&str; 6] = ["a", "a:b", "a:*", "*", "a.*.b", "a:b:c"];
    let server = server();
    let mut clients = ROOMS.map(|room| {
        let mut client = Client::connect(server.door());
        client.join(room, room);
        client
    });
    for (client, room) in clients.iter_mut().zip(ROOMS) {
        client.say(room, "only here");
        client.expect(&json!({ "type": "message", "roomId": room, "from": room, "seq": 1 }));
    }
    for client in &mut clients {
        client.expect_silence();
    }
}

#[test]
fn a_name_has_one_holder_in_every_spelling() {
    let server = server();
    let [mut alice, mut other] = [(); 2].map(|()| Client::connect(server.door()));
    alice.join("lobby", "Alice");
    for spelling in ["Alice", "aLICE", "Ali\u{3164}ce", "\u{ff21}lice"] {
        other.send(&json!({ "type": "join", "roomId": "lobby", "username": spelling }));
        other.expect(&json!({ "type": "error", "code": "USERNAME_TAKEN" }));
    }
    alice.expect_silence();
    alice.close();
    // Her name is free as soon as her close is answered.
    other.join("lobby", "ALICE");
}

#[test]
fn a_second_join_does_not_rename() {
    let server = server();
    let mut alice = Client::connect(server.door());
    alice.join("one", "Alice");
    alice.send(&json!({ "type": "join", "roomId": "two", "username": "Bob" }));
    alice.expect(&json!({ "type": "error", "code": "USERNAME_MISMATCH" }));
    assert_eq!(names(&alice.join("two", "ALICE")), ["Alice"]);
}

#[test]
fn an_emptied_room_keeps_its_history_and_goes_on_counting() {
    let server = server();
    let mut alice = Client::connect(server.door());
    let epoch = alice.join("lobby", "Alice")["epoch"].clone();
    alice.say("lobby", "one");
    alice.expect(&json!({ "seq": 1 }));
    alice.send(&json!({ "type": "leave", "roomId": "lobby" }));
    alice.expect(&json!({ "type": "left" }));
    alice.send(&json!({ "type": "list_rooms" }));
    alice.expect(&json!({ "type": "room_list", "rooms": [], "roomCount": 0 }));
    let joined = alice.join("lobby", "Alice");
    assert_eq!(joined["epoch"], epoch);
    assert_eq!((&joined["seq"], &joined["history"]), (&json!(1), &json!(1)));
    alice.expect(&json!({ "type": "message", "text": "one", "seq": 1 }));
    alice.say("lobby", "two");
    alice.expect(&json!({ "type": "message", "text": "two", "seq": 2 }));
}

#[test]
fn joined_and_what_follows_never_miss_anybody_nor_name_them_twice() {
    const MEMBERS: usize = 12;
    let server = server();
    let address = server.address();
    let threads: Vec<_> = (0..MEMBERS)
        .map(|i| {
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let joined = client.join("lobby", &format!("user{i}"));
                let mut users: Vec<String> = names(&joined).into_iter().map(String::from).collect();
                while users.len() < MEMBERS {
                    let came = client.expect(&json!({ "type": "user_joined" }));
                    users.push(came["username"].as_str().unwrap().into());
                }
                // Nobody leaves before everybody was seen.
                (client, users)
            })
        })
        .collect();
    let clients: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    for (_, users) in &clients {
        // In the order of joining, which is one order.
        assert_eq!(users, &clients[0].1);
    }
}

#[test]
fn everybody_sees_one_order_and_each_message_once() {
    const SENDERS: usize = 20;
    const EACH: usize = 25;
    for server in both(&unlimited()) {
        let mut clients: Vec<Client> = (0..SENDERS)
            .map(|i| {
                let mut client = Client::connect(server.door());
                client.join("lobby", &format!("user{i}"));
                client
            })
            .collect();
        for (i, client) in clients.iter_mut().enumerate() {
            for _ in i + 1..SENDERS {
                client.expect(&json!({ "type": "user_joined" }));
            }
        }
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(i, mut client)| {
                thread::spawn(move || {
                    for n in 0..EACH {
                        client.say("lobby", &format!("{i}/{n}"));
                    }
                    let seen: Vec<String> = (1..=SENDERS * EACH)
                        .map(|seq| {
                            let message = client.expect(&json!({ "type": "message", "seq": seq }));
                            message["text"].as_str().unwrap().into()
                        })
                        .collect();
                    // Nobody leaves before everybody is through.
                    (client, seen)
                })
            })
            .collect();
        let seen: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        for (_, texts) in &seen {
            assert_eq!(texts, &seen[0].1);
        }
        let mut once = seen[0].1.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), SENDERS * EACH);
    }
}

// What makes it trustworthy.

#[test]
fn hello_tells_what_the_server_is_and_allows() {
    let server = server();
    let mut client = Client::connect(server.door());
    client.send(&json!({ "type": "hello", "protocol": 1, "ref": "h" }));
    let hello = client.expect(&json!({ "type": "hello", "protocol": 1, "ref": "h" }));
    assert_eq!(hello["limits"]["frameBytes"], 65_536);
    assert_eq!(hello["limits"]["messagesPerSecond"], 0);
    assert!(hello["server"].as_str().unwrap().starts_with("parlor/"));
}

#[test]
fn answers_leave_in_the_order_of_the_requests() {
    for server in both(&unlimited()) {
        let mut client = Client::connect(server.door());
        client.send_all(&[
            json!({ "type": "join", "roomId": "r", "username": "Alice", "ref": "1" }),
            json!({ "type": "message", "roomId": "r", "text": "hi", "ref": "2" }),
            json!({ "type": "get_history", "roomId": "r", "ref": "3" }),
            json!({ "type": "list_rooms", "ref": "4" }),
            json!({ "type": "nonsense", "ref": "5" }),
            json!({ "type": "list_users", "roomId": "r", "ref": "6" }),
            json!({ "type": "get_history", "roomId": "other", "ref": "7" }),
            json!({ "type": "hello", "protocol": 1, "ref": "8" }),
            json!({ "type": "leave", "roomId": "r", "ref": "9" }),
            json!({ "type": "ping", "ref": "10" }),
        ]);
        client.expect(&json!({ "type": "joined", "ref": "1" }));
        client.expect(&json!({ "type": "message", "seq": 1, "ref": "2" }));
        client.expect(&json!({ "type": "message", "seq": 1, "text": "hi" }));
        client.expect(&json!({ "type": "history", "count": 1, "hasMore": false, "ref": "3" }));
        client.expect(
            &json!({ "type": "room_list", "rooms": [{ "id": "r", "userCount": 1 }], "ref": "4" }),
        );
        client.expect(&json!({ "type": "error", "code": "UNKNOWN_MESSAGE", "ref": "5" }));
        client.expect(&json!({ "type": "user_list", "users": ["Alice"], "ref": "6" }));
        client.expect(&json!({ "type": "error", "code": "NOT_IN_ROOM", "ref": "7" }));
        client.expect(&json!({ "type": "hello", "username": "Alice", "ref": "8" }));
        client.expect(&json!({ "type": "left", "ref": "9" }));
        client.expect(&json!({ "type": "pong", "ref": "10" }));
    }
}

#[test]
fn a_guest_may_have_two_connections() {
    let server = server();
    let [mut carol, mut phone, mut laptop] = [(); 3].map(|()| Client::connect(server.door()));
    carol.join("lobby", "Carol");
    phone.send(&json!({ "type": "hello", "protocol": 1 }));
    let token = phone.expect(&json!({ "type": "hello" }))["resumeToken"].clone();
    phone.join("lobby", "Alice");
    carol.expect(&json!({ "type": "user_joined", "username": "Alice" }));

    laptop.send_all(&[
        json!({ "type": "hello", "protocol": 1, "resumeToken": token }),
        json!({ "type": "join", "roomId": "lobby" }),
    ]);
    laptop.expect(&json!({ "type": "hello", "username": "Alice" }));
    let joined = laptop.expect(&json!({ "type": "joined", "userCount": 2 }));
    assert_eq!(names(&joined), ["Carol", "Alice"]);
    carol.expect_silence();
    phone.close();
    carol.expect_silence();
    laptop.close();
    carol.expect(&json!({ "type": "user_left", "username": "Alice", "reason": "disconnected" }));
}

#[test]
fn with_since_nothing_is_lost_and_nothing_comes_twice() {
    for server in both(&unlimited()) {
        let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
        bob.join("lobby", "Bob");
        let epoch = alice.join("lobby", "Alice")["epoch"].clone();
        bob.expect(&json!({ "type": "user_joined" }));
        bob.say("lobby", "seen");
        let seen = alice.expect(&json!({ "type": "message", "text": "seen" }))["seq"].clone();
        bob.expect(&json!({ "type": "message" }));
        alice.close();
        bob.expect(&json!({ "type": "user_left" }));
        for text in ["missed 1", "missed 2", "missed 3"] {
            bob.say("lobby", text);
            bob.expect(&json!({ "type": "message", "text": text }));
        }

        let mut alice = Client::connect(server.door());
        alice.send(&json!({ "type": "join", "roomId": "lobby", "username": "Alice", "since": { "epoch": epoch, "seq": seen } }));
        alice.expect(&json!({ "type": "joined", "recovered": true, "history": 3, "seq": 4 }));
        for (text, seq) in [("missed 1", 2), ("missed 2", 3), ("missed 3", 4)] {
            alice.expect(&json!({ "type": "message", "text": text, "seq": seq }));
        }
        alice.expect_silence();
        // The same again is a resync, of which nobody hears.
        bob.expect(&json!({ "type": "user_joined" }));
        alice.send(
        &json!({ "type": "join", "roomId": "lobby", "since": { "epoch": "another", "seq": 4 } }),
    );
        alice.expect(&json!({ "type": "joined", "recovered": false, "history": 4 }));
        for seq in 1..=4 {
            alice.expect(&json!({ "type": "message", "seq": seq }));
        }
        alice.expect_silence();
        bob.expect_silence();
    }
}

#[test]
fn a_retried_message_takes_effect_once() {
    let server = server();
    let [mut bob, mut broken, mut alice] = [(); 3].map(|()| Client::connect(server.door()));
    bob.join("lobby", "Bob");
    broken.send(&json!({ "type": "hello", "protocol": 1 }));
    let token = broken.expect(&json!({ "type": "hello" }))["resumeToken"].clone();
    broken.join("lobby", "Alice");
    bob.expect(&json!({ "type": "user_joined" }));
    let message =
        json!({ "type": "message", "roomId": "lobby", "text": "once", "clientMsgId": "m1" });
    broken.send(&message);
    let first = bob.expect(&json!({ "type": "message", "text": "once" }));
    assert_eq!(first.get("clientMsgId"), None);

    // Half dead: the server does not know yet, the client did not see its acknowledgement.
    alice.send_all(&[
        json!({ "type": "hello", "protocol": 1, "resumeToken": token }),
        json!({ "type": "join", "roomId": "lobby", "history": 0 }),
        message,
        json!({ "type": "message", "roomId": "lobby", "text": "other", "clientMsgId": "m1" }),
    ]);
    alice.expect(&json!({ "type": "hello", "username": "Alice" }));
    alice.expect(&json!({ "type": "joined", "history": 0 }));
    alice.expect(&json!({
        "type": "message", "clientMsgId": "m1", "duplicate": true,
        "seq": first["seq"], "timestamp": first["timestamp"],
    }));
    alice.expect(&json!({ "type": "error", "code": "DUPLICATE_ID", "clientMsgId": "m1" }));
    bob.expect_silence();
}

#[test]
fn typing_is_for_the_others() {
    let server = server();
    let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
    alice.join("lobby", "Alice");
    bob.join("lobby", "Bob");
    alice.expect(&json!({ "type": "user_joined" }));
    alice.send(&json!({ "type": "typing", "roomId": "lobby", "active": true }));
    bob.expect(&json!({ "type": "typing", "username": "Alice", "active": true }));
    alice.expect_silence();
}

#[test]
fn messages_beyond_the_rate_are_refused_and_the_others_pass() {
    let limits = Limits {
        messages_per_second: 1,
        burst: 2,
        ..unlimited()
    };
    let server = start(limits);
    let mut alice = Client::connect(server.door());
    alice.join("lobby", "Alice");
    alice.send_all(&vec![
        json!({ "type": "message", "roomId": "lobby", "text": "hi" });
        10
    ]);
    let answers: Vec<Value> = (0..10).map(|_| alice.message()).collect();
    assert!(
        answers[..2]
            .iter()
            .all(|answer| answer["type"] == "message")
    );
    let refused = answers.iter().find(|answer| answer["type"] == "error");
    let refused = refused.expect("ten messages in one go are beyond the rate");
    assert_eq!(refused["code"], "RATE_LIMITED");
    assert!((1..=1000).contains(&refused["retryAfterMs"].as_u64().unwrap()));
}

// The WebSocket below.

#[test]
fn a_text_in_pieces_with_pings_between_is_one_text() {
    for server in both(&unlimited()) {
        let mut client = Client::connect(server.door());
        let pieces = [
            frame(head::TEXT_BEGINS, br#"{"type":"#),
            frame(head::PING, b"first"),
            frame(head::CONTINUES, b""),
            frame(head::CONTINUES, br#""ping","ref":"#),
            frame(head::PING, b"second"),
            frame(head::PONG, b"nobody asked"),
            frame(head::ENDS, br#""r"}"#),
        ];
        client.write(&pieces.concat());
        assert_eq!(client.incoming(), Incoming::Pong(b"first".into()));
        assert_eq!(client.incoming(), Incoming::Pong(b"second".into()));
        client.expect(&json!({ "type": "pong", "ref": "r" }));
    }
}

#[test]
fn a_text_byte_by_byte_is_one_text() {
    for server in both(&unlimited()) {
        let mut client = Client::connect(server.door());
        for byte in frame(head::TEXT, br#"{"type":"ping"}"#) {
            client.write(&[byte]);
        }
        client.expect(&json!({ "type": "pong" }));
    }
}

#[test]
fn frames_may_come_together_with_the_handshake() {
    for server in both(&unlimited()) {
        let mut client = Client::dial(server.door());
        let ping = frame(head::TEXT, br#"{"type":"ping","ref":"early"}"#);
        let (most, rest) = ping.split_at(ping.len() - 5);
        client.write(&[handshake("/ws").as_bytes(), most].concat());
        assert!(client.response().starts_with("HTTP/1.1 101 "));
        client.write(rest);
        client.expect(&json!({ "type": "pong", "ref": "early" }));
    }
}

#[test]
fn a_request_may_come_before_the_handshake() {
    for server in both(&unlimited()) {
        let mut client = Client::dial(server.door());
        let page = "GET / HTTP/1.1\r\nHost: parlor\r\n\r\n";
        let ping = frame(head::TEXT, br#"{"type":"ping"}"#);
        client.write(&[page.as_bytes(), handshake("/ws").as_bytes(), &ping].concat());
        assert!(client.response().starts_with("HTTP/1.1 200 "));
        assert!(client.response().starts_with("HTTP/1.1 101 "));
        client.expect(&json!({ "type": "pong" }));
    }
}

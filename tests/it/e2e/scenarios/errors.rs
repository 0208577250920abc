//! Every frame that is not a good request gets exactly one error, and the connection stays usable.

use std::collections::BTreeSet;

use parlor_core::Limits;
use parlor_tests::client::Client;
use serde_json::json;

use super::{server, start};
use crate::e2e::unlimited;

#[test]
fn every_bad_request_gets_one_error_and_nothing_else() {
    let limits = Limits {
        members_per_room: 2,
        rooms_per_connection: 2,
        open_rooms: 3,
        ..unlimited()
    };
    let server = start(limits);
    let [mut alice, mut bob, mut carol, mut dave] =
        [(); 4].map(|()| Client::connect(server.address()));
    alice.join("full", "Alice");
    bob.join("full", "Bob");
    alice.expect(&json!({ "type": "user_joined" }));
    carol.join("one", "Carol");
    carol.join("two", "Carol");
    alice.send(&json!({ "type": "message", "roomId": "full", "text": "hi", "clientMsgId": "c" }));
    bob.expect(&json!({ "type": "message" }));
    alice.expect(&json!({ "type": "message" }));

    let text = |length: usize| {
        let text = "x".repeat(length);
        format!(r#"{{"type":"message","roomId":"full","text":"{text}"}}"#)
    };
    let name = |length: usize| {
        let name = "x".repeat(length);
        format!(r#"{{"type":"join","roomId":"one","username":"{name}"}}"#)
    };
    let mut reached = BTreeSet::new();
    let mut check = |client: &mut Client, frame: &str, code: &str| {
        client.send_text(frame);
        client.expect(&json!({ "type": "error", "code": code }));
        client.expect_silence();
        reached.insert(String::from(code));
    };
    for (frame, code) in [
        ("", "INVALID_JSON"),
        ("null", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        (r#"{"type":"ping"} {}"#, "INVALID_JSON"),
        ("{}", "UNKNOWN_MESSAGE"),
        (r#"{"type":null}"#, "UNKNOWN_MESSAGE"),
        (r#"{"type":"Ping"}"#, "UNKNOWN_MESSAGE"),
        (r#"{"type":"joined","roomId":"a"}"#, "UNKNOWN_MESSAGE"),
        (r#"{"type":"hello"}"#, "INVALID_FIELD"),
        (r#"{"type":"ping","ref":7}"#, "INVALID_FIELD"),
        (r#"{"type":"join","username":"a"}"#, "INVALID_ROOM_ID"),
        (r#"{"type":"join","roomId":null}"#, "INVALID_ROOM_ID"),
        (r#"{"type":"leave","roomId":""}"#, "INVALID_ROOM_ID"),
        (r#"{"type":"list_users","roomId":" a"}"#, "INVALID_ROOM_ID"),
        (r#"{"type":"join","roomId":"one"}"#, "INVALID_USERNAME"),
        (
            r#"{"type":"join","roomId":"one","username":7}"#,
            "INVALID_USERNAME",
        ),
        (&name(0), "INVALID_USERNAME"),
        (&name(33), "INVALID_USERNAME"),
        (
            r#"{"type":"join","roomId":"one","username":"ALICE"}"#,
            "USERNAME_TAKEN",
        ),
        (
            r#"{"type":"join","roomId":"full","username":"Dave"}"#,
            "ROOM_FULL",
        ),
        (
            r#"{"type":"join","roomId":"four","username":"Dave"}"#,
            "SERVER_FULL",
        ),
        (
            r#"{"type":"message","roomId":"full","text":"hi"}"#,
            "NOT_IN_ROOM",
        ),
        (
            r#"{"type":"typing","roomId":"full","active":true}"#,
            "NOT_IN_ROOM",
        ),
        (r#"{"type":"leave","roomId":"full"}"#, "NOT_IN_ROOM"),
        (r#"{"type":"get_history","roomId":"full"}"#, "NOT_IN_ROOM"),
    ] {
        check(&mut dave, frame, code);
    }
    for (frame, code) in [
        (r#"{"type":"join","roomId":"full"}"#, "ALREADY_IN_ROOM"),
        (
            r#"{"type":"join","roomId":"one","username":"Bob"}"#,
            "USERNAME_MISMATCH",
        ),
        (r#"{"type":"message","roomId":"full"}"#, "INVALID_MESSAGE"),
        (
            r#"{"type":"message","roomId":"full","text":null}"#,
            "INVALID_MESSAGE",
        ),
        (
            r#"{"type":"message","roomId":"full","text":["hi"]}"#,
            "INVALID_MESSAGE",
        ),
        (&text(0), "INVALID_MESSAGE"),
        (&text(2001), "INVALID_MESSAGE"),
        (
            r#"{"type":"message","roomId":"full","text":"x","clientMsgId":""}"#,
            "INVALID_FIELD",
        ),
        (
            r#"{"type":"message","roomId":"full","text":"no","clientMsgId":"c"}"#,
            "DUPLICATE_ID",
        ),
        (
            r#"{"type":"typing","roomId":"full","active":"yes"}"#,
            "INVALID_FIELD",
        ),
        (
            r#"{"type":"get_history","roomId":"full","limit":0}"#,
            "INVALID_LIMIT",
        ),
        (
            r#"{"type":"get_history","roomId":"full","limit":-5}"#,
            "INVALID_LIMIT",
        ),
        (
            r#"{"type":"get_history","roomId":"full","limit":1.5}"#,
            "INVALID_LIMIT",
        ),
        (
            r#"{"type":"get_history","roomId":"full","before":-1}"#,
            "INVALID_FIELD",
        ),
        (
            r#"{"type":"join","roomId":"one","history":-1}"#,
            "INVALID_LIMIT",
        ),
        (
            r#"{"type":"join","roomId":"one","since":7}"#,
            "INVALID_FIELD",
        ),
    ] {
        check(&mut alice, frame, code);
    }
    check(
        &mut carol,
        r#"{"type":"join","roomId":"full"}"#,
        "TOO_MANY_ROOMS",
    );
    // Of all that nobody else heard a word.
    for other in [&mut bob, &mut carol] {
        other.expect_silence();
    }
    // The rest need a token, a store that fails, or a server that ends or is flooded.
    assert_eq!(reached.len(), 15, "{reached:?}");
}

#[test]
fn the_longest_frame_is_still_read() {
    let server = server();
    let mut client = Client::connect(server.address());
    let ping = r#"{"type":"ping"}"#;
    let longest = format!("{ping}{}", " ".repeat(65_536 - ping.len()));
    client.send_text(&longest);
    client.expect(&json!({ "type": "pong" }));
}

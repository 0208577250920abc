//! Every close code that can be provoked over a socket.

use std::iter;

use parlor_core::Limits;
use parlor_tests::client::{Client, Incoming, frame, head};
use serde_json::{Value, json};

use super::both;
use crate::e2e::unlimited;

/// A frame of the server's kind: without a mask.
fn unmasked(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    [&[head, length], payload].concat()
}

/// Sends `bytes` to a server of its own; the code with which it closes, over TCP as over any other stream, while
/// somebody else does not notice anything but that a member is gone.
fn closes_with(bytes: &[u8]) -> Option<u16> {
    let [plain, other] = both(&unlimited()).map(|server| {
        let [mut witness, mut client] = [(); 2].map(|()| Client::connect(server.door()));
        witness.join("lobby", "Witness");
        client.join("lobby", "Culprit");
        witness.expect(&json!({ "type": "user_joined" }));
        client.write(bytes);
        let code = client.expect_close();
        witness.expect(&json!({ "type": "user_left", "reason": "disconnected" }));
        witness.expect_silence();
        code
    });
    assert_eq!(plain, other);
    plain
}

#[test]
fn a_close_is_answered_with_its_code() {
    for code in [1000, 1001, 1011, 3000, 4999] {
        let reason = [&u16::to_be_bytes(code)[..], b"bye"].concat();
        assert_eq!(closes_with(&frame(head::CLOSE, &reason)), Some(code));
    }
    assert_eq!(closes_with(&frame(head::CLOSE, b"")), None);
}

#[test]
fn answers_leave_before_the_answer_to_a_close() {
    for server in both(&unlimited()) {
        let mut client = Client::connect(server.door());
        client.write(
            &[
                frame(head::TEXT, br#"{"type":"list_rooms"}"#),
                frame(head::TEXT, br#"{"type":"ping"}"#),
                frame(head::CLOSE, &1000_u16.to_be_bytes()),
                frame(head::TEXT, br#"{"type":"ping","ref":"too late"}"#),
            ]
            .concat(),
        );
        client.expect(&json!({ "type": "room_list" }));
        client.expect(&json!({ "type": "pong" }));
        assert_eq!(client.expect_close(), Some(1000));
    }
}

#[test]
fn what_breaks_the_websocket_protocol_is_closed_with_1002() {
    let code = |code: u16| code.to_be_bytes();
    let text_in_pieces = [
        frame(head::TEXT_BEGINS, b"{"),
        frame(head::TEXT, br#"{"type":"ping"}"#),
    ];
    for (what, bytes) in [
        ("unmasked", unmasked(head::TEXT, br#"{"type":"ping"}"#)),
        ("unmasked close", unmasked(head::CLOSE, &code(1000))),
        ("reserved bit 1", frame(head::TEXT | 0x40, b"{}")),
        ("reserved bit 2", frame(head::TEXT | 0x20, b"{}")),
        ("reserved bit 3", frame(head::PING | 0x10, b"")),
        ("opcode 3", frame(0x83, b"")),
        ("opcode 15", frame(0x8F, b"")),
        ("ping in pieces", frame(head::PING & 0x7F, b"")),
        ("close in pieces", frame(head::CLOSE & 0x7F, &code(1000))),
        ("long ping", frame(head::PING, &[b'x'; 126])),
        ("nothing to continue", frame(head::ENDS, b"{}")),
        ("text within a text", text_in_pieces.concat()),
        ("close with half a code", frame(head::CLOSE, b"\x03")),
        ("close with 0", frame(head::CLOSE, &code(0))),
        ("close with 999", frame(head::CLOSE, &code(999))),
        ("close with 1005", frame(head::CLOSE, &code(1005))),
        ("close with 1006", frame(head::CLOSE, &code(1006))),
        ("close with 2999", frame(head::CLOSE, &code(2999))),
    ] {
        assert_eq!(closes_with(&bytes), Some(1002), "{what}");
    }
}

#[test]
fn a_binary_frame_is_closed_with_1003() {
    assert_eq!(
        closes_with(&frame(head::BINARY, br#"{"type":"ping"}"#)),
        Some(1003)
    );
}

#[test]
fn what_is_not_utf_8_is_closed_with_1007() {
    let split = [
        frame(head::TEXT_BEGINS, b"\xE2\x82"),
        frame(head::ENDS, b"\x28"),
    ];
    for bytes in [
        frame(head::TEXT, b"\xFF"),
        frame(head::TEXT, b"\xED\xA0\x80"),
        frame(head::TEXT, b"\xE2\x82"),
        split.concat(),
        // At once, though more would follow.
        frame(head::TEXT_BEGINS, b"\xFF"),
        frame(head::CLOSE, b"\x03\xE8\xFF"),
    ] {
        assert_eq!(closes_with(&bytes), Some(1007), "{bytes:?}");
    }
}

#[test]
fn what_is_too_big_is_closed_with_1009() {
    let half = [b' '; 32_769];
    let in_pieces = [frame(head::TEXT_BEGINS, &half), frame(head::ENDS, &half)];
    // Only announced: 2^62 bytes.
    let announced = [head::TEXT, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    // A message of no letters in 140 KB.
    let empty_pieces = [
        frame(head::TEXT_BEGINS, b""),
        frame(head::CONTINUES, b"").repeat(23_333),
    ];
    for (what, bytes) in [
        ("one frame", &*frame(head::TEXT, &[b' '; 65_537])),
        ("pieces", &*in_pieces.concat()),
        ("announced", &announced),
        ("empty pieces", &*empty_pieces.concat()),
    ] {
        assert_eq!(closes_with(bytes), Some(1009), "{what}");
    }
}

#[test]
fn who_does_not_read_is_cut_with_4000_and_the_others_miss_nothing() {
    const OUTBOX_BYTES: usize = 64 << 10;
    /// What two kernels may hold besides, generously.
    const KERNEL_BYTES: usize = 512 << 10;
    let limits = Limits {
        answer_bytes: 16 << 10,
        outbox_bytes: 64 << 10,
        send_buffer_bytes: 4 << 10,
        ..unlimited()
    };
    for server in both(&limits) {
        let [mut alice, mut bob] = [(); 2].map(|()| Client::connect(server.door()));
        let mut sleepy = Client::connect_narrow(server.door());
        alice.join("lobby", "Alice");
        bob.join("lobby", "Bob");
        sleepy.join("lobby", "Sleepy");
        alice.expect(&json!({ "type": "user_joined", "username": "Bob" }));
        for other in [&mut alice, &mut bob] {
            other.expect(&json!({ "type": "user_joined", "username": "Sleepy" }));
        }

        let text = "x".repeat(2000);
        let mut said = 0;
        let left = loop {
            said += 1;
            alice.say("lobby", &text);
            alice.expect(&json!({ "type": "message", "seq": said }));
            bob.expect(&json!({ "type": "message", "seq": said }));
            // The cut comes with the message that overflows, so it is known before the next answer.
            alice.send(&json!({ "type": "ping" }));
            let next = alice.message();
            if next["type"] == "user_left" {
                alice.expect(&json!({ "type": "pong" }));
                break next;
            }
            assert!(
                said * text.len() < OUTBOX_BYTES + KERNEL_BYTES,
                "more waits for one client than may"
            );
        };
        assert_eq!(
            (&left["username"], &left["reason"]),
            (&json!("Sleepy"), &json!("slow"))
        );
        assert!(
            said * text.len() > OUTBOX_BYTES / 2,
            "cut after {said} texts"
        );
        bob.expect(&json!({ "type": "user_left", "username": "Sleepy", "reason": "slow" }));
        bob.expect_silence();

        // What it got until then is whole and in order, and the end says why.
        let mut got = 0;
        loop {
            match sleepy.incoming() {
                Incoming::Message(message) => {
                    got += 1;
                    assert_eq!(message["seq"], got);
                }
                Incoming::Close(code) => break assert_eq!(code, Some(4000)),
                other @ (Incoming::Ping(_) | Incoming::Pong(_)) => panic!("{other:?}"),
            }
        }
        assert!(got < said, "it was cut, so it missed something");
    }
}

#[test]
fn when_too_much_waits_for_all_the_one_for_whom_the_most_waits_is_cut() {
    const TOTAL_BYTES: u32 = 512 << 10;
    /// What the kernels may hold besides, generously.
    const KERNEL_BYTES: usize = 1 << 20;
    let limits = Limits {
        outbox_total_bytes: TOTAL_BYTES.into(),
        send_buffer_bytes: 4 << 10,
        ..unlimited()
    };
    assert!(limits.outbox_bytes > TOTAL_BYTES, "no queue is too long");
    for server in both(&limits) {
        let mut alice = Client::connect(server.door());
        let [mut most, mut less] = [(); 2].map(|()| Client::connect_narrow(server.door()));
        for room in ["one", "two"] {
            alice.join(room, "Alice");
            most.join(room, "Most");
            alice.expect(&json!({ "type": "user_joined", "username": "Most" }));
        }
        less.join("one", "Less");
        alice.expect(&json!({ "type": "user_joined", "username": "Less" }));

        let text = "x".repeat(2000);
        let mut said = 0;
        loop {
            said += 1;
            for room in ["one", "two"] {
                alice.say(room, &text);
            }
            alice.send(&json!({ "type": "ping" }));
            let until_pong = iter::repeat_with(|| alice.message());
            let until_pong = until_pong.take_while(|message| message["type"] != "pong");
            let (messages, others): (Vec<_>, Vec<_>) =
                until_pong.partition(|message| message["type"] == "message");
            assert!(messages.iter().all(|message| message["seq"] == said));
            assert_eq!(messages.len(), 2);
            if !others.is_empty() {
                let who = others
                    .iter()
                    .map(|left| (&left["username"], &left["reason"]));
                let expected = (&json!("Most"), &json!("slow"));
                assert_eq!(who.collect::<Vec<_>>(), [expected; 2], "one for each room");
                break;
            }
            let waiting = said * text.len() * 3;
            assert!(waiting < TOTAL_BYTES as usize + KERNEL_BYTES, "it goes on");
        }
        // The other one misses nothing.
        let (messages, others): (Vec<_>, Vec<_>) = iter::repeat_with(|| less.message())
            .take(said + 1)
            .partition(|message| message["type"] == "message");
        assert!(messages.iter().map(|message| &message["seq"]).eq(1..=said));
        assert_eq!(others.len(), 1, "that somebody left: {others:?}");
        less.expect_silence();
    }
}

#[test]
fn who_does_not_answer_pings_is_closed_with_4001() {
    let limits = Limits {
        ping_interval_ms: 20,
        pong_timeout_ms: 1000,
        ..unlimited()
    };
    for server in both(&limits) {
        let [mut alive, mut silent, mut half] = [(); 3].map(|()| Client::connect(server.door()));
        alive.join("lobby", "Alive");
        // Half a frame is no sign of life.
        let ping = frame(head::TEXT, br#"{"type":"ping"}"#);
        half.write(&ping[..ping.len() - 1]);
        silent.join("lobby", "Silent");
        alive.expect(&json!({ "type": "user_joined" }));
        // Answers pings meanwhile.
        alive.expect(&json!({ "type": "user_left", "username": "Silent", "reason": "timeout" }));
        for client in [&mut silent, &mut half] {
            let code = loop {
                match client.incoming() {
                    Incoming::Ping(_) => {}
                    Incoming::Close(code) => break code,
                    other @ (Incoming::Message(_) | Incoming::Pong(_)) => panic!("{other:?}"),
                }
            };
            assert_eq!(code, Some(4001));
        }
    }
}

#[test]
fn who_floods_is_told_so_and_closed_with_4002() {
    for server in both(&Limits::default()) {
        let [mut witness, mut flooder] = [(); 2].map(|()| Client::connect(server.door()));
        witness.join("lobby", "Witness");
        flooder.join("lobby", "Flooder");
        witness.expect(&json!({ "type": "user_joined" }));
        flooder.send_all(&vec![json!({ "type": "ping" }); 1000]);
        let mut answers = Vec::new();
        let code = loop {
            match flooder.incoming() {
                Incoming::Message(message) => answers.push(message),
                Incoming::Close(code) => break code,
                other @ (Incoming::Ping(_) | Incoming::Pong(_)) => panic!("{other:?}"),
            }
        };
        assert_eq!(code, Some(4002));
        let passed = answers.iter().filter(|a| a["type"] == "pong").count();
        assert!(passed >= 195, "{passed} passed");
        let is_refused = |answer: &&Value| {
            answer["code"] == "RATE_LIMITED" && answer["retryAfterMs"].as_u64() > Some(0)
        };
        assert_eq!(answers.iter().rev().take_while(is_refused).count(), 99);
        witness
            .expect(&json!({ "type": "user_left", "username": "Flooder", "reason": "flooding" }));
    }
}

#[test]
fn who_floods_with_what_is_no_request_is_closed_with_4002() {
    for server in both(&Limits::default()) {
        for head in [head::PING, head::PONG] {
            let mut flooder = Client::connect(server.door());
            flooder.write(&frame(head, b"").repeat(1000));
            let code = loop {
                match flooder.incoming() {
                    Incoming::Pong(_) => {}
                    Incoming::Close(code) => break code,
                    other @ (Incoming::Message(_) | Incoming::Ping(_)) => panic!("{other:?}"),
                }
            };
            assert_eq!(code, Some(4002));
        }
    }
}

#[test]
fn another_version_of_the_protocol_is_closed_with_4501() {
    for server in both(&unlimited()) {
        let mut client = Client::connect(server.door());
        client.send(&json!({ "type": "hello", "protocol": 2, "ref": "v" }));
        client.expect(&json!({ "type": "error", "code": "UNSUPPORTED_PROTOCOL", "ref": "v" }));
        assert_eq!(client.expect_close(), Some(4501));
    }
}

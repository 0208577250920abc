//! What is sent leaves in order, in few writes, and not before it is stored.

use parlor_core::{CloseReason, Limits};
use parlor_hub::{Opcode, frame};
use parlor_tests::driven_hub::{DrivenHub, ScriptedStore};
use parlor_tests::virtual_socket::LastWord;

use super::{PING, limits, read};

#[test]
fn a_1_frames_leave_in_effect_order() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    bob.socket.take_per_write(7);
    bob.socket.take(10);
    let mut got = Vec::new();
    for text in ["a", "b", "c", "d"] {
        alice.say("r", text);
        hub.settle();
        bob.send(PING);
        hub.settle();
        bob.socket.take(10);
        hub.settle();
        got.extend(bob.read());
    }
    assert!(bob.socket.is_mid_frame() && got.len() < 8);
    while bob.socket.is_mid_frame() {
        bob.socket.take(13);
        hub.settle();
        got.extend(bob.read());
    }
    let expected = ["a", "b", "c", "d"].into_iter().zip(1..);
    let expected =
        expected.flat_map(|(text, seq)| [format!("message r {seq} {text}"), "pong".into()]);
    assert_eq!(got, expected.collect::<Vec<_>>());
}

#[test]
fn a_1_a_control_frame_queues_at_a_frame_boundary() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    bob.socket.take(10);
    alice.say("r", "one");
    hub.settle();
    assert!(bob.socket.is_mid_frame());
    bob.perform(async |connection| connection.control(frame(Opcode::Ping, b"!")).await);
    alice.say("r", "two");
    hub.settle();
    bob.socket.flow();
    hub.settle();
    assert_eq!(
        bob.read(),
        ["message r 1 one", "control 9", "message r 2 two"]
    );
}

#[test]
fn a_1_a_close_does_not_overtake_the_message_ahead_of_it() {
    for reason in [None, Some(CloseReason::Normal)] {
        let mut hub = DrivenHub::in_memory(&limits());
        let mut alice = hub.join("alice", "r");
        let mut bob = hub.join("bob", "r");
        bob.socket.take(10);
        alice.say("r", "one");
        bob.end(reason);
        alice.say("r", "two");
        hub.settle();
        assert_eq!(bob.socket.last_word(), None);
        bob.socket.flow();
        hub.settle();
        let mut expected = vec!["message r 1 one"];
        expected.extend(reason.map(|_| "close 1000"));
        assert_eq!(bob.read(), expected);
        assert_eq!(bob.socket.last_word(), Some(LastWord::Finished));
        let seen = [
            "user_joined r bob",
            "message r 1 one",
            "user_left r bob disconnected",
            "message r 2 two",
        ];
        assert_eq!(alice.read(), seen);
    }
}

#[test]
fn a_1_a_close_does_not_overtake_the_message_that_is_being_stored() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    alice.say("r", "one");
    hub.settle();
    bob.perform(async |connection| connection.control(frame(Opcode::Ping, b"!")).await);
    bob.end(Some(CloseReason::Normal));
    hub.settle();
    assert_eq!(bob.read(), [""; 0]);
    hub.answer_all();
    assert_eq!(bob.read(), ["message r 1 one", "control 9", "close 1000"]);
}

#[test]
fn a_batch_takes_one_write_for_each_socket() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut clients = ["alice", "bob", "carol"].map(|name| hub.join(name, "r"));
    let before = clients.each_ref().map(|client| client.socket.writes());
    for number in 0..100 {
        clients[number % 3].say("r", "hi");
    }
    hub.settle();
    let after = clients.each_ref().map(|client| client.socket.writes());
    assert_eq!(after, before.map(|writes| writes + 1));
    for client in &clients {
        let messages = client
            .read()
            .into_iter()
            .filter(|frame| frame.starts_with("message"));
        assert_eq!(messages.count(), 100);
    }
}

#[test]
fn a_socket_that_blocks_is_not_tried_again_until_it_says_so() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    bob.socket.block();
    let before = bob.socket.writes();
    for _ in 0..10 {
        alice.say("r", "hi");
        hub.settle();
    }
    // Once to find out, and once to leave the waker that only a blocked one needs.
    assert_eq!(bob.socket.writes(), before + 2);
    bob.socket.flow();
    hub.settle();
    assert_eq!(bob.socket.writes(), before + 3);
    assert_eq!(bob.read().len(), 10);
}

#[test]
fn a_join_and_what_it_replays_are_one_write() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    for _ in 0..50 {
        alice.say("r", "hi");
        hub.wait(100);
    }
    let mut bob = hub.connect();
    bob.join("bob", "r");
    hub.settle();
    assert_eq!(bob.socket.writes(), 1);
    assert_eq!(bob.read().len(), 1 + 50);
}

#[test]
fn a_message_is_encoded_once() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    alice.say("r", "hi");
    hub.settle();
    assert_eq!(alice.socket.last_write(), bob.socket.last_write());
}

#[test]
fn a_4_nothing_is_sent_that_is_not_yet_stored() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    let _ = alice.read();
    alice.say("r", "one");
    bob.send(PING);
    hub.settle();
    // What comes behind is applied, and waits in its place.
    bob.send(r#"{"type":"typing","roomId":"r","active":true}"#);
    alice.send(PING);
    hub.settle();
    hub.wait(1000);
    assert_eq!(read([&alice, &bob]), [vec![""; 0], vec![]]);
    assert_eq!(store.text("r", "epoch-1", 1), None);
    hub.answer_one();
    assert_eq!(store.text("r", "epoch-1", 1).as_deref(), Some("one"));
    assert_eq!(
        read([&alice, &bob]),
        [
            vec!["message r 1 one", "typing r bob", "pong"],
            vec!["message r 1 one", "pong"],
        ]
    );
}

#[test]
fn a_4_the_batch_behind_the_one_that_is_stored_grows_and_is_stored_as_one() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "s");
    let _ = store.take_calls();
    for text in ["one", "two", "three"] {
        alice.say("r", text);
        hub.settle();
        bob.say("s", text);
        hub.settle();
    }
    hub.answer_one();
    assert_eq!(store.take_calls(), ["append r:1"]);
    assert_eq!(read([&alice, &bob]), [vec!["message r 1 one"], vec![]]);
    hub.answer_one();
    assert_eq!(store.take_calls(), ["append s:1 r:2 s:2 r:3 s:3"]);
    assert!(!hub.answer_one());
    assert_eq!(alice.read(), ["message r 2 two", "message r 3 three"]);
    assert_eq!(bob.read().len(), 3);
}

#[test]
fn a_full_batch_behind_one_that_is_stored_makes_senders_wait() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "s");
    alice.say("r", "one");
    hub.settle();
    // One batch, the inbox, and no more.
    let mut taken = 0;
    while !bob.is_held() && taken < 10_000 {
        bob.send(PING);
        taken += 1;
        if taken % 100 == 0 {
            hub.settle();
        }
    }
    hub.settle();
    assert!(bob.is_held());
    hub.answer_one();
    assert!(!bob.is_held());
    hub.settle();
    assert_eq!(bob.read().len(), taken);
}

#[test]
fn control_frames_fill_a_batch_too() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&Limits::default(), &store);
    let mut alice = hub.join("alice", "r");
    alice.say("r", "one");
    hub.settle();
    let mut taken = 0;
    while !alice.is_held() && taken < 10_000 {
        alice.perform(async |connection| connection.control(frame(Opcode::Ping, b"!")).await);
        taken += 1;
        if taken % 100 == 0 {
            hub.settle();
        }
    }
    assert_eq!(taken, 1024 + 4096 + 1);
}

//! Who does not read is cut, and who asks for much is held back.

use parlor_core::types::RoomPattern;
use parlor_core::{Identity, Limits, Username};
use parlor_hub::HubGone;
use parlor_tests::driven_hub::{Client, DrivenHub, Outcome, ScriptedStore, Task};
use parlor_tests::virtual_socket::LastWord;

use super::{PING, kib, limits};

/// Says things in `r` until `slow` is cut; how many.
fn say_until_cut(hub: &mut DrivenHub, sender: &mut Client, seen: &mut Vec<String>) -> usize {
    for said in 1..100 {
        sender.say("r", &kib());
        hub.settle();
        seen.extend(sender.read());
        if seen.last().is_some_and(|frame| frame.ends_with("slow")) {
            return said;
        }
    }
    panic!("nobody is cut: {seen:?}");
}

#[test]
fn a_2_a_slow_connection_is_cut_never_awaited() {
    for half in [0, 10] {
        let mut hub = DrivenHub::in_memory(&limits());
        let mut alice = hub.join("alice", "r");
        let bob = hub.join("bob", "r");
        let carol = hub.join("carol", "r");
        let _ = (alice.read(), bob.read());
        bob.socket.take(half);
        let mut seen = Vec::new();
        let said = say_until_cut(&mut hub, &mut alice, &mut seen);
        assert_eq!(said, 60, "64 KiB hold 59 of these messages");
        assert_eq!(seen.len(), said + 1);
        assert_eq!(carol.read(), seen, "the others see everything");
        bob.socket.flow();
        hub.settle();
        let mut left: Vec<String> = seen.iter().take(usize::from(half > 0)).cloned().collect();
        left.push("close 4000".into());
        assert_eq!(bob.read(), left, "a half-written frame, and why");
        assert_eq!(bob.socket.last_word(), Some(LastWord::Finished));
    }
}

#[test]
fn a_2_a_burst_cuts_nobody_who_reads() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    let before = bob.socket.writes();
    say_kibs(&mut hub, &mut alice, "r", 100);
    let got = bob.read();
    assert_eq!(got.len(), 100, "{:?}", got.last());
    assert_eq!(bob.socket.writes(), before + 2, "each of at most 64 KiB");
    assert_eq!(bob.socket.last_word(), None);
}

#[test]
fn a_2_a_burst_for_many_cuts_nobody_who_reads() {
    let mut hub = DrivenHub::in_memory(&Limits {
        outbox_total_bytes: 20 << 10,
        ..limits()
    });
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    say_kibs(&mut hub, &mut alice, "r", 30);
    assert_eq!(bob.read().len(), 30);
    assert_eq!(bob.socket.last_word(), None);
}

#[test]
fn a_2_a_cut_connection_that_still_does_not_read_is_aborted_after_the_grace() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    bob.socket.block();
    say_until_cut(&mut hub, &mut alice, &mut Vec::new());
    hub.wait(4999);
    assert_eq!(bob.socket.last_word(), None);
    hub.wait(1);
    assert_eq!(bob.socket.last_word(), Some(LastWord::Aborted));
    assert_eq!(alice.read(), [""; 0], "it left once");
    // Its task learns of it, and what it still says means nothing.
    bob.join("bob", "s");
    hub.settle();
    assert_eq!(bob.outcome(), Some(Err(HubGone)));
    bob.end(None);
    hub.settle();
    assert_eq!(alice.read(), [""; 0]);
}

#[test]
fn a_2_a_connection_that_takes_nothing_for_long_is_cut() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    let _ = alice.read();
    bob.socket.block();
    alice.say("r", "one");
    hub.settle();
    let _ = alice.read();
    // As long as a peer may be silent: a ping interval and the time for its pong.
    hub.wait(34_999);
    assert_eq!(alice.read(), [""; 0]);
    hub.wait(1);
    assert_eq!(alice.read(), ["user_left r bob slow"]);
    // One that is merely quiet has nothing to take.
    hub.wait(3_600_000);
    assert_eq!(alice.socket.last_word(), None);
}

#[test]
fn a_2_what_a_cut_connection_got_is_a_prefix() {
    for taken in [0, 1, 5000, 20_000, 30_000] {
        let mut hub = DrivenHub::in_memory(&limits());
        let mut alice = hub.join("alice", "r");
        let bob = hub.join("bob", "r");
        let _ = alice.read();
        bob.socket.take(taken);
        let mut seen = Vec::new();
        say_until_cut(&mut hub, &mut alice, &mut seen);
        bob.socket.flow();
        hub.settle();
        let mut got = bob.read();
        assert_eq!(got.pop().as_deref(), Some("close 4000"));
        assert_eq!(got, seen[..got.len()]);
        assert_eq!(
            got.len(),
            taken.div_ceil(seen_bytes()),
            "after {taken} bytes"
        );
    }
}

/// The bytes of the frame of [`kib`] in `r`, from alice, with a sequence number of one digit: those
/// of the rest differ by too little to count.
fn seen_bytes() -> usize {
    let message = format!(
        r#"{{"type":"message","roomId":"r","from":"alice","text":"{}","timestamp":1700000000000,"seq":1}}"#,
        kib()
    );
    parlor_core::encode::frame_bytes(message.len())
}

#[test]
fn typing_is_dropped_before_anybody_is_cut() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    bob.socket.block();
    for _ in 0..30 {
        alice.send(r#"{"type":"typing","roomId":"r","active":true}"#);
        alice.say("r", &kib());
        hub.settle();
    }
    bob.socket.flow();
    hub.settle();
    let got = bob.read();
    let count = |kind| got.iter().filter(|frame| frame.starts_with(kind)).count();
    assert_eq!(count("message"), 30);
    assert_eq!(count("typing"), 15, "as many as fit into a quarter");
}

/// Two rooms, `r` with alice and bob and `s` with carol and dave; bob and dave do not read.
fn two_rooms(hub: &mut DrivenHub) -> [Client; 4] {
    let clients = [("alice", "r"), ("bob", "r"), ("carol", "s"), ("dave", "s")];
    let clients = clients.map(|(name, room)| hub.join(name, room));
    for client in &clients {
        let _ = client.read();
    }
    clients[1].socket.block();
    clients[3].socket.block();
    clients
}

fn say_kibs(hub: &mut DrivenHub, client: &mut Client, room: &str, count: usize) {
    for _ in 0..count {
        client.say(room, &kib());
    }
    hub.settle();
}

#[test]
fn a_2_when_all_queues_are_too_long_the_worst_goes_first() {
    let mut hub = DrivenHub::in_memory(&Limits {
        outbox_total_bytes: 40 << 10,
        ..limits()
    });
    let [mut alice, bob, mut carol, dave] = two_rooms(&mut hub);
    say_kibs(&mut hub, &mut alice, "r", 20);
    say_kibs(&mut hub, &mut carol, "s", 15);
    assert!(!alice.read().contains(&"user_left r bob slow".to_string()));
    say_kibs(&mut hub, &mut carol, "s", 10);
    assert!(alice.read().contains(&"user_left r bob slow".to_string()));
    bob.socket.flow();
    dave.socket.flow();
    hub.settle();
    assert_eq!(bob.read(), ["close 4000"]);
    assert_eq!(dave.read().len(), 25);
    // Everything is counted back: the same fits again.
    dave.socket.block();
    say_kibs(&mut hub, &mut carol, "s", 30);
    dave.socket.flow();
    hub.settle();
    assert_eq!(dave.read().len(), 30);
}

#[test]
fn a_2_the_queue_of_a_connection_that_ended_does_not_cut_another() {
    let mut hub = DrivenHub::in_memory(&Limits {
        outbox_total_bytes: 40 << 10,
        ..limits()
    });
    let [mut alice, mut bob, mut carol, dave] = two_rooms(&mut hub);
    say_kibs(&mut hub, &mut alice, "r", 30);
    bob.end(None);
    hub.settle();
    say_kibs(&mut hub, &mut carol, "s", 20);
    assert_eq!(bob.socket.last_word(), Some(LastWord::Aborted));
    dave.socket.flow();
    hub.settle();
    assert_eq!(dave.read().len(), 20);
}

#[test]
fn t_8_a_request_that_holds_is_released_when_its_answer_is_queued() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.connect();
    alice.send(PING);
    assert!(!alice.is_held());
    alice.join("alice", "r");
    assert!(alice.is_held());
    hub.settle();
    assert_eq!(alice.outcome(), Some(Ok(())));
    for json in [
        r#"{"type":"list_rooms"}"#,
        r#"{"type":"list_users","roomId":"r"}"#,
        r#"{"type":"get_history","roomId":"r"}"#,
        r#"{"type":"get_history","roomId":"elsewhere"}"#,
        r#"{"type":"join","roomId":"r"}"#,
    ] {
        alice.send(json);
        assert!(alice.is_held(), "{json}");
        hub.settle();
        assert_eq!(alice.outcome(), Some(Ok(())), "{json}");
    }
    assert_eq!(alice.read().len(), 7);
}

#[test]
fn t_8_an_answer_behind_much_else_releases_when_that_is_written() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    bob.socket.block();
    say_kibs(&mut hub, &mut alice, "r", 20);
    bob.send(r#"{"type":"list_users","roomId":"r"}"#);
    hub.settle();
    assert!(bob.is_held());
    bob.socket.take(2000);
    hub.settle();
    assert!(bob.is_held(), "18 KiB wait");
    bob.socket.take(4000);
    hub.settle();
    assert!(!bob.is_held(), "14 KiB wait");
}

#[test]
fn t_8_a_join_waits_for_its_load_and_a_page_for_the_store() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(
        &Limits {
            tail_entries: 1,
            ..limits()
        },
        &store,
    );
    let mut alice = hub.connect();
    alice.join("alice", "r");
    hub.settle();
    // Something else that reaches it is not its answer.
    let refused = parlor_core::Refusal::new(parlor_core::ErrorCode::InvalidJson);
    let connection = alice.connection().clone();
    Task::new(async move { connection.refuse(refused).await }).run();
    hub.settle();
    assert!(alice.is_held());
    hub.answer_one();
    assert!(!alice.is_held());
    say_kibs(&mut hub, &mut alice, "r", 3);
    hub.answer_all();
    let _ = alice.read();

    alice.send(r#"{"type":"get_history","roomId":"r"}"#);
    hub.settle();
    assert!(alice.is_held());
    hub.answer_one();
    assert!(!alice.is_held());
    assert_eq!(alice.read().last().map(String::as_str), Some("history r 3"));

    store.script().page = Outcome::Fails;
    alice.send(r#"{"type":"get_history","roomId":"r"}"#);
    hub.settle();
    hub.answer_one();
    assert!(!alice.is_held());
    assert_eq!(alice.read(), ["error r HISTORY_FETCH_FAILED"]);
}

#[test]
fn t_8_a_page_inside_the_hub_releases_too() {
    let store = ScriptedStore::default();
    let limits = Limits {
        tail_entries: 1,
        ..limits()
    };
    let mut hub = DrivenHub::with_inner_store(&limits, store);
    let mut alice = hub.join("alice", "r");
    say_kibs(&mut hub, &mut alice, "r", 3);
    alice.send(r#"{"type":"get_history","roomId":"r"}"#);
    hub.settle();
    assert!(!alice.is_held());
    assert_eq!(alice.read().last().map(String::as_str), Some("history r 3"));
}

#[test]
fn a_connection_that_ends_while_it_is_held_leaves_nothing_behind() {
    for cancelled in [true, false] {
        let store = ScriptedStore::default();
        let mut hub = DrivenHub::with_slow_store(&limits(), &store);
        let mut alice = hub.connect();
        alice.join("alice", "r");
        hub.settle();
        if cancelled {
            alice.cancel();
        } else {
            alice.end(None);
        }
        hub.answer_all();
        assert_eq!(alice.socket.last_word(), Some(LastWord::Finished));
        // Its name and its room are free again.
        let other = hub.join("alice", "r");
        assert_eq!(other.read(), [""; 0]);
    }
}

#[test]
fn t_8_a_join_that_new_claims_refuse_is_answered() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(
        &Limits {
            token_required: true,
            ..limits()
        },
        &store,
    );
    let mut alice = hub.connect();
    let identity = |rooms: Option<&str>| Identity {
        subject: Username::new("alice").unwrap(),
        rooms: rooms.map(|room| [RoomPattern(room.into())].into_iter().collect()),
    };
    let all = identity(None);
    alice.perform(async move |connection| connection.identify(all).await);
    alice.send(r#"{"type":"join","roomId":"r"}"#);
    hub.settle();
    let connection = alice.connection().clone();
    let fewer = identity(Some("s"));
    Task::new(async move { connection.identify(fewer).await }).run();
    hub.settle();
    assert_eq!(alice.read(), ["error r FORBIDDEN"]);
    assert_eq!(alice.outcome(), Some(Ok(())));
}

#[test]
fn t_8_what_new_claims_take_away_before_a_request_does_not_answer_it() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(
        &Limits {
            token_required: true,
            ..limits()
        },
        &store,
    );
    let mut alice = hub.connect();
    let identity = |rooms: &[&str]| Identity {
        subject: Username::new("alice").unwrap(),
        rooms: Some(rooms.iter().map(|&room| RoomPattern(room.into())).collect()),
    };
    let both = identity(&["r", "s"]);
    alice.perform(async move |connection| connection.identify(both).await);
    alice.send(r#"{"type":"join","roomId":"r"}"#);
    hub.answer_all();
    let _ = alice.read();
    let one = identity(&["s"]);
    alice.perform(async move |connection| connection.identify(one).await);
    alice.send(r#"{"type":"join","roomId":"s"}"#);
    hub.settle();
    assert_eq!(alice.read(), ["left r forbidden"]);
    assert!(alice.is_held(), "the join has no answer");
    hub.answer_all();
    assert_eq!(alice.read(), ["joined s 0"]);
    assert!(!alice.is_held());
}

#[test]
fn t_8_what_new_claims_take_away_is_not_the_answer_that_is_waited_for() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(
        &Limits {
            token_required: true,
            tail_entries: 1,
            ..limits()
        },
        &store,
    );
    let mut alice = hub.connect();
    let identify = |alice: &Client, rooms: &[&str]| {
        let identity = Identity {
            subject: Username::new("alice").unwrap(),
            rooms: Some(rooms.iter().map(|&room| RoomPattern(room.into())).collect()),
        };
        let connection = alice.connection().clone();
        Task::new(async move { connection.identify(identity).await }).run();
    };
    identify(&alice, &["r", "s", "t"]);
    for room in ["s", "t"] {
        alice.send(&format!(r#"{{"type":"join","roomId":"{room}"}}"#));
        hub.answer_all();
    }
    alice.send(r#"{"type":"join","roomId":"r"}"#);
    hub.settle();
    identify(&alice, &["r", "s"]);
    hub.settle();
    assert!(alice.is_held(), "the room is not loaded");
    hub.answer_all();
    assert!(!alice.is_held());
    say_kibs(&mut hub, &mut alice, "r", 3);
    hub.answer_all();
    let _ = alice.read();
    alice.send(r#"{"type":"get_history","roomId":"r"}"#);
    hub.settle();
    identify(&alice, &["r"]);
    hub.settle();
    assert_eq!(alice.read(), ["left s forbidden"]);
    assert!(alice.is_held(), "the page is not there");
    hub.answer_all();
    assert!(!alice.is_held());
}

//! What cannot be stored was never there, and the hub goes on without its store as well as it can.

use parlor_hub::HubError;
use parlor_tests::driven_hub::{DrivenHub, Outcome, ScriptedStore};
use parlor_tests::virtual_socket::LastWord;

use super::{PING, limits, read};

/// A hub whose store fails while alice's first message is stored, and what they got then.
fn failed(store: &ScriptedStore) -> DrivenHub {
    let mut hub = DrivenHub::with_slow_store(&limits(), store);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    let _ = alice.read();
    store.script().appends.push_back(Outcome::Fails);
    store.script().reopen = Outcome::Fails;
    alice.say("r", "lost");
    hub.settle();
    // Built on what is lost.
    bob.say("r", "lost too");
    alice.send(PING);
    hub.settle();
    assert!(hub.handle().is_storing());
    hub.answer_all();
    assert_eq!(read([&alice, &bob]), [["close 1012"], ["close 1012"]]);
    for client in [&alice, &bob] {
        assert_eq!(client.socket.last_word(), Some(LastWord::Finished));
    }
    assert!(!hub.handle().is_storing());
    hub
}

#[test]
fn a_4_a_failed_commit_was_never_seen() {
    let store = ScriptedStore::default();
    let mut hub = failed(&store);
    assert_eq!(store.take_calls(), ["load r", "append r:1"]);
    // Whoever comes back meanwhile cannot join a room that must be loaded.
    let mut alice = hub.connect();
    alice.join("alice", "r");
    hub.answer_all();
    assert!(!alice.is_held());
    alice.send(PING);
    alice.send(r#"{"type":"list_rooms"}"#);
    hub.answer_all();
    assert_eq!(
        alice.read(),
        ["error r STORE_UNAVAILABLE", "pong", "room_list"]
    );
    assert_eq!(store.take_calls(), [""; 0], "it is left alone");

    store.script().reopen = Outcome::Succeeds;
    hub.wait(1000);
    assert!(!hub.handle().is_storing());
    hub.answer_all();
    assert!(hub.handle().is_storing());
    alice.join("alice", "r");
    hub.answer_all();
    alice.say("r", "again");
    hub.answer_all();
    assert_eq!(alice.read(), ["joined r 0", "message r 1 again"]);
    assert_eq!(store.take_calls(), ["reopen", "load r", "append r:1"]);
    assert!(hub.take_crashes().is_empty());
}

#[test]
fn reopening_is_tried_less_and_less_often() {
    let store = ScriptedStore::default();
    let mut hub = failed(&store);
    let _ = store.take_calls();
    let mut tries = Vec::new();
    for second in 1..=130 {
        hub.wait(1000);
        hub.answer_all();
        tries.extend(store.take_calls().iter().map(|_| second));
    }
    assert_eq!(tries, [1, 2, 4, 8, 16, 32, 62, 92, 122]);
    store.script().reopen = Outcome::Succeeds;
    for _ in 0..30 {
        hub.wait(1000);
        hub.answer_all();
    }
    assert!(hub.handle().is_storing());
}

#[test]
fn a_store_that_fails_often_is_no_panic() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    for _ in 0..10 {
        let mut alice = hub.join("alice", "r");
        store.script().appends.push_back(Outcome::Fails);
        alice.say("r", "lost");
        hub.answer_all();
        assert_eq!(alice.read(), ["close 1012"]);
        hub.wait(1000);
        hub.answer_all();
    }
    assert!(hub.handle().is_storing());
    assert!(hub.take_crashes().is_empty());
}

#[test]
fn late_answers_of_before_the_failure_mean_nothing() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    store.script().appends.push_back(Outcome::Fails);
    alice.say("r", "lost");
    hub.settle();
    // Asked by the state that ends with the failure, under the number that the next one begins at.
    let mut bob = hub.connect();
    bob.join("bob", "s");
    hub.settle();
    hub.answer_one();
    let mut carol = hub.connect();
    hub.wait(1000);
    hub.answer_all();
    carol.join("carol", "t");
    hub.answer_all();
    assert_eq!(read([&bob, &carol]), [["close 1012"], ["joined t 0"]]);
    assert_eq!(bob.socket.last_word(), Some(LastWord::Finished));
    assert_eq!(bob.outcome(), Some(Err(parlor_hub::HubGone)));
    // The unanswered question of before is forgotten, too.
    assert_eq!(hub.wait(60_000), None);
}

#[test]
fn a_commit_of_before_a_restart_that_fails_late_means_nothing() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    bob.socket.block();
    bob.send(PING);
    hub.settle();
    store.script().appends.push_back(Outcome::Fails);
    alice.say("r", "lost");
    hub.settle();
    // The hub restarts while the store still has a question of before.
    bob.socket.panic();
    hub.settle();
    assert_eq!(hub.take_crashes().len(), 1);
    let mut carol = hub.connect();
    carol.join("carol", "r");
    hub.answer_all();
    assert_eq!(carol.read(), ["joined r 0"]);
    assert!(hub.handle().is_storing());
}

#[test]
fn a_store_inside_the_hub_may_fail_too() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_inner_store(&limits(), store.clone());
    let mut alice = hub.join("alice", "r");
    store.script().appends.push_back(Outcome::Fails);
    alice.say("r", "lost");
    hub.settle();
    assert_eq!(alice.read(), ["close 1012"]);
    assert!(!hub.handle().is_storing());
    hub.wait(1000);
    assert!(hub.handle().is_storing());
    let mut alice = hub.join("alice", "r");
    alice.say("r", "again");
    hub.settle();
    assert_eq!(alice.read(), ["message r 1 again"]);
}

#[test]
fn a_room_that_cannot_be_loaded_is_refused() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    store.script().load = Outcome::Fails;
    let mut alice = hub.connect();
    let mut bob = hub.connect();
    alice.join("alice", "r");
    bob.join("bob", "r");
    hub.answer_all();
    assert_eq!(read([&alice, &bob]), [["error r STORE_UNAVAILABLE"]; 2]);
    assert!(!alice.is_held() && !bob.is_held());
    assert!(hub.handle().is_storing());
    store.script().load = Outcome::Succeeds;
    alice.join("alice", "r");
    hub.answer_all();
    assert_eq!(alice.read(), ["joined r 0"]);
}

#[test]
fn a_store_that_does_not_answer_ends_the_hub() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    // Leaving the room asks for nothing that is answered.
    alice.send(r#"{"type":"leave","roomId":"r"}"#);
    hub.settle();
    assert_eq!(hub.wait(60_000), None);
    hub.answer_all();
    alice.join("alice", "r");
    hub.answer_all();
    alice.say("r", "one");
    hub.settle();
    assert_eq!(hub.wait(29_999), None);
    assert_eq!(hub.wait(1), Some(Err(HubError::StoreHangs)));
}

#[test]
fn a_clock_that_jumps_does_not_make_the_store_late() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.connect();
    alice.join("alice", "r");
    hub.settle();
    hub.jump(3_600_000);
    assert_eq!(hub.settle(), None);
    hub.answer_all();
    assert_eq!(alice.read(), ["joined r 0"]);
}

#[test]
fn a_store_that_does_not_answer_ends_a_hub_that_can_take_no_more() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "s");
    alice.say("r", "one");
    hub.settle();
    for _ in 0..2 {
        for _ in 0..10_000 {
            if !bob.is_held() {
                bob.send(PING);
            }
        }
        hub.settle();
    }
    assert!(bob.is_held());
    assert_eq!(hub.wait(30_000), Some(Err(HubError::StoreHangs)));
}

#[test]
fn a_store_that_answers_slowly_again_and_again_does_not_hang() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    for _ in 0..10 {
        alice.say("r", "one");
        hub.settle();
        assert_eq!(hub.wait(20_000), None);
        hub.answer_one();
    }
    assert_eq!(alice.read().len(), 10);
}

#[test]
fn a_store_that_answers_one_question_after_the_other_does_not_hang() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut clients: Vec<_> = (0..5).map(|_| hub.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.join(&format!("name{number}"), &format!("room{number}"));
    }
    hub.settle();
    for client in &clients {
        assert_eq!(hub.wait(29_999), None, "all were asked at once");
        assert!(hub.answer_one());
        assert_eq!(client.read().len(), 1);
    }
}

#[test]
fn a_store_that_still_answers_what_was_asked_before_a_restart_does_not_hang() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut bob = hub.join("bob", "s");
    bob.socket.block();
    bob.send(PING);
    let mut others: Vec<_> = (0..3).map(|_| hub.connect()).collect();
    for (number, client) in others.iter_mut().enumerate() {
        client.join(&format!("name{number}"), &format!("room{number}"));
    }
    hub.settle();
    bob.socket.panic();
    hub.settle();
    assert_eq!(hub.take_crashes().len(), 1);
    let _ = store.take_calls();
    for call in ["load room0", "load room1", "load room2", "reopen"] {
        assert_eq!(hub.wait(29_999), None, "all were asked at once");
        assert!(hub.answer_one());
        assert_eq!(store.take_calls(), [call]);
    }
}

#[test]
fn maintenance_waits_until_nobody_asks_for_anything_else() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let _ = store.take_calls();
    store.script().maintenance = 3;
    hub.wait(10_000);
    alice.say("r", "one");
    hub.settle();
    for calls in ["append r:1", "maintain"] {
        assert!(hub.answer_one());
        assert_eq!(store.take_calls(), [calls]);
    }
    alice.say("r", "two");
    hub.settle();
    hub.answer_one();
    assert_eq!(store.take_calls(), ["append r:2"]);
    hub.answer_all();
    assert_eq!(store.take_calls(), ["maintain", "maintain"]);
    // Ten ticks were one request.
    store.script().maintenance = 1;
    hub.answer_all();
    assert_eq!(store.take_calls(), [""; 0]);
    hub.wait(1000);
    hub.answer_all();
    assert_eq!(store.take_calls(), ["maintain"]);
}

#[test]
fn a_store_that_failed_is_not_maintained() {
    let store = ScriptedStore::default();
    let mut hub = failed(&store);
    let _ = store.take_calls();
    store.script().maintenance = 1;
    hub.wait(999);
    hub.answer_all();
    assert_eq!(store.take_calls(), [""; 0]);
    store.script().reopen = Outcome::Succeeds;
    hub.wait(1);
    hub.answer_all();
    hub.wait(1000);
    hub.answer_all();
    assert_eq!(store.take_calls(), ["reopen", "maintain"]);
}

#[test]
fn a_store_inside_the_hub_is_maintained_with_each_tick() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_inner_store(&limits(), store.clone());
    store.script().maintenance = 5;
    hub.wait(3000);
    assert_eq!(store.take_calls(), ["maintain"; 3]);
}

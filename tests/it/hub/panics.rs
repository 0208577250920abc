//! The hub survives panics: it begins anew from the store, and whoever is to blame does not come
//! back.

use parlor_core::{Limits, Timestamp};
use parlor_hub::HubError;
use parlor_tests::driven_hub::{DrivenHub, Outcome, START, ScriptedStore};
use parlor_tests::virtual_socket::LastWord;

use super::{PING, limits, read};

#[test]
fn an_outlet_that_panics_restarts_the_hub() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut clients = ["alice", "bob", "carol", "dave"].map(|name| hub.join(name, "r"));
    let _ = clients.each_ref().map(|client| client.read());
    clients[1].socket.panic();
    clients[0].say("r", "one");
    assert_eq!(hub.settle(), None);
    // What was stored before the panic is sent to whoever can get it.
    let [alice, bob, carol, dave] = &clients;
    let told = ["message r 1 one", "close 1012"];
    assert_eq!(read([alice, carol, dave]), [told; 3]);
    assert_eq!(bob.read(), [""; 0]);
    for client in [alice, carol, dave] {
        assert_eq!(client.socket.last_word(), Some(LastWord::Finished));
    }
    assert_eq!(bob.socket.last_word(), Some(LastWord::Dropped));
    let [report] = &hub.take_crashes()[..] else {
        panic!("one report");
    };
    assert_eq!(report.conn, Some(bob.connection().id()));
    assert_eq!(report.panic, "planned: the outlet panics");
    assert_eq!(report.at, Timestamp(START));

    // The room goes on where it was.
    let mut alice = hub.connect();
    alice.join("alice", "r");
    hub.settle();
    alice.say("r", "two");
    hub.settle();
    assert_eq!(
        alice.read(),
        ["joined r 1", "message r 1 one", "message r 2 two"]
    );
    // Everybody of before left without leaving anything.
    clients.iter_mut().for_each(|client| client.end(None));
    alice.end(None);
    hub.settle();
    assert_eq!(hub.shutdown(), Some(Ok(())));
}

#[test]
fn a_panic_in_the_middle_of_a_write_is_accounted_for() {
    let mut hub = DrivenHub::in_memory(&Limits {
        outbox_total_bytes: 100_000,
        ..limits()
    });
    for _ in 0..3 {
        let mut alice = hub.join("alice", "r");
        let bob = hub.join("bob", "r");
        // The first part of 40 KB is taken, and the next write panics.
        bob.socket.panic_after(40_000);
        for _ in 0..50 {
            alice.say("r", &super::kib());
        }
        hub.settle();
        assert_eq!(hub.take_crashes().len(), 1);
        hub.wait(60_001);
    }
    let mut alice = hub.join("carol", "s");
    let bob = hub.join("dave", "s");
    bob.socket.block();
    for _ in 0..40 {
        alice.say("s", &super::kib());
        hub.settle();
    }
    bob.socket.flow();
    hub.settle();
    assert_eq!(
        bob.read().len(),
        40,
        "nobody is cut for bytes that are gone"
    );
}

#[test]
fn a_store_that_panics_and_the_hub_begin_anew_together() {
    for (inside, outcome) in [
        (true, Outcome::Succeeds),
        (true, Outcome::Panics),
        (false, Outcome::Succeeds),
        (false, Outcome::Panics),
    ] {
        let store = ScriptedStore::default();
        let mut hub = if inside {
            DrivenHub::with_inner_store(&limits(), store.clone())
        } else {
            DrivenHub::with_slow_store(&limits(), &store)
        };
        let mut alice = hub.join("alice", "r");
        alice.say("r", "one");
        hub.answer_all();
        let _ = alice.read();
        store.script().appends.push_back(Outcome::Panics);
        store.script().reopen = outcome;
        alice.say("r", "two");
        hub.answer_all();
        if outcome == Outcome::Panics {
            assert_eq!(hub.settle(), Some(Err(HubError::PanicsTooOften)));
            assert_eq!(hub.take_crashes().len(), 4);
            continue;
        }
        assert_eq!(hub.settle(), None);
        assert_eq!(alice.read(), ["close 1012"]);
        let [report] = &hub.take_crashes()[..] else {
            panic!("one report");
        };
        assert_eq!(report.panic, "planned: the store panics");
        assert_eq!(report.conn, None);
        assert!(hub.handle().is_storing());
        let mut alice = hub.connect();
        alice.send(r#"{"type":"join","roomId":"r","username":"alice","since":{"epoch":"epoch-1","seq":1}}"#);
        hub.answer_all();
        alice.say("r", "two");
        hub.answer_all();
        assert_eq!(alice.read(), ["joined r 1", "message r 2 two"]);
    }
}

#[test]
fn a_store_that_panics_is_reopened_before_it_answers_anybody() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    store.script().load = Outcome::Panics;
    alice.join("alice", "s");
    hub.settle();
    hub.answer_one();
    store.script().load = Outcome::Succeeds;
    let mut bob = hub.connect();
    bob.join("bob", "s");
    hub.answer_all();
    assert_eq!(alice.read(), ["close 1012"]);
    assert_eq!(bob.read(), ["joined s 0"]);
    assert_eq!(store.take_calls(), ["load r", "load s", "reopen", "load s"]);
}

#[test]
fn a_store_that_panics_in_its_housekeeping_is_reopened() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    store.script().maintenance = 1;
    store.script().maintain = Outcome::Panics;
    hub.wait(1000);
    hub.answer_all();
    assert_eq!(store.take_calls(), ["maintain", "reopen"]);
    assert_eq!(hub.take_crashes().len(), 1);
}

#[test]
fn a_fourth_panic_within_a_minute_is_too_much() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut crash = |wait| {
        hub.wait(wait);
        let mut bob = hub.join("bob", "r");
        bob.socket.panic();
        bob.send(PING);
        hub.settle()
    };
    // Three within 60 s, again and again.
    for _ in 0..4 {
        assert_eq!(crash(30_001), None);
        assert_eq!(crash(30_000), None);
    }
    assert_eq!(crash(60_001), None);
    assert_eq!(crash(1000), None);
    assert_eq!(crash(1000), None);
    assert_eq!(crash(58_000), Some(Err(HubError::PanicsTooOften)));
}

#[test]
fn a_panic_during_a_shutdown_does_not_keep_the_hub() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    let _ = alice.read();
    bob.socket.panic();
    assert_eq!(hub.shutdown(), Some(Ok(())));
    assert_eq!(alice.read(), ["error SERVER_SHUTDOWN", "close 1001"]);
    alice.end(None);
}

#[test]
fn a_panic_while_a_batch_is_stored_loses_nothing_that_is_stored() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    alice.say("r", "one");
    hub.settle();
    // A frame that is written while the commit is under way: a cut does it.
    bob.socket.panic();
    hub.answer_one();
    assert_eq!(hub.take_crashes().len(), 1);
    // A connection that the old hub accepted and the new one finds.
    let mut carol = hub.open();
    carol.join("carol", "r");
    hub.answer_all();
    assert_eq!(carol.read(), ["joined r 1", "message r 1 one"]);
}

#[test]
fn a_crash_report_has_the_last_events_without_texts_and_tokens() {
    let mut hub = DrivenHub::with_inner_store(&limits(), ScriptedStore::default());
    let mut old = hub.join("alice", "r");
    old.say("r", "my secret");
    hub.settle();
    old.end(None);
    hub.settle();
    // The secret comes again, from the store.
    let mut alice = hub.join("alice", "r");
    let token = "00112233445566778899aabbccddeeff";
    let mut bob = hub.connect();
    bob.send(&format!(
        r#"{{"type":"hello","protocol":1,"resumeToken":"{token}"}}"#
    ));
    hub.settle();
    for _ in 0..100 {
        alice.send(PING);
    }
    hub.settle();
    alice.socket.panic();
    alice.say("r", "my other secret");
    hub.settle();
    let [report] = &hub.take_crashes()[..] else {
        panic!("one report");
    };
    assert!((100..=1024).contains(&report.events.len()));
    let mut bytes = Vec::new();
    report.write(None, &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().count(), report.events.len() + 2);
    assert!(!text.contains("secret") && !text.contains(token), "{text}");
    assert!(text.contains("RoomLoaded") && text.contains("xxxxxxxxx"));
    assert!(!text.contains(&format!("{:032x}", 1)), "{text}");
    assert!(report.complete && report.recorded);

    // Old events are forgotten.
    let mut alice = hub.join("alice", "r");
    for _ in 0..2000 {
        alice.send(PING);
    }
    hub.settle();
    alice.socket.panic();
    alice.say("r", "end");
    hub.settle();
    let [report] = &hub.take_crashes()[..] else {
        panic!("one report");
    };
    assert_eq!(report.events.len(), 1024);
    assert!(!report.complete && report.recorded);
}

//! What the application is told of what happens: in order, and not before it is stored.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{Arc, Mutex};

use parlor_core::{Change, CloseReason, Limits};
use parlor_hub::{Happened, HubError};
use parlor_tests::driven_hub::{DrivenHub, Outcome, ScriptedStore};

use super::limits;

/// What the application was told, in short. Its clones are the same.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, happened: &Happened) {
        let line = match happened {
            Happened::Presence(Change::Joined { room, username }) => {
                format!("{username} joined {room}")
            }
            Happened::Presence(Change::Left {
                room,
                username,
                cause,
            }) => format!("{username} left {room}: {cause:?}"),
            Happened::Presence(Change::AllLeft) => "all left".into(),
            Happened::Stored(append) => {
                let entry = &append.entry;
                let (from, text) = (&entry.from, entry.text.as_str());
                let (room, epoch, seq) = (&append.room, &append.epoch, entry.seq.0);
                format!("{room} {epoch} {seq}: {from} said {text}")
            }
        };
        self.0.lock().unwrap().push(line);
    }

    /// Since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn observed(limits: &Limits, store: &ScriptedStore, inside: bool) -> (DrivenHub, Told) {
    let told = Told::default();
    let own = told.clone();
    let hub = DrivenHub::observed(limits, store, inside, move |happened| own.note(&happened));
    (hub, told)
}

fn in_memory() -> (DrivenHub, Told) {
    observed(&limits(), &ScriptedStore::default(), true)
}

#[test]
fn who_comes_and_goes_and_what_is_said_is_told_in_order() {
    let (mut hub, told) = in_memory();
    let mut alice = hub.join("alice", "r");
    alice.say("r", "one");
    let mut bob = hub.join("bob", "r");
    bob.say("r", "two");
    hub.settle();
    bob.send(r#"{"type":"leave","roomId":"r"}"#);
    hub.settle();
    // Nobody else is there to be told.
    alice.end(None);
    hub.settle();
    assert_eq!(
        told.take(),
        [
            "alice joined r",
            "r epoch-1 1: alice said one",
            "bob joined r",
            "r epoch-1 2: bob said two",
            "bob left r: Left",
            "alice left r: Disconnected",
        ]
    );
}

#[test]
fn a_user_comes_with_the_first_connection_and_goes_with_the_last() {
    let (mut hub, told) = in_memory();
    let mut first = hub.join("alice", "r");
    let mut second = hub.connect();
    second.send(&format!(
        r#"{{"type":"hello","protocol":1,"resumeToken":"{:032x}"}}"#,
        1
    ));
    second.send(r#"{"type":"join","roomId":"r"}"#);
    hub.settle();
    first.end(None);
    hub.settle();
    assert_eq!(told.take(), ["alice joined r"]);
    second.end(Some(CloseReason::NoPong));
    hub.settle();
    assert_eq!(told.take(), ["alice left r: Timeout"]);
}

#[test]
fn a_4_nothing_is_told_before_it_is_stored() {
    let store = ScriptedStore::default();
    let (mut hub, told) = observed(&limits(), &store, false);
    let mut alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    let _ = told.take();
    alice.say("r", "one");
    bob.end(None);
    hub.settle();
    assert_eq!(told.take(), [""; 0]);
    hub.answer_one();
    let all = ["r epoch-1 1: alice said one", "bob left r: Disconnected"];
    assert_eq!(told.take(), all);
}

#[test]
fn what_could_not_be_stored_is_not_told_but_that_everybody_is_gone() {
    let store = ScriptedStore::default();
    let (mut hub, told) = observed(&limits(), &store, false);
    let mut alice = hub.join("alice", "r");
    let _ = told.take();
    // It is stored all the same, as shows later.
    store.script().appends.push_back(Outcome::Tears(1));
    alice.say("r", "one");
    hub.answer_all();
    assert_eq!(told.take(), ["all left"]);
    hub.wait(2000);
    hub.answer_all();
    let mut alice = hub.join("alice", "r");
    alice.say("r", "two");
    hub.answer_all();
    let again = ["alice joined r", "r epoch-1 2: alice said two"];
    assert_eq!(told.take(), again);
}

#[test]
fn after_a_panic_everybody_is_gone() {
    let (mut hub, told) = in_memory();
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    let _ = told.take();
    bob.socket.panic();
    alice.say("r", "one");
    hub.settle();
    assert_eq!(hub.take_crashes().len(), 1);
    assert_eq!(told.take(), ["r epoch-1 1: alice said one", "all left"]);
    drop(hub.join("alice", "r"));
    hub.settle();
    let again = ["alice joined r", "alice left r: Disconnected"];
    assert_eq!(told.take(), again);
}

#[test]
fn at_a_shutdown_everybody_leaves_at_once() {
    let store = ScriptedStore::default();
    let (mut hub, told) = observed(&limits(), &store, false);
    let mut alice = hub.join("alice", "r");
    let _bob = hub.join("bob", "s");
    let _ = told.take();
    alice.say("r", "one");
    hub.shutdown();
    assert_eq!(told.take(), [""; 0]);
    hub.answer_all();
    assert_eq!(hub.settle(), Some(Ok(())));
    assert_eq!(told.take(), ["r epoch-1 1: alice said one", "all left"]);
}

#[test]
fn an_observer_that_panics_restarts_the_hub() {
    let store = ScriptedStore::default();
    let told = Told::default();
    let own = told.clone();
    let mut hub = DrivenHub::observed(&limits(), &store, true, move |happened| {
        own.note(&happened);
        let is_stored = matches!(happened, Happened::Stored(_));
        assert!(!is_stored, "planned: the observer panics");
    });
    let mut alice = hub.join("alice", "r");
    let _ = alice.read();
    alice.say("r", "one");
    assert_eq!(hub.settle(), None);
    let [report] = &hub.take_crashes()[..] else {
        panic!("one report");
    };
    assert_eq!(report.panic, "planned: the observer panics");
    assert_eq!(report.conn, None, "nobody's fault");
    assert_eq!(alice.read(), ["close 1012"]);
    let all = ["alice joined r", "r epoch-1 1: alice said one", "all left"];
    assert_eq!(told.take(), all);
    // It was stored before anybody was told.
    let alice = hub.join("alice", "r");
    assert_eq!(told.take(), ["alice joined r"]);
    drop(alice);
}

#[test]
fn an_observer_that_panics_at_a_failed_commit_does_not_hide_it() {
    let store = ScriptedStore::default();
    let mut times = 0;
    let mut hub = DrivenHub::observed(&limits(), &store, false, move |happened| {
        if happened == Happened::Presence(Change::AllLeft) {
            times += 1;
            assert_ne!(times, 1, "planned: the observer panics");
        }
    });
    let mut alice = hub.join("alice", "r");
    store.script().appends.push_back(Outcome::Fails);
    alice.say("r", "one");
    hub.answer_all();
    assert_eq!(hub.take_crashes().len(), 1);
    assert!(!hub.handle().is_storing());
    hub.wait(2000);
    hub.answer_all();
    assert!(hub.handle().is_storing());
    drop(hub.join("alice", "r"));
}

#[test]
fn an_observer_that_always_panics_ends_the_hub() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::observed(&limits(), &store, true, |_| panic!("planned"));
    let mut alice = hub.connect();
    alice.join("alice", "r");
    assert_eq!(hub.settle(), Some(Err(HubError::PanicsTooOften)));
    assert_eq!(hub.take_crashes().len(), 4);
}

//! What an application does through its handle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use parlor_core::types::{ClientMsgId, MessageText};
use parlor_core::{CloseReason, ErrorCode, Limits, Published, RoomId, Username};
use parlor_hub::{Handle, HubError, HubGone, PublishError};
use parlor_tests::driven_hub::{Client, DrivenHub, Outcome, ScriptedStore, Task};
use parlor_tests::virtual_socket::LastWord;

use super::{PING, limits, read};

type Publishing = Task<Result<Published, PublishError>>;

fn room(id: &str) -> RoomId {
    RoomId::new(id).unwrap()
}

fn name(name: &str) -> Username {
    Username::new(name).unwrap()
}

/// A publication of Bot that the hub has not looked at yet; without an id if that is empty.
fn publish_as(handle: &Handle, to: &str, text: &str, id: &str) -> Publishing {
    let (handle, to, text) = (handle.clone(), room(to), MessageText::new(text).unwrap());
    let id = ClientMsgId::new(id).ok();
    let mut task = Task::new(async move { handle.publish(to, name("Bot"), text, id).await });
    task.run();
    task
}

fn publish(hub: &DrivenHub, to: &str, text: &str) -> Publishing {
    publish_as(hub.handle(), to, text, "")
}

/// The outcome in short, if it is known.
fn outcome(publishing: &mut Publishing) -> Option<String> {
    publishing.run().map(|outcome| match outcome {
        Ok(Published {
            epoch,
            seq,
            duplicate,
        }) => format!(
            "{epoch} {}{}",
            seq.0,
            if *duplicate { " again" } else { "" }
        ),
        Err(PublishError::Refused(code)) => code.to_string(),
        Err(PublishError::HubGone) => "gone".into(),
    })
}

/// What becomes of a question to the hub.
fn asked<T, F>(hub: &DrivenHub, question: impl FnOnce(Handle) -> F) -> Task<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let mut task = Task::new(question(hub.handle().clone()));
    task.run();
    task
}

fn rooms(hub: &DrivenHub) -> Task<Result<Vec<String>, HubGone>> {
    asked(hub, async |handle: Handle| {
        let rooms = handle.rooms().await?.into_iter();
        let rooms = rooms.map(|room| format!("{} {}", room.id, room.user_count));
        Ok(rooms.collect())
    })
}

fn users(hub: &DrivenHub, of: &str) -> Task<Result<Vec<String>, HubGone>> {
    let of = room(of);
    asked(hub, async |handle: Handle| {
        let users = handle.users(of).await?.into_iter();
        Ok(users.map(|user| user.to_string()).collect())
    })
}

fn list(task: &mut Task<Result<Vec<String>, HubGone>>) -> Option<Result<Vec<String>, HubGone>> {
    task.run().cloned()
}

fn disconnect(hub: &DrivenHub, client: &Client) {
    let conn = client.connection().id();
    let mut task = asked(hub, async move |handle: Handle| {
        handle.disconnect(conn).await
    });
    assert_eq!(task.run(), Some(&Ok(())));
}

fn disconnect_user(hub: &DrivenHub, user: &str) {
    let user = name(user);
    let mut task = asked(hub, async |handle: Handle| {
        handle.disconnect_user(user).await
    });
    assert_eq!(task.run(), Some(&Ok(())));
}

#[test]
fn a_4_a_publication_is_answered_and_sent_when_it_is_stored() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let clients = ["alice", "bob"].map(|name| hub.join(name, "r"));
    let _ = clients.each_ref().map(Client::read);
    let mut publishing = publish(&hub, "r", "hello");
    hub.settle();
    assert_eq!(outcome(&mut publishing), None);
    assert_eq!(clients.each_ref().map(Client::read), [[""; 0]; 2]);
    hub.answer_one();
    assert_eq!(store.text("r", "epoch-1", 1).as_deref(), Some("hello"));
    assert_eq!(outcome(&mut publishing).as_deref(), Some("epoch-1 1"));
    let got = clients.each_ref().map(Client::read);
    assert_eq!(got, [["message r 1 hello"]; 2]);
}

#[test]
fn a_room_that_nobody_is_in_is_loaded_for_a_publication_and_released() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut all = ["one", "two"].map(|text| publish(&hub, "r", text));
    hub.answer_all();
    let outcomes = all.each_mut().map(outcome);
    assert_eq!(outcomes.map(Option::unwrap), ["epoch-1 1", "epoch-1 2"]);
    let calls = ["load r", "append r:1 r:2", "release r"];
    assert_eq!(store.take_calls(), calls);
    // Whoever comes later finds both.
    let mut alice = hub.connect();
    alice.join("alice", "r");
    hub.answer_all();
    let found = ["joined r 2", "message r 1 one", "message r 2 two"];
    assert_eq!(alice.read(), found);
}

#[test]
fn what_waits_for_a_room_is_said_to_whoever_waits_with_it() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut before = publish(&hub, "r", "before");
    let mut alice = hub.connect();
    alice.join("alice", "r");
    hub.settle();
    let mut behind = publish(&hub, "r", "behind");
    let mut bob = hub.connect();
    bob.join("bob", "r");
    hub.answer_all();
    assert_eq!(outcome(&mut before).as_deref(), Some("epoch-1 1"));
    assert_eq!(outcome(&mut behind).as_deref(), Some("epoch-1 2"));
    assert!(!alice.is_held() && !bob.is_held());
    assert_eq!(
        read([&alice, &bob]),
        [
            vec![
                "joined r 0",
                "user_joined r bob",
                "message r 1 before",
                "message r 2 behind",
            ],
            vec!["joined r 0", "message r 1 before", "message r 2 behind"],
        ]
    );
}

#[test]
fn a_publication_that_cannot_be_is_refused() {
    let store = ScriptedStore::default();
    let limits = Limits {
        open_rooms: 1,
        tail_entries: 2,
        ..limits()
    };
    let mut hub = DrivenHub::with_slow_store(&limits, &store);
    store.script().load = Outcome::Fails;
    let mut all = ["1", "2", "3"].map(|text| publish(&hub, "r", text));
    let mut other = publish(&hub, "s", "one room too many");
    hub.answer_all();
    let outcomes = all.each_mut().map(|task| outcome(task).unwrap());
    let expected = ["STORE_UNAVAILABLE", "STORE_UNAVAILABLE", "RATE_LIMITED"];
    assert_eq!(outcomes, expected);
    assert_eq!(outcome(&mut other).as_deref(), Some("SERVER_FULL"));

    store.script().load = Outcome::Succeeds;
    let mut first = publish_as(hub.handle(), "r", "one", "id");
    let _alice = hub.join("alice", "r");
    assert_eq!(outcome(&mut first).as_deref(), Some("epoch-1 1"));
    let mut again = publish_as(hub.handle(), "r", "one", "id");
    let mut other = publish_as(hub.handle(), "r", "two", "id");
    hub.answer_all();
    assert_eq!(outcome(&mut again).as_deref(), Some("epoch-1 1 again"));
    assert_eq!(outcome(&mut other).as_deref(), Some("DUPLICATE_ID"));
}

#[test]
fn flood_control_is_for_clients() {
    let limits = Limits {
        messages_per_second: 1,
        burst: 1,
        ..limits()
    };
    let mut hub = DrivenHub::in_memory(&limits);
    let alice = hub.join("alice", "r");
    for _ in 0..100 {
        let mut publishing = publish(&hub, "r", "hi");
        hub.settle();
        assert!(publishing.run().is_some_and(Result::is_ok));
    }
    assert_eq!(alice.read().len(), 100);
}

#[test]
fn at_a_shutdown_publications_are_refused() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let alice = hub.join("alice", "r");
    alice.socket.block();
    let mut waits = publish(&hub, "s", "waits");
    hub.settle();
    hub.shutdown();
    let mut late = publish(&hub, "r", "late");
    hub.settle();
    assert_eq!(outcome(&mut waits).as_deref(), Some("SERVER_SHUTDOWN"));
    assert_eq!(outcome(&mut late).as_deref(), Some("SERVER_SHUTDOWN"));
    alice.socket.flow();
    hub.answer_all();
    assert_eq!(hub.settle(), Some(Ok(())));
    let mut later = publish(&hub, "r", "later");
    assert_eq!(outcome(&mut later).as_deref(), Some("gone"));
}

#[test]
fn a_publication_may_be_repeated_when_the_hub_began_anew() {
    for outcome_of_append in [Outcome::Fails, Outcome::Tears(1)] {
        let store = ScriptedStore::default();
        let mut hub = DrivenHub::with_slow_store(&limits(), &store);
        let _alice = hub.join("alice", "r");
        store.script().appends.push_back(outcome_of_append);
        let mut stored = publish_as(hub.handle(), "r", "hello", "id");
        let mut waits = publish(&hub, "s", "waits");
        hub.answer_all();
        assert_eq!(outcome(&mut stored).as_deref(), Some("gone"));
        assert_eq!(outcome(&mut waits).as_deref(), Some("gone"));
        hub.wait(2000);
        hub.answer_all();
        let mut again = publish_as(hub.handle(), "r", "hello", "id");
        hub.answer_all();
        let is_kept = outcome_of_append != Outcome::Fails;
        let expected = if is_kept {
            "epoch-1 1 again"
        } else {
            // Nothing was ever said there, so it is another log.
            "epoch-2 1"
        };
        assert_eq!(outcome(&mut again).as_deref(), Some(expected));
        assert_eq!(store.entries("r").len(), 1);
        assert_eq!(store.entries("s").len(), 0);
    }
}

#[test]
fn whoever_waits_is_told_when_the_hub_panics() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    store.script().appends.push_back(Outcome::Panics);
    alice.say("r", "is being stored");
    hub.settle();
    let mut waits = publish(&hub, "s", "waits");
    let (mut rooms, mut users) = (rooms(&hub), users(&hub, "r"));
    hub.settle();
    assert_eq!((list(&mut rooms), list(&mut users)), (None, None));
    hub.answer_one();
    assert_eq!(hub.take_crashes().len(), 1);
    assert_eq!(outcome(&mut waits).as_deref(), Some("gone"));
    assert_eq!(list(&mut rooms), Some(Err(HubGone)));
    assert_eq!(list(&mut users), Some(Err(HubGone)));
}

#[test]
fn whoever_is_still_in_the_inbox_is_told_when_the_hub_ends() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&Limits::default(), &store);
    let mut alice = hub.join("alice", "r");
    alice.say("r", "is never stored");
    hub.settle();
    // A full batch, behind which the inbox fills.
    for _ in 0..1024 {
        alice.send(PING);
    }
    hub.settle();
    let (mut waits, mut rooms) = (publish(&hub, "r", "waits"), rooms(&hub));
    hub.settle();
    assert_eq!(outcome(&mut waits), None);
    assert_eq!(hub.wait(40_000), Some(Err(HubError::StoreHangs)));
    assert_eq!(outcome(&mut waits).as_deref(), Some("gone"));
    assert_eq!(list(&mut rooms), Some(Err(HubGone)));
}

#[test]
fn a_publication_that_nobody_waits_for_any_more_is_said() {
    let mut hub = DrivenHub::in_memory(&limits());
    let alice = hub.join("alice", "r");
    drop(publish(&hub, "r", "one"));
    hub.settle();
    assert_eq!(alice.read(), ["message r 1 one"]);
}

#[test]
fn lists_tell_what_was_before_them_and_not_before_it_is_stored() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    let mut before = users(&hub, "r");
    let mut bob = hub.connect();
    bob.join("bob", "r");
    hub.settle();
    let mut publishing = publish(&hub, "r", "hello");
    let mut behind = users(&hub, "r");
    let mut all = rooms(&hub);
    hub.settle();
    assert_eq!(list(&mut before), Some(Ok(vec!["alice".into()])));
    assert_eq!((list(&mut behind), list(&mut all)), (None, None));
    hub.answer_one();
    assert!(outcome(&mut publishing).is_some());
    let both = vec!["alice".to_string(), "bob".into()];
    assert_eq!(list(&mut behind), Some(Ok(both)));
    assert_eq!(list(&mut all), Some(Ok(vec!["r 2".into()])));

    // A room that loads is not open, and one that everybody left is none.
    alice.join("alice", "s");
    bob.end(None);
    hub.settle();
    let (mut all, mut loading) = (rooms(&hub), users(&hub, "s"));
    hub.settle();
    assert_eq!(list(&mut all), Some(Ok(vec!["r 1".into()])));
    assert_eq!(list(&mut loading), Some(Ok(vec![])));
    hub.answer_all();
    alice.send(r#"{"type":"leave","roomId":"r"}"#);
    let mut all = rooms(&hub);
    hub.settle();
    assert_eq!(list(&mut all), Some(Ok(vec!["s 1".into()])));
}

#[test]
fn a_connection_that_is_disconnected_ends_like_any_other() {
    let mut hub = DrivenHub::in_memory(&limits());
    let alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    let _ = alice.read();
    disconnect(&hub, &bob);
    // Twice is as good as once.
    disconnect(&hub, &bob);
    hub.settle();
    assert_eq!(alice.read(), ["user_left r bob forbidden"]);
    assert_eq!(bob.read(), ["close 4504"]);
    assert_eq!(bob.socket.last_word(), Some(LastWord::Finished));
    // Its task learns it, and says nothing more.
    bob.join("bob", "s");
    hub.settle();
    assert_eq!(bob.outcome(), Some(Err(HubGone)));
    bob.end(Some(CloseReason::Normal));
    hub.settle();
    assert_eq!(alice.read(), [""; 0]);
    let closed = hub.metrics();
    assert_eq!(
        closed["parlor_closed_connections_total{reason=\"removed\"}"],
        1.0
    );
}

#[test]
fn a_3_a_connection_that_is_disconnected_while_its_join_waits_leaves_nothing() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut bob = hub.connect();
    bob.join("bob", "r");
    disconnect(&hub, &bob);
    hub.answer_all();
    assert_eq!(bob.read(), ["close 4504"]);
    assert_eq!(bob.outcome(), Some(Err(HubGone)));
    assert_eq!(store.take_calls(), ["load r", "release r"]);
    assert_eq!(hub.metrics()["parlor_connections"], 0.0);
}

#[test]
fn a_user_that_is_disconnected_loses_every_connection_under_any_spelling() {
    let mut hub = DrivenHub::in_memory(&limits());
    let first = hub.join("Alice", "r");
    let bob = hub.join("bob", "r");
    let mut second = hub.connect();
    second.send(&format!(
        r#"{{"type":"hello","protocol":1,"resumeToken":"{:032x}"}}"#,
        1
    ));
    second.send(r#"{"type":"join","roomId":"r"}"#);
    hub.settle();
    let _ = [&first, &second, &bob].map(Client::read);
    disconnect_user(&hub, "nobody");
    hub.settle();
    assert_eq!(read([&first, &second, &bob]), [[""; 0]; 3]);
    disconnect_user(&hub, "ALICE");
    let mut left = users(&hub, "r");
    hub.settle();
    assert_eq!(read([&first, &second]), [["close 4504"]; 2]);
    assert_eq!(bob.read(), ["user_left r Alice forbidden"]);
    assert_eq!(list(&mut left), Some(Ok(vec!["bob".into()])));
    // The name is free, and nobody keeps her out.
    drop(hub.join("alice", "r"));
}

#[test]
fn a_hub_that_is_gone_does_nothing_for_the_application() {
    let mut hub = DrivenHub::in_memory(&limits());
    assert_eq!(hub.shutdown(), Some(Ok(())));
    let mut publishing = publish(&hub, "r", "one");
    assert_eq!(outcome(&mut publishing).as_deref(), Some("gone"));
    assert_eq!(list(&mut rooms(&hub)), Some(Err(HubGone)));
    assert_eq!(list(&mut users(&hub, "r")), Some(Err(HubGone)));
    let mut user = asked(&hub, async |handle: Handle| {
        handle.disconnect_user(name("a")).await
    });
    assert_eq!(user.run(), Some(&Err(HubGone)));
}

#[test]
fn errors_say_what_happened() {
    let refused = PublishError::Refused(ErrorCode::ServerFull);
    let refused = refused.to_string();
    assert_eq!(refused, "the publication was refused: SERVER_FULL");
    assert_eq!(PublishError::HubGone.to_string(), "the hub is gone");
}

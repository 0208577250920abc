//! Connections end once, whatever ends them, and leave nothing behind; so does the server.

use parlor_core::CloseReason;
use parlor_hub::HubGone;
use parlor_tests::driven_hub::{Client, DrivenHub, ScriptedStore, Task};
use parlor_tests::virtual_socket::LastWord;

use super::{kib, limits, read};

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Ended,
    Closed,
    Cancelled,
    WriteFails,
    Cut,
}

const ENDS: [End; 5] = [
    End::Ended,
    End::Closed,
    End::Cancelled,
    End::WriteFails,
    End::Cut,
];

/// Ends bob one way; the others' messages find out what only shows when something is written.
fn end(way: End, bob: &mut Client, alice: &mut Client) {
    match way {
        End::Ended if bob.is_open() => bob.end(None),
        End::Closed if bob.is_open() => bob.end(Some(CloseReason::NoPong)),
        End::Cancelled if bob.is_open() => bob.cancel(),
        End::Ended | End::Closed | End::Cancelled => {}
        End::WriteFails => {
            bob.socket.fail();
            alice.say("r", "hi");
        }
        End::Cut => {
            bob.socket.block();
            for _ in 0..70 {
                alice.say("r", &kib());
            }
        }
    }
}

#[test]
fn a_3_every_connected_has_one_disconnected() {
    for first in ENDS {
        for second in ENDS {
            for at_once in [true, false] {
                for slow_store in [true, false] {
                    let case =
                        format!("{first:?} {second:?}, at once: {at_once}, slow: {slow_store}");
                    let store = ScriptedStore::default();
                    let mut hub = if slow_store {
                        DrivenHub::with_slow_store(&limits(), &store)
                    } else {
                        DrivenHub::in_memory(&limits())
                    };
                    let mut alice = hub.join("alice", "r");
                    let mut bob = hub.join("bob", "r");
                    let _ = alice.read();
                    end(first, &mut bob, &mut alice);
                    if !at_once {
                        hub.answer_all();
                    }
                    end(second, &mut bob, &mut alice);
                    hub.answer_all();
                    hub.wait(5000);
                    hub.answer_all();
                    let seen = alice.read();
                    let left = seen
                        .iter()
                        .filter(|frame| frame.starts_with("user_left r bob"));
                    assert_eq!(left.count(), 1, "{case}: {seen:?}");
                    assert!(bob.socket.last_word().is_some(), "{case}");
                    // The hub says so to a task that is still there.
                    if bob.is_open() {
                        bob.join("bob", "s");
                        hub.answer_all();
                        assert_eq!(bob.outcome(), Some(Err(HubGone)), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_3_a_task_that_is_gone_without_a_word_is_an_internal_error() {
    let mut hub = DrivenHub::in_memory(&limits());
    let alice = hub.join("alice", "r");
    let mut bob = hub.join("bob", "r");
    bob.cancel();
    hub.settle();
    assert_eq!(
        read([&alice, &bob]),
        [
            vec!["user_joined r bob", "user_left r bob disconnected"],
            vec!["close 4502"]
        ]
    );
    assert_eq!(bob.socket.last_word(), Some(LastWord::Finished));
}

#[test]
fn a_3_a_task_that_is_gone_before_the_hub_looked_at_it_leaves_no_ghost() {
    let mut hub = DrivenHub::in_memory(&limits());
    let alice = hub.join("alice", "r");
    let mut bob = hub.open();
    bob.join("bob", "r");
    bob.cancel();
    hub.settle();
    assert_eq!(bob.socket.last_word(), Some(LastWord::Finished));
    assert_eq!(read([&alice, &bob]), [vec![], vec!["close 4502"]]);
    assert_eq!(hub.shutdown(), Some(Ok(())));
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut clients: Vec<Client> = (0..1000)
        .map(|number| {
            let mut client = hub.connect();
            client.join(&format!("user {number}"), &format!("room {}", number % 50));
            hub.settle();
            client
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        match number % 4 {
            0 => client.end(None),
            1 => client.end(Some(CloseReason::Normal)),
            2 => client.cancel(),
            _ => {
                client.socket.fail();
                client.say(&format!("room {}", number % 50), "hi");
            }
        }
        hub.settle();
    }
    let mut list = hub.connect();
    list.send(r#"{"type":"list_rooms"}"#);
    hub.settle();
    assert_eq!(list.read(), ["room_list"], "no room is left");
    list.end(None);
    hub.settle();
    assert_eq!(hub.shutdown(), Some(Ok(())));
}

#[test]
fn at_a_shutdown_everybody_gets_the_goodbye_and_nothing_else() {
    let mut hub = DrivenHub::in_memory(&limits());
    let mut alice = hub.join("alice", "r");
    let bob = hub.join("bob", "r");
    let _ = alice.read();
    bob.socket.block();
    assert_eq!(hub.shutdown(), None, "bob did not take his yet");
    alice.say("r", "too late");
    hub.settle();
    assert_eq!(alice.read(), ["error SERVER_SHUTDOWN", "close 1001"]);
    let late = hub.connect();
    assert_eq!(late.read(), ["close 1001"]);
    assert_eq!(late.socket.last_word(), Some(LastWord::Finished));
    bob.socket.flow();
    assert_eq!(hub.settle(), Some(Ok(())));
    assert_eq!(bob.read(), ["error SERVER_SHUTDOWN", "close 1001"]);
    assert_eq!(alice.socket.last_word(), Some(LastWord::Finished));
}

#[test]
fn at_a_shutdown_who_does_not_read_is_given_up_after_the_grace() {
    let mut hub = DrivenHub::in_memory(&limits());
    let bob = hub.join("bob", "r");
    bob.socket.block();
    assert_eq!(hub.shutdown(), None);
    assert_eq!(hub.wait(4999), None);
    assert_eq!(hub.wait(1), Some(Ok(())));
    assert_eq!(bob.socket.last_word(), Some(LastWord::Aborted));
}

#[test]
fn a_4_a_shutdown_waits_for_what_is_being_stored() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    alice.say("r", "one");
    hub.settle();
    alice.say("r", "two");
    assert_eq!(hub.shutdown(), None);
    assert_eq!(alice.read(), [""; 0]);
    hub.answer_one();
    assert_eq!(alice.read(), ["message r 1 one"]);
    hub.answer_one();
    let rest = ["message r 2 two", "error SERVER_SHUTDOWN", "close 1001"];
    assert_eq!(alice.read(), rest);
    assert_eq!(hub.settle(), Some(Ok(())));
    assert_eq!(store.text("r", "epoch-1", 2).as_deref(), Some("two"));
}

#[test]
fn a_hub_that_nobody_can_reach_ends() {
    let mut hub = DrivenHub::in_memory(&limits());
    let alice = hub.join("alice", "r");
    drop(alice);
    assert_eq!(hub.abandon(), Ok(()));
}

#[test]
fn a_shutdown_finishes_what_is_being_stored_for_somebody_who_is_gone() {
    let store = ScriptedStore::default();
    let mut hub = DrivenHub::with_slow_store(&limits(), &store);
    let mut alice = hub.join("alice", "r");
    alice.socket.block();
    alice.send(super::PING);
    hub.settle();
    alice.say("r", "one");
    hub.settle();
    alice.socket.fail();
    assert_eq!(hub.shutdown(), None);
    assert_eq!(alice.socket.last_word(), Some(LastWord::Aborted));
    hub.answer_one();
    assert_eq!(hub.settle(), Some(Ok(())));
    assert_eq!(store.text("r", "epoch-1", 1).as_deref(), Some("one"));
}

#[test]
fn a_connection_is_finished_when_its_last_frame_is_written_or_given_up() {
    for reads in [true, false] {
        let mut hub = DrivenHub::in_memory(&limits());
        let mut alice = hub.join("alice", "r");
        alice.socket.block();
        let connection = alice.connection().clone();
        let mut finished = Task::new(async move { connection.finished().await });
        alice.send(r#"{"type":"ping"}"#);
        hub.shutdown();
        assert_eq!(finished.run(), None, "the goodbye waits");
        if reads {
            alice.socket.flow();
            hub.settle();
        } else {
            hub.wait(5000);
        }
        assert_eq!(finished.run(), Some(&()));
        let last_word = alice.socket.last_word();
        let expected = if reads {
            LastWord::Finished
        } else {
            LastWord::Aborted
        };
        assert_eq!(last_word, Some(expected));
    }
}

use std::future::IntoFuture;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use futures_lite::AsyncWriteExt as _;
use parlor_client::{Backoff, Joined, Message};
use parlor_core::ErrorCode;
use serde_json::json;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;
use crate::testing::{Peer, World, poll};

const URL: &str = "ws://chat.example:8080/ws";

fn options() -> Options {
    let mut options = Options::guest("Alice");
    options.client.backoff = Backoff {
        base_ms: 100,
        cap_ms: 1_000,
    };
    options
}

fn begin(options: Options) -> (World, Chat, Events) {
    let world = World::new();
    let (chat, events) = connect(world.clone(), URL, options).expect("it is a good URL");
    (world, chat, events)
}

/// Alice is in the room "general".
fn inside(options: Options) -> (World, Chat, Events, Peer) {
    let (world, chat, events) = begin(options);
    let peer = world.run(async {
        let mut peer = world.greet().await;
        let (joined, ()) = both(chat.join("general"), peer.admit(0, false)).await;
        assert_eq!(joined.expect("one may join").users, ["Alice"]);
        peer
    });
    (world, chat, events, peer)
}

async fn both<A: IntoFuture, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    futures_lite::future::zip(one.into_future(), other).await
}

/// What comes next of one kind.
async fn next<T>(events: &mut Events, only: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = events.recv().await.expect("the client goes on");
        assert!(
            !matches!(event, Event::Gap(_)),
            "nothing is missing: {event:?}"
        );
        if let Some(found) = only(event) {
            return found;
        }
    }
}

async fn message(events: &mut Events) -> Message {
    let only = |event| {
        if let Event::Message(message) = event {
            Some(message)
        } else {
            None
        }
    };
    next(events, only).await
}

async fn joined(events: &mut Events) -> Joined {
    let only = |event| {
        if let Event::Joined(joined) = event {
            Some(joined)
        } else {
            None
        }
    };
    next(events, only).await
}

/// The next time that there is no connection: its code and reason.
async fn offline(events: &mut Events) -> (Option<u16>, String) {
    let only = |event| {
        if let Event::State(State::Offline { code, reason, .. }) = event {
            Some((code, reason.unwrap_or_default()))
        } else {
            None
        }
    };
    next(events, only).await
}

fn is<T>(answer: Result<T, Failure>, code: ClientError) -> bool {
    answer.is_err_and(|failure| failure.code == Code::Client(code))
}

#[test]
fn calls_are_answered_and_events_come_in_order() {
    let (world, chat, mut events, mut peer) = inside(options());
    world.run(async {
        let answering = async {
            let message = peer.hear().await;
            assert_eq!(
                (&message["type"], &message["text"]),
                (&json!("message"), &json!("Hello!"))
            );
            peer.said(1).await;
            let stored = json!({
                "type": "message", "roomId": "general", "from": "Alice", "text": "Hello!",
                "timestamp": 2, "seq": 2, "clientMsgId": message["clientMsgId"],
            });
            peer.answer(&message, stored).await;
        };
        let (sent, ()) = both(chat.send("general", "Hello!"), answering).await;
        assert_eq!(sent.expect("it is stored").seq, 2);
        assert_eq!(
            events.recv().await,
            Some(Event::State(State::Connecting { attempt: 0 }))
        );
        assert_eq!(events.recv().await, Some(Event::State(State::Online)));
        assert_eq!(joined(&mut events).await.room, "general");
        for seq in 1..=2 {
            assert_eq!(message(&mut events).await.seq, seq);
        }

        let answering = async {
            let asked = peer.hear().await;
            let about = [&asked["type"], &asked["before"], &asked["limit"]];
            assert_eq!(about, [&json!("get_history"), &json!(9), &json!(3)]);
            let refused = json!({ "type": "error", "code": "FORBIDDEN", "message": "No." });
            peer.answer(&asked, refused).await;
        };
        let history = chat.history("general").before(9).limit(3);
        let (refused, ()) = both(history, answering).await;
        let failure = refused.expect_err("it is refused");
        assert_eq!(failure.code, Code::Server(ErrorCode::Forbidden));
    });
}

#[test]
fn a_server_has_to_wait_while_nobody_takes_the_events() {
    const MESSAGES: u64 = 400;
    let mut options = options();
    options.max_events = 8;
    let (world, chat, mut events, mut peer) = inside(options);
    {
        let mut saying = pin!(async {
            for seq in 1..=MESSAGES {
                peer.said(seq).await;
            }
        });
        assert!(
            !world.is_done(&mut saying),
            "the client has read everything"
        );
        assert_eq!(events.events.len(), 8);
        assert_eq!(chat.state(), State::Online);
        world.run(async {
            let listening = async {
                for seq in 1..=MESSAGES {
                    assert_eq!(message(&mut events).await.seq, seq);
                }
            };
            both(saying, listening).await;
        });
    }
    assert_eq!(events.try_recv(), None);
}

#[test]
fn calls_are_answered_while_nobody_takes_the_events() {
    let mut options = options();
    options.max_events = 8;
    let (world, chat, mut events, mut peer) = inside(options);
    world.run(async {
        // The answer comes behind more than there is room for.
        let answering = async {
            let asked = peer.hear().await;
            for seq in 1..=20 {
                peer.said(seq).await;
            }
            let rooms = json!({ "type": "room_list", "rooms": [], "roomCount": 0 });
            peer.answer(&asked, rooms).await;
        };
        let (rooms, ()) = both(chat.rooms(), answering).await;
        assert_eq!(rooms.expect("it is answered").room_count, 0);
    });
    assert!((20..32).contains(&events.events.len()), "{events:?}");
    // But there is an end to that, too.
    let mut asking = pin!(chat.rooms().into_future());
    assert!(!world.is_done(&mut asking));
    world.run(async {
        let asked = peer.hear().await;
        assert_eq!(asked["type"], "list_rooms");
    });
    {
        let mut saying = pin!(async {
            for seq in 21..=400 {
                peer.said(seq).await;
            }
        });
        assert!(
            !world.is_done(&mut saying),
            "the client has read everything"
        );
        assert_eq!(events.events.len(), 32);
        world.run(async {
            let listening = async {
                for seq in 1..=400 {
                    assert_eq!(message(&mut events).await.seq, seq);
                }
            };
            both(saying, listening).await;
        });
    }
}

#[test]
fn a_client_whose_events_nobody_takes_ends_its_connection_and_makes_another_once_they_are_taken() {
    let mut options = options();
    options.max_events = 8;
    let (world, chat, mut events, mut peer) = inside(options);
    world.run(async {
        for seq in 1..=20 {
            peer.said(seq).await;
        }
    });
    // What the application says goes out meanwhile.
    world.settle();
    let heard = world.run(async {
        chat.typing("general", true).await;
        peer.hear().await
    });
    assert_eq!((&heard["type"], world.now_ms()), (&json!("typing"), 0));
    // Two intervals without a word that it reads.
    world.pass(60_000);
    assert!(matches!(chat.state(), State::Offline { .. }), "{chat:?}");
    assert_eq!(world.run(peer.farewell()), Some(1000));
    world.run(chat.retry());
    world.pass(600_000);
    assert!(!world.is_dialled(), "nobody would read what comes");
    let waiting = events.events.len();
    assert!(waiting < 16, "{waiting}");

    let last = world.run(async {
        let mut last = 0;
        while let Some(event) = events.try_recv() {
            if let Event::Message(message) = event {
                last = message.seq;
            }
        }
        last
    });
    world.run(async {
        let mut peer = world.greet().await;
        let again = async {
            peer.admit(20, true).await;
            for seq in last + 1..=20 {
                peer.said(seq).await;
            }
        };
        let listening = async {
            for seq in last + 1..=20 {
                assert_eq!(message(&mut events).await.seq, seq);
            }
        };
        both(again, listening).await;
    });
}

#[test]
fn without_its_events_a_client_goes_on() {
    let mut options = options();
    options.max_events = 8;
    let (world, chat, events, mut peer) = inside(options);
    // It is stalled when they are dropped.
    world.run(async {
        for seq in 1..=20 {
            peer.said(seq).await;
        }
    });
    world.settle();
    assert_eq!(events.events.len(), 8);
    drop(events);
    world.run(async {
        for seq in 21..=400 {
            peer.said(seq).await;
        }
        let answering = async {
            let asked = peer.hear().await;
            let rooms = json!({ "type": "room_list", "rooms": [], "roomCount": 7 });
            peer.answer(&asked, rooms).await;
        };
        let (rooms, ()) = both(chat.rooms(), answering).await;
        assert_eq!(rooms.expect("it is answered").room_count, 7);
    });
}

#[test]
fn whoever_drops_all_handles_says_goodbye() {
    let (world, chat, mut events, mut peer) = inside(options());
    let other = chat.clone();
    drop(chat);
    world.pass(1_000);
    assert_eq!(other.state(), State::Online);
    drop(other);
    world.run(async {
        assert_eq!(peer.farewell().await, Some(1000));
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        let (code, reason) = (None, None);
        assert_eq!(last, Some(Event::State(State::Closed { code, reason })));
    });
}

#[test]
fn a_close_waits_until_both_sides_have_said_goodbye() {
    let (world, chat, _events, mut peer) = inside(options());
    let unanswered = {
        let chat = chat.clone();
        world.beside(async move { chat.send("general", "Hello!").await })
    };
    world.run(peer.hear());
    let mut closing = pin!(chat.close());
    assert!(!world.is_done(&mut closing));
    assert!(is(world.run(unanswered), ClientError::Closed));
    assert_eq!(world.run(peer.farewell()), Some(1000));
    world.run(async {
        both(closing, peer.end()).await;
    });
    assert_eq!(world.now_ms(), 0);
    assert!(is(
        world.run(chat.rooms().into_future()),
        ClientError::Closed
    ));
    // Whoever closes again has nothing to wait for.
    world.run(chat.close());
}

#[test]
fn a_server_that_says_no_goodbye_is_given_5_seconds() {
    let (world, chat, _events, _peer) = inside(options());
    world.run(chat.close());
    assert_eq!(world.now_ms(), 5_000);
}

#[test]
fn a_client_that_connects_can_be_closed() {
    let (world, chat, _events) = begin(options());
    let dial = world.run(world.dialled());
    assert_eq!((&*dial.host, dial.port), ("chat.example", 8080));
    world.run(chat.close());
    assert!(dial.is_given_up());
}

#[test]
fn each_connection_has_a_token_of_its_own() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let fetch = move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                0 => Err("the vault is shut"),
                number => Ok(Secret(format!("token {number}"))),
            }
        }
    };
    let mut with_token = Options::with_token(fetch);
    with_token.client.backoff = options().client.backoff;
    let (world, _chat, mut events) = begin(with_token);
    let (code, reason) = world.run(offline(&mut events));
    assert_eq!(
        (code, &*reason),
        (Some(1006), "no token: the vault is shut")
    );
    assert!(!world.is_dialled());
    for number in 1..=2 {
        let mut peer = world.run(world.accept());
        let hello = world.run(peer.hear());
        assert_eq!(hello["token"], format!("token {number}"));
        drop(peer);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[test]
fn a_token_that_does_not_come_is_not_waited_for_for_ever() {
    let fetch = || async { pending::<Result<Secret, String>>().await };
    let (world, _chat, mut events) = begin(Options::with_token(fetch));
    let (_, reason) = world.run(offline(&mut events));
    assert_eq!((world.now_ms(), &*reason), (10_000, "no answer"));
}

#[test]
fn a_server_that_does_not_answer_is_given_10_seconds() {
    let (world, _chat, mut events) = begin(options());
    let dial = world.run(world.dialled());
    world.pass(9_999);
    assert!(!dial.is_given_up());
    let (_, reason) = world.run(offline(&mut events));
    assert_eq!((world.now_ms(), &*reason), (10_000, "no answer"));
    assert!(dial.is_given_up());
    // It may also answer, and then say nothing.
    let stream = world.run(async { world.dialled().await.answer().await });
    let (_, reason) = world.run(offline(&mut events));
    assert_eq!(reason, "no answer");
    drop(stream);
}

#[test]
fn why_there_is_no_connection_is_told() {
    let (world, _chat, mut events) = begin(options());
    world.run(async {
        let dial = world.dialled().await;
        dial.refuse(ErrorKind::ConnectionRefused).await;
        let (code, reason) = offline(&mut events).await;
        assert_eq!((code, &*reason), (Some(1006), "connection refused"));

        let mut stream = world.dialled().await.answer().await;
        let page = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        stream
            .write_all(page.as_bytes())
            .await
            .expect("the client reads");
        let (_, reason) = offline(&mut events).await;
        assert!(
            reason.contains("404 Not Found; look whether the path"),
            "{reason}"
        );

        let mut peer = world.greet().await;
        peer.close(1012, "restarting").await;
        let told = offline(&mut events).await;
        assert_eq!(told, (Some(1012), "restarting".into()));
        // The goodbye is returned.
        assert_eq!(peer.farewell().await, Some(1012));

        drop(world.greet().await);
        let (code, _) = offline(&mut events).await;
        assert_eq!(code, Some(1006));
    });
}

#[test]
fn a_server_that_says_never_to_return_ends_the_client() {
    let (world, chat, mut events, mut peer) = inside(options());
    world.run(async {
        peer.close(4500, "flooding").await;
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        let (code, reason) = (Some(4500), Some("flooding".into()));
        assert_eq!(last, Some(Event::State(State::Closed { code, reason })));
        assert!(is(chat.join("general").await, ClientError::Closed));
        chat.typing("general", true).await;
    });
}

#[test]
fn a_call_that_is_given_up_is_carried_out_all_the_same() {
    let (world, chat, _events, mut peer) = inside(options());
    {
        let mut sending = pin!(chat.send("general", "Hello!").into_future());
        assert!(!world.is_done(&mut sending));
    }
    let message = world.run(peer.hear());
    assert_eq!(message["text"], "Hello!");
    // Its answer is for nobody, and the next call's is for that one.
    world.run(async {
        let stored = json!({
            "type": "message", "roomId": "general", "from": "Alice", "text": "Hello!",
            "timestamp": 1, "seq": 1, "clientMsgId": message["clientMsgId"],
        });
        peer.answer(&message, stored).await;
        let answering = async {
            let asked = peer.hear().await;
            let rooms = json!({ "type": "room_list", "rooms": [], "roomCount": 7 });
            peer.answer(&asked, rooms).await;
        };
        let (rooms, ()) = both(chat.rooms(), answering).await;
        assert_eq!(rooms.expect("it is answered").room_count, 7);
    });
}

#[test]
fn calls_that_nobody_answers_do_not_pile_up() {
    let mut options = options();
    options.client.max_pending = 2;
    let (world, chat, _events) = begin(options);
    let mut refused = 0;
    for _ in 0..20 {
        let mut joining = pin!(chat.join("general").into_future());
        if world.is_done(&mut joining) {
            refused += 1;
        }
    }
    assert_eq!(refused, 12);
    assert!(is(
        world.run(chat.rooms().into_future()),
        ClientError::QueueFull
    ));
    world.run(chat.close());
}

#[test]
fn a_call_waits_while_others_wait_to_be_looked_at() {
    let (world, chat, _events) = begin(options());
    for _ in 0..MOST_COMMANDS {
        let mut typing = pin!(chat.typing("general", true));
        assert!(poll(&mut typing).0.is_ready());
    }
    let mut typing = pin!(chat.typing("general", true));
    assert!(!poll(&mut typing).0.is_ready());
    assert!(world.is_done(&mut typing));
}

#[test]
fn a_server_that_takes_nothing_is_hung_up_on() {
    let (world, chat, mut events, peer) = inside(options());
    world.run(async {
        for turn in 0..1_000 {
            chat.typing("general", turn % 2 == 0).await;
        }
        let (code, reason) = offline(&mut events).await;
        assert_eq!((code, &*reason), (Some(1006), "the server takes nothing"));
    });
    drop(peer);
}

#[test]
fn what_is_too_long_is_not_read_in_one_frame_or_in_many() {
    let mut options = options();
    options.max_frame_bytes = 1_000;
    let (world, _chat, mut events, mut peer) = inside(options);
    let frame = |bytes, code, is_last| {
        let frame = Frame::message("l".repeat(bytes), OpCode::Data(code), is_last);
        tungstenite::Message::Frame(frame)
    };
    world.run(async {
        let good = frame(1_000, Data::Text, true);
        peer.socket().send(good).await.expect("the client reads");
        peer.said(1).await;
        assert_eq!(message(&mut events).await.seq, 1);
        let many = [
            frame(600, Data::Text, false),
            frame(401, Data::Continue, true),
        ];
        for frames in [vec![frame(1_001, Data::Text, true)], many.into()] {
            let sending = async {
                for frame in frames {
                    // It may be hung up on by then.
                    let _ = peer.socket().send(frame).await;
                }
            };
            let ((code, reason), ()) = both(offline(&mut events), sending).await;
            assert_eq!(code, Some(1006));
            assert!(reason.contains("1001"), "{reason}");
            peer = world.greet().await;
        }
        // Nor is it waited for: the head of a frame of 1,001 bytes.
        let stream = peer.socket().get_mut();
        let head = [0x81, 126, 0x03, 0xE9];
        stream.write_all(&head).await.expect("the client reads");
        let since = world.now_ms();
        let (_, reason) = offline(&mut events).await;
        assert!(reason.contains("1001"), "{reason}");
        assert_eq!(world.now_ms(), since);
    });
}

#[test]
fn a_socket_that_always_has_something_does_not_keep_calls_waiting() {
    let (world, chat, events, mut peer) = inside(options());
    drop(events);
    let said = Arc::new(AtomicU64::new(0));
    let count = said.clone();
    let _flood = world.beside(async move {
        for seq in 1.. {
            peer.said(seq).await;
            count.store(seq, Ordering::Relaxed);
        }
    });
    for _ in 0..20 {
        let before = said.load(Ordering::Relaxed);
        // It is refused without asking the server.
        let refused = world.run(chat.users("").into_future());
        assert!(refused.is_err());
        let meanwhile = said.load(Ordering::Relaxed) - before;
        assert!(meanwhile < 100, "{meanwhile} frames were read before it");
    }
}

#[test]
fn an_application_that_always_has_something_does_not_keep_the_socket_waiting() {
    let (world, chat, mut events, mut peer) = inside(options());
    let _flood = world.beside(async move {
        loop {
            chat.typing("elsewhere", true).await;
        }
    });
    world.run(async {
        peer.said(1).await;
        assert_eq!(message(&mut events).await.seq, 1);
    });
}

#[test]
fn the_token_of_a_guest_is_handed_over() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let remembering = options().remember(move |token| keep.lock().unwrap().push(token));
    let (world, chat, _events, _peer) = inside(remembering);
    world.settle();
    assert_eq!(*kept.lock().unwrap(), [Secret::from("0f3c")]);
    assert!(!format!("{chat:?}").contains("0f3c"));
}

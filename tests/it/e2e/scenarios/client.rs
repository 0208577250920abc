//! What the Rust client does on every runtime.

use std::collections::BTreeSet;
use std::sync::mpsc;

use parlor_client_async::{
    Backoff, ClientError, Code, ErrorCode, Event, Events, Message, Options, Position, Secret, State,
};
use parlor_core::{Identity, Timestamp, Username};
use parlor_smol::{Verifier, sign};
use parlor_tests::certificate::{Certificate, NAME};
use parlor_tests::client::Client;
use parlor_tests::server::TestServer;
use serde_json::json;

use super::{connect, run};
use crate::e2e::proxy::Proxy;
use crate::e2e::{server, unlimited};

const ROOM: &str = "general";

/// Where a server is, and a guest who trusts it.
fn guest_of(server: &TestServer, name: &str) -> (String, Options) {
    let options = guest(name);
    let door = server.door();
    let port = door.address.port();
    match door.tls {
        Some(tls) => (format!("wss://{NAME}:{port}/ws"), options.tls(tls)),
        None => (format!("ws://{}/ws", door.address), options),
    }
}

fn guest(name: &str) -> Options {
    impatient(Options::guest(name))
}

fn impatient(mut options: Options) -> Options {
    options.client.backoff = Backoff {
        base_ms: 1,
        cap_ms: 20,
    };
    options
}

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

/// Why there is no connection.
async fn offline(events: &mut Events) -> String {
    let only = |event| {
        if let Event::State(State::Offline { reason, .. }) = event {
            reason
        } else {
            None
        }
    };
    next(events, only).await
}

#[test]
fn one_joins_and_says_something_and_hears_others() {
    for start in [
        TestServer::start,
        TestServer::start_tls,
        TestServer::start_tokio,
    ] {
        let server = start(unlimited());
        let mut bob = Client::connect(server.door());
        bob.join(ROOM, "Bob");
        run(async {
            let (url, options) = guest_of(&server, "Alice");
            let (chat, mut events) = connect(&url, options);
            let joined = chat.join(ROOM).await.expect("one may join");
            assert_eq!(joined.users, ["Bob", "Alice"]);
            assert_eq!(chat.state(), State::Online);
            assert_eq!(chat.username().as_deref(), Some("Alice"));
            assert_eq!(chat.limits().map(|limits| limits.text), Some(2000));
            bob.expect(&json!({ "type": "user_joined", "username": "Alice" }));

            chat.typing(ROOM, true).await;
            bob.expect(&json!({ "type": "typing", "username": "Alice", "active": true }));
            let sent = chat.send(ROOM, "Hello!").await.expect("it is stored");
            assert_eq!((sent.seq, sent.own), (1, true));
            bob.expect(&json!({ "type": "message", "from": "Alice", "text": "Hello!", "seq": 1 }));
            assert_eq!(message(&mut events).await, sent);
            bob.say(ROOM, "Hello, Alice!");
            let heard = message(&mut events).await;
            assert_eq!(
                (&*heard.from, &*heard.text, heard.seq),
                ("Bob", "Hello, Alice!", 2)
            );

            let rooms = chat.rooms().await.expect("it is answered").rooms;
            assert_eq!(
                (&*rooms[0].id, rooms[0].user_count, rooms.len()),
                (ROOM, 2, 1)
            );
            assert_eq!(
                chat.rooms()
                    .after(ROOM)
                    .await
                    .expect("it is answered")
                    .rooms,
                []
            );
            let users = chat.users(ROOM).await.expect("it is answered").users;
            assert_eq!(users, ["Bob", "Alice"]);

            chat.leave(ROOM).await.expect("one may leave");
            let failure = chat.send(ROOM, "Bye!").await.expect_err("one is out");
            assert_eq!(failure.code, Code::Server(ErrorCode::NotInRoom));
            chat.close().await;
            let closed = chat.join(ROOM).await.expect_err("it is closed");
            assert_eq!(closed.code, Code::Client(ClientError::Closed));
        });
    }
}

#[test]
fn what_is_refused_has_the_servers_code() {
    let server = server();
    let mut bob = Client::connect(server.door());
    bob.join(ROOM, "Bob");
    run(async {
        let (url, options) = guest_of(&server, "Bob");
        let (chat, _events) = connect(&url, options);
        let failure = chat.join(ROOM).await.expect_err("there is one already");
        assert_eq!(failure.code, Code::Server(ErrorCode::UsernameTaken));
        chat.close().await;
    });
}

#[test]
fn each_message_is_heard_once_however_often_the_connection_breaks() {
    const ROUNDS: u64 = 10;
    let server = server();
    let proxy = Proxy::new(server.address());
    let mut bob = Client::connect(server.door());
    bob.join(ROOM, "Bob");
    run(async {
        let url = format!("ws://{}/ws", proxy.address());
        let (chat, mut events) = connect(&url, guest("Alice"));
        chat.join(ROOM).await.expect("one may join");
        bob.expect(&json!({ "type": "user_joined", "username": "Alice" }));
        for round in 0..ROUNDS {
            proxy.shut();
            offline(&mut events).await;
            bob.expect(&json!({ "type": "user_left", "username": "Alice" }));
            for turn in 1..=3 {
                let text = format!("{round}: {turn}");
                bob.say(ROOM, &text);
                bob.expect(&json!({ "type": "message", "text": text }));
            }
            proxy.open();
            let text = format!("{round}: 4");
            let sent = chat.send(ROOM, &text).await.expect("it is stored");
            bob.expect(&json!({ "type": "user_joined", "username": "Alice" }));
            bob.expect(&json!({ "type": "message", "text": text }));
            assert_eq!(sent.seq, (round + 1) * 4);
            for turn in 1..=4 {
                let heard = message(&mut events).await;
                let text = format!("{round}: {turn}");
                assert_eq!((heard.seq, heard.text), (round * 4 + turn, text));
            }
        }
        chat.close().await;
    });
    bob.expect(&json!({ "type": "user_left", "username": "Alice" }));
    bob.expect_silence();
}

#[test]
fn each_message_is_stored_once_wherever_the_connection_breaks() {
    const MESSAGES: u64 = 60;
    let server = server();
    let proxy = Proxy::new(server.address());
    let url = format!("ws://{}/ws", proxy.address());
    run(async {
        let (chat, mut events) = connect(&url, guest("Alice"));
        chat.join(ROOM).await.expect("one may join");
        let mut ids = BTreeSet::new();
        for number in 1..=MESSAGES {
            // The message, or its answer, may be on its way.
            let sending = chat.send(ROOM, number.to_string());
            let (sent, ()) = smol::future::zip(sending.into_future(), async {
                if number % 3 == 0 {
                    proxy.cut();
                }
            })
            .await;
            let sent = sent.expect("it is stored");
            assert_eq!(sent.text, number.to_string());
            assert!(ids.insert(sent.client_msg_id));
        }
        for seq in 1..=MESSAGES {
            let heard = message(&mut events).await;
            assert_eq!((heard.seq, heard.text), (seq, seq.to_string()));
        }
        let page = chat.history(ROOM).limit(100).await.expect("one is in");
        let texts: Vec<String> = page.messages.into_iter().map(|said| said.text).collect();
        let all: Vec<String> = (1..=MESSAGES).map(|number| number.to_string()).collect();
        assert_eq!(texts, all);
        chat.close().await;
    });
}

#[test]
fn history_comes_in_pages() {
    let server = server();
    run(async {
        let (url, options) = guest_of(&server, "Alice");
        let (chat, mut events) = connect(&url, options);
        chat.join(ROOM).await.expect("one may join");
        for number in 1..=5 {
            let sent = chat.send(ROOM, format!("message {number}")).await;
            sent.expect("it is stored");
        }
        let newest = chat.history(ROOM).limit(2).await.expect("one is in");
        let seqs = |messages: &[Message]| messages.iter().map(|said| said.seq).collect::<Vec<_>>();
        assert_eq!(
            (seqs(&newest.messages), newest.has_more),
            (vec![4, 5], true)
        );
        let older = chat.history(ROOM).before(4).await.expect("one is in");
        assert_eq!(
            (seqs(&older.messages), older.has_more),
            (vec![1, 2, 3], false)
        );
        chat.close().await;
        // Of all this there were no more events than what was said.
        let mut heard = Vec::new();
        while let Some(event) = events.recv().await {
            if let Event::Message(message) = event {
                heard.push(message);
            }
        }
        assert_eq!(seqs(&heard), [1, 2, 3, 4, 5]);
    });
}

#[test]
fn another_process_goes_on_as_the_same_guest_where_the_first_one_was() {
    let server = server();
    let mut bob = Client::connect(server.door());
    bob.join(ROOM, "Bob");
    run(async {
        let (url, options) = guest_of(&server, "Alice");
        let (keep, kept) = mpsc::channel();
        let options = options.remember(move |token| keep.send(token).expect("it is awaited"));
        let (first, mut events) = connect(&url, options);
        first.join(ROOM).await.expect("one may join");
        let resume_token = kept.recv().expect("a guest has a token");
        bob.say(ROOM, "one");
        let last = message(&mut events).await;

        // The first is still there, and the name is taken for everybody else.
        let (url, mut options) = guest_of(&server, "Alice");
        options.client.resume_token = Some(resume_token);
        let (second, mut events) = connect(&url, options);
        bob.say(ROOM, "two");
        let (epoch, seq) = (last.epoch, last.seq);
        let joining = second.join(ROOM).since(Position { epoch, seq });
        let joined = joining.await.expect("it is the same guest");
        assert_eq!(joined.users, ["Bob", "Alice"]);
        assert_eq!(message(&mut events).await.text, "two");
        first.close().await;
        second.close().await;
    });
    bob.expect(&json!({ "type": "user_joined", "username": "Alice" }));
}

#[test]
fn a_token_lets_in_for_as_long_as_it_is_good() {
    const SECRET: &[u8] = b"a secret for tests, of 32 bytes!";
    /// The year 2100.
    const FAR: Timestamp = Timestamp(4_102_444_800_000);
    let verifier = Verifier::from_secret(SECRET).expect("it is long enough");
    let server = TestServer::start_with_verifier(unlimited(), verifier);
    let url = format!("ws://{}/ws", server.address());
    let identity = Identity {
        subject: Username::new("Alice").expect("it is a name"),
        rooms: None,
    };
    let good = sign(SECRET, &identity, FAR).expect("the secret is long enough");
    run(async {
        let fetch = move || {
            let token = Secret(good.clone());
            async { Ok::<_, String>(token) }
        };
        let (chat, _events) = connect(&url, impatient(Options::with_token(fetch)));
        let joined = chat.join(ROOM).await.expect("the token is good");
        assert_eq!(joined.users, ["Alice"]);
        chat.close().await;

        let fetch = || async { Ok::<_, String>(Secret::from("nonsense")) };
        let (chat, mut events) = connect(&url, impatient(Options::with_token(fetch)));
        let failure = chat.join(ROOM).await.expect_err("the token is bad");
        assert_eq!(failure.code, Code::Client(ClientError::Closed));
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        let (code, reason) = (Some(4500), Some("unauthorized".into()));
        assert_eq!(last, Some(Event::State(State::Closed { code, reason })));
    });
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_spoken_to() {
    let server = TestServer::start_tls(unlimited());
    let port = server.address().port();
    run(async {
        let other = guest("Alice").tls(Certificate::default().trust());
        let (chat, mut events) = connect(&format!("wss://{NAME}:{port}/ws"), other);
        let reason = offline(&mut events).await;
        assert!(reason.contains("certificate"), "{reason}");
        chat.close().await;
        // Nor one that another name is vouched for.
        let trusting = guest("Alice").tls(server.door().tls.expect("it speaks TLS"));
        let (chat, mut events) = connect(&format!("wss://127.0.0.1:{port}/ws"), trusting);
        let reason = offline(&mut events).await;
        assert!(reason.contains("not valid for name"), "{reason}");
        chat.close().await;
    });
}

#[test]
fn a_path_without_a_chat_is_told() {
    let server = server();
    run(async {
        let url = format!("ws://{}/nowhere", server.address());
        let (chat, mut events) = connect(&url, guest("Alice"));
        let reason = offline(&mut events).await;
        assert!(
            reason.contains("404 Not Found; look whether the path"),
            "{reason}"
        );
        chat.close().await;
    });
}

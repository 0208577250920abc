//! What a turn of the hub takes for what a server does most, without a runtime and a network.

use std::future::Future;
use std::hint::black_box;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parlor_core::decode::decode;
use parlor_core::{Epoch, Limits, Request, ResumeToken, Timestamp};
use parlor_hub::{Connection, Handle, Hub, HubConfig, HubError, MemoryStore, Metrics, Outlet};

use crate::{Make, Step};

pub(crate) const STEPS: &[(&str, Make)] = &[
    ("hub: message in a room of 10", || messages(10, 1, 1)),
    ("hub: message in a room of 1000", || messages(1000, 1, 1)),
    ("hub: 8 messages in a room of 10", || messages(10, 8, 1)),
    ("hub: 8 messages in a room of 1000", || messages(1000, 8, 1)),
    ("hub: message in a room of 10, of 5000", || {
        messages(10, 1, 5000)
    }),
    ("hub: leave and join with 50 replayed", replay),
    ("hub: connect, join, leave and close", come_and_go),
];

/// 128 characters, as in most measurements of chat servers.
const TEXT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// More than a room remembers, so that none is taken for a retry when it comes again.
const MESSAGES: usize = 1000;

/// So many messages that wait for the hub together, each of another member.
fn messages(members: usize, together: usize, rooms: usize) -> Step {
    let mut chat = Chat::with(members);
    // Somebody is in each of the other rooms.
    for number in members..members + rooms - 1 {
        chat.connect();
        chat.ask(number, &join(number, &format!("room {number}")));
    }
    let said: Vec<Request> = (0..MESSAGES).map(message).collect();
    let mut said_so_far = 0;
    Box::new(move || {
        let before = chat.written();
        for _ in 0..together {
            let sender = &chat.connections[said_so_far % members];
            let message = said[said_so_far % MESSAGES].clone();
            let handed_over = at_once(sender.receive(message));
            handed_over.expect("the hub is there");
            said_so_far += 1;
        }
        turn(&mut chat.hub);
        assert!(
            chat.written() - before > TEXT.len() * members * together,
            "everybody is told everything"
        );
    })
}

fn replay() -> Step {
    let mut chat = Chat::with(2);
    (0..50).for_each(|number| chat.ask(0, &message(number)));
    let leave = request(r#"{"type":"leave","roomId":"general"}"#);
    let join = request(r#"{"type":"join","roomId":"general","history":50}"#);
    Box::new(move || {
        let before = chat.written();
        chat.ask(1, &leave);
        chat.ask(1, &join);
        assert!(
            chat.written() - before > TEXT.len() * 50,
            "everything is replayed"
        );
    })
}

fn come_and_go() -> Step {
    let mut chat = Chat::with(9);
    let join = join(9, "general");
    let leave = request(r#"{"type":"leave","roomId":"general"}"#);
    Box::new(move || {
        chat.connect();
        chat.ask(9, &join);
        chat.ask(9, &leave);
        let mut connection = chat.connections.pop().expect("it is the last one");
        at_once(connection.end(None));
        turn(&mut chat.hub);
        at_once(connection.finished());
    })
}

type Running = Pin<Box<dyn Future<Output = Result<(), HubError>>>>;

/// A hub that is polled by hand, and those who are connected to it.
struct Chat {
    hub: Running,
    handle: Handle,
    connections: Vec<Connection>,
    connected: u128,
    written: Arc<AtomicUsize>,
}

impl Chat {
    /// The first connections are in one room.
    fn with(members: usize) -> Self {
        let limits = Limits {
            messages_per_second: 0,
            ..Limits::default()
        };
        let store = MemoryStore::new(&limits, || Epoch::new("e1").expect("a good epoch"));
        let mut now = Timestamp(1_700_000_000_000);
        let config = HubConfig {
            limits,
            clock: Box::new(move || {
                now = now.plus_ms(1);
                now
            }),
            on_crash: Box::new(|report| panic!("{report:?}")),
            recorder: None,
            observer: None,
            metrics: Metrics::default(),
        };
        let (hub, handle) = Hub::new(config, store);
        let mut chat = Self {
            hub: Box::pin(hub.run()),
            handle,
            connections: Vec::new(),
            connected: 0,
            written: Arc::default(),
        };
        for number in 0..members {
            chat.connect();
            chat.ask(number, &join(number, "general"));
        }
        chat
    }

    fn connect(&mut self) {
        self.connected += 1;
        let token = ResumeToken::from_random(self.connected);
        let connection = at_once(self.handle.connect(token, Counts(self.written.clone())));
        self.connections.push(connection.expect("the hub is there"));
        turn(&mut self.hub);
    }

    /// Hands over a request, and waits until the next may be handed over.
    fn ask(&mut self, connection: usize, request: &Request) {
        let mut received = pin!(self.connections[connection].receive(request.clone()));
        let handed_over = poll(received.as_mut());
        turn(&mut self.hub);
        let handed_over = match handed_over {
            Poll::Ready(handed_over) => handed_over,
            Poll::Pending => at_once(received),
        };
        handed_over.expect("the hub is there");
    }

    /// Bytes so far, to all together.
    fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

/// Takes everything, and counts its bytes.
struct Counts(Arc<AtomicUsize>);

impl Outlet for Counts {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.fetch_add(black_box(bytes).len(), Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn finish(&mut self) {}

    fn abort(&mut self) {}
}

/// The hub does all that there is to do.
fn turn(hub: &mut Running) {
    assert!(poll(hub.as_mut()).is_pending(), "the hub goes on");
}

/// What comes of a future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn join(user: usize, room: &str) -> Request {
    request(&format!(
        r#"{{"type":"join","roomId":"{room}","username":"user {user}"}}"#
    ))
}

fn message(number: usize) -> Request {
    request(&format!(
        r#"{{"type":"message","roomId":"general","text":"{TEXT}","clientMsgId":"{number}"}}"#
    ))
}

fn request(json: &str) -> Request {
    decode(json).expect("a good request").request
}

//! A whole chat within a test: no network, no runtime, no clock. Time passes when the test says so,
//! and everything that follows from it has happened when the call returns, so a test of one's own
//! client takes microseconds and says the same each time.
//!
//! ```
//! use std::time::Duration;
//!
//! use parlor_core::Limits;
//! use parlor_hub::testing::{Received, TestChat};
//!
//! let mut chat = TestChat::new(Limits::default());
//! let [ann, bob] = [chat.connect(), chat.connect()];
//! chat.send(ann, r#"{"type":"join","roomId":"lobby","username":"Ann"}"#);
//! chat.send(bob, r#"{"type":"join","roomId":"lobby","username":"Bob"}"#);
//! chat.received(ann);
//! chat.received(bob);
//!
//! chat.send(bob, r#"{"type":"message","roomId":"lobby","text":"Hello!"}"#);
//! let [Received::Text(hello)] = &chat.received(ann)[..] else { panic!("Ann hears Bob") };
//! assert!(hello.contains(r#""from":"Bob","text":"Hello!""#));
//!
//! // Bob gives no sign of life.
//! chat.advance(Duration::from_secs(60));
//! assert_eq!(chat.received(bob).last(), Some(&Received::Close(4001)));
//! ```

mod frames;
mod task;

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parlor_core::session::Due;
use parlor_core::{Epoch, Limits, ResumeToken, Timestamp};

use frames::Mailbox;
pub use frames::Received;
pub use task::Task;

use crate::connection::{Access, Chat, ConnectionClock, Flow, Protocol as _};
use crate::frame::{Opcode, frame};
use crate::handle::{Connection, Handle, HubGone};
use crate::hub::{Hub, HubConfig, HubError};
use crate::memory::MemoryStore;
use crate::metrics::Metrics;
use crate::store::Store;

/// When every chat begins, ms since the Unix epoch.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// How often adapters let the hub look at its deadlines, ms.
const TICK_MS: u64 = 1000;

/// A chat that does nothing but what the test tells it to.
pub struct TestChat {
    hub: Task<Result<(), HubError>>,
    handle: Handle,
    limits: Limits,
    now: Arc<AtomicU64>,
    peers: Vec<Peer>,
}

/// A client of a [`TestChat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(usize);

struct Peer {
    mailbox: Mailbox,
    /// None once the connection has ended, from either side.
    talk: Option<Talk>,
}

/// What the connection's task has while it runs.
struct Talk {
    connection: Connection,
    protocol: Chat,
}

impl TestChat {
    /// A chat in memory.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let mut epochs: u64 = 0;
        let store = MemoryStore::new(&limits, move || {
            epochs += 1;
            Epoch::new(&epochs.to_string()).expect("a number is a good epoch")
        });
        Self::with_store(limits, store)
    }

    /// A chat with this store, which is to answer at once.
    #[must_use]
    pub fn with_store(limits: Limits, store: impl Store + 'static) -> Self {
        let limits = limits.clamped();
        let now = Arc::new(AtomicU64::new(START.0));
        let clock = now.clone();
        let config = HubConfig {
            limits: limits.clone(),
            clock: Box::new(move || Timestamp(clock.load(Ordering::Relaxed))),
            on_crash: Box::new(drop),
            recorder: None,
            observer: None,
            metrics: Metrics::default(),
        };
        let (hub, handle) = Hub::new(config, store);
        Self {
            hub: Task::new(hub.run()),
            handle,
            limits,
            now,
            peers: Vec::new(),
        }
    }

    /// A guest connects.
    pub fn connect(&mut self) -> PeerId {
        self.connect_with(Access::Guests)
    }

    /// Somebody connects. Whoever is no guest needs [`Limits::token_required`].
    ///
    /// # Panics
    /// When the chat has ended.
    pub fn connect_with(&mut self, access: Access) -> PeerId {
        let mailbox = Mailbox::default();
        let id = PeerId(self.peers.len());
        let token = ResumeToken::from_random(id.0 as u128 + 1);
        let (handle, outlet) = (self.handle.clone(), mailbox.clone());
        let connected = self.wait(async move { handle.connect(token, outlet).await });
        let connection = connected.expect("the hub takes everybody in, or closes them later");
        let talk = Talk {
            connection: connection.expect("the chat has not ended"),
            protocol: Chat::new(&self.limits, access, self.now()),
        };
        let talk = Some(talk);
        self.peers.push(Peer { mailbox, talk });
        self.talk(id, async |mut talk, clock| {
            let flow = talk.protocol.begin(&talk.connection, clock.now()).await;
            (talk, flow)
        });
        id
    }

    /// A client sends a text frame. Nothing happens if its connection has ended.
    pub fn send(&mut self, peer: PeerId, text: &str) {
        let text = text.to_owned();
        self.talk(peer, async move |mut talk, clock| {
            let flow = talk.protocol.text(&talk.connection, &text, clock).await;
            (talk, flow)
        });
    }

    /// A client answers a ping.
    pub fn pong(&mut self, peer: PeerId) {
        self.talk(peer, async |mut talk, clock| {
            let flow = talk.protocol.control(clock.now());
            (talk, flow)
        });
    }

    /// A client goes without a word.
    pub fn disconnect(&mut self, peer: PeerId) {
        self.talk(peer, async |talk, _| (talk, ControlFlow::Break(None)));
    }

    /// What a client received since it was asked the last time.
    #[must_use = "what is received is taken"]
    pub fn received(&mut self, peer: PeerId) -> Vec<Received> {
        self.peers[peer.0].mailbox.take()
    }

    /// Whether a client's connection stands.
    #[must_use]
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.peers[peer.0].talk.is_some()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    /// Time passes, with everything that is due meanwhile, in its order.
    pub fn advance(&mut self, time: Duration) {
        let passed = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let end = self.now().plus_ms(passed);
        while self.now() < end {
            let now = self.now();
            let tick = now.plus_ms(TICK_MS - now.ms_since(START) % TICK_MS);
            let deadlines = self.peers.iter().filter_map(|peer| peer.talk.as_ref());
            let deadlines = deadlines.map(|talk| talk.protocol.deadline());
            // One that is due and stays so has its turn with the next moment.
            let next = deadlines.fold(tick.min(end), |next, at| next.min(at.max(now.plus_ms(1))));
            self.now.store(next.0, Ordering::Relaxed);
            if next == tick {
                self.handle.tick();
                // Also when nobody is connected, who would let it run.
                self.hub.run();
            }
            for peer in (0..self.peers.len()).map(PeerId) {
                self.due(peer);
            }
        }
    }

    fn due(&mut self, peer: PeerId) {
        self.talk(peer, async |mut talk, clock| {
            let flow = match talk.protocol.due(clock.now()) {
                Due::Nothing => ControlFlow::Continue(()),
                Due::Ping => match talk.connection.control(frame(Opcode::Ping, &[])).await {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(HubGone) => ControlFlow::Break(None),
                },
                Due::Close(reason) => ControlFlow::Break(Some(reason)),
            };
            (talk, flow)
        });
    }

    /// Does something with the chat, such as what [`Handle`] offers to applications, until it is
    /// done; none if it waits for something else.
    pub fn wait<T: Send + 'static>(
        &mut self,
        action: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut task = Task::new(action);
        loop {
            self.hub.run();
            if task.run().is_some() {
                self.hub.run();
                self.forget_ended();
                return task.into_output();
            }
            // What it did so far may have given the hub something to do.
            if !self.hub.is_woken() {
                return None;
            }
        }
    }

    /// A way to reach it, as an application has it.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// It says goodbye to everybody.
    pub fn shutdown(&mut self) {
        let handle = self.handle.clone();
        self.wait(async move { handle.shutdown().await });
    }

    /// Lets one connection do something, and ends it if nothing else is left to do.
    fn talk<F>(&mut self, peer: PeerId, action: impl FnOnce(Talk, ConnectionClock) -> F)
    where
        F: Future<Output = (Talk, Flow)> + Send + 'static,
    {
        let clock = ConnectionClock::standing(self.now());
        let Some(talk) = self.peers[peer.0].talk.take() else {
            return;
        };
        let talked = self.wait(action(talk, clock));
        let (mut talk, flow) = talked.expect("a store that answers at once holds nobody back");
        match flow {
            ControlFlow::Continue(()) => self.peers[peer.0].talk = Some(talk),
            ControlFlow::Break(reason) => {
                self.wait(async move { talk.connection.end(reason).await });
            }
        }
        self.forget_ended();
    }

    /// Lets go of the connections that the hub has finished with.
    fn forget_ended(&mut self) {
        for peer in &mut self.peers {
            if peer
                .talk
                .as_ref()
                .is_some_and(|talk| talk.connection.is_finished())
            {
                peer.talk = None;
            }
        }
    }
}

impl fmt::Debug for TestChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TestChat({} peers at {:?})",
            self.peers.len(),
            self.now()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use parlor_core::{Fetch, Identity, Page, RoomId, StoredLog, Username};

    use super::*;
    use crate::connection::Verified;
    use crate::store::{Append, StoreError};

    fn join(name: &str) -> String {
        format!(r#"{{"type":"join","roomId":"lobby","username":"{name}"}}"#)
    }

    fn texts(received: &[Received]) -> String {
        let text = |received: &Received| match received {
            Received::Text(text) => text.clone(),
            Received::Ping | Received::Pong | Received::Close(_) => format!("{received:?}"),
        };
        received.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_same_conversation_twice_is_the_same() {
        let talk = || {
            let mut chat = TestChat::new(Limits::default());
            let [ann, bob] = [chat.connect(), chat.connect()];
            chat.send(ann, r#"{"type":"hello","protocol":1}"#);
            for (peer, name) in [(ann, "Ann"), (bob, "Bob")] {
                chat.send(peer, &join(name));
            }
            chat.advance(Duration::from_millis(1234));
            chat.send(ann, r#"{"type":"message","roomId":"lobby","text":"hi"}"#);
            chat.disconnect(ann);
            [ann, bob].map(|peer| chat.received(peer))
        };
        let [ann, bob] = talk();
        assert_eq!([ann.clone(), bob.clone()], talk());
        assert!(texts(&ann).contains(r#""text":"hi","timestamp":1700000001234,"#));
        assert!(texts(&bob).contains(r#""type":"user_left""#));
    }

    #[test]
    fn who_is_silent_is_asked_and_then_closed() {
        let mut chat = TestChat::new(Limits::default());
        let [silent, alive] = [chat.connect(), chat.connect()];
        let mut pings = 0;
        for _ in 0..120 {
            chat.advance(Duration::from_secs(1));
            for received in chat.received(alive) {
                assert_eq!(received, Received::Ping);
                pings += 1;
                chat.pong(alive);
            }
        }
        assert!(pings >= 3, "{pings}");
        assert!(chat.is_connected(alive));
        assert_eq!(
            chat.received(silent),
            [Received::Ping, Received::Close(4001)]
        );
        assert!(!chat.is_connected(silent));
        // Nobody is there to send it.
        chat.send(silent, r#"{"type":"ping"}"#);
        assert_eq!(chat.received(silent), []);
    }

    #[test]
    fn who_floods_is_refused_and_closed() {
        let mut chat = TestChat::new(Limits::default());
        let flooder = chat.connect();
        let mut sent = 0;
        while chat.is_connected(flooder) {
            chat.send(flooder, "{");
            sent += 1;
            assert!(sent < 10_000);
        }
        let received = chat.received(flooder);
        assert_eq!(received.last(), Some(&Received::Close(4002)));
        assert!(texts(&received).contains("RATE_LIMITED"));
    }

    #[test]
    fn the_application_says_who_somebody_is() {
        let mut chat = TestChat::new(Limits {
            token_required: true,
            ..Limits::default()
        });
        let identity = Identity {
            subject: Username::new("ann").unwrap(),
            rooms: None,
        };
        let known = Verified {
            identity,
            expires_at: Some(START.plus_ms(5000)),
        };
        let ann = chat.connect_with(Access::Known(known));
        chat.send(ann, r#"{"type":"join","roomId":"lobby"}"#);
        assert!(texts(&chat.received(ann)).contains(r#""users":["ann"]"#));
        chat.advance(Duration::from_millis(4999));
        assert!(chat.is_connected(ann));
        chat.advance(Duration::from_millis(1));
        assert_eq!(chat.received(ann), [Received::Close(4500)]);
    }

    #[test]
    fn at_the_end_everybody_is_told() {
        let mut chat = TestChat::new(Limits::default());
        let ann = chat.connect();
        chat.shutdown();
        let received = chat.received(ann);
        assert!(texts(&received).contains("SERVER_SHUTDOWN"));
        assert_eq!(received.last(), Some(&Received::Close(1001)));
        assert!(!chat.is_connected(ann));
    }

    #[test]
    fn a_guest_comes_back_with_the_token_it_was_given() {
        let mut chat = TestChat::new(Limits::default());
        let first = chat.connect();
        chat.send(first, r#"{"type":"hello","protocol":1}"#);
        let welcome = texts(&chat.received(first));
        let (_, token) = welcome.split_once(r#""resumeToken":""#).unwrap();
        let (token, _) = token.split_once('"').unwrap();
        assert!(
            token.contains(|digit| digit != '0'),
            "nobody is given zeros"
        );
        chat.send(first, &join("Ann"));
        let second = chat.connect();
        let hello = format!(r#"{{"type":"hello","protocol":1,"resumeToken":"{token}"}}"#);
        chat.send(second, &hello);
        chat.send(second, r#"{"type":"join","roomId":"lobby"}"#);
        assert!(texts(&chat.received(second)).contains(r#""users":["Ann"]"#));
    }

    /// A store that tells when it is looked after.
    struct Watched(Arc<Mutex<Vec<Timestamp>>>);

    impl Store for Watched {
        fn load(&mut self, _: &RoomId, _: u32) -> Result<StoredLog, StoreError> {
            Err(StoreError::new("nobody joins"))
        }

        fn append(&mut self, _: &[Append]) -> Result<(), StoreError> {
            Err(StoreError::new("nobody speaks"))
        }

        fn page(&mut self, _: &Fetch) -> Result<Page, StoreError> {
            Err(StoreError::new("nobody reads"))
        }

        fn release(&mut self, _: &RoomId, _: Timestamp) {}

        fn reopen(&mut self, _: Timestamp) -> Result<(), StoreError> {
            Ok(())
        }

        fn maintain(&mut self, at: Timestamp) -> bool {
            self.0.lock().unwrap().push(at);
            false
        }
    }

    #[test]
    fn the_hub_looks_at_its_deadlines_each_second_however_time_passes() {
        let seen = Arc::<Mutex<Vec<Timestamp>>>::default();
        let mut chat = TestChat::with_store(Limits::default(), Watched(seen.clone()));
        for ms in [999, 1, 500, 499, 2, 1999, 1234] {
            chat.advance(Duration::from_millis(ms));
        }
        let seconds = [1000, 2000, 3000, 4000, 5000].map(|ms| START.plus_ms(ms));
        assert_eq!(*seen.lock().unwrap(), seconds);
    }

    #[test]
    fn who_waits_for_what_never_comes_is_not_waited_for() {
        let mut chat = TestChat::new(Limits::default());
        assert_eq!(chat.wait(std::future::pending::<()>()), None);
    }
}

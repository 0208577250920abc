//! A runtime in virtual time, and a server that does what a test says.

use std::collections::BTreeMap;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use async_channel::{Receiver, Sender};
use async_executor::{Executor, Task};
use async_tungstenite::{WebSocketStream, accept_async};
use futures_lite::{AsyncRead, AsyncWrite, StreamExt as _};
use piper::{Reader, Writer};
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use crate::Runtime;

/// Bytes on their way in each direction.
const PIPE_BYTES: usize = 4096;
/// Nothing that a test waits for takes so long, in virtual time.
const PATIENCE_MS: u64 = 3_600_000;
/// Nor so many steps of tasks: something else goes on for ever then.
const MOST_STEPS: u32 = 200_000;

/// One thread, one clock, and whoever dials.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    executor: Executor<'static>,
    time: Mutex<Time>,
    dial: Sender<Dial>,
    dials: Receiver<Dial>,
}

#[derive(Default)]
struct Time {
    now_ms: u64,
    /// By when, and by number.
    timers: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

/// Somebody dials.
pub(crate) struct Dial {
    pub(crate) host: String,
    pub(crate) port: u16,
    answer: Sender<io::Result<Duplex>>,
}

impl World {
    pub(crate) fn new() -> Self {
        // Pipes let others go first now and then.
        fastrand::seed(7);
        let (dial, dials) = async_channel::unbounded();
        Self(Arc::new(Shared {
            executor: Executor::new(),
            time: Mutex::default(),
            dial,
            dials,
        }))
    }

    /// Lets things happen until this has, and time pass when nothing else does.
    #[track_caller]
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let until = self.now_ms() + PATIENCE_MS;
        let mut future = pin!(future);
        for _ in 0..MOST_STEPS {
            let (polled, goes_on) = poll(&mut future);
            if let Poll::Ready(value) = polled {
                return value;
            }
            let happens = self.0.executor.try_tick() || goes_on || self.pass_to_timer(until);
            assert!(happens, "what is awaited never comes");
        }
        panic!("something goes on for ever");
    }

    /// Lets everything happen that does without time.
    pub(crate) fn settle(&self) {
        for _ in 0..MOST_STEPS {
            if !self.0.executor.try_tick() {
                return;
            }
        }
        panic!("something goes on for ever");
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, ms: u64) {
        self.settle();
        let until = self.now_ms() + ms;
        while self.pass_to_timer(until) {
            self.settle();
        }
        self.time().now_ms = until;
    }

    /// Lets everything happen that does without time, and looks whether this has.
    pub(crate) fn is_done<T>(&self, future: &mut Pin<&mut impl Future<Output = T>>) -> bool {
        for _ in 0..MOST_STEPS {
            let (polled, goes_on) = poll(future);
            if polled.is_ready() {
                return true;
            }
            if !self.0.executor.try_tick() && !goes_on {
                return false;
            }
        }
        panic!("something goes on for ever");
    }

    /// Runs besides, until it is dropped.
    pub(crate) fn beside<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        self.0.executor.spawn(task)
    }

    /// Whoever dials next.
    pub(crate) async fn dialled(&self) -> Dial {
        self.0.dials.recv().await.expect("the world has one end")
    }

    /// Whether somebody has dialled, who is not looked at yet.
    pub(crate) fn is_dialled(&self) -> bool {
        self.settle();
        !self.0.dials.is_empty()
    }

    /// Whoever dials next is answered.
    pub(crate) async fn accept(&self) -> Peer {
        let stream = self.dialled().await.answer().await;
        let socket = accept_async(stream).await.expect("it speaks WebSocket");
        Peer { socket }
    }

    /// The same, hello included.
    pub(crate) async fn greet(&self) -> Peer {
        let mut peer = self.accept().await;
        let hello = peer.hear().await;
        assert_eq!(hello["type"], "hello");
        let answer = json!({
            "type": "hello", "protocol": 1, "resumeToken": "0f3c", "pingIntervalMs": 25_000,
            "ref": hello["ref"],
        });
        peer.say(&answer).await;
        peer
    }

    fn pass_to_timer(&self, until: u64) -> bool {
        let mut time = self.time();
        let Some(first) = time.timers.first_entry() else {
            return false;
        };
        let at_ms = first.key().0;
        if at_ms > until {
            return false;
        }
        let waker = first.remove();
        time.now_ms = time.now_ms.max(at_ms);
        drop(time);
        waker.wake();
        true
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.time.lock().expect("nobody panics with it")
    }
}

impl Runtime for World {
    type Stream = Duplex;

    fn now_ms(&self) -> u64 {
        self.time().now_ms
    }

    async fn sleep_until(&self, at_ms: u64) {
        let number = {
            let mut time = self.time();
            time.next += 1;
            time.next
        };
        let world = self.clone();
        Sleep {
            world,
            at: (at_ms, number),
        }
        .await;
    }

    async fn dial(&self, host: &str, port: u16) -> io::Result<Duplex> {
        let (answer, answered) = async_channel::bounded(1);
        let host = host.to_string();
        let dial = Dial { host, port, answer };
        self.0.dial.try_send(dial).expect("the world has both ends");
        answered
            .recv()
            .await
            .expect("whoever looks at it answers it")
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.beside(task).detach();
    }
}

impl Dial {
    /// The server's end.
    pub(crate) async fn answer(self) -> Duplex {
        let (reader, their_writer) = piper::pipe(PIPE_BYTES);
        let (their_reader, writer) = piper::pipe(PIPE_BYTES);
        let theirs = Duplex {
            reader: their_reader,
            writer: their_writer,
        };
        let answered = self.answer.send(Ok(theirs)).await;
        answered.expect("it waits for an answer");
        Duplex { reader, writer }
    }

    pub(crate) async fn refuse(self, kind: io::ErrorKind) {
        let answered = self.answer.send(Err(kind.into())).await;
        answered.expect("it waits for an answer");
    }

    /// Whether nobody waits for an answer any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    socket: WebSocketStream<Duplex>,
}

impl Peer {
    /// The next request.
    pub(crate) async fn hear(&mut self) -> Value {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => {
                serde_json::from_str(text.as_str()).expect("the client speaks JSON")
            }
            other => panic!("a request is awaited, not {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let sent = self.socket.send(Message::text(text)).await;
        sent.expect("the client is there");
    }

    /// Answers a request.
    pub(crate) async fn answer(&mut self, request: &Value, mut answer: Value) {
        answer["ref"] = request["ref"].clone();
        self.say(&answer).await;
    }

    /// Lets the client into the room that it asks for, which has so many messages already.
    pub(crate) async fn admit(&mut self, seq: u64, recovered: bool) {
        let join = self.hear().await;
        assert_eq!(join["type"], "join");
        let joined = json!({
            "type": "joined", "roomId": join["roomId"], "users": ["Alice"], "userCount": 1,
            "epoch": "e", "seq": seq, "recovered": recovered, "history": 0,
        });
        self.answer(&join, joined).await;
    }

    /// Somebody said something in the room "general".
    pub(crate) async fn said(&mut self, seq: u64) {
        self.say(&json!({
            "type": "message", "roomId": "general", "from": "Bob", "text": format!("message {seq}"),
            "timestamp": 1, "seq": seq,
        }))
        .await;
    }

    /// The client's goodbye, and its code.
    pub(crate) async fn farewell(&mut self) -> Option<u16> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                other => panic!("a goodbye is awaited, not {other:?}"),
            }
        }
    }

    /// Nothing more comes, and the connection ends.
    pub(crate) async fn end(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        let closed = self.socket.close(Some(frame)).await;
        closed.expect("the client is there");
    }

    pub(crate) const fn socket(&mut self) -> &mut WebSocketStream<Duplex> {
        &mut self.socket
    }
}

/// One end of a connection.
pub(crate) struct Duplex {
    reader: Reader,
    writer: Writer,
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_close(cx)
    }
}

struct Sleep {
    world: World,
    at: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut time = self.world.time();
        if time.now_ms >= self.at.0 {
            return Poll::Ready(());
        }
        time.timers.insert(self.at, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let dropped = self.world.time().timers.remove(&self.at);
        drop(dropped);
    }
}

/// Whatever wakes it later, it is polled again anyway; whether it woke itself meanwhile is told.
pub(crate) fn poll<T>(future: &mut Pin<&mut impl Future<Output = T>>) -> (Poll<T>, bool) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
    (polled, woken.0.load(Ordering::Relaxed))
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

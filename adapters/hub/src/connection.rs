//! One WebSocket connection from its upgrade to its end. Whatever happens in it, a panic included,
//! ends this connection only.

mod beside;
mod chat;
mod piped;
mod websocket;

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncReadExt, FutureExt, future};
use parlor_core::session::Due;
use parlor_core::{CloseReason, ConnId, ResumeToken, Timestamp};
use tracing::field::display;
use tracing::{error, info, trace};

use crate::entrance::Entered;
use crate::frame::{Frame, Opcode, frame};
use crate::handle::{Connection, Handle};
use crate::outlet::Outlet;
use beside::Beside;
pub use chat::{Access, Chat, Verified, Verify};
use websocket::{Incoming, WebSocket};

/// After this many messages in a row a reader lets the others go on. Fewer would take a burst
/// apart: part of it would miss the hub's batch.
const BURST: u32 = 16;
/// A peer that was told goodbye may take this long to close, so that the goodbye arrives.
const LINGER: Duration = Duration::from_secs(1);

/// Whether a connection goes on. It ends with a reason to tell the peer, or without one when the
/// hub ended it already.
pub type Flow = ControlFlow<Option<CloseReason>>;

/// A timer of the runtime: a future that is ready at a moment, which may be moved.
pub trait Timer: Future + Send + Unpin + 'static {
    /// A timer for this moment.
    fn at(moment: Instant) -> Self;

    /// Moves it.
    fn set_at(&mut self, moment: Instant);
}

/// What is spoken on a connection: [`Chat`], or a test's own.
pub trait Protocol: Send + 'static {
    /// The connection stands, and nothing came yet.
    fn begin(
        &mut self,
        _connection: &Connection,
        _now: Timestamp,
    ) -> impl Future<Output = Flow> + Send {
        async { ControlFlow::Continue(()) }
    }

    /// A text message came.
    fn text(
        &mut self,
        connection: &Connection,
        text: &str,
        clock: ConnectionClock,
    ) -> impl Future<Output = Flow> + Send;

    /// A binary message came.
    fn binary(
        &mut self,
        connection: &Connection,
        bytes: &[u8],
    ) -> impl Future<Output = Flow> + Send;

    /// A ping or pong came. It is answered already.
    fn control(&mut self, now: Timestamp) -> Flow;

    /// What the time brings.
    fn due(&mut self, now: Timestamp) -> Due;

    /// When to ask what the time brings, at the latest.
    fn deadline(&self) -> Timestamp;
}

/// The time of one connection: wall time when it began plus monotonic time since.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionClock {
    began: Timestamp,
    /// None for a clock that stands still.
    at: Option<Instant>,
}

impl ConnectionClock {
    /// A clock that shows `began` now.
    #[must_use]
    pub fn new(began: Timestamp) -> Self {
        Self {
            began,
            at: Some(Instant::now()),
        }
    }

    /// A clock that always shows this.
    pub(crate) const fn standing(now: Timestamp) -> Self {
        Self {
            began: now,
            at: None,
        }
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Timestamp {
        let elapsed = self.at.map_or(Duration::ZERO, |at| at.elapsed());
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.began.plus_ms(elapsed)
    }

    fn at(self, time: Timestamp) -> Instant {
        self.at.unwrap_or_else(Instant::now) + Duration::from_millis(time.ms_since(self.began))
    }
}

/// What a connection talks over.
pub struct Wire<R, O, S> {
    reader: R,
    outlet: O,
    /// Makes what carries on what the outlet took, and ends behind the outlet's last word.
    pump: Box<dyn FnOnce(ConnId) -> Beside + Send>,
    rest: S,
}

impl<R, O, S> Wire<R, O, S> {
    /// Over a socket that the hub writes to itself. What the peer sends behind the end is read from
    /// `rest` and dropped, which is the same socket.
    pub fn direct(reader: R, outlet: O, rest: S) -> Self {
        Self {
            reader,
            outlet,
            pump: Box::new(|_| Beside::nothing()),
            rest,
        }
    }
}

impl<R, O, S> fmt::Debug for Wire<R, O, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// Runs a connection to its end, whose upgrade is answered already. `read` is what the peer sent
/// behind its handshake; a message may have `most_bytes`.
// No async fn, here and below: that would have space for its arguments twice, as they come and as
// they are used.
pub fn run<T, R, O, S>(
    wire: Wire<R, O, S>,
    read: Vec<u8>,
    most_bytes: usize,
    hub: &Handle,
    clock: ConnectionClock,
    mut protocol: impl Protocol,
    entered: &Entered,
) -> impl Future<Output = ()>
where
    T: Timer,
    R: AsyncRead + Unpin,
    O: Outlet + 'static,
    S: AsyncRead + Send + Unpin + 'static,
{
    let Wire {
        reader,
        outlet,
        pump,
        rest,
    } = wire;
    let mut socket = WebSocket::new(reader, read, most_bytes);
    async move {
        let address = entered.address.map(display);
        let Ok(token) = random_token() else {
            return error!(
                address,
                "no random numbers from the system: connection refused"
            );
        };
        let Ok(mut connection) = hub.connect(token, outlet).await else {
            return;
        };
        let conn = connection.id();
        let mut pump = pump(conn);
        info!(%conn, address, peer = entered.proxy.map(display), "connected");
        let talked = talk::<T>(&mut socket, &connection, clock, &mut protocol);
        let talked = AssertUnwindSafe(talked).catch_unwind();
        let reason = pump.during(talked).await;
        // Before it lingers.
        drop(socket);
        let reason = reason.unwrap_or_else(|_| {
            error!(%conn, "the task of this connection panicked");
            Some(CloseReason::Internal)
        });
        pump.during(connection.end(reason)).await;
        info!(%conn, code = reason.map(CloseReason::code), "disconnected");
        // Boxed, so that nobody has space for it who is not at the end.
        Box::pin(linger::<T>(rest, &connection, pump)).await;
    }
}

/// Reads until the peer is gone, or is to be closed for the reason returned.
async fn talk<T: Timer>(
    socket: &mut WebSocket<impl AsyncRead + Unpin>,
    connection: &Connection,
    clock: ConnectionClock,
    protocol: &mut impl Protocol,
) -> Option<CloseReason> {
    if let ControlFlow::Break(reason) = protocol.begin(connection, clock.now()).await {
        return reason;
    }
    let mut deadline = protocol.deadline();
    let mut timer = T::at(clock.at(deadline));
    let mut finished = pin!(connection.finished());
    let mut in_a_row = 0;
    loop {
        if in_a_row == BURST {
            future::yield_now().await;
        }
        let woken = poll_fn(|cx| {
            let socket_first = in_a_row < BURST;
            if socket_first && let Poll::Ready(incoming) = socket.poll_next(cx) {
                return Poll::Ready(Woken::Read(incoming));
            }
            in_a_row = 0;
            if finished.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Finished);
            }
            if poll_timer(&mut timer, cx).is_ready() {
                return Poll::Ready(Woken::Time);
            }
            // Somebody who never stops sending hides neither of them.
            if socket_first {
                return Poll::Pending;
            }
            socket.poll_next(cx).map(Woken::Read)
        });
        let incoming = match woken.await {
            Woken::Read(incoming) => incoming,
            Woken::Time => {
                match protocol.due(clock.now()) {
                    Due::Nothing => {}
                    Due::Ping => connection.control(ping()).await.ok()?,
                    Due::Close(reason) => return Some(reason),
                }
                deadline = protocol.deadline();
                timer.set_at(clock.at(deadline));
                continue;
            }
            Woken::Finished => return None,
        };
        in_a_row += 1;
        trace!(conn = %connection.id(), kind = incoming.kind(), "frame");
        let flow = match incoming {
            Incoming::Text(text) => {
                connection.count_received(text.len());
                protocol.text(connection, &text, clock).await
            }
            Incoming::Binary(bytes) => {
                connection.count_received(bytes.len());
                protocol.binary(connection, &bytes).await
            }
            Incoming::Control => protocol.control(clock.now()),
            Incoming::Reply(frames) => {
                connection.control(frames).await.ok()?;
                continue;
            }
            Incoming::End(reason) => return reason,
        };
        if let ControlFlow::Break(reason) = flow {
            return reason;
        }
        // A later one is seen when the timer fires; a token that expires soon is not to wait.
        if protocol.deadline() < deadline {
            deadline = protocol.deadline();
            timer.set_at(clock.at(deadline));
        }
    }
}

enum Woken {
    Read(Incoming),
    Time,
    Finished,
}

fn poll_timer(timer: &mut impl Timer, cx: &mut Context<'_>) -> Poll<()> {
    pin!(timer).poll(cx).map(|_| ())
}

/// Waits until everything is written, and for a while for the peer to close.
async fn linger<T: Timer>(
    rest: impl AsyncRead + Send + Unpin + 'static,
    connection: &Connection,
    mut pump: Beside,
) {
    let mut discarding = Beside::new(discard(rest));
    let written = async {
        pump.during(connection.finished()).await;
        pump.await;
    };
    discarding.during(written).await;
    let patience = async {
        T::at(Instant::now() + LINGER).await;
    };
    discarding.or(patience).await;
}

/// Reads to the end: a socket that is closed with bytes unread resets the connection, and what was
/// written last would be lost.
async fn discard(mut socket: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while matches!(socket.read(&mut bytes).await, Ok(1..)) {
        // Whoever goes on sending is neither to stop the others nor to stay for longer.
        future::yield_now().await;
    }
}

fn ping() -> Frame {
    frame(Opcode::Ping, &[])
}

fn random_token() -> Result<ResumeToken, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(ResumeToken::from_random(u128::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_lite::future::{block_on, poll_once};
    use http::Request;
    use parlor_core::Limits;

    use super::*;
    use crate::entrance::{Admission, Entrance};
    use crate::metrics::Metrics;
    use crate::pipe::{PipeReader, pipe};
    use crate::testing::TestChat;

    const START: Timestamp = Timestamp(1_700_000_000_000);

    thread_local! {
        /// The moments for which timers were set.
        static SET: RefCell<Vec<Instant>> = const { RefCell::new(Vec::new()) };
        /// Whether the time of the next timer that is asked has come.
        static LATE: Cell<bool> = const { Cell::new(false) };
    }

    struct TestTimer;

    impl Timer for TestTimer {
        fn at(moment: Instant) -> Self {
            SET.with_borrow_mut(|set| set.push(moment));
            Self
        }

        fn set_at(&mut self, moment: Instant) {
            SET.with_borrow_mut(|set| set.push(moment));
        }
    }

    impl Future for TestTimer {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if LATE.take() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }

    /// Counts texts, each of which is a deadline: seconds from the start.
    struct Deadlines {
        texts: Arc<AtomicU64>,
        deadline: Timestamp,
        due: Due,
    }

    impl Deadlines {
        fn new(due: Due) -> Self {
            Self {
                texts: Arc::default(),
                deadline: START.plus_ms(60_000),
                due,
            }
        }
    }

    impl Protocol for Deadlines {
        async fn text(&mut self, _: &Connection, text: &str, _: ConnectionClock) -> Flow {
            self.texts.fetch_add(1, Ordering::Relaxed);
            self.deadline = START.plus_ms(1000 * text.parse::<u64>().unwrap());
            Flow::Continue(())
        }

        async fn binary(&mut self, _: &Connection, _: &[u8]) -> Flow {
            Flow::Continue(())
        }

        fn control(&mut self, _: Timestamp) -> Flow {
            Flow::Continue(())
        }

        fn due(&mut self, _: Timestamp) -> Due {
            self.due
        }

        fn deadline(&self) -> Timestamp {
            self.deadline
        }
    }

    /// A peer that sent something, and stays.
    struct Sent(Vec<u8>);

    impl AsyncRead for Sent {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let most = buf.len().min(self.0.len());
            if most == 0 {
                return Poll::Pending;
            }
            buf[..most].copy_from_slice(&self.0[..most]);
            self.0.drain(..most);
            Poll::Ready(Ok(most))
        }
    }

    fn texts(seconds: impl IntoIterator<Item = u64>) -> Sent {
        let frame = |text: String| {
            let head = [0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
            [&head[..], text.as_bytes()].concat()
        };
        let texts = seconds.into_iter().map(|second| second.to_string());
        Sent(texts.flat_map(frame).collect())
    }

    fn connection(chat: &mut TestChat) -> (Connection, PipeReader) {
        let handle = chat.handle().clone();
        let (outlet, frames) = pipe(1 << 10);
        let connect = async move { handle.connect(ResumeToken::UNKNOWN, outlet).await };
        (chat.wait(connect).unwrap().unwrap(), frames)
    }

    /// What the hub wrote; none behind its last word.
    fn written(frames: &PipeReader) -> Option<Vec<u8>> {
        block_on(poll_once(frames.read())).expect("something is there")
    }

    /// How many texts are read in each of the first turns of a connection.
    fn turns<const N: usize>(sent: Sent) -> [u64; N] {
        let mut chat = TestChat::new(Limits::default());
        let (connection, _frames) = connection(&mut chat);
        let mut protocol = Deadlines::new(Due::Nothing);
        let read = protocol.texts.clone();
        let mut socket = WebSocket::new(sent, Vec::new(), 100);
        let clock = ConnectionClock::new(START);
        let mut talk = pin!(talk::<TestTimer>(
            &mut socket,
            &connection,
            clock,
            &mut protocol
        ));
        [(); N].map(|()| {
            assert!(block_on(poll_once(&mut talk)).is_none());
            read.swap(0, Ordering::Relaxed)
        })
    }

    #[test]
    fn a_burst_is_read_at_once_and_endless_messages_leave_others_their_turn() {
        assert_eq!(turns(texts([60; 15])), [15, 0]);
        assert_eq!(turns(texts([60; 40])), [16, 16, 8, 0]);
    }

    #[test]
    fn only_an_earlier_deadline_moves_the_timer() {
        let _: [u64; 1] = turns(texts([60, 70, 20, 20, 30, 10]));
        let set = SET.take();
        let moved: Vec<u64> = set
            .windows(2)
            .map(|two| (two[0] - two[1]).as_secs())
            .collect();
        assert_eq!(moved, [40, 10]);
    }

    #[test]
    fn a_peer_has_a_while_to_close() {
        let mut chat = TestChat::new(Limits::default());
        let (mut connection, _frames) = connection(&mut chat);
        let end = async move {
            connection.end(None).await;
            connection
        };
        let connection = chat.wait(end).unwrap();
        let before = Instant::now();
        let mut linger = pin!(linger::<TestTimer>(
            texts([]),
            &connection,
            Beside::nothing()
        ));
        assert!(block_on(poll_once(&mut linger)).is_none());
        assert!(SET.take()[0] >= before + LINGER);
    }

    #[test]
    fn what_is_due_is_done_when_the_time_comes() {
        for (due, expected) in [
            (Due::Nothing, None),
            (Due::Ping, None),
            (
                Due::Close(CloseReason::NoPong),
                Some(Some(CloseReason::NoPong)),
            ),
        ] {
            let mut chat = TestChat::new(Limits::default());
            let (connection, frames) = connection(&mut chat);
            let mut protocol = Deadlines::new(due);
            let mut socket = WebSocket::new(texts([]), Vec::new(), 100);
            let clock = ConnectionClock::new(START);
            let mut talk = pin!(talk::<TestTimer>(
                &mut socket,
                &connection,
                clock,
                &mut protocol
            ));
            assert_eq!(block_on(poll_once(&mut talk)), None);
            LATE.set(true);
            assert_eq!(block_on(poll_once(&mut talk)), expected);
            chat.wait(async {});
            if due == Due::Ping {
                assert_eq!(written(&frames).unwrap(), [0x89, 0]);
            }
        }
    }

    /// Somebody who was let in.
    fn entered() -> Entered {
        let entrance = Entrance::new(Admission::new(0, 0), vec![], vec![], Metrics::default());
        let request = Request::builder()
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let request = request.body(()).unwrap();
        entrance.upgrade(&request, None).1.unwrap()
    }

    #[test]
    fn a_connection_that_its_peer_closes_ends_when_that_had_time_to_go() {
        let mut chat = TestChat::new(Limits::default());
        let (outlet, frames) = pipe(1 << 10);
        let mut sent = texts([60]);
        sent.0.extend([0x88, 0x80, 0, 0, 0, 0]);
        let wire = Wire::direct(sent, outlet, texts([]));
        let (handle, entered) = (chat.handle().clone(), entered());
        let protocol = Deadlines::new(Due::Nothing);
        let read = protocol.texts.clone();
        let clock = ConnectionClock::new(START);
        let run = run::<TestTimer, _, _, _>(wire, vec![], 100, &handle, clock, protocol, &entered);
        let mut run = pin!(run);
        let mut ends = || block_on(poll_once(&mut run)).is_some();
        for _ in 0..3 {
            assert!(!ends());
            chat.wait(async {});
        }
        assert_eq!(read.load(Ordering::Relaxed), 1);
        assert_eq!(written(&frames).unwrap(), [0x88, 0]);
        assert_eq!(written(&frames), None);
        assert!(!ends());
        LATE.set(true);
        assert!(ends());
    }

    #[test]
    fn an_idle_connection_takes_little() {
        let chat = TestChat::new(Limits::default());
        let (outlet, _frames) = pipe(1 << 10);
        let wire = Wire::direct(texts([]), outlet, texts([]));
        let protocol = Chat::new(&Limits::default(), Access::Guests, START);
        let (handle, entered) = (chat.handle(), entered());
        let clock = ConnectionClock::new(START);
        let run = run::<TestTimer, _, _, _>(wire, vec![], 100, handle, clock, protocol, &entered);
        // 1312 where pointers have 64 bits. Twice as much is what one copy too many of a request at
        // every step takes; and smol allocates tasks of 2 KiB and more apart from their heads.
        assert!(size_of_val(&run) <= 1500, "{} bytes", size_of_val(&run));
    }
}

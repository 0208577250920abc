//! Every connection's way out: queues frames in effect order, writes each touched outlet once
//! a turn, and cuts whoever does not keep up. It never waits for anybody.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use async_channel::Sender;
use parlor_core::{Cause, CloseReason, ConnId, Limits, Timestamp};
use rustc_hash::FxHashMap;
use tracing::{debug, info};

use crate::frame::{Frame, close_frame};
use crate::inbox::Internal;
use crate::metrics::Metrics;
use crate::outlet::{Outbox, Outlet, Together};
use crate::signals::Releaser;

/// What a frame is worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It is queued, or its connection is cut.
    Kept,
    /// Typing: it is dropped when much waits already.
    Droppable,
}

pub(crate) struct Fanout {
    now: Timestamp,
    outbox_bytes: usize,
    outbox_total_bytes: u64,
    close_grace_ms: u64,
    stall_ms: u64,
    lines: FxHashMap<ConnId, Line>,
    /// Lines to be looked at before the turn ends.
    touched: Vec<ConnId>,
    /// Connections that ended here: the core does not know yet.
    lost: Vec<(ConnId, Cause)>,
    total_bytes: u64,
    together: Together,
    internal: Sender<Internal>,
    metrics: Metrics,
    /// Bytes written since they were last asked for.
    sent_bytes: u64,
    /// Whose outlet is at work: the one to blame for a panic.
    writing: Option<ConnId>,
}

/// One connection's way out.
struct Line {
    outlet: Box<dyn Outlet>,
    outbox: Outbox,
    signals: Releaser,
    hold: Hold,
    /// Until when a line that takes no more frames may take to write its last ones.
    closing: Option<Timestamp>,
    /// Since when the outlet takes nothing; it said that it will call the waker.
    blocked: Option<Timestamp>,
    touched: bool,
    waker: Option<Arc<LineWaker>>,
}

/// Whether the reading half is held back (T-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Free,
    /// By a request without an answer so far.
    Asked,
    /// By an answer that still waits with too much else.
    Answered,
}

/// Tells the hub, once, that an outlet can take more.
struct LineWaker {
    conn: ConnId,
    internal: Sender<Internal>,
    woken: AtomicBool,
}

impl Wake for LineWaker {
    fn wake(self: Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Without a hub nobody writes.
            let _ = self.internal.try_send(Internal::Writable(self.conn));
        }
    }
}

impl Fanout {
    pub(crate) fn new(limits: &Limits, internal: Sender<Internal>, metrics: Metrics) -> Self {
        Self {
            now: Timestamp::default(),
            outbox_bytes: limits.outbox_bytes as usize,
            outbox_total_bytes: limits.outbox_total_bytes,
            close_grace_ms: limits.close_grace_ms.into(),
            stall_ms: u64::from(limits.ping_interval_ms) + u64::from(limits.pong_timeout_ms),
            lines: FxHashMap::default(),
            touched: Vec::new(),
            lost: Vec::new(),
            total_bytes: 0,
            together: Together::default(),
            internal,
            metrics,
            sent_bytes: 0,
            writing: None,
        }
    }

    pub(crate) fn open(&mut self, conn: ConnId, outlet: Box<dyn Outlet>, signals: Releaser) {
        let line = Line {
            outlet,
            outbox: Outbox::default(),
            signals,
            hold: Hold::Free,
            closing: None,
            blocked: None,
            touched: false,
            waker: None,
        };
        self.lines.insert(conn, line);
    }

    /// A turn begins.
    pub(crate) const fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes that wait for all lines together.
    pub(crate) const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes written since this was last asked.
    pub(crate) const fn take_sent_bytes(&mut self) -> u64 {
        std::mem::replace(&mut self.sent_bytes, 0)
    }

    /// Queues a frame behind all earlier ones. True if it is queued.
    pub(crate) fn send(&mut self, conn: ConnId, frame: &Frame, worth: Worth) -> bool {
        let Some(line) = self.lines.get_mut(&conn) else {
            return false;
        };
        if line.closing.is_some() {
            return false;
        }
        let waiting = line.outbox.bytes() + frame.len();
        if worth == Worth::Droppable && waiting > self.outbox_bytes / 4 {
            return false;
        }
        if waiting > self.outbox_bytes {
            return self.send_overflowing(conn, frame);
        }
        line.outbox.push(frame.clone());
        if !line.touched {
            line.touched = true;
            self.touched.push(conn);
        }
        self.total_bytes += frame.len() as u64;
        if self.total_bytes > self.outbox_total_bytes {
            self.flush();
            if self.total_bytes > self.outbox_total_bytes {
                self.cut_worst();
            }
        }
        true
    }

    /// What one turn has for a connection can be more than a queue holds, and is nobody's fault who
    /// reads: it is written before anybody is cut.
    #[cold]
    fn send_overflowing(&mut self, conn: ConnId, frame: &Frame) -> bool {
        self.flush_line(conn);
        let Some(line) = self.lines.get(&conn) else {
            return false;
        };
        if line.outbox.bytes() + frame.len() > self.outbox_bytes {
            self.cut(conn);
            false
        } else {
            self.send(conn, frame, Worth::Kept)
        }
    }

    /// Queues the close frame behind everything else and takes no more.
    pub(crate) fn close(&mut self, conn: ConnId, reason: Option<CloseReason>) {
        let Some(line) = self
            .lines
            .get_mut(&conn)
            .filter(|line| line.closing.is_none())
        else {
            return;
        };
        line.closing = Some(self.now.plus_ms(self.close_grace_ms));
        self.metrics.closed(reason);
        if let Some(reason) = reason {
            let frame = close_frame(reason);
            self.total_bytes += frame.len() as u64;
            line.outbox.push(frame);
            debug!(%conn, code = reason.code(), "closing");
        }
        self.touch(conn);
    }

    /// Closes everybody, the one to blame as an internal error.
    pub(crate) fn close_all(&mut self, reason: CloseReason, to_blame: Option<ConnId>) {
        let mut conns: Vec<ConnId> = self.lines.keys().copied().collect();
        conns.sort_unstable();
        for conn in conns {
            let own = if to_blame == Some(conn) {
                CloseReason::Internal
            } else {
                reason
            };
            self.close(conn, Some(own));
        }
    }

    /// Drops a line whose outlet cannot be trusted any more.
    pub(crate) fn drop_writing(&mut self) -> Option<ConnId> {
        let conn = self.writing.take()?;
        if let Some(line) = self.lines.remove(&conn)
            && line.closing.is_none()
        {
            self.metrics.closed(Some(CloseReason::Internal));
        }
        // What the outlet took before it panicked was not counted yet.
        let waiting = self.lines.values().map(|line| line.outbox.bytes() as u64);
        self.total_bytes = waiting.sum();
        Some(conn)
    }

    /// A connection that does not read: what it was to get is dropped, but for a frame that is
    /// half written, and it is told why. It recovers with `since`.
    fn cut(&mut self, conn: ConnId) {
        let Some(line) = self.lines.get_mut(&conn) else {
            return;
        };
        info!(%conn, bytes = line.outbox.bytes(), "cut: it reads too slowly");
        self.total_bytes -= line.outbox.bytes() as u64;
        line.outbox.drop_unwritten();
        self.total_bytes += line.outbox.bytes() as u64;
        self.lost.push((conn, Cause::Slow));
        self.close(conn, Some(CloseReason::Slow));
    }

    /// Makes room at the cost of whoever holds the most. One that is closing does not wait for its
    /// grace to end: it must not be what others are cut for.
    fn cut_worst(&mut self) {
        let by_bytes = |(conn, line): &(&ConnId, &Line)| (line.outbox.bytes(), **conn);
        let Some((&conn, line)) = self.lines.iter().max_by_key(by_bytes) else {
            return;
        };
        if line.closing.is_some() {
            debug!(%conn, "gave up on its last frames: all queues are too long");
            self.remove(conn, |outlet| outlet.abort());
        } else {
            self.cut(conn);
        }
    }

    // Holding back (T-8).

    /// A request was handed over behind which nothing may come until it is answered.
    pub(crate) fn hold(&mut self, conn: ConnId) {
        if let Some(line) = self.lines.get_mut(&conn) {
            line.hold = Hold::Asked;
        }
    }

    pub(crate) fn awaits_answer(&self, conn: ConnId) -> bool {
        self.lines
            .get(&conn)
            .is_some_and(|line| line.hold == Hold::Asked)
    }

    /// Its answer is queued.
    pub(crate) fn answered(&mut self, conn: ConnId) {
        if let Some(line) = self.lines.get_mut(&conn)
            && line.hold == Hold::Asked
        {
            line.hold = Hold::Answered;
            self.touch(conn);
        }
    }

    // Writing.

    /// An outlet may take more.
    pub(crate) fn writable(&mut self, conn: ConnId) {
        if let Some(line) = self.lines.get_mut(&conn) {
            line.blocked = None;
            self.touch(conn);
        }
    }

    /// Writes every touched line once. True if somebody was lost on the way.
    pub(crate) fn flush(&mut self) -> bool {
        // They stay in the list until all are written: an outlet may panic, and the others have
        // their turn after the restart.
        let mut next = 0;
        while let Some(&conn) = self.touched.get(next) {
            self.flush_line(conn);
            next += 1;
        }
        self.touched.clear();
        self.together.clear();
        !self.lost.is_empty()
    }

    /// Connections that ended here, each once.
    pub(crate) fn take_lost(&mut self) -> Vec<(ConnId, Cause)> {
        std::mem::take(&mut self.lost)
    }

    /// Gives up the lines that were given long enough to take their last frames, and cuts those
    /// whose outlet took nothing for as long as a missed pong takes to be noticed: while a
    /// connection is held back nobody else looks whether its peer lives.
    pub(crate) fn expire(&mut self) {
        let (now, stall_ms) = (self.now, self.stall_ms);
        let late = |line: &Line| line.closing.is_some_and(|deadline| deadline <= now);
        let stalled = |line: &Line| {
            let stalls = |since| now.ms_since(since) >= stall_ms;
            line.closing.is_none() && line.blocked.is_some_and(stalls)
        };
        for conn in self.lines_that(late) {
            debug!(%conn, "gave up on its last frames");
            self.remove(conn, |outlet| outlet.abort());
        }
        for conn in self.lines_that(stalled) {
            self.cut(conn);
        }
    }

    /// In the order of their ids.
    fn lines_that(&self, is: impl Fn(&Line) -> bool) -> Vec<ConnId> {
        let found = self.lines.iter().filter(|(_, line)| is(line));
        let mut conns: Vec<ConnId> = found.map(|(&conn, _)| conn).collect();
        conns.sort_unstable();
        conns
    }

    fn touch(&mut self, conn: ConnId) {
        if let Some(line) = self.lines.get_mut(&conn)
            && !line.touched
        {
            line.touched = true;
            self.touched.push(conn);
        }
    }

    fn flush_line(&mut self, conn: ConnId) {
        let Some(line) = self.lines.get_mut(&conn) else {
            return;
        };
        line.touched = false;
        if line.blocked.is_none() && line.outbox.bytes() > 0 {
            let before = line.outbox.bytes();
            self.writing = Some(conn);
            // Most outlets take everything, and need no waker of their own for that.
            let mut cx = Context::from_waker(Waker::noop());
            let outlet = &mut *line.outlet;
            let mut written = line.outbox.poll_flush(outlet, &mut cx, &mut self.together);
            if written.is_pending() {
                let waker = line.waker(conn, &self.internal);
                let outlet = &mut *line.outlet;
                let mut cx = Context::from_waker(&waker);
                written = line.outbox.poll_flush(outlet, &mut cx, &mut self.together);
            }
            self.writing = None;
            let taken = (before - line.outbox.bytes()) as u64;
            self.total_bytes -= taken;
            self.sent_bytes += taken;
            match written {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => line.blocked = Some(self.now),
                Poll::Ready(Err(error)) => {
                    debug!(%conn, %error, "cannot write");
                    if line.closing.is_none() {
                        self.metrics.closed(None);
                        self.lost.push((conn, Cause::Disconnected));
                    }
                    return self.remove(conn, |outlet| outlet.abort());
                }
            }
        }
        if line.closing.is_some() && line.outbox.bytes() == 0 {
            self.remove(conn, |outlet| outlet.finish());
        } else if line.hold == Hold::Answered && line.outbox.bytes() < self.outbox_bytes / 4 {
            line.hold = Hold::Free;
            line.signals.release();
        }
    }

    fn remove(&mut self, conn: ConnId, last_word: fn(&mut Box<dyn Outlet>)) {
        if let Some(mut line) = self.lines.remove(&conn) {
            self.total_bytes -= line.outbox.bytes() as u64;
            self.writing = Some(conn);
            last_word(&mut line.outlet);
            self.writing = None;
        }
    }
}

impl Line {
    /// The waker of this line, armed again.
    fn waker(&mut self, conn: ConnId, internal: &Sender<Internal>) -> Waker {
        let waker = self.waker.get_or_insert_with(|| {
            Arc::new(LineWaker {
                conn,
                internal: internal.clone(),
                woken: AtomicBool::new(false),
            })
        });
        waker.woken.store(false, Ordering::Release);
        waker.clone().into()
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Fanout({} lines, {} bytes)",
            self.lines.len(),
            self.total_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::AtomicUsize;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::signals::{Releases, signals};

    const CONN: ConnId = ConnId(1);

    /// Takes so many bytes in all, and counts the writes in which it took some.
    #[derive(Clone, Default)]
    struct Takes {
        room: Arc<AtomicUsize>,
        writes: Arc<AtomicUsize>,
    }

    impl Takes {
        fn bytes(room: usize) -> Self {
            Self {
                room: Arc::new(room.into()),
                ..Self::default()
            }
        }
    }

    impl Outlet for Takes {
        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let room = self.room.load(Ordering::Relaxed);
            if room == 0 {
                return Poll::Pending;
            }
            let taken = bytes.len().min(room);
            self.room.store(room - taken, Ordering::Relaxed);
            self.writes.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Ok(taken))
        }

        fn finish(&mut self) {}

        fn abort(&mut self) {}
    }

    /// One connection, with a queue of 1,000 bytes.
    fn fanout(outlet: &Takes, outbox_total_bytes: u64) -> (Fanout, Releases) {
        let limits = Limits {
            outbox_bytes: 1000,
            outbox_total_bytes,
            ..Limits::default()
        };
        let (internal, _) = async_channel::unbounded();
        let mut fanout = Fanout::new(&limits, internal, Metrics::default());
        let (releaser, releases) = signals();
        fanout.open(CONN, Box::new(outlet.clone()), releaser);
        (fanout, releases)
    }

    fn send(fanout: &mut Fanout, bytes: usize, worth: Worth) -> bool {
        fanout.send(CONN, &vec![0; bytes].into(), worth)
    }

    #[test]
    fn a_queue_takes_as_much_as_it_may_and_not_a_byte_more() {
        let (mut fanout, _releases) = fanout(&Takes::default(), u64::MAX);
        assert!(send(&mut fanout, 250, Worth::Droppable), "a quarter");
        assert!(!send(&mut fanout, 1, Worth::Droppable));
        assert!(send(&mut fanout, 750, Worth::Kept));
        assert_eq!(fanout.total_bytes(), 1000);
        assert_eq!(fanout.take_lost(), []);
        assert!(!send(&mut fanout, 1, Worth::Kept));
        assert_eq!(fanout.take_lost(), [(CONN, Cause::Slow)]);
    }

    #[test]
    fn a_full_queue_is_written_before_anybody_is_cut() {
        let outlet = Takes::bytes(100);
        let (mut fanout, _releases) = fanout(&outlet, u64::MAX);
        assert!(send(&mut fanout, 1000, Worth::Kept));
        assert_eq!(outlet.writes.load(Ordering::Relaxed), 0, "once a turn");
        assert!(send(&mut fanout, 100, Worth::Kept), "it fits, then");
        assert_eq!(fanout.total_bytes(), 1000);
        assert!(!send(&mut fanout, 1, Worth::Kept));
    }

    #[test]
    fn all_queues_together_take_as_much_as_they_may() {
        let outlet = Takes::bytes(100);
        let (mut fanout, _releases) = fanout(&outlet, 500);
        assert!(send(&mut fanout, 500, Worth::Kept));
        assert_eq!(outlet.writes.load(Ordering::Relaxed), 0, "once a turn");
        assert!(send(&mut fanout, 100, Worth::Kept));
        assert_eq!((fanout.total_bytes(), fanout.take_lost()), (500, vec![]));
        assert!(send(&mut fanout, 1, Worth::Kept), "it was queued");
        assert_eq!(fanout.take_lost(), [(CONN, Cause::Slow)]);
    }

    #[test]
    fn an_answer_holds_back_until_little_waits() {
        let outlet = Takes::default();
        let (mut fanout, releases) = fanout(&outlet, u64::MAX);
        fanout.hold(CONN);
        assert!(send(&mut fanout, 900, Worth::Kept));
        fanout.answered(CONN);
        for (taken, released) in [(0, false), (650, false), (1, true)] {
            outlet.room.store(taken, Ordering::Relaxed);
            fanout.writable(CONN);
            fanout.flush();
            let seen = block_on(poll_once(releases.next()));
            assert_eq!(seen.is_some(), released, "{taken}");
        }
    }
}

//! The connection: made, watched, lost, and made again.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::client::Client;
use crate::event::{Event, State};
use crate::failure::ClientError;
use crate::options::{Options, Secret};
use crate::output::{Output, Value};
use crate::request::Asked;
use crate::room::Phase;
use crate::wire::{Body, Fields};

/// The server's default, until it has said its own.
const PING_INTERVAL_MS: u64 = 25_000;
/// Patience of [`Input::Retry`](crate::Input::Retry) with a connection that may be dead.
const PROBE_MS: u64 = 5_000;
/// Nothing that a server says makes a client wait for longer.
pub(crate) const MOST_WAIT_MS: u64 = 300_000;
/// A connection that lasted for this long was a good one: the next outage starts with short delays.
const LASTED_MS: u64 = 5_000;

/// Where the connection stands, and what it waits for. Times are those of the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    stage: Stage,
    /// Of the next connection, from 0.
    attempt: u32,
    /// At most, by the options; the server may want to be looked after more often.
    most_ping_interval_ms: u64,
    ping_interval_ms: u64,
    /// What a server that goes away wants clients to wait.
    goodbye_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// There is no connection; one is made at that time.
    Off {
        retry_at: Option<u64>,
    },
    /// The server has to have answered by then.
    Connecting {
        by: u64,
    },
    /// The same; hello was said.
    Greeting {
        by: u64,
    },
    Ready(Watch),
    Closed,
}

/// Whether the server is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watch {
    since: u64,
    heard_at: u64,
    /// Until when a sign of life has to have come; none is awaited if there is no such time.
    answer_by: Option<u64>,
    /// An answer got more time because nobody looked when it was due.
    was_late: bool,
}

impl Link {
    pub(crate) fn new(options: &Options) -> Self {
        let most = options.ping_interval_ms.filter(|&ms| ms > 0);
        let most_ping_interval_ms = most.map_or(u64::MAX, u64::from);
        Self {
            stage: Stage::Off { retry_at: None },
            attempt: 0,
            most_ping_interval_ms,
            ping_interval_ms: PING_INTERVAL_MS.min(most_ping_interval_ms),
            goodbye_ms: None,
        }
    }

    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_))
    }

    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    const fn is_off(&self) -> bool {
        matches!(self.stage, Stage::Off { .. })
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match &self.stage {
            Stage::Off { retry_at } => *retry_at,
            Stage::Connecting { by } | Stage::Greeting { by } => Some(*by),
            Stage::Ready(watch) => {
                let silent = watch.heard_at.saturating_add(self.ping_interval_ms);
                Some(watch.answer_by.unwrap_or(silent))
            }
            Stage::Closed => None,
        }
    }

    /// The server has said how often it is to be looked after.
    pub(crate) fn look_every(&mut self, ms: u64) {
        self.ping_interval_ms = self.most_ping_interval_ms.min(ms).min(MOST_WAIT_MS);
    }

    /// The server goes away, and has said for how long.
    pub(crate) const fn says_goodbye(&mut self, ms: Option<u64>) {
        self.goodbye_ms = ms;
    }
}

// Inputs of the socket and the clock.
impl Client {
    pub(crate) fn start(&mut self) {
        if self.link.is_off() {
            self.connect();
        }
    }

    pub(crate) fn opened(&mut self, token: Option<Secret>) {
        if let Stage::Connecting { by } = self.link.stage {
            self.link.stage = Stage::Greeting { by };
            self.token = token;
            self.greet();
        }
    }

    pub(crate) fn received(&mut self, text: &str) {
        match &mut self.link.stage {
            Stage::Ready(watch) => {
                watch.heard_at = self.now;
                watch.answer_by = None;
                watch.was_late = false;
            }
            Stage::Greeting { .. } => {}
            Stage::Off { .. } | Stage::Connecting { .. } | Stage::Closed => return,
        }
        if let Some(fields) = Fields::parse(text) {
            self.receive(&fields);
        }
    }

    pub(crate) fn closed(&mut self, code: Option<u16>, reason: Option<String>) {
        if !self.link.is_off() && !self.link.is_closed() {
            self.lost(code, reason);
        }
    }

    pub(crate) fn tick(&mut self) {
        for index in 0..self.rooms.len() {
            let told = self.rooms[index].forget_typists(self.now);
            self.outputs.extend(told.map(Output::Emit));
        }
        match self.link.stage {
            Stage::Off { retry_at } => {
                if retry_at.is_some_and(|at| self.now >= at) {
                    self.connect();
                }
            }
            Stage::Connecting { by } | Stage::Greeting { by } => {
                if self.now >= by {
                    self.give_up("no answer");
                }
            }
            Stage::Ready(_) => self.watch(),
            Stage::Closed => {}
        }
    }

    pub(crate) fn retry(&mut self) {
        match &self.link.stage {
            Stage::Off { .. } => self.connect(),
            Stage::Ready(watch) if watch.answer_by.is_none() => {
                self.ping(PROBE_MS.min(self.link.ping_interval_ms));
            }
            Stage::Ready(_) | Stage::Connecting { .. } | Stage::Greeting { .. } | Stage::Closed => {
            }
        }
    }

    pub(crate) fn close(&mut self) {
        if self.link.is_closed() {
            return;
        }
        if !self.link.is_off() {
            self.outputs.push(Output::HangUp);
        }
        self.end(None, None);
    }
}

impl Client {
    fn connect(&mut self) {
        let by = self
            .now
            .saturating_add(self.options.connect_timeout_ms.into());
        self.link.stage = Stage::Connecting { by };
        self.guest.begin();
        let attempt = self.link.attempt;
        self.enter(State::Connecting { attempt });
        self.outputs.push(Output::Connect);
    }

    /// The server has answered to hello.
    pub(crate) fn ready(&mut self) {
        if self.link.is_ready() {
            return;
        }
        self.link.stage = Stage::Ready(Watch {
            since: self.now,
            heard_at: self.now,
            answer_by: None,
            was_late: false,
        });
        self.enter(State::Online);
    }

    fn enter(&mut self, state: State) {
        self.state = state.clone();
        self.emit(Event::State(state));
    }

    /// Looks whether the server is alive.
    fn watch(&mut self) {
        let interval = self.link.ping_interval_ms;
        let Stage::Ready(watch) = &mut self.link.stage else {
            return;
        };
        match watch.answer_by {
            None => {
                if self.now >= watch.heard_at.saturating_add(interval) {
                    self.ping(interval);
                }
            }
            Some(by) if self.now >= by.saturating_add(interval) && !watch.was_late => {
                // The clock was late: this process slept, and the answer may wait behind this
                // very tick.
                watch.was_late = true;
                self.ping(interval);
            }
            Some(by) => {
                if self.now >= by {
                    self.give_up("no answer");
                }
            }
        }
    }

    fn ping(&mut self, patience_ms: u64) {
        if let Stage::Ready(watch) = &mut self.link.stage {
            watch.answer_by = Some(self.now.saturating_add(patience_ms));
        }
        self.request(Asked::Ping, Body::Ping);
    }

    pub(crate) fn give_up(&mut self, reason: &str) {
        self.outputs.push(Output::HangUp);
        self.lost(None, Some(reason.into()));
    }

    /// The connection is gone.
    fn lost(&mut self, code: Option<u16>, reason: Option<String>) {
        if code.is_some_and(|code| (4500..=4999).contains(&code)) {
            return self.end(code, reason);
        }
        let has_lasted = |since| self.now - since >= LASTED_MS;
        if matches!(&self.link.stage, Stage::Ready(watch) if has_lasted(watch.since)) {
            self.link.attempt = 0;
        }
        self.quiet_until = 0;
        self.must_probe = false;
        self.must_greet = false;
        let retry_in_ms = match self.link.goodbye_ms.take() {
            Some(goodbye_ms) => goodbye_ms.saturating_add(self.backoff_ms(0)),
            None => self.backoff_ms(self.link.attempt),
        };
        let retry_at = self.now.saturating_add(retry_in_ms);
        self.link.stage = Stage::Off {
            retry_at: Some(retry_at),
        };
        self.link.attempt = self.link.attempt.saturating_add(1);
        self.ask_again();
        for room in self.rooms.iter().map(|room| room.key).collect::<Vec<_>>() {
            if let Some(index) = self.keyed(room) {
                self.disconnected(index);
            }
        }
        self.enter(State::Offline {
            attempt: self.link.attempt,
            retry_at,
            retry_in_ms,
            code,
            reason,
        });
    }

    /// Questions without an answer are to be asked on the next connection, in their order.
    fn ask_again(&mut self) {
        for request in mem::take(&mut self.in_flight).into_iter().rev() {
            if let Asked::Question(question) = request.what {
                self.questions.push_front(question);
            }
        }
    }

    fn disconnected(&mut self, index: usize) {
        let room = &mut self.rooms[index];
        let was_leaving = room.phase == Phase::Leaving;
        room.disconnect();
        let told = room.clear_typists();
        let wanted = room.wanted;
        self.outputs.extend(told.map(Output::Emit));
        if !wanted {
            self.reject_outbox(index, &ClientError::Left.into());
        }
        if !wanted || was_leaving {
            self.has_left(index);
        }
    }

    /// For ever.
    fn end(&mut self, code: Option<u16>, reason: Option<String>) {
        self.link.stage = Stage::Closed;
        let closed = ClientError::Closed.into();
        self.ask_again();
        for question in mem::take(&mut self.questions) {
            self.reject_question(&question, &closed);
        }
        for room in mem::take(&mut self.rooms) {
            for pending in &room.outbox {
                self.reject_pending(&room.id, pending, &closed);
            }
            for join in room.joins {
                self.reject(join, closed.about(Some(&room.id), None));
            }
            for leave in room.leaves {
                self.resolve(leave, Value::Left);
            }
        }
        self.pending = 0;
        self.enter(State::Closed { code, reason });
    }
}

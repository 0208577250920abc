//! One run: who is there, what was said, and what was heard of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use smol::channel::{self, Receiver, Sender};

use super::failure::Failure;
use super::ledger::{Heard, Verdict, judge};
use super::target::Target;
use super::text::Said;
use super::user::Tokens;
use crate::cli::{Bench, Pace};

/// Of an open loop, messages that wait for their sender's socket: seconds of what it says. Whoever
/// waits for a place keeps the time at which its message was due.
const QUEUE: usize = 1024;
/// The longest latency that is told from a longer one, µs: a minute.
const LONGEST_US: u64 = 60_000_000;
/// Digits of a latency that are right.
const DIGITS: u8 = 3;

/// Everything that the tasks of a run share.
pub(super) struct Run<'a> {
    pub(super) task: &'a Bench,
    pub(super) target: Target,
    pub(super) tokens: Tokens,
    pub(super) progress: ProgressBar,
    pub(super) connected: Cell<u32>,
    /// Rooms of other runs have other names.
    nonce: u32,
    origin: Instant,
    next_user: Cell<u32>,
    users: Vec<User>,
    /// When messages have to be due to count, and to arrive to be counted, ns.
    measured: Cell<[u64; 2]>,
    /// How long it took from when they were due, µs.
    latency: RefCell<Histogram<u64>>,
    delivered: Cell<u64>,
    measured_deliveries: Cell<u64>,
    first_failure: RefCell<Option<Failure>>,
    failed: (Sender<()>, Receiver<()>),
}

struct User {
    heard: RefCell<Heard>,
    said: Cell<u32>,
    /// When messages are due.
    due: (Sender<u64>, Receiver<u64>),
}

impl<'a> Run<'a> {
    pub(super) fn new(
        task: &'a Bench,
        target: Target,
        tokens: Tokens,
        nonce: u32,
        progress: ProgressBar,
    ) -> Self {
        let places = match task.pace() {
            Pace::Open(_) => QUEUE,
            Pace::Closed(window) => window as usize,
        };
        let user = |_| User {
            heard: RefCell::default(),
            said: Cell::default(),
            due: channel::bounded(places),
        };
        let latency = Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Self {
            task,
            target,
            tokens,
            progress,
            connected: Cell::default(),
            nonce,
            origin: Instant::now(),
            next_user: Cell::default(),
            users: (0..task.connections).map(user).collect(),
            measured: Cell::new([u64::MAX; 2]),
            latency: RefCell::new(latency.expect("these bounds are good")),
            delivered: Cell::default(),
            measured_deliveries: Cell::default(),
            first_failure: RefCell::default(),
            failed: channel::bounded(1),
        }
    }

    /// The next one to come, until everybody has.
    pub(super) fn next_user(&self) -> Option<u32> {
        let user = self.next_user.get();
        self.next_user.set(user.saturating_add(1));
        (user < self.task.connections).then_some(user)
    }

    /// The room of a user.
    pub(super) fn room(&self, user: u32) -> String {
        format!("bench-{:08x}-{}", self.nonce, user % self.task.rooms)
    }

    /// Since the run began, ns.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// When that is on the clock of timers.
    pub(super) fn instant(&self, at_ns: u64) -> Instant {
        self.origin + std::time::Duration::from_nanos(at_ns)
    }

    /// What counts from now on.
    pub(super) fn measure(&self, when_ns: Range<u64>) {
        self.measured.set([when_ns.start, when_ns.end]);
    }

    /// Whether what is due then is still to be said.
    pub(super) fn goes_on(&self, at_ns: u64) -> bool {
        at_ns < self.measured.get()[1] && self.first_failure.borrow().is_none()
    }

    /// Where to say when a user's messages are due.
    pub(super) fn due(&self, user: u32) -> &Sender<u64> {
        &self.user(user).due.0
    }

    /// Where a user hears when its messages are due.
    pub(super) fn dues(&self, user: u32) -> Receiver<u64> {
        self.user(user).due.1.clone()
    }

    /// The text that a user is about to say.
    pub(super) fn say(&self, user: u32, due_ns: u64) -> String {
        let said = &self.user(user).said;
        let number = said.get();
        said.set(number + 1);
        Said {
            user,
            number,
            due_ns,
        }
        .text(self.task.text_bytes)
    }

    /// A user heard something.
    pub(super) fn hear(&self, user: u32, text: &str) {
        let now = self.now_ns();
        let mut heard = self.user(user).heard.borrow_mut();
        let Some(said) = Said::parse(text) else {
            heard.hear(user, u32::MAX, 0);
            return;
        };
        let same_room = said.user % self.task.rooms == user % self.task.rooms;
        let sender = self.users.get(said.user as usize).filter(|_| same_room);
        let count = sender.map_or(0, |sender| sender.said.get());
        if !heard.hear(said.user, said.number, count) {
            return;
        }
        self.delivered.set(self.delivered.get() + 1);
        let [from, end] = self.measured.get();
        let measured = from..end;
        if measured.contains(&said.due_ns) {
            let late_us = now.saturating_sub(said.due_ns) / 1000;
            self.latency.borrow_mut().saturating_record(late_us.max(1));
        }
        if measured.contains(&now) {
            self.measured_deliveries
                .set(self.measured_deliveries.get() + 1);
        }
        let closed = matches!(self.task.pace(), Pace::Closed(_));
        if closed && said.user == user && self.goes_on(now) {
            // It has as many places as messages are on their way.
            let _ = self.due(user).try_send(now);
        }
    }

    /// Ends the run, unless it has ended.
    pub(super) fn fail(&self, failure: Failure) {
        self.first_failure.borrow_mut().get_or_insert(failure);
        let _ = self.failed.0.try_send(());
    }

    /// Resolves when something went wrong.
    pub(super) async fn failed(&self) {
        // Its sender is here.
        let _ = self.failed.1.recv().await;
    }

    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.first_failure.borrow_mut().take()
    }

    /// All deliveries so far that were to come.
    pub(super) const fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// Those that came while it was measured.
    pub(super) const fn measured_deliveries(&self) -> u64 {
        self.measured_deliveries.get()
    }

    pub(super) fn latency(&self) -> Histogram<u64> {
        self.latency.borrow().clone()
    }

    /// Messages that were said.
    pub(super) fn said(&self) -> u64 {
        self.users
            .iter()
            .map(|user| u64::from(user.said.get()))
            .sum()
    }

    /// Deliveries that there should be of all of them.
    pub(super) fn expected(&self) -> u64 {
        let members = |room: usize| self.in_room(room).count() as u64;
        (0..self.task.room_count() as usize)
            .map(|room| {
                members(room)
                    * self
                        .said_in(room)
                        .values()
                        .map(|&it| u64::from(it))
                        .sum::<u64>()
            })
            .sum()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let mut all = Verdict::default();
        for room in 0..self.task.room_count() as usize {
            let heard: Vec<_> = self
                .in_room(room)
                .map(|(_, user)| user.heard.borrow())
                .collect();
            all += judge(&self.said_in(room), heard.iter().map(|heard| &**heard));
        }
        all
    }

    fn in_room(&self, room: usize) -> impl Iterator<Item = (usize, &User)> {
        let all = self.users.iter().enumerate();
        all.skip(room).step_by(self.task.rooms as usize)
    }

    fn said_in(&self, room: usize) -> BTreeMap<u32, u32> {
        let users = (0u32..).skip(room).step_by(self.task.rooms as usize);
        let users = users.zip(self.in_room(room));
        users
            .map(|(number, (_, user))| (number, user.said.get()))
            .collect()
    }

    fn user(&self, user: u32) -> &User {
        &self.users[user as usize]
    }
}

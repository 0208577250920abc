//! A store that fails, is late, keeps a part of what it says it could not keep, and hangs, in any
//! order, under a hub that restarts, ends and is started again: nobody sees what is not stored, and
//! whoever comes back finds everything where it was.
//!
//! Sending before the commit was planted in the hub, and so was taking a failed commit for a good
//! one: the first seed finds either.

use std::collections::BTreeSet;

use parlor_core::{Limits, Timestamp};
use parlor_hub::{HubError, Store};
use parlor_tests::driven_hub::{DrivenHub, Outcome, ScriptedStore};
use parlor_tests::virtual_socket::VirtualSocket;

use super::dice::{Dice, each_seed};
use super::returning::{Guest, Ledger};

const SEEDS: u64 = 300;
const STEPS: u64 = 2500;
const NAMES: [&str; 5] = ["ann", "ben", "cyd", "dan", "eve"];
const HANGS_MS: u64 = 30_000;

#[test]
fn a_4_and_t_5_hold_whatever_the_store_does() {
    each_seed(SEEDS, run).has([
        "append fails",
        "append tears",
        "append keeps all and fails",
        "load fails",
        "reopen fails",
        "STORE_UNAVAILABLE",
        "HISTORY_FETCH_FAILED",
        "silence ends",
        "hub ends: the store hangs",
        "hub ends: shutdown",
        "hub restarts",
        "stale failure",
        "said",
        "was torn and kept",
        "was stored",
        "was lost",
        "gives up",
        "recovered",
        "another epoch",
        "too much was missed",
        "close 1001",
        "close 1012",
    ]);
}

struct Run {
    dice: Dice,
    limits: Limits,
    /// Whether the hub calls the store itself, so that it can be neither late nor hang.
    inside: bool,
    ledger: Ledger,
    hub: DrivenHub,
    guests: Vec<Guest>,
    /// Whose next write panics.
    armed: Option<VirtualSocket>,
    since_crash_ms: u64,
    /// Since the store had answered everything.
    unanswered_ms: u64,
    silence: Option<Silence>,
    /// Restarts of the hub whose reopening the store has not come to: what it is asked before that
    /// was asked before the restart.
    stale: u32,
    stopping: bool,
}

/// The store does not answer.
struct Silence {
    left_ms: u64,
    /// Whether something waits for its answer from the beginning of it.
    waits: bool,
}

fn run(seed: u64) -> BTreeSet<String> {
    // Short tails lose retries, and only they make the store read pages.
    let blind = seed.is_multiple_of(2);
    let limits = Limits {
        messages_per_second: 0,
        tail_entries: if blind { 10_000 } else { 5 },
        ..Limits::default()
    };
    let store = ScriptedStore::default();
    let inside = seed.is_multiple_of(5);
    let mut dice = Dice::new(seed);
    // With few of them rooms are often empty, and loaded again.
    let (names, _) = NAMES.split_at(1 + dice.pick(5));
    let mut run = Run {
        dice,
        hub: start(&limits, inside, &store),
        ledger: Ledger::new(store, limits.tail_entries.into(), blind),
        limits,
        inside,
        guests: names.iter().copied().map(Guest::new).collect(),
        armed: None,
        since_crash_ms: 0,
        unanswered_ms: 0,
        silence: None,
        stale: 0,
        stopping: false,
    };
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
    run.ledger.reached
}

fn start(limits: &Limits, inside: bool, store: &ScriptedStore) -> DrivenHub {
    if inside {
        DrivenHub::with_inner_store(limits, store.clone())
    } else {
        DrivenHub::with_slow_store(limits, store)
    }
}

impl Run {
    fn step(&mut self) {
        match self.dice.roll(20) {
            0 => {
                let place = self.dice.pick(self.guests.len() as u64);
                if self.dice.one_in(3) {
                    self.guests[place].break_off(&mut self.dice);
                }
            }
            1 => self.fault(),
            2 => {
                let ms = self.dice.roll(2000);
                self.wait(ms);
            }
            3..6 => self.ran(),
            6..10 if self.silence.is_none() => {
                self.hub.answer_one();
                self.ran();
            }
            10 => self.block(),
            _ => self.act(),
        }
        if self.silence.is_some() {
            let ms = self.dice.roll(1000);
            self.wait(ms);
        }
    }

    fn act(&mut self) {
        let place = self.dice.pick(self.guests.len() as u64);
        let guest = &mut self.guests[place];
        if guest.client.is_none() {
            guest.client = Some(self.hub.open());
        }
        guest.act(&mut self.dice);
    }

    fn block(&mut self) {
        let place = self.dice.pick(self.guests.len() as u64);
        let guest = &mut self.guests[place];
        if let Some(client) = &guest.client {
            guest.blocked = self.dice.one_in(3);
            if guest.blocked {
                client.socket.block();
            } else {
                client.socket.flow();
            }
        }
    }

    fn fault(&mut self) {
        let appends = [
            Outcome::Fails,
            Outcome::Tears(1),
            Outcome::Tears(2),
            Outcome::Tears(usize::MAX),
        ];
        let outcome = if self.dice.one_in(3) {
            Outcome::Fails
        } else {
            Outcome::Succeeds
        };
        match self.dice.roll(12) {
            0..3 => {
                let outcome = appends[self.dice.pick(4)];
                // One at a time, or a few guests could not keep up with the faults.
                self.ledger.store.script().appends = [outcome].into();
            }
            3 => self.ledger.store.script().load = outcome,
            4 => self.ledger.store.script().page = outcome,
            5 => self.ledger.store.script().reopen = outcome,
            6..8 => self.crash(),
            8 if self.silence.is_none() && !self.inside => self.fall_silent(),
            9 if self.dice.one_in(4) => {
                self.stopping = true;
                self.hub.shutdown();
                self.ran();
            }
            _ => {}
        }
    }

    /// The hub panics with the next write to somebody: at once, if one was blocked.
    fn crash(&mut self) {
        // The fourth within a minute would end it.
        if self.armed.is_some() || self.since_crash_ms <= 30_000 {
            return;
        }
        let connected = self
            .guests
            .iter_mut()
            .filter(|guest| guest.client.is_some());
        let Some(guest) = connected.max_by_key(|guest| guest.blocked) else {
            return;
        };
        guest.blocked = false;
        if let Some(client) = &guest.client {
            client.socket.panic();
            self.armed = Some(client.socket.clone());
        }
    }

    fn fall_silent(&mut self) {
        self.catch_up();
        let mut guests = self.guests.iter_mut();
        let asks = !self.stopping && self.hub.handle().is_storing();
        let waits = asks && guests.any(Guest::say_anywhere);
        self.silence = Some(Silence {
            left_ms: self.dice.roll(45_000),
            waits,
        });
        self.ran();
    }

    /// The store answers everything.
    fn catch_up(&mut self) {
        self.ran();
        while self.hub.answer_one() {
            self.ran();
        }
        self.unanswered_ms = 0;
    }

    fn wait(&mut self, ms: u64) {
        self.unanswered_ms += ms;
        self.since_crash_ms += ms;
        self.hub.wait(ms);
        self.ran();
        if let Some(Silence { left_ms, waits }) = &mut self.silence {
            let hangs = *waits && self.unanswered_ms >= HANGS_MS;
            assert!(!hangs, "the hub goes on without an answer");
            *left_ms = left_ms.saturating_sub(ms);
            if *left_ms == 0 {
                self.silence = None;
                self.ledger.note("silence ends");
            }
        } else if self.unanswered_ms > 20_000 {
            self.catch_up();
        }
    }

    /// The hub does what it can, and everybody reads: the store does nothing meanwhile.
    fn ran(&mut self) {
        let ended = self.hub.settle();
        for guest in &mut self.guests {
            guest.read(&mut self.ledger);
        }
        self.look_at_crashes();
        self.look_at_store();
        if let Some(ended) = ended {
            self.start_again(ended);
        }
    }

    fn look_at_crashes(&mut self) {
        for report in self.hub.take_crashes() {
            assert_eq!(report.panic, "planned: the outlet panics");
            self.ledger.note("hub restarts");
            self.stale += u32::from(self.hub.handle().is_storing());
            if let Some(silence) = &mut self.silence {
                silence.waits = false;
            }
        }
        let fired = |socket: &VirtualSocket| socket.last_word().is_some();
        if self.armed.as_ref().is_some_and(fired) {
            self.armed = None;
            self.since_crash_ms = 0;
        }
    }

    fn look_at_store(&mut self) {
        let storing = self.hub.handle().is_storing();
        let load = self.ledger.store.script().load;
        for call in self.ledger.take_calls() {
            let words: Vec<&str> = call.split(' ').collect();
            let broken = self.ledger.store.script().broken;
            match words[..] {
                ["append", ..] if broken && self.stale > 0 => {
                    assert!(storing, "what was asked before a restart fails for nobody");
                    self.ledger.note("stale failure");
                }
                ["append", ..] if broken => self.ledger.note("append fails"),
                ["kept", kept, _, all] if kept == all => {
                    self.ledger.note("append keeps all and fails");
                }
                ["kept", ..] => self.ledger.note("append tears"),
                ["reopen"] => {
                    self.stale = self.stale.saturating_sub(1);
                    if broken {
                        assert!(self.stale > 0 || !storing, "a hub cannot do without it");
                        self.ledger.note("reopen fails");
                    }
                }
                ["load", _] if load == Outcome::Fails => self.ledger.note("load fails"),
                _ => {}
            }
        }
    }

    /// A supervisor starts the process again, which opens the store anew.
    fn start_again(&mut self, ended: Result<(), HubError>) {
        match ended {
            Ok(()) => {
                assert!(self.stopping, "nobody asked for it");
                self.ledger.note("hub ends: shutdown");
            }
            Err(HubError::StoreHangs) => {
                assert!(self.unanswered_ms >= HANGS_MS, "it answered in time");
                self.ledger.note("hub ends: the store hangs");
            }
            Err(HubError::PanicsTooOften) => panic!("it panics once in 30 s"),
        }
        if self.dice.one_in(2) {
            // What was asked happens, though nobody waits for it.
            self.hub.answer_all();
            self.ledger.take_calls();
        }
        let mut store = self.ledger.store.clone();
        store.script().reopen = Outcome::Succeeds;
        store.reopen(Timestamp(0)).expect("it succeeds");
        self.hub = start(&self.limits, self.inside, &store);
        for guest in &mut self.guests {
            guest.read(&mut self.ledger);
        }
        self.armed = None;
        self.since_crash_ms = 0;
        self.unanswered_ms = 0;
        self.silence = None;
        self.stale = 0;
        self.stopping = false;
    }

    /// Without faults everything comes to its end.
    fn finish(&mut self) {
        {
            let mut script = self.ledger.store.script();
            script.appends.clear();
            (script.load, script.page, script.reopen) = Default::default();
        }
        self.silence = None;
        for guest in &mut self.guests {
            guest.blocked = false;
            if let Some(client) = &guest.client {
                client.socket.flow();
            }
        }
        for _ in 0..70 {
            self.wait(1000);
            self.catch_up();
            for place in 0..self.guests.len() {
                let guest = &mut self.guests[place];
                if guest.client.is_none() {
                    guest.client = Some(self.hub.open());
                }
                guest.join_next();
            }
            self.catch_up();
        }
        assert!(self.hub.handle().is_storing(), "the store works again");
        for guest in &self.guests {
            assert!(guest.is_content(), "everything is acknowledged");
            assert!(guest.is_up_to_date(&self.ledger.store), "it saw everything");
        }
        self.ledger.check();
        assert!(!self.stopping, "a shutdown comes to its end");
        self.hub.shutdown();
        self.hub.answer_all();
        assert_eq!(self.hub.settle(), Some(Ok(())));
    }
}

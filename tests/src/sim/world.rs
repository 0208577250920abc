//! Everything together, in virtual time: what happens next is the earliest of what is to happen, and
//! the dice alone say when that is.

use std::collections::BTreeMap;

use parlor_client::{Input, Secret};

use super::Checked;
use super::application::Application;
use super::disk::Disk;
use super::door::Up;
use super::ledger::Ledger;
use super::link::{Down, Link, Owner};
use super::person::Person;
use super::plan::Plan;
use super::process::{Server, TICK_MS};
use super::rule;
use super::stranger::Stranger;
use super::transcript::Transcript;
use crate::dice::Dice;

/// Behind the faults, until everything has come to rest: the longest delay of a client (30 s), a
/// ping and its time-out, a clock at half speed, and then some.
const CALM_MS: u64 = 240_000;
/// More in one run would be a wheel that spins.
const MOST_HAPPENINGS: u64 = 2_000_000;

/// Something that is to happen.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// The hub's task runs.
    Hub,
    /// The store's thread does one thing.
    Store,
    /// A second is over.
    Tick,
    /// A packet comes to the server.
    Up(u64, Up),
    /// A packet comes to a client.
    Down(u64, Down),
    /// A connection has something to do with the time.
    Due(u64),
    /// A slow client reads.
    Read(u64),
    /// A client that stopped reading goes on.
    ReadAll(u64),
    /// A client's deadline.
    Timer(usize),
    /// A client does something.
    Act(Owner),
    /// Something goes wrong.
    Fault,
    /// The process has to end, the one of this number.
    Exit(u64),
    /// The next process starts.
    Start,
}

/// The whole world.
pub(super) struct World {
    /// What the seed means.
    pub(super) plan: Plan,
    pub(super) transcript: Transcript,
    pub(super) ledger: Ledger,
    pub(super) dice: Dice,
    pub(super) now_ms: u64,
    pub(super) next: BTreeMap<(u64, u64), Next>,
    pub(super) scheduled: u64,
    /// The clock of the machine is so far ahead, or behind if this is below zero, ms.
    pub(super) wall_ms: i64,
    pub(super) server: Option<Server>,
    pub(super) processes: u64,
    pub(super) links: BTreeMap<u64, Link>,
    pub(super) linked: u64,
    pub(super) people: Vec<Person>,
    pub(super) strangers: Vec<Stranger>,
    pub(super) application: Application,
    /// What the guests' clients keep in common.
    pub(super) remembered: BTreeMap<usize, Secret>,
    pub(super) store_slow_until_ms: u64,
    pub(super) is_calm: bool,
    pub(super) turns: u64,
}

impl World {
    pub(super) fn new(seed: u64, disk: Option<&dyn Fn(&Plan) -> Disk>, keeps: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        let disk = match disk {
            Some(make) if plan.durable => make(&plan),
            None if plan.durable => Disk::modelled(false),
            _ => Disk::none(&plan.limits),
        };
        let mut world = Self {
            transcript: Transcript::new(keeps),
            ledger: Ledger::new(disk),
            now_ms: 0,
            next: BTreeMap::new(),
            scheduled: 0,
            wall_ms: 0,
            server: None,
            processes: 0,
            links: BTreeMap::new(),
            linked: 0,
            people: Vec::new(),
            strangers: Vec::new(),
            application: Application::new(seed),
            remembered: BTreeMap::new(),
            store_slow_until_ms: 0,
            is_calm: false,
            turns: 0,
            plan,
            dice,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let plan = format!("{:?}", self.plan);
        self.tell(format_args!("plan {plan}"));
        for number in 0..self.plan.people {
            let number = usize::try_from(number).expect("it is small");
            // Every third is another client of the one before.
            let guest = if number % 3 == 2 { number - 1 } else { number };
            let seed = u32::try_from(self.dice.roll(1 << 32)).expect("it is below");
            self.people
                .push(Person::new(number, guest, &self.plan, seed));
            self.soon(0, Next::Act(Owner::Person(number)));
        }
        for number in 0..self.plan.strangers {
            self.strangers
                .push(Stranger::new(&format!("stranger {number}")));
            let number = usize::try_from(number).expect("it is small");
            self.soon(0, Next::Act(Owner::Stranger(number)));
        }
        self.soon(0, Next::Start);
        self.soon(TICK_MS, Next::Tick);
        self.soon(1000, Next::Fault);
    }

    /// Plays it to its end.
    pub(super) fn play(&mut self) -> Checked {
        for number in 0..self.people.len() {
            self.hand(number, Input::Connect)?;
        }
        self.until(self.plan.faulty_ms)?;
        self.calm()?;
        self.until(self.plan.faulty_ms + CALM_MS)?;
        self.rest()?;
        self.check_settled()?;
        self.leave_all()?;
        self.ledger.check_stored(&self.plan.limits)
    }

    pub(super) fn until(&mut self, end_ms: u64) -> Checked {
        let most = self.scheduled + MOST_HAPPENINGS;
        while let Some(entry) = self.next.first_entry() {
            rule("rest", self.scheduled < most, || {
                "it never comes to rest".into()
            })?;
            let (at_ms, _) = *entry.key();
            if at_ms > end_ms {
                break;
            }
            let next = entry.remove();
            self.now_ms = at_ms;
            self.happen(next)?;
        }
        self.now_ms = end_ms;
        Ok(())
    }

    fn happen(&mut self, next: Next) -> Checked {
        match next {
            Next::Hub => self.turn(),
            Next::Store => self.store(),
            Next::Tick => self.tick(),
            Next::Up(link, up) => self.arrive(link, up),
            Next::Down(link, down) => self.deliver(link, down),
            Next::Due(link) => self.due(link),
            Next::Read(link) => self.read_some(link),
            Next::ReadAll(link) => self.read_all(link),
            Next::Timer(person) => self.timer(person),
            Next::Act(owner) => self.act(owner),
            Next::Fault => self.fault(),
            Next::Exit(process) => self.exit(process),
            Next::Start => {
                self.start();
                Ok(())
            }
        }
    }

    pub(super) fn soon(&mut self, in_ms: u64, next: Next) {
        self.at(self.now_ms + in_ms, next);
    }

    pub(super) fn at(&mut self, at_ms: u64, next: Next) {
        self.scheduled += 1;
        self.next.insert((at_ms, self.scheduled), next);
    }

    pub(super) fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.transcript.line(self.now_ms, what);
    }
}

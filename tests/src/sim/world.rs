//! Everything together, in virtual time: what happens next is the earliest of what is to happen, and
//! the dice alone say when that is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parlor_client::{Input, Output, Secret};
use parlor_core::{ResumeToken, Timestamp};
use parlor_hub::trace::{Line, Player, Reader, Verdict};
use parlor_hub::{Clock, HubError};

use super::disk::Disk;
use super::door::{Door, Up};
use super::ledger::{Ledger, found};
use super::link::{Down, Link, Owner};
use super::person::Person;
use super::plan::{Fault, Plan};
use super::stranger::{Deed, Stranger};
use super::transcript::Transcript;
use super::{Checked, number, rule, text};
use crate::dice::Dice;
use crate::driven_hub::{DrivenHub, START};
use crate::observe::Failure;
use crate::virtual_socket::{Received, VirtualSocket};

/// Behind the faults, until everything has come to rest: the longest delay of a client (30 s), a
/// ping and its time-out, a clock at half speed, and then some.
const CALM_MS: u64 = 240_000;
/// Between two ticks of the hub.
const TICK_MS: u64 = 1000;
/// What the operating system takes for a peer that takes nothing any more.
const KERNEL_BYTES: usize = 64 << 10;
/// A process that was told to stop is gone by then.
const SHUTDOWN_MS: u64 = 4000;

/// More in one run would be a wheel that spins.
const MOST_HAPPENINGS: u64 = 2_000_000;

/// What is at the server is done in fewer.
const MOST_ROUNDS: u64 = 10_000;

/// Something that is to happen.
#[derive(Clone, Debug)]
enum Next {
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

/// A process.
#[derive(Debug)]
struct Server {
    hub: DrivenHub,
    clock: Clock,
    hub_is_due: bool,
    store_is_due: bool,
    /// Whether its store was asked something that it did not do yet.
    store_is_busy: bool,
    store_hangs: bool,
    stopping: bool,
    /// Connections so far.
    opened: u32,
}

/// The whole world.
pub(super) struct World {
    /// What the seed means.
    pub(super) plan: Plan,
    pub(super) transcript: Transcript,
    pub(super) ledger: Ledger,
    dice: Dice,
    now_ms: u64,
    next: BTreeMap<(u64, u64), Next>,
    scheduled: u64,
    /// The clock of the machine is so far ahead, or behind if this is below zero, ms.
    wall_ms: i64,
    server: Option<Server>,
    processes: u64,
    links: BTreeMap<u64, Link>,
    linked: u64,
    people: Vec<Person>,
    strangers: Vec<Stranger>,
    /// What the guests' clients keep in common.
    remembered: BTreeMap<usize, Secret>,
    store_slow_until_ms: u64,
    is_calm: bool,
    turns: u64,
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

    fn until(&mut self, end_ms: u64) -> Checked {
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

    fn soon(&mut self, in_ms: u64, next: Next) {
        self.at(self.now_ms + in_ms, next);
    }

    fn at(&mut self, at_ms: u64, next: Next) {
        self.scheduled += 1;
        self.next.insert((at_ms, self.scheduled), next);
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.transcript.line(self.now_ms, what);
    }

    // The process.

    fn time(&mut self) -> Timestamp {
        let monotonic = Duration::from_millis(self.now_ms);
        let wall_ms = (START + self.now_ms).saturating_add_signed(self.wall_ms);
        let wall = Duration::from_millis(wall_ms);
        let now = self.server.as_mut().map(|server| {
            let now = server.clock.now(wall, monotonic);
            server.hub.set_time(now);
            now
        });
        now.unwrap_or(Timestamp(wall_ms))
    }

    fn start(&mut self) {
        if self.server.is_some() {
            return;
        }
        self.processes += 1;
        self.tell(format_args!("the server starts"));
        let wall_ms = (START + self.now_ms).saturating_add_signed(self.wall_ms);
        let clock = Clock::new(
            Duration::from_millis(wall_ms),
            Duration::from_millis(self.now_ms),
        );
        let (limits, store) = (&self.plan.limits, self.ledger.disk.open());
        let hub = if self.plan.store_lag_ms == 0 {
            DrivenHub::with_inner_store(limits, store)
        } else {
            DrivenHub::with_store_thread(limits, store)
        };
        self.server = Some(Server {
            hub,
            clock,
            hub_is_due: false,
            store_is_due: false,
            store_is_busy: false,
            store_hangs: false,
            stopping: false,
            opened: 0,
        });
        self.time();
    }

    /// Something may have come for the hub.
    fn wake_hub(&mut self) {
        if let Some(server) = &mut self.server
            && !server.hub_is_due
        {
            server.hub_is_due = true;
            let lag_ms = self.dice.roll(self.plan.hub_lag_ms + 1);
            self.soon(lag_ms, Next::Hub);
        }
    }

    /// Something may have come for the store.
    fn wake_store(&mut self) {
        let slow_ms = self.store_slow_until_ms.saturating_sub(self.now_ms);
        if let Some(server) = &mut self.server
            && !server.store_is_due
            && !server.store_hangs
        {
            server.store_is_due = true;
            let lag_ms = self.dice.roll(self.plan.store_lag_ms + 1).max(slow_ms);
            self.soon(lag_ms, Next::Store);
        }
    }

    fn store(&mut self) -> Checked {
        let Some(server) = self.server.as_mut().filter(|server| server.store_is_due) else {
            return Ok(());
        };
        server.store_is_due = false;
        server.store_is_busy = server.hub.step_store();
        if server.store_is_busy {
            self.wake_store();
            self.wake_hub();
        }
        Ok(())
    }

    fn turn(&mut self) -> Checked {
        self.time();
        let Some(server) = self.server.as_mut().filter(|server| server.hub_is_due) else {
            return Ok(());
        };
        server.hub_is_due = false;
        server.store_is_busy = true;
        let ended = server.hub.settle();
        self.crashes();
        if let Some(broken) = self.ledger.disk.broken_rule() {
            return Err(broken);
        }
        self.read()?;
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            self.pump(link)?;
        }
        self.wake_store();
        if let Some(ended) = ended {
            self.ended(ended)?;
        }
        self.turns += 1;
        if self.turns.is_multiple_of(16) {
            self.check_bounds()?;
        }
        Ok(())
    }

    /// Panics that nobody planned are bugs.
    fn crashes(&mut self) {
        let Some(server) = &self.server else { return };
        for crash in server.hub.take_crashes() {
            let panic = crash.panic;
            self.ledger.note(if panic.starts_with("planned") {
                "hub panic"
            } else {
                "unplanned panic"
            });
            self.tell(format_args!("the hub panics: {panic}"));
        }
    }

    fn ended(&mut self, ended: Result<(), HubError>) -> Checked {
        self.tell(format_args!("the hub ends: {ended:?}"));
        self.ledger.note(format!("hub ended: {ended:?}"));
        self.die()
    }

    /// The process is gone, and with it all its connections.
    fn die(&mut self) -> Checked {
        if let Some(server) = self.server.take() {
            check_trace(&server.hub.trace())?;
        }
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            if let Some(link) = self.links.get_mut(&link) {
                link.door = None;
            }
            let tells = !self.dice.one_in(4);
            self.break_link(link, tells);
        }
        let pause_ms = 100 + self.dice.roll(5000);
        self.soon(pause_ms, Next::Start);
        Ok(())
    }

    fn exit(&mut self, process: u64) -> Checked {
        if self.server.is_some() && process == self.processes {
            self.tell(format_args!("the server exits"));
            return self.die();
        }
        Ok(())
    }

    fn tick(&mut self) -> Checked {
        self.time();
        if self.now_ms.is_multiple_of(5 * TICK_MS) {
            self.check_presence()?;
        }
        if let Some(server) = &self.server {
            server.hub.handle().tick();
            self.wake_hub();
        }
        self.soon(TICK_MS, Next::Tick);
        Ok(())
    }

    // The network.

    fn send_up(&mut self, link: u64, up: Up) {
        let lag_ms = self.dice.roll(self.plan.lag_ms + 1);
        if let Some(open) = self.links.get_mut(&link) {
            let at_ms = open.up_at(self.now_ms + lag_ms);
            self.at(at_ms, Next::Up(link, up));
        }
    }

    fn send_down(&mut self, link: u64, down: Down) {
        let lag_ms = self.dice.roll(self.plan.lag_ms + 1);
        if let Some(open) = self.links.get_mut(&link) {
            let at_ms = open.down_at(self.now_ms + lag_ms);
            self.at(at_ms, Next::Down(link, down));
        }
    }

    /// Nothing comes through any more; both ends are told, or only who asks.
    fn break_link(&mut self, link: u64, tells: bool) {
        if let Some(open) = self.links.get_mut(&link) {
            if tells {
                open.broken = true;
                self.send_up(link, Up::Gone);
                self.send_down(link, Down::Gone);
            } else {
                open.silent = (true, true);
                self.silence(link);
            }
        }
    }

    /// What the server still writes goes no farther than the operating system.
    fn silence(&self, link: u64) {
        if let Some(door) = self.links.get(&link).and_then(|link| link.door.as_ref()) {
            door.client.socket.take(KERNEL_BYTES);
        }
    }

    fn connect(&mut self, owner: Owner) -> u64 {
        self.linked += 1;
        self.links.insert(self.linked, Link::new(owner));
        self.send_up(self.linked, Up::Open);
        self.linked
    }

    fn arrive(&mut self, link: u64, up: Up) -> Checked {
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        if open.silent.0 || (open.broken && up != Up::Gone) {
            return Ok(());
        }
        if let Some(door) = &mut open.door {
            door.arrived(up);
            return self.pump(link);
        }
        if up != Up::Open {
            return Ok(());
        }
        let token = u128::from(self.dice.roll(u64::MAX)) << 64 | u128::from(self.linked);
        let at = self.time();
        match &mut self.server {
            Some(server) if !server.stopping => {
                let (socket, outlet) = VirtualSocket::pair();
                let client = server
                    .hub
                    .open_as(ResumeToken::from_random(token), socket, outlet);
                server.opened += 1;
                let door = Door::new(client, &self.plan.limits, at, self.now_ms);
                self.tell(format_args!("{link} is open"));
                if let Some(open) = self.links.get_mut(&link) {
                    open.door = Some(door);
                }
                self.send_down(link, Down::Opened);
                self.wake_hub();
                self.pump(link)
            }
            Some(_) | None => {
                self.send_down(link, Down::Gone);
                Ok(())
            }
        }
    }

    fn due(&mut self, link: u64) -> Checked {
        let due_ms = self.links.get(&link).map(|link| link.due_ms);
        if due_ms.is_none_or(|due_ms| due_ms > self.now_ms) {
            return Ok(());
        }
        self.pump(link)
    }

    /// The server's end of a connection does what it can do.
    fn pump(&mut self, link: u64) -> Checked {
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        let Some(door) = &mut open.door else {
            return Ok(());
        };
        let has_acted = door.pump(self.now_ms, &mut self.ledger);
        let is_open = door.client.is_open();
        if !is_open && door.client.socket.last_word().is_some() {
            open.door = None;
            self.send_down(link, Down::Gone);
        } else if is_open && !door.client.is_held() {
            let due_ms = door.deadline_ms().max(self.now_ms + 1);
            if open.due_ms != due_ms {
                open.due_ms = due_ms;
                self.at(due_ms, Next::Due(link));
            }
        }
        if has_acted {
            self.wake_hub();
        }
        Ok(())
    }

    /// Takes what the hub wrote, and compares it.
    fn read(&mut self) -> Checked {
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            let Some(door) = self
                .links
                .get_mut(&link)
                .and_then(|link| link.door.as_mut())
            else {
                continue;
            };
            let socket = door.client.socket.clone();
            for (frame, bytes) in socket.read_sized() {
                self.got(link, frame, bytes)?;
            }
        }
        Ok(())
    }

    fn got(&mut self, link: u64, frame: Received, bytes: usize) -> Checked {
        let door = self
            .links
            .get_mut(&link)
            .and_then(|link| link.door.as_mut());
        let witness = &mut found("A-1", door, || "nobody is there".into())?.witness;
        match frame {
            Received::Message(message) => {
                witness.got(&message, bytes, &self.plan.limits, &mut self.ledger)?;
                let text = message.to_string();
                self.tell(format_args!("{link} < {text}"));
                self.send_down(link, Down::Text(text));
            }
            Received::Control(_) => {
                self.tell(format_args!("{link} < ping"));
                self.send_down(link, Down::Ping);
            }
            Received::Close(code) => {
                witness.closed()?;
                self.ledger.note(format!("close {code}"));
                self.tell(format_args!("{link} < close {code}"));
                self.send_down(link, Down::Close(code));
            }
        }
        Ok(())
    }

    // Clients.

    fn deliver(&mut self, link: u64, down: Down) -> Checked {
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        if open.silent.1 || (open.broken && down != Down::Gone) {
            return Ok(());
        }
        let (owner, is_listening) = (open.owner, open.is_listening);
        let is_over = matches!(down, Down::Gone | Down::Close(_));
        if is_over {
            open.is_listening = false;
        }
        if down == Down::Gone {
            if open.door.is_none() {
                self.links.remove(&link);
            }
        } else if is_over {
            self.send_up(link, Up::Close);
        }
        if down == Down::Ping && is_listening {
            self.send_up(link, Up::Pong);
        }
        if !is_listening {
            return Ok(());
        }
        match owner {
            Owner::Person(person) if self.people[person].link == Some(link) => {
                if is_over {
                    self.people[person].link = None;
                }
                let input = match down {
                    Down::Opened => Input::Opened {
                        token: self.people[person].token(&self.plan),
                    },
                    Down::Text(text) => Input::Received { text },
                    Down::Ping => return Ok(()),
                    Down::Close(code) => Input::Closed {
                        code: Some(code),
                        reason: None,
                    },
                    Down::Gone => Input::Closed {
                        code: Some(1006),
                        reason: None,
                    },
                };
                self.hand(person, input)
            }
            Owner::Stranger(stranger) if self.strangers[stranger].link == Some(link) => {
                if is_over {
                    self.strangers[stranger].link = None;
                } else if let Down::Text(frame) = down {
                    self.strangers[stranger].reads(&frame);
                }
                Ok(())
            }
            Owner::Person(_) | Owner::Stranger(_) => Ok(()),
        }
    }

    /// Hands something over to a client, and does what it wants done.
    fn hand(&mut self, person: usize, input: Input) -> Checked {
        let outputs = self.people[person].handle(self.now_ms, input, &mut self.ledger)?;
        for output in outputs {
            match output {
                Output::Connect => {
                    let link = self.connect(Owner::Person(person));
                    self.people[person].link = Some(link);
                }
                Output::Transmit { text } => {
                    if let Some(link) = self.people[person].link {
                        self.tell(format_args!("{link} > {text}"));
                        self.send_up(link, Up::Text(text));
                    }
                }
                Output::HangUp => {
                    if let Some(link) = self.people[person].link.take() {
                        self.hang_up(link, Up::Close);
                    }
                }
                Output::Remember { resume_token } => self.remember(person, &resume_token)?,
                Output::Emit(_) | Output::Resolve { .. } | Output::Reject { .. } => {}
            }
        }
        if let Some(deadline_ms) = self.people[person].deadline_ms()
            && deadline_ms != self.people[person].timer_ms
        {
            self.people[person].timer_ms = deadline_ms;
            self.at(deadline_ms.max(self.now_ms + 1), Next::Timer(person));
        }
        Ok(())
    }

    fn remember(&mut self, person: usize, token: &Secret) -> Checked {
        let guest = self.people[person].guest;
        self.remembered.insert(guest, token.clone());
        for other in 0..self.people.len() {
            if self.people[other].guest == guest {
                let resume_token = Some(token.clone());
                self.hand(other, Input::Remembered { resume_token })?;
            }
        }
        Ok(())
    }

    fn hang_up(&mut self, link: u64, word: Up) {
        self.tell(format_args!("{link} hangs up"));
        if let Some(open) = self.links.get_mut(&link) {
            open.is_listening = false;
            self.send_up(link, word);
        }
    }

    fn timer(&mut self, person: usize) -> Checked {
        self.people[person].timer_ms = 0;
        let due = self.people[person].deadline_ms();
        if due.is_some_and(|due| due <= self.now_ms) {
            self.hand(person, Input::Tick)?;
        }
        Ok(())
    }

    fn act(&mut self, owner: Owner) -> Checked {
        match owner {
            Owner::Person(person) => {
                let inputs = if self.is_calm {
                    self.people[person].settle_down(&self.plan, &mut self.dice)
                } else {
                    self.people[person].act(&self.plan, &mut self.dice)
                };
                for input in inputs {
                    if input == Input::Connect {
                        let guest = self.people[person].guest;
                        let resume_token = self.remembered.get(&guest).cloned();
                        self.hand(person, Input::Remembered { resume_token })?;
                    }
                    self.hand(person, input)?;
                }
            }
            Owner::Stranger(_) if self.is_calm => return Ok(()),
            Owner::Stranger(stranger) => {
                let deed = self.strangers[stranger].act(&self.plan, &mut self.dice, &self.ledger);
                self.strange(stranger, deed);
            }
        }
        let pause_ms = 1 + self.dice.roll(self.plan.pause_ms);
        self.soon(if self.is_calm { 5000 } else { pause_ms }, Next::Act(owner));
        Ok(())
    }

    fn strange(&mut self, stranger: usize, deed: Deed) {
        match (deed, self.strangers[stranger].link) {
            (Deed::Connect, None) => {
                let link = self.connect(Owner::Stranger(stranger));
                self.strangers[stranger].link = Some(link);
            }
            (Deed::Send(frames), Some(link)) => {
                for frame in frames {
                    self.tell(format_args!("{link} > {frame}"));
                    self.send_up(link, Up::Text(frame));
                }
            }
            (Deed::Leave(with_a_word), Some(link)) => {
                self.strangers[stranger].link = None;
                self.hang_up(link, if with_a_word { Up::Close } else { Up::Gone });
            }
            (Deed::Connect, Some(_)) | (Deed::Send(_) | Deed::Leave(_), None) => {}
        }
    }

    // What goes wrong.

    fn fault(&mut self) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        let pause_ms = self.dice.roll(3000);
        self.soon(pause_ms, Next::Fault);
        let faults: Vec<Fault> = self.plan.faults.iter().copied().collect();
        let Some(&fault) = faults.get(self.dice.pick(faults.len().max(1) as u64)) else {
            return Ok(());
        };
        let links: Vec<u64> = self.links.keys().copied().collect();
        let link = links
            .get(self.dice.pick(links.len().max(1) as u64))
            .copied();
        match fault {
            Fault::Crash if self.dice.one_in(4) => {
                self.tell(format_args!("the server is killed"));
                self.ledger.note("crash");
                if self.server.is_some() {
                    self.die()?;
                }
            }
            Fault::Shutdown if self.dice.one_in(4) => self.shutdown(),
            Fault::ClockJump => self.set_clock(),
            Fault::StoreErrors => self.store_fault(),
            Fault::StoreSlow => self.store_slow_until_ms = self.now_ms + self.dice.roll(8000),
            Fault::StoreHangs if self.dice.one_in(8) => {
                if let Some(server) = &mut self.server {
                    server.store_hangs = true;
                    server.store_is_due = false;
                    self.ledger.note("store hangs");
                }
            }
            Fault::Cut
            | Fault::HalfOpen
            | Fault::SlowReader
            | Fault::StoppedReader
            | Fault::HubPanic
            | Fault::Cancelled => {
                if let Some(link) = link {
                    self.link_fault(fault, link)?;
                }
            }
            Fault::Crash
            | Fault::Shutdown
            | Fault::StoreHangs
            | Fault::Duplicate
            | Fault::Malformed
            | Fault::Flood
            | Fault::OldEpoch
            | Fault::StolenToken => {}
        }
        Ok(())
    }

    fn shutdown(&mut self) {
        let process = self.processes;
        let Some(server) = self.server.as_mut().filter(|server| !server.stopping) else {
            return;
        };
        server.stopping = true;
        self.ledger.note("shutdown");
        self.tell(format_args!("the server is to stop"));
        self.ask_to_stop();
        self.soon(SHUTDOWN_MS, Next::Exit(process));
    }

    fn ask_to_stop(&mut self) {
        if let Some(server) = &mut self.server {
            server.hub.ask_to_stop();
            self.wake_hub();
        }
    }

    fn set_clock(&mut self) {
        let most_ms: u64 = [2000, 60_000, 7_200_000][self.dice.pick(3)];
        let jump_ms = i64::try_from(self.dice.roll(2 * most_ms)).expect("it is small");
        self.wall_ms += jump_ms - i64::try_from(most_ms).expect("it is small");
        let wall_ms = self.wall_ms;
        self.tell(format_args!("the clock is {wall_ms} ms ahead"));
        self.ledger.note("clock set");
    }

    fn store_fault(&mut self) {
        let (what, fails) = (self.dice.roll(4), self.dice.one_in(2));
        self.ledger.note("store fault");
        self.tell(format_args!("the store fails: {what} {fails}"));
        self.ledger.disk.fail(|failing| match what {
            0 => failing.append = Some(fails),
            1 => failing.load = fails,
            2 => failing.page = fails,
            _ => failing.reopen = fails,
        });
    }

    fn link_fault(&mut self, fault: Fault, link: u64) -> Checked {
        let (way, for_ms) = (self.dice.roll(3), self.dice.roll(60_000));
        let Some(open) = self.links.get_mut(&link) else {
            return Ok(());
        };
        self.ledger.note(format!("{fault:?}"));
        self.transcript
            .line(self.now_ms, format_args!("{link} suffers {fault:?}"));
        match fault {
            Fault::Cut => {
                // Now and then the server learns it by writing.
                if way == 0
                    && let Some(door) = &open.door
                {
                    door.client.socket.fail();
                }
                self.break_link(link, true);
            }
            Fault::HalfOpen => {
                open.silent = (open.silent.0 || way != 0, open.silent.1 || way != 1);
                if open.silent.1 {
                    self.silence(link);
                }
            }
            Fault::SlowReader | Fault::StoppedReader => {
                let bytes = if fault == Fault::StoppedReader {
                    0
                } else {
                    50 + self.dice.pick(3000)
                };
                open.slow = Some(bytes);
                if let Some(door) = &open.door {
                    door.client.socket.block();
                }
                self.soon(200, Next::Read(link));
                self.soon(for_ms, Next::ReadAll(link));
            }
            Fault::HubPanic => {
                if let Some(door) = &open.door {
                    door.client.socket.panic();
                }
            }
            Fault::Cancelled => {
                if let Some(door) = &mut open.door
                    && door.client.is_open()
                {
                    door.client.cancel();
                    self.wake_hub();
                }
            }
            Fault::Duplicate
            | Fault::Malformed
            | Fault::Flood
            | Fault::ClockJump
            | Fault::StoreErrors
            | Fault::StoreSlow
            | Fault::StoreHangs
            | Fault::Crash
            | Fault::Shutdown
            | Fault::OldEpoch
            | Fault::StolenToken => {}
        }
        Ok(())
    }

    fn read_some(&mut self, link: u64) -> Checked {
        if let Some(open) = self.links.get(&link)
            && let (Some(bytes), Some(door)) = (open.slow, &open.door)
            && !open.silent.1
        {
            door.client.socket.take(bytes);
            self.soon(200, Next::Read(link));
            self.wake_hub();
        }
        Ok(())
    }

    fn read_all(&mut self, link: u64) -> Checked {
        if let Some(open) = self.links.get_mut(&link) {
            open.slow = None;
            if let Some(door) = open.door.as_ref().filter(|_| !open.silent.1) {
                door.client.socket.flow();
                self.wake_hub();
            }
        }
        Ok(())
    }

    /// From here on nothing goes wrong, and strangers are gone.
    fn calm(&mut self) -> Checked {
        self.tell(format_args!("calm"));
        self.is_calm = true;
        self.ledger
            .disk
            .fail(|failing| *failing = super::disk::Failing::default());
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            self.read_all(link)?;
        }
        for stranger in 0..self.strangers.len() {
            if let Some(link) = self.strangers[stranger].link.take() {
                self.hang_up(link, Up::Close);
            }
        }
        // A process that stops or hangs ends first.
        self.soon(0, Next::Start);
        Ok(())
    }

    // What has to hold.

    fn outbox_bytes(&self) -> u64 {
        let server = self.server.as_ref();
        server.map_or(0, |server| server.hub.outbox_bytes())
    }

    /// memory stays within its bounds, and whoever reads gets everything at once.
    fn check_bounds(&self) -> Checked {
        let bytes = self.outbox_bytes();
        // A close frame is queued in any case.
        let most = self.plan.limits.outbox_total_bytes + 1000;
        rule("A-2", bytes <= most, || format!("{bytes} bytes wait"))?;
        for (number, link) in &self.links {
            let Some(door) = &link.door else { continue };
            let reads = link.slow.is_none() && !link.silent.1;
            let socket = &door.client.socket;
            let is_fine = !reads || socket.last_word().is_some() || !socket.is_mid_frame();
            rule("A-2", is_fine, || {
                format!("{number} reads and got half a frame")
            })?;
        }
        Ok(())
    }

    /// What is at the server is done, without waiting for anything more.
    fn rest(&mut self) -> Checked {
        self.time();
        for _ in 0..MOST_ROUNDS {
            let Some(server) = &mut self.server else {
                break;
            };
            server.hub.settle();
            let is_stored = !server.hub.step_store();
            self.read()?;
            let links: Vec<u64> = self.links.keys().copied().collect();
            let scheduled = self.scheduled;
            for link in links {
                self.pump(link)?;
            }
            if is_stored && self.scheduled == scheduled {
                break;
            }
        }
        Ok(())
    }

    /// T-6: when nothing is on its way, everybody in a room sees everybody in it.
    fn check_presence(&mut self) -> Checked {
        let rests = self.server.as_ref().is_some_and(|server| {
            !server.hub_is_due && !server.store_is_busy && server.hub.outbox_bytes() == 0
        });
        if !rests {
            return Ok(());
        }
        let inside = self.inside();
        for (number, link) in &self.links {
            let Some(door) = link.door.as_ref().filter(|door| !door.witness.is_closed()) else {
                continue;
            };
            for (room, view) in door.witness.rooms() {
                let users = inside.get(room);
                rule("T-6", users == Some(&view.users), || {
                    format!("{number} sees {:?} in {room}, not {users:?}", view.users)
                })?;
            }
        }
        self.ledger.note("presence compared");
        Ok(())
    }

    /// Who is in which room, as the server told each of them.
    fn inside(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut inside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let doors = self.links.values().filter_map(|link| link.door.as_ref());
        for door in doors.filter(|door| !door.witness.is_closed() && door.client.is_open()) {
            for room in door.witness.rooms().keys() {
                let users = inside.entry(room.clone()).or_default();
                users.extend(door.witness.name.clone());
            }
        }
        inside
    }

    /// At the end of the calm: everybody is where it wants to be, and nothing is left over.
    fn check_settled(&self) -> Checked {
        let panics = self.ledger.reached.get("unplanned panic").copied();
        rule("panic", panics.is_none(), || {
            "the hub panicked by itself".into()
        })?;
        self.check_bounds()?;
        let inside = self.inside();
        let inside_of_clients = |room: &String| {
            let people = self
                .people
                .iter()
                .filter(|person| person.rooms().any(|own| own == room));
            people
                .map(|person| person.name.clone())
                .collect::<BTreeSet<String>>()
        };
        for (room, users) in &inside {
            let own = inside_of_clients(room);
            rule("converges", *users == own, || {
                format!("{users:?} are in {room}, not {own:?}")
            })?;
        }
        for person in &self.people {
            person.check_settled(&self.plan, &self.ledger, &inside)?;
        }
        for (number, link) in &self.links {
            let Some(door) = &link.door else { continue };
            door.witness.check_answered()?;
            let listens = link.is_listening && link.silent == (false, false);
            rule("leak", listens, || format!("{number} is still there"))?;
        }
        Ok(())
    }

    /// everybody goes, and the hub has forgotten everybody.
    fn leave_all(&mut self) -> Checked {
        let Some(server) = &self.server else {
            return rule("converges", false, || "there is no server".into());
        };
        let opened = f64::from(server.opened);
        self.ask_to_stop();
        self.rest()?;
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        let ended = server.hub.settle();
        rule("A-3", ended == Some(Ok(())), || {
            format!("the hub ends as {ended:?}")
        })?;
        check_trace(&server.hub.trace())?;
        let metrics = server.hub.metrics();
        let closed: f64 = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("parlor_closed_connections_total{"))
            .map(|(_, count)| count)
            .sum();
        rule("A-3", closed == opened, || {
            format!("{opened} were opened, {closed} closed")
        })?;
        for left in ["connections", "rooms", "members", "outbox_bytes"] {
            let count = metrics[&format!("parlor_{left}")];
            rule("leak", count == 0.0, || format!("{count} {left} are left"))?;
        }
        Ok(())
    }
}

/// D-4: what the core was fed, recorded without texts and tokens, leads to the same effects again.
fn check_trace(trace: &[u8]) -> Checked {
    let broken = |detail: String| Failure {
        rule: "D-4",
        detail,
    };
    let mut reader = Reader::open(trace).map_err(|error| broken(error.to_string()))?;
    let mut player = Player::default();
    while let Some(line) = reader
        .next_line()
        .map_err(|error| broken(error.to_string()))?
    {
        match line {
            Line::Begin(begin) => player.begin(*begin).map_err(broken)?,
            Line::Event(event) => {
                let verdict = player.event(&event).map_err(broken)?.verdict;
                rule("D-4", verdict == Verdict::Same, || {
                    format!("{event:?} is {verdict:?}")
                })?;
            }
        }
    }
    Ok(())
}

impl Stranger {
    fn reads(&mut self, frame: &str) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(frame) else {
            return;
        };
        match text(&message, "type") {
            "joined" => self.saw(
                text(&message, "roomId"),
                text(&message, "epoch"),
                number(&message, "seq"),
            ),
            "message" => self.saw_more(text(&message, "roomId"), number(&message, "seq")),
            _ => {}
        }
    }
}

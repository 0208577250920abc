//! A client that keeps the rules: the real one (`parlor-client`), and an application that remembers
//! what it was told, and notices when it was told something that cannot be.

use std::collections::{BTreeMap, BTreeSet};

use parlor_client::{Client, Code, Event, Input, Options, Output, Position, Secret, State, Value};
use parlor_core::Limits;

use super::ledger::{Ledger, found};
use super::plan::Plan;
use super::{Checked, rule};
use crate::dice::Dice;

/// Rooms that somebody wants to be in at once.
const MOST_ROOMS: usize = 2;

/// Calls that may wait before it says something more: what a slow server takes while it is calm.
const MOST_CALLS: usize = 20;

/// Somebody with a client.
#[derive(Debug)]
pub struct Person {
    /// Its name.
    pub name: String,
    /// Who shares its resume token: the number of the guest.
    pub guest: usize,
    /// Its connection.
    pub link: Option<u64>,
    /// When it is to be told the time, ms.
    pub timer_ms: u64,
    number: usize,
    client: Client,
    /// How many clients it had before.
    lives: u64,
    state: State,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    /// The rooms that it wants to be in, and why it is not.
    wants: BTreeMap<String, Option<Code>>,
    views: BTreeMap<String, View>,
    said: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
enum Call {
    Join(String),
    Leave,
    Send { room: String, id: String },
    Question(String),
}

/// What is known of a room.
#[derive(Clone, Debug, Default)]
struct View {
    is_inside: bool,
    last: Option<Position>,
    /// The last message when it was joined.
    joined_at: u64,
    users: BTreeSet<String>,
    user_count: u64,
}

impl Person {
    /// Somebody new.
    #[must_use]
    pub fn new(number: usize, guest: usize, plan: &Plan, seed: u32) -> Self {
        let name = format!("person {guest}");
        Self {
            client: client(number, 0, &name, plan, seed),
            name,
            guest,
            link: None,
            timer_ms: 0,
            number,
            lives: 0,
            state: State::Connecting { attempt: 0 },
            calls: BTreeMap::new(),
            next_call: 0,
            wants: BTreeMap::new(),
            views: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    /// When to hand over a tick at the latest, ms.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.client.deadline()
    }

    /// Hands something over. What is to be done for it comes back; what it is told is compared.
    ///
    /// # Errors
    /// When it is told something that cannot be.
    pub fn handle(
        &mut self,
        now_ms: u64,
        input: Input,
        ledger: &mut Ledger,
    ) -> Result<Vec<Output>, crate::observe::Failure> {
        let mut outputs = Vec::new();
        self.client.handle(now_ms, input, &mut outputs);
        for output in &outputs {
            match output {
                Output::Emit(event) => self.told(event, ledger)?,
                Output::Resolve { call, value } => self.resolved(*call, value, ledger)?,
                Output::Reject { call, failure } => self.rejected(*call, &failure.code, ledger)?,
                Output::Connect
                | Output::Transmit { .. }
                | Output::HangUp
                | Output::Remember { .. } => {}
            }
        }
        Ok(outputs)
    }

    /// What it does next, as the dice say.
    pub fn act(&mut self, plan: &Plan, dice: &mut Dice) -> Vec<Input> {
        if matches!(self.state, State::Closed { .. }) {
            return self.begin_anew(plan, dice);
        }
        let room = format!("room {}", dice.roll(plan.rooms));
        match dice.roll(40) {
            0 => {
                let mut inputs = vec![Input::Close];
                if dice.one_in(2) {
                    inputs.push(Input::Connect);
                }
                inputs
            }
            1 => vec![Input::Retry],
            2 => {
                let after = None;
                vec![Input::Rooms {
                    call: self.call(Call::Question(room)),
                    after,
                }]
            }
            3 => vec![Input::Users {
                call: self.call(Call::Question(room.clone())),
                room,
            }],
            4..7 => {
                let limit = dice.one_in(2).then(|| 1 + dice.roll(100));
                let before = dice.one_in(2).then(|| dice.roll(30));
                vec![Input::History {
                    call: self.call(Call::Question(room.clone())),
                    room,
                    before,
                    limit,
                }]
            }
            7 => vec![Input::Typing { room, active: true }],
            8 if self.wants.remove(&room).is_some() => {
                vec![Input::Leave {
                    call: self.call(Call::Leave),
                    room,
                }]
            }
            8..14 if self.wants.len() < MOST_ROOMS => {
                self.wants.insert(room, None);
                self.wish()
            }
            _ => {
                let wish = self.wish();
                if wish.is_empty() {
                    self.say(dice)
                } else {
                    wish
                }
            }
        }
    }

    /// What it does when nothing goes wrong any more: it sees to it that it is where it wants to be.
    pub fn settle_down(&mut self, plan: &Plan, dice: &mut Dice) -> Vec<Input> {
        if matches!(self.state, State::Closed { .. }) {
            return self.begin_anew(plan, dice);
        }
        if self.wants.is_empty() {
            let room = format!("room {}", dice.roll(plan.rooms));
            self.wants.insert(room, None);
        }
        self.wish()
    }

    /// Joins of rooms that it wants to be in and was refused.
    fn wish(&mut self) -> Vec<Input> {
        let asked: BTreeSet<String> = self
            .calls
            .values()
            .filter_map(|call| {
                if let Call::Join(room) = call {
                    Some(room.clone())
                } else {
                    None
                }
            })
            .collect();
        let is_out = |room: &String| {
            !asked.contains(room) && !self.views.get(room).is_some_and(|view| view.is_inside)
        };
        let rooms: Vec<String> = self
            .wants
            .keys()
            .filter(|room| is_out(room))
            .cloned()
            .collect();
        let joins = rooms.into_iter().map(|room| self.join(room));
        joins.collect()
    }

    fn join(&mut self, room: String) -> Input {
        let since = self.views.get(&room).and_then(|view| view.last.clone());
        Input::Join {
            call: self.call(Call::Join(room.clone())),
            room,
            history: None,
            since,
        }
    }

    fn say(&mut self, dice: &mut Dice) -> Vec<Input> {
        if self.calls.len() > MOST_CALLS {
            return Vec::new();
        }
        let rooms: Vec<&String> = self.wants.keys().collect();
        let Some(room) = rooms
            .get(dice.pick(rooms.len().max(1) as u64))
            .map(|room| (*room).clone())
        else {
            return Vec::new();
        };
        let burst = if dice.one_in(8) { 12 } else { 1 };
        let mut inputs = Vec::new();
        for _ in 0..burst {
            let said = self.said.entry(room.clone()).or_default();
            *said += 1;
            let said = *said;
            let text = format!("{said} of {} in {room}", self.number);
            let text = if dice.one_in(8) {
                format!("{text} {}", "l".repeat(1900))
            } else {
                text
            };
            // As of everybody else in every room, but not of the same user in the same one.
            let id = format!("{}-{said}", self.number - self.guest);
            let call = self.call(Call::Send {
                room: room.clone(),
                id: id.clone(),
            });
            inputs.push(Input::Send {
                call,
                room: room.clone(),
                text,
                client_msg_id: Some(id),
            });
        }
        inputs
    }

    fn call(&mut self, call: Call) -> u64 {
        self.next_call += 1;
        self.calls.insert(self.next_call, call);
        self.next_call
    }

    /// Another client in the place of one that is closed for ever. It goes on where that one was.
    fn begin_anew(&mut self, plan: &Plan, dice: &mut Dice) -> Vec<Input> {
        self.lives += 1;
        let seed = u32::try_from(dice.roll(1 << 32)).expect("it is below");
        self.client = client(self.number, self.lives, &self.name, plan, seed);
        self.state = State::Connecting { attempt: 0 };
        let mut inputs = vec![Input::Connect];
        inputs.extend(self.wish());
        inputs
    }

    fn told(&mut self, event: &Event, ledger: &mut Ledger) -> Checked {
        match event {
            Event::State(state) => {
                if *state != State::Online {
                    self.views
                        .values_mut()
                        .for_each(|view| view.is_inside = false);
                }
                self.state = state.clone();
                Ok(())
            }
            Event::Joined(joined) => {
                let view = self.views.entry(joined.room.clone()).or_default();
                view.is_inside = true;
                view.joined_at = joined.seq;
                view.users = joined.users.iter().cloned().collect();
                view.user_count = joined.user_count;
                if let Some(why) = self.wants.get_mut(&joined.room) {
                    *why = None;
                }
                if joined.rejoined && joined.recovered {
                    ledger.note("client recovered");
                }
                Ok(())
            }
            Event::Left(left) => {
                if let Some(view) = self.views.get_mut(&left.room) {
                    view.is_inside = false;
                    if self.wants.contains_key(&left.room) {
                        ledger.note("put out of a room");
                    } else {
                        // The next stay is another one.
                        self.views.remove(&left.room);
                    }
                }
                Ok(())
            }
            Event::Gap(gap) => {
                ledger.note("gap");
                let view = self.views.entry(gap.room.clone()).or_default();
                let is_known = view.last.as_ref().is_none_or(|last| *last == gap.last);
                view.last = Some(Position {
                    epoch: gap.next.epoch.clone(),
                    seq: gap.next.seq - 1,
                });
                rule("gap", is_known, || format!("{gap:?} for {}", self.name))
            }
            Event::Message(message) => {
                ledger.check_seen(message)?;
                let view = self.views.entry(message.room.clone()).or_default();
                let follows = match &view.last {
                    Some(last) => last.epoch == message.epoch && last.seq + 1 == message.seq,
                    None => message.seq <= view.joined_at + 1,
                };
                rule("once", follows && view.is_inside, || {
                    format!("{message:?} comes behind {view:?}")
                })?;
                view.last = Some(Position {
                    epoch: message.epoch.clone(),
                    seq: message.seq,
                });
                Ok(())
            }
            Event::Presence(presence) => {
                let view = self.views.entry(presence.room.clone()).or_default();
                view.users = presence.users.iter().cloned().collect();
                view.user_count = presence.user_count;
                Ok(())
            }
            Event::Typing(_) | Event::Error(_) => Ok(()),
        }
    }

    fn resolved(&mut self, call: u64, value: &Value, ledger: &mut Ledger) -> Checked {
        let asked = found("settled", self.calls.remove(&call), || {
            format!("{call} is settled twice")
        })?;
        match (asked, value) {
            (Call::Send { room, id }, Value::Sent(message)) => {
                ledger.note("acknowledged");
                let place = (room, message.epoch.clone(), message.seq);
                ledger.acknowledge((self.name.clone(), id), place)
            }
            (Call::Join(_), Value::Joined(_)) | (Call::Leave, Value::Left) => Ok(()),
            (Call::Question(_), Value::History(_) | Value::Rooms(_) | Value::Users(_)) => Ok(()),
            (asked, value) => rule("settled", false, || {
                format!("{asked:?} is settled with {value:?}")
            }),
        }
    }

    fn rejected(&mut self, call: u64, code: &Code, ledger: &mut Ledger) -> Checked {
        let asked = found("settled", self.calls.remove(&call), || {
            format!("{call} is settled twice")
        })?;
        if let Call::Join(room) = &asked
            && let Some(why) = self.wants.get_mut(room)
        {
            *why = Some(code.clone());
        }
        ledger.note(format!("rejected {code}"));
        let unexpected = [
            "DUPLICATE_ID",
            "INVALID_MESSAGE",
            "INVALID_FIELD",
            "INVALID_JSON",
            "UNKNOWN_MESSAGE",
        ];
        rule("refused", !unexpected.contains(&code.as_str()), || {
            format!("{asked:?} is refused: {code}")
        })
    }

    /// When nothing goes wrong any more: whether it is where it wants to be, and knows everything.
    ///
    /// # Errors
    /// When it is not, or does not.
    pub fn check_settled(
        &self,
        plan: &Plan,
        ledger: &Ledger,
        inside: &BTreeMap<String, BTreeSet<String>>,
    ) -> Checked {
        let Self { name, .. } = self;
        rule("converges", self.state == State::Online, || {
            format!("{name} is {:?}", self.state)
        })?;
        for (room, why) in &self.wants {
            // Others may be where there is room for a few only.
            let Limits {
                members_per_room,
                open_rooms,
                rooms_per_connection,
                ..
            } = plan.limits;
            let is_full = u64::from(members_per_room) < plan.people
                || u64::from(open_rooms) < plan.rooms
                || (rooms_per_connection as usize) < MOST_ROOMS;
            let view = self.views.get(room).filter(|view| view.is_inside);
            rule("converges", view.is_some() || is_full, || {
                format!("{name} is not in {room}: {why:?}")
            })?;
        }
        for (room, view) in self.views.iter().filter(|(_, view)| view.is_inside) {
            let users = inside.get(room);
            let same = users == Some(&view.users) && view.user_count == view.users.len() as u64;
            rule("T-6", same, || {
                format!("{name} sees {:?} in {room}, not {users:?}", view.users)
            })?;
            if let Some(Position { epoch, seq }) = &view.last {
                let last = ledger.disk.last(room, epoch);
                rule("converges", *seq == last, || {
                    format!("{name} saw {seq} of {last} in {room}")
                })?;
            }
        }
        let is_due = |call: &&Call| match call {
            Call::Leave => true,
            Call::Join(room) | Call::Send { room, .. } | Call::Question(room) => {
                self.rooms().any(|inside| inside == room)
            }
        };
        let due: Vec<&Call> = self.calls.values().filter(is_due).collect();
        rule("settled", due.is_empty(), || {
            format!("{name} waits for {due:?}")
        })
    }

    /// The rooms that it is in.
    pub fn rooms(&self) -> impl Iterator<Item = &String> {
        self.views
            .iter()
            .filter(|(_, view)| view.is_inside)
            .map(|(room, _)| room)
    }

    /// What it proves itself with, where tokens are needed.
    #[must_use]
    pub fn token(&self, plan: &Plan) -> Option<Secret> {
        plan.tokens.then(|| Secret(self.name.clone()))
    }
}

fn client(number: usize, lives: u64, name: &str, plan: &Plan, seed: u32) -> Client {
    Client::new(Options {
        username: (!plan.tokens).then(|| name.to_string()),
        shares: !plan.tokens,
        id_prefix: format!("person-{number}-{lives}"),
        seed,
        ..Options::from_random(0)
    })
}

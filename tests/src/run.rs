//! Runs actions against the core and the model at once, and checks every invariant on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlor_core::event::Identity;
use parlor_core::protocol::{PROTOCOL, Since};
use parlor_core::session::Verdict;
use parlor_core::types::{ClientMsgId, LoadId, MessageText, PublicationId, Ref, RoomPattern};
use parlor_core::{
    Cause, ConnId, Effect, Epoch, Event, Fetch, Input, Limits, Publication, Recipients, Request,
    RequestKind, ResumeToken, RoomId, Seq, ServerMessage, Session, State, StoredLog, Timestamp,
    Username, step,
};
use serde_json::Value;

use crate::action::{Action, Ask, FRAMES, STRANGER};
use crate::canonical::{self, Pair};
use crate::model::{Got, Model};
use crate::observe::{Client, Failure, Observer, Reached};
use crate::taped::Taped;

/// Whoever is not connected.
const NOBODY: ConnId = ConnId(1 << 40);
/// Mostly the first, so that clients meet.
const ROOMS: &[&str] = &["a", "b", "a:b", "a.*.b", "a", "a", "a", "b"];
/// The first and the third are one name.
const NAMES: &[&str] = &["ann", "bob", "ANN\u{3164}", "cy", "dee"];
const CAUSES: &[Cause] = &[
    Cause::Disconnected,
    Cause::Timeout,
    Cause::Slow,
    Cause::Flooding,
];
/// After how many steps the state goes through serde.
const ROUND_TRIP_STEPS: u64 = 5;

/// How many setups [`Setup::small`] has.
pub const SETUPS: u8 = 16;

/// Under which circumstances actions run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The limits of the server.
    pub limits: Limits,
    /// Whether clients ask no more while an answer that may wait is out, as sessions see to it.
    pub polite: bool,
}

impl Setup {
    /// Limits so small that every one of them is reached: [`SETUPS`] of them, by number.
    #[must_use]
    pub fn small(number: u8) -> Self {
        let limits = Limits {
            token_required: number & 1 != 0,
            rooms_per_connection: 2,
            members_per_room: 3,
            open_rooms: 3,
            tail_entries: if number & 4 == 0 { 4 } else { 9 },
            tail_bytes: if number & 4 == 0 { 14 << 10 } else { 64 << 10 },
            // Some waits are longer.
            history_age_ms: if number & 8 == 0 { 0 } else { 1500 },
            history_page: 4,
            replay: 2,
            listed_users: 2,
            listed_rooms: 2,
            answer_bytes: 16 << 10,
            messages_per_second: 2,
            burst: 4,
            frames_per_message: 1,
            refusals_in_a_row: 2,
            ..Limits::default()
        };
        Self {
            limits,
            polite: number & 2 != 0,
        }
    }
}

/// A whole run.
///
/// # Errors
/// The first rule that does not hold.
pub fn run(setup: &Setup, actions: &[Action]) -> Result<Reached, Failure> {
    let mut world = World::new(setup);
    for action in actions {
        world.act(action)?;
    }
    world.finish()
}

/// The server, the model and the world around them.
#[derive(Clone, Debug)]
pub struct World {
    limits: Limits,
    polite: bool,
    at: Timestamp,
    state: State,
    model: Model,
    observer: Observer,
    /// What this state saw since it began, and what it answered, for D-4.
    trace: Vec<(Event, Vec<u8>)>,
    /// The same without secrets, for D-6.
    taped: Taped,
    /// Whether the trace is kept and the state goes through serde now and then.
    is_thorough: bool,
    steps: u64,
    conns_so_far: u64,
    refs_so_far: u64,
}

impl World {
    /// An empty server.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let limits = setup.limits.clone().clamped();
        Self {
            state: State::new(limits.clone()),
            model: Model::new(limits.clone()),
            limits,
            polite: setup.polite,
            at: Timestamp(1_000_000),
            observer: Observer::default(),
            trace: Vec::new(),
            taped: Taped::new(&setup.limits),
            is_thorough: true,
            steps: 0,
            conns_so_far: 0,
            refs_so_far: 0,
        }
    }

    /// Leaves out D-3 and D-4, for those who take millions of steps.
    #[must_use]
    pub const fn quick(mut self) -> Self {
        self.is_thorough = false;
        self
    }

    /// What decides how it goes on, as long as no frames come: worlds with the same key behave the
    /// same.
    #[must_use]
    pub fn key(&self) -> u128 {
        canonical::digest(&self.to_json().to_string())
    }

    /// The same, when it does not matter what rooms and users are called and who came first. See
    /// [`canonical`].
    #[must_use]
    pub fn canonical_key(&self, exchanged: &[Pair]) -> u128 {
        canonical::key(&self.to_json(), exchanged)
    }

    fn to_json(&self) -> Value {
        let mut world = self.observer.to_json();
        world["state"] = serde_json::to_value(&self.state).expect("a state serialises");
        world["at"] = self.at.0.into();
        world
    }

    /// Whether both have the same [`key`](Self::key), much sooner told.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.at == other.at && self.state == other.state && self.observer.is_like(&other.observer)
    }

    /// What is seen of it from outside.
    #[must_use]
    pub const fn observer(&self) -> &Observer {
        &self.observer
    }

    /// What its state was told since it began.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.trace.iter().map(|(event, _)| event)
    }

    /// What this run came by since this was last asked.
    pub fn take_reached(&mut self) -> Reached {
        let mut reached = std::mem::take(&mut self.observer.reached);
        let situations = std::mem::take(&mut self.model.situations);
        reached.situations.extend(situations);
        reached
    }

    /// Does one action. One whose operands mean nothing at the moment is none.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn act(&mut self, action: &Action) -> Result<(), Failure> {
        match *action {
            Action::Wait { ms } => self.at = self.at.plus_ms(ms.into()),
            Action::GoBack { ms } => {
                self.at = Timestamp(self.at.0.saturating_sub(ms.into()));
                self.observer
                    .reached
                    .situations
                    .insert("the clock went back");
            }
            Action::ForgetLog { room } => {
                let room = pick_room(room);
                if !self.model.uses(&room) {
                    self.observer.store.forget(&room);
                }
            }
            Action::Restart => {
                self.replay()?;
                self.observer.restart();
                self.state = State::new(self.limits.clone());
                let situations = std::mem::take(&mut self.model.situations);
                self.model = Model::new(self.limits.clone());
                self.model.situations = situations;
            }
            Action::Connect
            | Action::ConnectAgain { .. }
            | Action::Disconnect { .. }
            | Action::Identify { .. }
            | Action::Request { .. }
            | Action::Frame { .. }
            | Action::Publish { .. }
            | Action::AnswerLoad { .. }
            | Action::StrayLoad { .. }
            | Action::AnswerFetch { .. }
            | Action::StoreFailed
            | Action::StoreRecovered
            | Action::Shutdown => {
                if let Some(input) = self.input(action) {
                    self.step(input)?;
                }
            }
        }
        Ok(())
    }

    /// Answers everything that is under way, and ends the run.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn finish(mut self) -> Result<Reached, Failure> {
        while !self.observer.loads.is_empty() {
            self.act(&Action::AnswerLoad { which: 0, how: 0 })?;
        }
        while !self.observer.fetches.is_empty() {
            let fails = false;
            self.act(&Action::AnswerFetch { which: 0, fails })?;
        }
        self.observer.check_all_answered()?;
        self.replay()?;
        let mut reached = self.observer.reached;
        reached.situations.extend(self.model.situations);
        Ok(reached)
    }

    // From actions to events.

    fn input(&mut self, action: &Action) -> Option<Input> {
        Some(match *action {
            Action::Connect => {
                self.conns_so_far += 1;
                let conn = ConnId(self.conns_so_far);
                let resume_token = ResumeToken::from_random(u128::from(conn.0));
                let session = Session::new(&self.limits, self.at);
                self.observer.connect(conn, resume_token, session);
                Input::Connected { conn, resume_token }
            }
            Action::ConnectAgain { conn } => Input::Connected {
                conn: self.known(conn)?,
                resume_token: ResumeToken::from_random(7),
            },
            Action::Disconnect { conn, cause } => Input::Disconnected {
                conn: self.conn(conn)?,
                cause: pick(CAUSES, cause),
            },
            Action::Identify { conn, name, rooms } => {
                let conn = self.conn(conn)?;
                // Mostly the same for a connection, so that its claims change.
                let number = if name % 4 == 0 {
                    name / 4
                } else {
                    conn.0.to_le_bytes()[0]
                };
                let subject = pick_name(number);
                let patterns: &[&str] = match rooms % 4 {
                    0 | 1 => return Some(identified(conn, subject, None)),
                    2 => &["a"],
                    _ => &["b", "a:*"],
                };
                identified(conn, subject, Some(patterns))
            }
            Action::Request { conn, tagged, ask } => {
                let conn = self.conn(conn)?;
                if self.polite && self.is_held(conn) {
                    return None;
                }
                let kind = self.kind(conn, ask);
                let reference = tagged.then(|| self.next_ref());
                let request = Request { reference, kind };
                Input::Received { conn, request }
            }
            Action::Frame { conn, which } => {
                let conn = self.known(conn)?;
                if self.polite && self.is_held(conn) {
                    return None;
                }
                let mut clients = self.observer.clients.iter_mut();
                let client = clients.find(|client| client.conn == conn)?;
                match client.session.text(pick(FRAMES, which), self.at) {
                    Verdict::Admit { request, .. } => Input::Received { conn, request },
                    Verdict::Refuse(refusal) => Input::Refused { conn, refusal },
                    Verdict::Ignore => return None,
                    Verdict::Close(reason) => {
                        self.observer.reached.closes.insert(reason);
                        let cause = reason.cause();
                        Input::Disconnected { conn, cause }
                    }
                }
            }
            Action::Publish {
                room,
                name,
                text,
                id,
            } => Input::Published {
                room: pick_room(room),
                publication: Publication {
                    id: self.free_publication(),
                    from: pick_name(name),
                    text: pick_text(text),
                    client_msg_id: pick_id(id),
                },
            },
            Action::AnswerLoad { which, how } => {
                let loads = &mut self.observer.loads;
                let (room, load) = loads.remove(usize::from(which).checked_rem(loads.len())?);
                let tail = match how % 8 {
                    7 => return Some(Input::LoadFailed { room, load }),
                    6 => 0,
                    5 => 2,
                    _ => usize::MAX,
                };
                let log = self.observer.store.load(&room, tail);
                Input::RoomLoaded { room, load, log }
            }
            Action::StrayLoad { room, load, fails } => {
                let (room, load) = (pick_room(room), LoadId(load.into()));
                if self.observer.loads.contains(&(room.clone(), load)) {
                    return None;
                }
                let log = StoredLog::empty(Epoch::new("stray").expect("it is short"));
                if fails {
                    Input::LoadFailed { room, load }
                } else {
                    Input::RoomLoaded { room, load, log }
                }
            }
            Action::AnswerFetch { which, fails } => {
                let fetches = &mut self.observer.fetches;
                let fetch = fetches.remove(usize::from(which).checked_rem(fetches.len())?);
                if fails {
                    return Some(Input::FetchFailed { fetch });
                }
                let page = self.observer.store.page(&fetch);
                Input::PageFetched { fetch, page }
            }
            Action::StoreFailed => Input::StoreFailed,
            Action::StoreRecovered => Input::StoreRecovered,
            Action::Shutdown => Input::Shutdown,
            Action::Wait { .. }
            | Action::GoBack { .. }
            | Action::ForgetLog { .. }
            | Action::Restart => return None,
        })
    }

    fn kind(&self, conn: ConnId, ask: Ask) -> RequestKind {
        let room_of = |room| self.room_of(conn, room);
        match ask {
            Ask::Hello {
                resume,
                wrong_version,
            } => RequestKind::Hello {
                protocol: if wrong_version { 2 } else { PROTOCOL },
                resume_token: match resume % 4 {
                    0 => None,
                    1 => Some(ResumeToken::from_random(u128::MAX)),
                    3 => self
                        .known(resume / 2)
                        .and_then(|conn| self.model.guest_token(conn)),
                    _ => Some(ResumeToken::from_random(u128::from(resume / 4 % 8))),
                },
            },
            Ask::Join {
                room,
                name,
                since,
                history,
            } => {
                let room = pick_room(room);
                RequestKind::Join {
                    since: self.since(&room, since),
                    room,
                    username: (name % 8 != 7).then(|| pick_name(name % 8)),
                    history: (history % 2 == 1).then(|| u32::from(history / 2 % 8)),
                }
            }
            Ask::Leave { room } => RequestKind::Leave {
                room: room_of(room),
            },
            Ask::Message { room, text, id } => RequestKind::Message {
                room: room_of(room),
                text: pick_text(text),
                client_msg_id: pick_id(id),
            },
            Ask::Typing { room } => RequestKind::Typing {
                active: room < 128,
                room: room_of(room),
            },
            Ask::ListRooms { after } => RequestKind::ListRooms {
                after: (after % 2 == 1).then(|| pick_room(after / 2)),
            },
            Ask::ListUsers { room } => RequestKind::ListUsers {
                room: room_of(room),
            },
            Ask::GetHistory {
                room,
                limit,
                before,
            } => RequestKind::GetHistory {
                room: room_of(room),
                limit: (limit % 2 == 1).then(|| u32::from(limit / 2 % 8) + 1),
                before: (before % 2 == 1).then(|| Seq((before / 2 % 16).into())),
            },
            Ask::Ping => RequestKind::Ping,
        }
    }

    /// Mostly a room that the connection is in, if there is one.
    fn room_of(&self, conn: ConnId, room: u8) -> RoomId {
        let mut clients = self.observer.clients.iter();
        let client = clients.find(|client| client.conn == conn);
        let own = client.map_or_else(Vec::new, Client::rooms);
        if own.is_empty() || room % 4 == 3 {
            return pick_room(room / 4);
        }
        own[usize::from(room / 4) % own.len()].clone()
    }

    /// None, the end of the log, up to five before it, one behind it, or another epoch.
    fn since(&self, room: &RoomId, since: u8) -> Option<Since> {
        let mut epochs = self.observer.store.epochs(room);
        let made_up = Epoch::new("e0").expect("it is short");
        let (epoch, last) = match since % 16 {
            0..8 => return None,
            15 => epochs.next(),
            _ => epochs.next_back(),
        }
        .unwrap_or((&made_up, 0));
        let seq = match since % 16 {
            back @ 8..14 => last.saturating_sub(u64::from(back - 8)),
            _ => last + 1,
        };
        Some(Since {
            epoch: epoch.clone(),
            seq: Seq(seq),
        })
    }

    fn known(&self, conn: u8) -> Option<ConnId> {
        let clients = &self.observer.clients;
        let index = usize::from(conn / 2).checked_rem(clients.len())?;
        Some(clients[index].conn)
    }

    fn conn(&self, conn: u8) -> Option<ConnId> {
        if conn == STRANGER {
            return Some(NOBODY);
        }
        self.known(conn)
    }

    fn is_held(&self, conn: ConnId) -> bool {
        let mut clients = self.observer.clients.iter();
        clients.any(|client| client.conn == conn && client.is_held())
    }

    /// The least that none without an answer has, so that worlds which differ in nothing else are
    /// the same.
    fn free_publication(&self) -> PublicationId {
        let waiting = &self.observer.publications;
        let mut all = (0..).map(PublicationId);
        all.find(|id| !waiting.contains(id)).unwrap_or_default()
    }

    fn next_ref(&mut self) -> Ref {
        self.refs_so_far += 1;
        Ref::new(&format!("r{}", self.refs_so_far)).expect("it is short")
    }

    // One step, and what must hold of it.

    fn step(&mut self, input: Input) -> Result<(), Failure> {
        let event = Event { at: self.at, input };
        let expected = self.model.apply(&event);
        let before = self.state.clone();
        let mut effects = Vec::new();
        self.state.apply(event.clone(), &mut effects);
        if let Err(violation) = self.state.check() {
            return Err(Failure {
                rule: violation.invariant.number(),
                detail: violation.detail,
            });
        }
        let got = self
            .observer
            .observe(&event.input, &effects, &self.limits)?;
        self.compare(&event, &expected.store, store_side(&effects))?;
        self.check_page(&event, &got)?;
        self.compare(&event, &by_conn(expected.got), by_conn(got))?;
        self.observer
            .check_users(|room| self.model.users_of(room))?;
        let told = application_side(&effects);
        self.compare(&event, &expected.application, told)?;
        self.check_order_of_answers(&event.input)?;
        self.check_repetition(&before, &event, &effects)?;
        self.check_refusal(&before, &event)?;
        self.check_question(&before, &event)?;
        self.steps += 1;
        if self.is_thorough {
            let bytes = serde_json::to_vec(&effects).expect("effects serialise");
            self.taped.event(&before, &event, &effects);
            self.trace.push((event, bytes));
            if self.steps.is_multiple_of(ROUND_TRIP_STEPS) {
                self.round_trip()?;
            }
        }
        Ok(())
    }

    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        event: &Event,
        expected: &T,
        found: T,
    ) -> Result<(), Failure> {
        self.observer.reached.rule("model", found == *expected, || {
            format!("{event:?}\nled to {found:?}\nnot to {expected:?}")
        })
    }

    /// `hasMore` is the truth: whether the store has something before the page that may be shown.
    fn check_page(&mut self, event: &Event, got: &[(ConnId, Got)]) -> Result<(), Failure> {
        let before = if let Input::PageFetched { fetch, .. } = &event.input {
            fetch.before
        } else if let Input::Received { request, .. } = &event.input
            && let RequestKind::GetHistory { before, .. } = request.kind
        {
            before.unwrap_or(Seq(u64::MAX))
        } else {
            return Ok(());
        };
        for (conn, got) in got {
            let Got::Message(ServerMessage::History(history)) = got else {
                continue;
            };
            let everything = self.observer.store.page(&Fetch {
                conn: *conn,
                room: history.room_id.clone(),
                epoch: history.epoch.clone(),
                before,
                limit: u32::MAX,
                reference: None,
            });
            let shown = everything.entries.iter();
            let shown = shown.filter(|entry| self.model.shows(entry, event.at));
            let has_more = shown.count() > history.count as usize;
            let reached = &mut self.observer.reached;
            reached.rule("hasMore", history.has_more == has_more, || {
                format!("{event:?} led to {history:?}")
            })?;
        }
        Ok(())
    }

    /// T-8: a client that does not ask while an answer is out has one question out at most, so its
    /// answers come in the order of its requests.
    fn check_order_of_answers(&mut self, input: &Input) -> Result<(), Failure> {
        let Some(conn) = input.conn().filter(|_| self.polite) else {
            return Ok(());
        };
        let waits = self.state.is_waiting(conn);
        let is_held = self.is_held(conn);
        self.observer.reached.rule("T-8", is_held || !waits, || {
            format!("{conn} waits for the answer to nothing")
        })
    }

    /// D-1: equal state and event give equal results.
    fn check_repetition(
        &mut self,
        before: &State,
        event: &Event,
        effects: &[Effect],
    ) -> Result<(), Failure> {
        let mut again = before.clone();
        let mut effects_again = Vec::new();
        again.apply(event.clone(), &mut effects_again);
        let same = again == self.state && effects_again == effects;
        self.observer.reached.rule("D-1", same, || {
            format!("{event:?} led to {effects:?} and then to {effects_again:?}")
        })
    }

    /// T-4: a refused request or publication changes nothing. The clock is held, since it always
    /// goes on.
    fn check_refusal(&mut self, before: &State, event: &Event) -> Result<(), Failure> {
        if !matches!(
            event.input,
            Input::Received { .. } | Input::Published { .. }
        ) {
            return Ok(());
        }
        let at = Timestamp(0);
        let input = event.input.clone();
        let (after, effects) = step(before.clone(), Event { at, input });
        let conn = event.input.conn();
        let refuses = |effect: &Effect| match effect {
            Effect::Send {
                to: Recipients::One(to),
                message: ServerMessage::Error(_),
            } => Some(*to) == conn,
            Effect::Answer { outcome, .. } => outcome.is_err(),
            Effect::Send { .. }
            | Effect::Append { .. }
            | Effect::Tell(_)
            | Effect::Close { .. }
            | Effect::LoadRoom { .. }
            | Effect::FetchPage(_)
            | Effect::ReleaseRoom { .. } => false,
        };
        let is_refused = effects.iter().any(refuses);
        let is_closed = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Close { .. }));
        if !is_refused || is_closed {
            return Ok(());
        }
        self.observer.reached.rule("T-4", after == *before, || {
            format!("{event:?} was refused and changed the state")
        })
    }

    /// D-5: what only asks changes nothing, the clock included.
    fn check_question(&mut self, before: &State, event: &Event) -> Result<(), Failure> {
        let asks = |kind: &RequestKind| match kind {
            RequestKind::Typing { .. }
            | RequestKind::ListRooms { .. }
            | RequestKind::ListUsers { .. }
            | RequestKind::GetHistory { .. }
            | RequestKind::Ping => true,
            RequestKind::Hello { .. }
            | RequestKind::Join { .. }
            | RequestKind::Leave { .. }
            | RequestKind::Message { .. } => false,
        };
        let only_asks = if let Input::Received { request, .. } = &event.input {
            asks(&request.kind)
        } else {
            matches!(
                event.input,
                Input::Refused { .. } | Input::PageFetched { .. } | Input::FetchFailed { .. }
            )
        };
        if !only_asks {
            return Ok(());
        }
        let same = *before == self.state;
        self.observer
            .reached
            .rule("D-5", same, || format!("{event:?} changed the state"))
    }

    /// D-3: a state that went through serde is equal, and goes on in the place of the first.
    fn round_trip(&mut self) -> Result<(), Failure> {
        let text = serde_json::to_string(&self.state).expect("a state serialises");
        let read = serde_json::from_str::<State>(&text);
        let same = read.as_ref().is_ok_and(|read| *read == self.state);
        self.observer.reached.rule("D-3", same, || text.clone())?;
        self.state = read.expect("it was just compared");
        Ok(())
    }

    /// D-4: the trace, through serde, gives the same effects, byte for byte. D-2: by `step` too.
    /// D-6: so does the one without secrets, but for them.
    fn replay(&mut self) -> Result<(), Failure> {
        let mut state = State::new(self.limits.clone());
        let mut by_value = state.clone();
        for (event, expected) in std::mem::take(&mut self.trace) {
            let text = serde_json::to_string(&event).expect("an event serialises");
            let read: Event = serde_json::from_str(&text).expect("it was just written");
            let mut effects = Vec::new();
            state.apply(read, &mut effects);
            let bytes = serde_json::to_vec(&effects).expect("effects serialise");
            let reached = &mut self.observer.reached;
            reached.rule("D-4", bytes == expected, || format!("{event:?} differs"))?;
            let (after, effects_by_value) = step(by_value, event);
            by_value = after;
            let same = effects_by_value == effects && by_value == state;
            reached.rule("D-2", same, || "step differs from apply".into())?;
        }
        let taped = std::mem::replace(&mut self.taped, Taped::new(&self.limits));
        let led = taped.leads_to(&self.state);
        let reached = &mut self.observer.reached;
        reached.rule("D-6", led.is_ok(), || format!("{led:?}"))?;
        let same = !self.is_thorough || state == self.state;
        self.observer
            .reached
            .rule("D-4", same, || "the state differs".into())
    }
}

fn pick<T: Copy>(all: &[T], index: u8) -> T {
    all[usize::from(index) % all.len()]
}

fn pick_room(index: u8) -> RoomId {
    RoomId::new(pick(ROOMS, index)).expect("it is a good id")
}

fn pick_name(index: u8) -> Username {
    Username::new(pick(NAMES, index)).expect("it is a good name")
}

/// Mostly short ones, two of which look alike without their letters; two with the longest frame that
/// there is, of which an answer holds one.
fn pick_text(index: u8) -> MessageText {
    let text = match index % 8 {
        0 | 1 => "x".into(),
        2 => "z".into(),
        3..6 => "\"y\"\u{1f980}".into(),
        6 => "\u{1}".repeat(1000),
        _ => "\u{1}".repeat(2000),
    };
    MessageText::new(&text).expect("it is a good text")
}

fn pick_id(index: u8) -> Option<ClientMsgId> {
    (index % 2 == 1).then(|| {
        let id = format!("id{}", index / 2 % 4);
        ClientMsgId::new(&id).expect("it is short")
    })
}

fn identified(conn: ConnId, subject: Username, rooms: Option<&[&str]>) -> Input {
    let pattern = |&pattern: &&str| RoomPattern(pattern.into());
    let rooms = rooms.map(|rooms| rooms.iter().map(pattern).collect::<Arc<[_]>>());
    let identity = Identity { subject, rooms };
    Input::Identified { conn, identity }
}

fn store_side(effects: &[Effect]) -> Vec<Effect> {
    let all = effects.iter().filter(|effect| match effect {
        Effect::Send { .. } | Effect::Answer { .. } | Effect::Tell(_) | Effect::Close { .. } => {
            false
        }
        Effect::Append { .. }
        | Effect::LoadRoom { .. }
        | Effect::FetchPage(_)
        | Effect::ReleaseRoom { .. } => true,
    });
    all.cloned().collect()
}

fn application_side(effects: &[Effect]) -> Vec<Effect> {
    let all = effects.iter().filter(|effect| match effect {
        Effect::Answer { .. } | Effect::Tell(_) => true,
        Effect::Send { .. }
        | Effect::Append { .. }
        | Effect::Close { .. }
        | Effect::LoadRoom { .. }
        | Effect::FetchPage(_)
        | Effect::ReleaseRoom { .. } => false,
    });
    all.cloned().collect()
}

fn by_conn(all: Vec<(ConnId, Got)>) -> BTreeMap<ConnId, Vec<Got>> {
    let mut by_conn: BTreeMap<ConnId, Vec<Got>> = BTreeMap::new();
    for (conn, got) in all {
        by_conn.entry(conn).or_default().push(got);
    }
    by_conn
}

//! The loop: takes what is ready, applies it to the one [`State`], has the store keep the new
//! entries, and only then carries out the effects, in order. One turn is synchronous;
//! between turns the hub waits, and it waits for nothing but its inbox.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use parlor_core::protocol::ErrorMessage;
use parlor_core::types::PublicationId;
use parlor_core::{
    Cause, Change, CloseReason, ConnId, Effect, ErrorCode, Event, Input, Limits, Published,
    Recipients, Refusal, ServerMessage, State, Timestamp,
};
use rustc_hash::FxHashMap;
use tracing::{debug, error, info, warn};

use crate::batch::{Batch, Local};
use crate::crash::CrashReport;
use crate::fanout::{Fanout, Worth};
use crate::frame::text_frame;
use crate::handle::{Handle, Shared};
use crate::inbox::{Command, INBOX_EVENTS, Inbound, Internal};
use crate::metrics::{Metrics, Moment, Tally};
use crate::store::{Answer, Append, Question, Store, StoreError, StoreLink, StoreWorker};
use crate::trace::{Crashed, Record, Tape};

/// Panics that are survived within [`RESTART_WINDOW_MS`].
const MOST_RESTARTS: usize = 3;
const RESTART_WINDOW_MS: u64 = 60_000;
/// A store that takes this long for one answer will not answer at all.
const STORE_HANGS_MS: u64 = 30_000;
/// Ticks come every second; what is longer than this is a clock that jumped.
const MOST_BETWEEN_TICKS_MS: u64 = 2000;
/// Between two tries to reopen a failed store: twice as long each time, up to the second number.
const REOPEN_MS: (u64, u64) = (1000, 30_000);

/// What a hub needs besides its store.
pub struct HubConfig {
    /// The limits of the server.
    pub limits: Limits,
    /// The time; see [`Clock::system`](crate::Clock::system).
    pub clock: Box<dyn FnMut() -> Timestamp + Send>,
    /// Keeps the report of a panic, for whoever looks into it.
    pub on_crash: Box<dyn FnMut(CrashReport) + Send>,
    /// Takes what the core is fed, if anybody does.
    pub recorder: Option<Box<dyn Record>>,
    /// Is told what happens, if anybody wants to know: in the order in which it happens, and not
    /// before it is stored. The hub waits for it, so it must not wait itself, least of all for
    /// the hub; a channel is a good place for what it is told.
    ///
    /// At a shutdown everybody leaves at once ([`Change::AllLeft`]), and so they do when the hub
    /// begins anew, after a panic or when something could not be stored. What was said just before
    /// that may be stored without having been told; what is told is stored. A panic in here is one of
    /// the hub's. A hub that ends with an error says nothing more.
    pub observer: Option<Box<dyn FnMut(Happened) + Send>>,
    /// Where it tells what it does.
    pub metrics: Metrics,
}

/// What an application may want to know. Exhaustive on purpose: whoever keeps a list by it has to
/// know of everything that changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Somebody came or went.
    Presence(Change),
    /// Something was said, by anybody, and is stored.
    Stored(Append),
}

impl fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why a hub gave up. The process should end with it: a supervisor starts a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubError {
    /// It panicked more than three times within a minute.
    PanicsTooOften,
    /// The store did not answer for half a minute.
    StoreHangs,
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PanicsTooOften => "the hub panicked more than 3 times within 60 s",
            Self::StoreHangs => "the store did not answer for 30 s",
        })
    }
}

impl std::error::Error for HubError {}

/// The one place where everything that must be right happens.
pub struct Hub {
    config: HubConfig,
    state: State,
    now: Timestamp,
    inbox: Receiver<Inbound>,
    internal: Receiver<Internal>,
    shared: Arc<Shared>,
    fanout: Fanout,
    store: StoreLink,
    store_state: StoreState,
    /// Answers of the store to an earlier generation of the state are ignored.
    generation: u64,
    /// Questions that wait for their answers.
    asked: usize,
    /// When the store last had nothing to answer, or answered something, by `waited_ms`.
    heard_ms: u64,
    /// The time that ticks told of. A clock that jumps, or a machine that slept, makes nobody late.
    waited_ms: u64,
    ticked_at: Timestamp,
    /// What the events taken so far leave to be done.
    building: Batch,
    /// The memory of the next one.
    spare: Batch,
    /// What waits for its appends to be stored, and since when.
    committing: Option<(Batch, Moment)>,
    /// When the messages were read that are about to be written.
    writing: Vec<Moment>,
    tally: Tally,
    /// Inputs of the hub's own making.
    follow_up: VecDeque<Input>,
    /// Who waits for a page.
    fetching: BTreeSet<ConnId>,
    /// Who waits for the answer to a publication. It is in a batch or waits for a room, both of which
    /// have bounds.
    publishing: FxHashMap<PublicationId, Sender<Result<Published, ErrorCode>>>,
    tape: Tape,
    /// Where messages are encoded.
    scratch: Vec<u8>,
    /// Whose event is being applied.
    applying: Option<ConnId>,
    restarts: VecDeque<Timestamp>,
    shutting_down: bool,
    failed: Option<HubError>,
}

#[derive(Clone, Copy, Debug)]
enum StoreState {
    Working,
    Failed { reopen_at: Timestamp, wait_ms: u64 },
    Reopening { wait_ms: u64 },
}

impl Hub {
    /// A hub with a store that answers at once, such as [`MemoryStore`](crate::MemoryStore).
    pub fn new(config: HubConfig, store: impl Store + 'static) -> (Self, Handle) {
        let (internal, inner) = async_channel::unbounded();
        Self::build(config, StoreLink::inside(store), internal, inner)
    }

    /// A hub with a store that waits for a disk: the worker is to be run on a thread of its own.
    pub fn with_store_thread(
        config: HubConfig,
        store: impl Store + 'static,
    ) -> (Self, Handle, StoreWorker) {
        let (internal, inner) = async_channel::unbounded();
        let (link, worker) = StoreLink::threaded(store, internal.clone());
        let (hub, handle) = Self::build(config, link, internal, inner);
        (hub, handle, worker)
    }

    fn build(
        mut config: HubConfig,
        store: StoreLink,
        to_internal: Sender<Internal>,
        internal: Receiver<Internal>,
    ) -> (Self, Handle) {
        config.limits = config.limits.clamped();
        let now = (config.clock)();
        let (to_inbox, inbox) = async_channel::bounded(INBOX_EVENTS);
        let shared = Arc::new(Shared::new(config.metrics.clone()));
        config.metrics.limited_to(&config.limits);
        let handle = Handle {
            inbox: to_inbox,
            internal: to_internal.clone(),
            shared: shared.clone(),
        };
        let hub = Self {
            state: State::new(config.limits.clone()),
            now,
            inbox,
            internal,
            shared,
            fanout: Fanout::new(&config.limits, to_internal, config.metrics.clone()),
            store,
            store_state: StoreState::Working,
            generation: 0,
            asked: 0,
            heard_ms: 0,
            waited_ms: 0,
            ticked_at: now,
            building: Batch::default(),
            spare: Batch::default(),
            committing: None,
            writing: Vec::new(),
            tally: Tally::default(),
            follow_up: VecDeque::new(),
            fetching: BTreeSet::new(),
            publishing: FxHashMap::default(),
            tape: Tape::new(config.recorder.take()),
            scratch: Vec::new(),
            applying: None,
            restarts: VecDeque::new(),
            shutting_down: false,
            failed: None,
            config,
        };
        (hub, handle)
    }

    /// Runs until everybody took the goodbye of a shutdown, or every handle is gone.
    ///
    /// # Errors
    /// When it is of no use to go on.
    pub async fn run(mut self) -> Result<(), HubError> {
        // With a full batch behind one that is being stored, everybody else waits.
        while let Some(first) = next(&self.internal, &self.inbox, self.building.is_full()).await {
            let mut turned = catch_unwind(AssertUnwindSafe(|| self.turn(first)));
            while let Err(panic) = turned {
                let to_blame = self.survive(&*panic)?;
                turned = catch_unwind(AssertUnwindSafe(|| self.restart(to_blame)));
            }
            if let Some(error) = self.failed {
                return Err(error);
            }
            if self.shutting_down && self.fanout.is_empty() && self.committing.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Takes everything that is ready, up to a full batch, and does what follows from it.
    fn turn(&mut self, first: Incoming) {
        self.now = (self.config.clock)();
        self.fanout.set_time(self.now);
        self.take(first);
        while !self.building.is_full() {
            if let Ok(internal) = self.internal.try_recv() {
                self.take(Incoming::Internal(internal));
            } else if let Ok(inbound) = self.inbox.try_recv() {
                self.take(Incoming::Inbound(inbound));
            } else {
                break;
            }
        }
        self.settle();
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Inbound(Inbound::Open {
                conn,
                resume_token,
                outlet,
                signals,
                dropped,
            }) => {
                self.fanout.open(conn, outlet, signals);
                self.apply(Input::Connected { conn, resume_token });
                if dropped.load(Ordering::Acquire) {
                    // word of its end came before it.
                    self.end(conn, Some(CloseReason::Internal));
                }
            }
            Incoming::Inbound(Inbound::Input { input, received }) => {
                if let Input::Received { conn, request } = &input
                    && request.kind.holds()
                {
                    self.fanout.hold(*conn);
                }
                let before = self.building.effects.len();
                self.apply(input);
                if let Some(received) = received {
                    self.building.note_received(received, before);
                }
            }
            Incoming::Inbound(Inbound::Control { conn, frame }) => {
                self.building.push_local(Local::Control(conn, frame));
                self.building.count_event();
            }
            Incoming::Inbound(Inbound::End { conn, reason }) => self.end(conn, reason),
            Incoming::Inbound(Inbound::Command(command)) => self.command(command),
            Incoming::Inbound(Inbound::Shutdown) => {
                self.shutting_down = true;
                self.apply(Input::Shutdown);
            }
            Incoming::Internal(Internal::Tick) => {
                self.shared.ticked.store(false, Ordering::Release);
                self.tick();
            }
            Incoming::Internal(Internal::Writable(conn)) => self.fanout.writable(conn),
            Incoming::Internal(Internal::Dropped(conn)) => {
                self.end(conn, Some(CloseReason::Internal));
            }
            Incoming::Internal(Internal::Stored { generation, answer }) => {
                // Whatever it answers, it does not hang: a thousand loads may wait for one disk.
                self.heard_ms = self.waited_ms;
                if generation == self.generation {
                    self.asked -= 1;
                    self.stored(answer);
                }
            }
            // Hub and store begin anew together, whoever it was.
            Incoming::Internal(Internal::StorePanicked(panic)) => resume_unwind(panic),
        }
    }

    /// Does what the application wants. What it asks is answered in its place among the effects,
    /// and so not before it may be known.
    fn command(&mut self, command: Command) {
        match command {
            Command::Publish {
                room,
                publication,
                answer,
            } => {
                self.publishing.insert(publication.id, answer);
                self.apply(Input::Published { room, publication });
            }
            Command::Rooms(answer) => {
                let rooms = self.state.open_rooms().collect();
                self.building.push_local(Local::Rooms(answer, rooms));
                self.building.count_event();
            }
            Command::Users { room, answer } => {
                let users = self.state.users(&room).cloned().collect();
                self.building.push_local(Local::Users(answer, users));
                self.building.count_event();
            }
            Command::Disconnect(conn) => self.end(conn, Some(CloseReason::Removed)),
            Command::DisconnectUser(name) => {
                let conns: Vec<ConnId> = self.state.connections_of(&name).collect();
                for conn in conns {
                    self.end(conn, Some(CloseReason::Removed));
                }
            }
        }
    }

    fn end(&mut self, conn: ConnId, reason: Option<CloseReason>) {
        let cause = reason.map_or(Cause::Disconnected, CloseReason::cause);
        self.apply(Input::Disconnected { conn, cause });
        self.building.push_local(Local::End(conn, reason));
    }

    fn apply(&mut self, input: Input) {
        let event = Event {
            at: self.now,
            input,
        };
        self.tally.event(&event.input);
        self.applying = event.input.conn();
        let answers = may_answer(&event.input);
        if let Input::PageFetched { fetch, .. } | Input::FetchFailed { fetch } = &event.input {
            self.fetching.remove(&fetch.conn);
        }
        let before = self.building.effects.len();
        let effects = &mut self.building.effects;
        self.tape.apply(&mut self.state, event, effects);
        self.applying = None;
        if answers {
            self.note_answers(before);
        }
        self.building.count_event();
    }

    /// Finds the connections whose held request was answered by the effects behind `before`.
    fn note_answers(&mut self, before: usize) {
        let mut answered = BTreeSet::new();
        for effect in &self.building.effects[before..] {
            match effect {
                Effect::FetchPage(fetch) => {
                    self.fetching.insert(fetch.conn);
                }
                Effect::Send {
                    to: Recipients::One(conn),
                    ..
                } => {
                    answered.insert(*conn);
                }
                Effect::Send {
                    to: Recipients::Room { .. },
                    ..
                }
                | Effect::Append { .. }
                | Effect::Answer { .. }
                | Effect::Tell(_)
                | Effect::Close { .. }
                | Effect::LoadRoom { .. }
                | Effect::ReleaseRoom { .. } => {}
            }
        }
        for conn in answered {
            let done = !self.state.is_waiting(conn) && !self.fetching.contains(&conn);
            if done && self.fanout.awaits_answer(conn) {
                self.building.push_local(Local::Answered(conn));
            }
        }
    }

    /// Hands on what can be handed on, until nothing more follows from it.
    fn settle(&mut self) {
        loop {
            let lost = self.fanout.take_lost().into_iter();
            let lost = lost.map(|(conn, cause)| Input::Disconnected { conn, cause });
            self.follow_up.extend(lost);
            while let Some(input) = self.follow_up.pop_front() {
                self.apply(input);
            }
            if self.submit() {
                continue;
            }
            let lost = self.fanout.flush();
            self.config.metrics.delivered(&mut self.writing);
            if !lost && self.follow_up.is_empty() {
                break;
            }
        }
        self.report();
    }

    fn report(&mut self) {
        self.tally.sent_bytes += self.fanout.take_sent_bytes();
        let outbox_bytes = self.fanout.total_bytes();
        let metrics = &self.config.metrics;
        metrics.report(&mut self.tally, &self.state, outbox_bytes);
    }

    /// Begins to store what was built, or carries it out if there is nothing to store. While one
    /// batch is being stored the next one grows.
    fn submit(&mut self) -> bool {
        if self.building.is_empty() {
            // Events without an effect do not fill a batch.
            self.building.clear();
            return false;
        }
        if self.committing.is_some() {
            return false;
        }
        let spare = std::mem::take(&mut self.spare);
        let batch = std::mem::replace(&mut self.building, spare);
        self.config.metrics.batch(batch.events());
        let appends = batch.appends();
        if appends.is_empty() {
            self.carry_out(batch);
        } else {
            self.committing = Some((batch, Moment::now()));
            self.ask(Question::Append(appends));
        }
        true
    }

    /// everything in `batch` that had to be stored is stored.
    fn carry_out(&mut self, mut batch: Batch) {
        let mut effects = std::mem::take(&mut batch.effects);
        for (index, effect) in effects.drain(..).enumerate() {
            self.carry_out_locals(&mut batch, index);
            match effect {
                Effect::Append { room, epoch, entry } => {
                    self.tell(|| Happened::Stored(Append { room, epoch, entry }));
                }
                Effect::Tell(change) => self.tell(|| Happened::Presence(change)),
                Effect::Answer {
                    publication,
                    outcome,
                } => {
                    if let Some(answer) = self.publishing.remove(&publication) {
                        reply(&answer, outcome);
                    }
                }
                Effect::Send { to, message } => self.send(&to, &message),
                Effect::Close { conn, reason } => self.fanout.close(conn, Some(reason)),
                Effect::LoadRoom { room, load } => {
                    let tail_entries = self.config.limits.tail_entries;
                    self.ask(Question::Load {
                        room,
                        load,
                        tail_entries,
                    });
                }
                Effect::FetchPage(fetch) => self.ask(Question::Page(fetch)),
                Effect::ReleaseRoom { room } => {
                    self.ask(Question::Release { room, at: self.now });
                }
            }
        }
        self.carry_out_locals(&mut batch, usize::MAX);
        // Its memory serves the next one.
        batch.effects = effects;
        self.writing.append(&mut batch.received);
        batch.clear();
        self.spare = batch;
    }

    /// Does the hub's own work that comes before the effect of this index.
    fn carry_out_locals(&mut self, batch: &mut Batch, index: usize) {
        while let Some(local) = batch.local_before(index) {
            match local {
                Local::Control(conn, frame) => {
                    // It is no message, so it does not count as a delivery.
                    let _ = self.fanout.send(conn, &frame, Worth::Kept);
                }
                Local::End(conn, reason) => self.fanout.close(conn, reason),
                Local::Answered(conn) => self.fanout.answered(conn),
                Local::Rooms(answer, rooms) => reply(&answer, rooms),
                Local::Users(answer, users) => reply(&answer, users),
            }
        }
    }

    fn tell(&mut self, happened: impl FnOnce() -> Happened) {
        if let Some(observer) = &mut self.config.observer {
            observer(happened());
        }
    }

    /// Encodes a message once, whoever it is for.
    fn send(&mut self, to: &Recipients, message: &ServerMessage) {
        let frame = text_frame(message, &mut self.scratch);
        let worth = match message {
            ServerMessage::Typing(_) => Worth::Droppable,
            ServerMessage::Error(ErrorMessage(Refusal { code, .. })) => {
                self.config.metrics.refused(*code);
                if let Recipients::One(conn) = to {
                    debug!(%conn, %code, "refused");
                }
                Worth::Kept
            }
            ServerMessage::Hello(_)
            | ServerMessage::Joined(_)
            | ServerMessage::Left(_)
            | ServerMessage::Message(_)
            | ServerMessage::UserJoined(_)
            | ServerMessage::UserLeft(_)
            | ServerMessage::RoomList(_)
            | ServerMessage::UserList(_)
            | ServerMessage::History(_)
            | ServerMessage::Pong(_) => Worth::Kept,
        };
        let fanout = &mut self.fanout;
        let mut send = |conn| u64::from(fanout.send(conn, &frame, worth));
        self.tally.deliveries += match to {
            Recipients::One(conn) => send(*conn),
            Recipients::Room { members, except } => {
                let others = members.iter().filter(|&&conn| Some(conn) != *except);
                others.map(|&conn| send(conn)).sum()
            }
        };
    }

    // The store.

    fn ask(&mut self, question: Question) {
        let expects_answer = match question {
            Question::Load { .. }
            | Question::Append(_)
            | Question::Page(_)
            | Question::Reopen { .. } => true,
            Question::Release { .. } | Question::Maintain { .. } => false,
        };
        match self.store.ask(self.generation, question) {
            Some(answer) => self.stored(answer),
            None if expects_answer => {
                if self.asked == 0 {
                    self.heard_ms = self.waited_ms;
                }
                self.asked += 1;
            }
            None => {}
        }
    }

    fn stored(&mut self, answer: Answer) {
        match answer {
            Answer::Appended(appended) => {
                let committing = self.committing.take();
                if let Some((_, asked)) = &committing {
                    self.config.metrics.committed(*asked);
                }
                match (appended, committing) {
                    (Ok(()), Some((batch, _))) => self.carry_out(batch),
                    (Ok(()), None) => {}
                    (Err(error), _) => self.store_failed(&error),
                }
            }
            Answer::Loaded {
                room,
                load,
                log: Ok(log),
            } => {
                self.follow_up
                    .push_back(Input::RoomLoaded { room, load, log });
            }
            Answer::Loaded {
                room,
                load,
                log: Err(error),
            } => {
                warn!(%error, "a room cannot be loaded; its joins are refused");
                self.follow_up.push_back(Input::LoadFailed { room, load });
            }
            Answer::Page {
                fetch,
                page: Ok(page),
            } => {
                self.follow_up.push_back(Input::PageFetched { fetch, page });
            }
            Answer::Page {
                fetch,
                page: Err(error),
            } => {
                warn!(conn = %fetch.conn, %error, "a page of history cannot be read");
                self.follow_up.push_back(Input::FetchFailed { fetch });
            }
            Answer::Reopened(reopened) => self.reopened(reopened),
        }
    }

    /// Nobody has seen what could not be stored: the state begins anew from the store, clients come
    /// back and send again what was not acknowledged.
    fn store_failed(&mut self, error: &StoreError) {
        error!(%error, "messages cannot be stored: all clients reconnect, the store is reopened");
        self.config.metrics.store_failures.inc();
        self.shared.store_failed.store(true, Ordering::Relaxed);
        let wait_ms = REOPEN_MS.0;
        self.store_state = StoreState::Failed {
            reopen_at: self.now.plus_ms(wait_ms),
            wait_ms,
        };
        self.rebuild(None);
        self.follow_up.push_back(Input::StoreFailed);
    }

    fn reopened(&mut self, reopened: Result<(), StoreError>) {
        match (reopened, self.store_state) {
            (Ok(()), StoreState::Working) => {}
            (Ok(()), StoreState::Failed { .. } | StoreState::Reopening { .. }) => {
                info!("the store works again");
                self.store_state = StoreState::Working;
                self.shared.store_failed.store(false, Ordering::Relaxed);
                self.follow_up.push_back(Input::StoreRecovered);
            }
            (Err(error), StoreState::Working) => self.store_failed(&error),
            (
                Err(error),
                StoreState::Failed { wait_ms, .. } | StoreState::Reopening { wait_ms },
            ) => {
                warn!(%error, retry_ms = wait_ms, "the store cannot be reopened yet");
                let reopen_at = self.now.plus_ms(wait_ms);
                let wait_ms = (wait_ms * 2).min(REOPEN_MS.1);
                self.store_state = StoreState::Failed { reopen_at, wait_ms };
            }
        }
    }

    fn tick(&mut self) {
        self.fanout.expire();
        match self.store_state {
            StoreState::Working => self.ask(Question::Maintain { at: self.now }),
            StoreState::Failed { reopen_at, wait_ms } if reopen_at <= self.now => {
                self.store_state = StoreState::Reopening { wait_ms };
                self.ask(Question::Reopen { at: self.now });
            }
            StoreState::Failed { .. } | StoreState::Reopening { .. } => {}
        }
        let elapsed_ms = self.now.ms_since(self.ticked_at);
        self.waited_ms += elapsed_ms.min(MOST_BETWEEN_TICKS_MS);
        self.ticked_at = self.now;
        if self.asked > 0 && self.waited_ms - self.heard_ms >= STORE_HANGS_MS {
            error!("the store does not answer: look at the disk, then start the server again");
            self.failed = Some(HubError::StoreHangs);
        }
    }

    // Supervision.

    /// Keeps a report of a panic, and finds the connection whose event or outlet it was.
    fn survive(&mut self, panic: &(dyn Any + Send)) -> Result<Option<ConnId>, HubError> {
        self.config.metrics.restarts.inc();
        let panic = panic_message(panic);
        let applying = self.applying.take();
        let conn = self.fanout.drop_writing().or(applying);
        error!(%panic, conn = conn.map(tracing::field::display), "the hub panicked: all clients reconnect");
        let Crashed {
            number,
            events,
            complete,
            recorded,
        } = self.tape.crashed();
        (self.config.on_crash)(CrashReport {
            at: self.now,
            panic,
            conn,
            limits: self.config.limits.clone(),
            number,
            events,
            complete,
            recorded,
        });
        self.restarts.push_back(self.now);
        self.restarts
            .retain(|at| self.now.ms_since(*at) <= RESTART_WINDOW_MS);
        if self.restarts.len() > MOST_RESTARTS {
            return Err(HubError::PanicsTooOften);
        }
        Ok(conn)
    }

    /// Begins anew from the store, which may panic in turn. The connection to blame is told so,
    /// that a poisoned request is not retried for ever.
    fn restart(&mut self, to_blame: Option<ConnId>) {
        self.rebuild(to_blame);
        match self.store_state {
            StoreState::Working => self.ask(Question::Reopen { at: self.now }),
            StoreState::Failed { .. } => self.follow_up.push_back(Input::StoreFailed),
            StoreState::Reopening { wait_ms } => {
                self.store_state = StoreState::Failed {
                    reopen_at: self.now,
                    wait_ms,
                };
                self.follow_up.push_back(Input::StoreFailed);
            }
        }
        self.settle();
    }

    fn rebuild(&mut self, to_blame: Option<ConnId>) {
        self.state = State::new(self.config.limits.clone());
        self.tape.rebuilt();
        self.generation += 1;
        self.asked = 0;
        self.building = Batch::default();
        self.committing = None;
        self.writing.clear();
        self.follow_up.clear();
        self.fetching.clear();
        // Nobody knows what became of what they said.
        self.publishing.clear();
        self.fanout.take_lost();
        self.fanout.close_all(CloseReason::Restart, to_blame);
        if self.shutting_down {
            self.follow_up.push_back(Input::Shutdown);
        }
        self.tell(|| Happened::Presence(Change::AllLeft));
    }
}

impl Drop for Hub {
    /// Whoever waits for an answer to what is still in the inbox learns that none will come: the
    /// channel would keep it as long as there is a handle.
    fn drop(&mut self) {
        self.inbox.close();
        while self.inbox.try_recv().is_ok() {}
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("fanout", &self.fanout)
            .finish_non_exhaustive()
    }
}

enum Incoming {
    Inbound(Inbound),
    Internal(Internal),
}

/// What comes next; none when every handle is gone.
async fn next(
    internal: &Receiver<Internal>,
    inbox: &Receiver<Inbound>,
    internal_only: bool,
) -> Option<Incoming> {
    let internal = async { internal.recv().await.ok().map(Incoming::Internal) };
    if internal_only {
        return internal.await;
    }
    future::or(internal, async {
        inbox.recv().await.ok().map(Incoming::Inbound)
    })
    .await
}

/// Whether an input may bring the answer to a request that holds its connection back.
fn may_answer(input: &Input) -> bool {
    match input {
        Input::Received { request, .. } => request.kind.holds(),
        Input::RoomLoaded { .. }
        | Input::LoadFailed { .. }
        | Input::PageFetched { .. }
        | Input::FetchFailed { .. }
        // New claims may refuse a join that waits.
        | Input::Identified { .. } => true,
        Input::Connected { .. }
        | Input::Refused { .. }
        | Input::Disconnected { .. }
        | Input::Published { .. }
        | Input::StoreFailed
        | Input::StoreRecovered
        | Input::Shutdown => false,
    }
}

fn reply<T>(answer: &Sender<T>, value: T) {
    // Whoever asked may have given up.
    let _ = answer.try_send(value);
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".into())
}

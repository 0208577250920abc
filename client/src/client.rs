//! The machine: what it knows, and what it asks for next.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;

use parlor_core::limits::AnnouncedLimits;

use crate::dice::Dice;
use crate::event::{Event, State};
use crate::failure::{ClientError, Failure, Why};
use crate::guest::Guest;
use crate::input::Input;
use crate::link::Link;
use crate::options::{Options, Secret};
use crate::output::{Output, Value};
use crate::request::{About, Asked, Question, Request};
use crate::room::{Pending, Phase, Room, RoomKey};
use crate::wire::Body;

/// Requests without an answer: a tenth of the frames that a server takes at once by default.
const MOST_IN_FLIGHT: usize = 20;

/// A connection to a Parlor server that comes back by itself, without the socket and the timer.
///
/// Hand over what happens with [`handle`](Self::handle), do what it asks for, and call it with
/// [`Input::Tick`] at the [`deadline`](Self::deadline). The crate's documentation has the whole
/// loop.
///
/// A connection's answers come in the order of its requests. So a refusal without a `ref` (flood
/// control of frames cannot name what it has not read) is about the first request that has no
/// answer, and an answer tells that whatever was asked before it and has none was refused.
///
/// One message of a room is in flight at a time. That costs a round trip for each, and it is what
/// keeps the order when one of them is refused for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub(crate) options: Options,
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    pub(crate) link: Link,
    pub(crate) state: State,
    pub(crate) guest: Guest,
    /// Of this connection, for servers that require it.
    pub(crate) token: Option<Secret>,
    pub(crate) username: Option<String>,
    pub(crate) limits: Option<AnnouncedLimits>,
    pub(crate) server: Option<String>,
    /// No request is sent before: flood control said so.
    pub(crate) quiet_until: u64,
    /// A frame was refused unread that may or may not have been `typing`.
    pub(crate) must_probe: bool,
    /// Hello is to be said once more: the guest may be known under another token.
    pub(crate) must_greet: bool,
    /// Refusals of our name in a row.
    pub(crate) name_refusals: u32,
    /// Whoever was served last is last.
    pub(crate) rooms: Vec<Room>,
    /// In the order in which they were sent.
    pub(crate) in_flight: VecDeque<Request>,
    pub(crate) questions: VecDeque<Question>,
    pub(crate) outputs: Vec<Output>,
    /// Messages that are not yet stored.
    pub(crate) pending: usize,
    next_reference: u64,
    pub(crate) next_id: u64,
    next_room: u64,
}

impl Client {
    /// A client that has done nothing yet: its first input is [`Input::Connect`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            dice: Dice::new(options.seed),
            now: 0,
            link: Link::new(&options),
            state: State::Connecting { attempt: 0 },
            guest: Guest::new(options.resume_token.clone()),
            token: None,
            username: options.username.clone(),
            limits: None,
            server: None,
            quiet_until: 0,
            must_probe: false,
            must_greet: false,
            name_refusals: 0,
            rooms: Vec::new(),
            in_flight: VecDeque::new(),
            questions: VecDeque::new(),
            outputs: Vec::new(),
            pending: 0,
            next_reference: 1,
            next_id: 1,
            next_room: 0,
            options,
        }
    }

    /// Where the connection stands.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The user's name, as the server spells it once it has said so.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// What the server allows; unknown before its first `hello`.
    #[must_use]
    pub const fn limits(&self) -> Option<&AnnouncedLimits> {
        self.limits.as_ref()
    }

    /// The server's name and version.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// How many messages are not yet stored.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// One step: `input` happened at `at_ms`, and `outputs` gets what is to be done, in order,
    /// behind what it holds.
    ///
    /// `at_ms` is on any clock of the caller's, in milliseconds; an earlier time than that of the
    /// last input counts as the same. Whatever comes, this neither fails nor panics.
    pub fn handle(&mut self, at_ms: u64, input: Input, outputs: &mut Vec<Output>) {
        if let Input::Remembered { resume_token } = input {
            if self.options.shares {
                self.guest.remember(resume_token);
            }
            return;
        }
        self.now = self.now.max(at_ms);
        self.take(input);
        self.pump();
        outputs.append(&mut self.outputs);
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Connect => self.start(),
            Input::Opened { token } => self.opened(token),
            Input::Received { text } => self.received(&text),
            Input::Closed { code, reason } => self.closed(code, reason),
            Input::Tick => self.tick(),
            Input::Remembered { .. } => {}
            Input::Join {
                call,
                room,
                history,
                since,
            } => self.join(call, room, history, since),
            Input::Leave { call, room } => self.leave(call, &room),
            Input::Send {
                call,
                room,
                text,
                client_msg_id,
            } => self.send(call, &room, text, client_msg_id),
            Input::Typing { room, active } => self.typing(&room, active),
            Input::History {
                call,
                room,
                before,
                limit,
            } => self.ask(
                call,
                About::History {
                    room,
                    before,
                    limit,
                },
            ),
            Input::Rooms { call, after } => self.ask(call, About::Rooms { after }),
            Input::Users { call, room } => self.ask(call, About::Users { room }),
            Input::Retry => self.retry(),
            Input::Close => self.close(),
        }
    }

    /// When to hand over [`Input::Tick`] at the latest, on the clock of the inputs; never if there
    /// is none. It may be earlier than needed, and a tick that comes early does no harm.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let due = self.link.deadline()?;
        if !self.link.is_ready() {
            return Some(due);
        }
        let typists = |room: &Room| room.typing.iter().map(|&(_, until)| until).min();
        let of_rooms = self
            .rooms
            .iter()
            .flat_map(|room| [Some(room.retry_at), typists(room)]);
        let times = of_rooms.flatten().chain([self.quiet_until]);
        times.filter(|&at| at > self.now).chain([due]).min()
    }

    /// Asks for whatever is wanted and may be asked for.
    fn pump(&mut self) {
        if !self.link.is_ready() || self.now < self.quiet_until {
            return;
        }
        if mem::take(&mut self.must_probe) {
            self.request(Asked::Ping, Body::Ping);
        }
        if mem::take(&mut self.must_greet) && self.guest.candidate().is_some() {
            self.greet();
        }
        self.serve_rooms();
        self.serve_questions();
    }

    /// Whoever was served is last in the next turn, so nobody starves.
    fn serve_rooms(&mut self) {
        let mut served = Vec::new();
        let mut index = 0;
        while index < self.rooms.len() && self.in_flight.len() < MOST_IN_FLIGHT {
            if self.now >= self.rooms[index].retry_at && self.advance(index) {
                served.push(self.rooms.remove(index));
            } else {
                index += 1;
            }
        }
        self.rooms.append(&mut served);
    }

    fn serve_questions(&mut self) {
        let mut index = 0;
        while index < self.questions.len() && self.in_flight.len() < MOST_IN_FLIGHT {
            if self.is_askable(&self.questions[index]) {
                if let Some(question) = self.questions.remove(index) {
                    self.ask_now(question);
                }
            } else {
                index += 1;
            }
        }
    }

    /// The next request about a room; false if there is none.
    fn advance(&mut self, index: usize) -> bool {
        let room = &mut self.rooms[index];
        match room.phase {
            Phase::Out if room.wanted => {
                self.request_join(index);
                true
            }
            Phase::In if !room.wanted => {
                // What is in flight is answered first, so that its sender learns what became of it.
                if room.in_flight().is_some() {
                    return false;
                }
                self.reject_outbox(index, &ClientError::Left.into());
                self.request_leave(index);
                true
            }
            Phase::In if mem::take(&mut room.resync) => {
                self.request_join(index);
                true
            }
            Phase::In => self.advance_outbox(index),
            Phase::Out | Phase::Joining | Phase::Leaving => false,
        }
    }

    /// Sends the first message that is not lost; false if there is none to be sent.
    fn advance_outbox(&mut self, index: usize) -> bool {
        while let Some(first) = self.rooms[index].outbox.front() {
            let room = &self.rooms[index];
            if first.in_flight {
                return false;
            }
            if first.unanswered {
                // If it was stored, it is in what the join replays, or in a gap.
                let is_replaying = |seq| seq < room.replayed;
                if room
                    .position
                    .as_ref()
                    .is_some_and(|at| is_replaying(at.seq))
                {
                    return false;
                }
                if room.is_gapped {
                    self.settle(index, |client, room, pending| {
                        client.reject_pending(room, &pending, &ClientError::OutcomeUnknown.into());
                    });
                    continue;
                }
            }
            self.request_message(index);
            return true;
        }
        false
    }

    fn request_join(&mut self, index: usize) {
        let room = &mut self.rooms[index];
        room.phase = Phase::Joining;
        let body = Body::Join {
            room_id: &room.id,
            username: self.options.username.as_deref(),
            since: room.position.as_ref(),
            history: room.history,
        };
        let reference = next(&mut self.next_reference);
        let text = body.encode(Some(&reference));
        let what = Asked::Join(room.key);
        self.sent(what, reference, text);
    }

    fn request_leave(&mut self, index: usize) {
        let room = &mut self.rooms[index];
        room.phase = Phase::Leaving;
        let reference = next(&mut self.next_reference);
        let text = Body::Leave { room_id: &room.id }.encode(Some(&reference));
        let what = Asked::Leave(room.key);
        self.sent(what, reference, text);
    }

    fn request_message(&mut self, index: usize) {
        let room = &mut self.rooms[index];
        let Some(first) = room.outbox.front_mut() else {
            return;
        };
        first.in_flight = true;
        let body = Body::Message {
            room_id: &room.id,
            text: &first.text,
            client_msg_id: &first.client_msg_id,
        };
        let reference = next(&mut self.next_reference);
        let text = body.encode(Some(&reference));
        let what = Asked::Message(room.key);
        self.sent(what, reference, text);
    }

    /// A question about a room's history waits until one is in.
    fn is_askable(&self, question: &Question) -> bool {
        let About::History { room, .. } = &question.about else {
            return true;
        };
        let room = self.room(room).map(|index| &self.rooms[index]);
        room.is_some_and(|room| room.phase == Phase::In)
    }

    fn ask_now(&mut self, question: Question) {
        let reference = next(&mut self.next_reference);
        let text = question.body().encode(Some(&reference));
        self.sent(Asked::Question(question), reference, text);
    }

    pub(crate) fn request(&mut self, what: Asked, body: Body<'_>) {
        let reference = next(&mut self.next_reference);
        let text = body.encode(Some(&reference));
        self.sent(what, reference, text);
    }

    /// Says hello, with whatever token there is.
    pub(crate) fn greet(&mut self) {
        self.must_greet = false;
        let reference = next(&mut self.next_reference);
        let token = self.token.as_ref().map(|Secret(token)| token.as_str());
        let resume_token = self.guest.greet().map(|Secret(token)| token.as_str());
        let text = Body::hello(token, resume_token).encode(Some(&reference));
        self.sent(Asked::Hello, reference, text);
    }

    fn sent(&mut self, what: Asked, reference: String, text: String) {
        self.in_flight.push_back(Request {
            reference: Some(reference),
            what,
        });
        self.outputs.push(Output::Transmit { text });
    }

    // Rooms.

    /// Where a room stands in the list.
    pub(crate) fn room(&self, id: &str) -> Option<usize> {
        self.rooms.iter().position(|room| room.id == id)
    }

    /// Where a room stands in the list, unless it is none of ours any more.
    pub(crate) fn keyed(&self, key: RoomKey) -> Option<usize> {
        self.rooms.iter().position(|room| room.key == key)
    }

    pub(crate) fn new_room_key(&mut self) -> RoomKey {
        self.next_room += 1;
        RoomKey(self.next_room)
    }

    // Calls.

    /// The first message of the outbox is done with.
    pub(crate) fn settle(&mut self, index: usize, how: impl FnOnce(&mut Self, &str, Pending)) {
        if let Some(pending) = self.rooms[index].outbox.pop_front() {
            self.pending -= 1;
            let room = self.rooms[index].id.clone();
            how(self, &room, pending);
        }
    }

    pub(crate) fn reject_pending(&mut self, room: &str, pending: &Pending, why: &Why) {
        let failure = why.about(Some(room), Some(&pending.client_msg_id));
        self.reject(pending.call, failure);
    }

    /// What is in flight stays, for its answer.
    pub(crate) fn reject_outbox(&mut self, index: usize, why: &Why) {
        let room = &mut self.rooms[index];
        let stays = usize::from(room.in_flight().is_some());
        let id = room.id.clone();
        for pending in room.outbox.split_off(stays) {
            self.pending -= 1;
            let lost = ClientError::OutcomeUnknown.into();
            let why = if pending.unanswered { &lost } else { why };
            self.reject_pending(&id, &pending, why);
        }
    }

    /// Nothing more comes of what was asked about this room.
    pub(crate) fn reject_room(&mut self, index: usize, why: &Why) {
        let room = &mut self.rooms[index];
        room.lose_answer();
        let id = room.id.clone();
        for join in mem::take(&mut room.joins) {
            self.reject(join, why.about(Some(&id), None));
        }
        self.reject_outbox(index, why);
        self.reject_questions(&id, why);
    }

    pub(crate) fn reject_questions(&mut self, id: &str, why: &Why) {
        let questions = mem::take(&mut self.questions);
        let (about, others): (Vec<_>, Vec<_>) = questions
            .into_iter()
            .partition(|question| question.is_history_of(id));
        self.questions = others.into();
        for question in about {
            self.reject_question(&question, why);
        }
    }

    pub(crate) fn reject_question(&mut self, question: &Question, why: &Why) {
        self.reject(question.call, why.about(question.room(), None));
    }

    pub(crate) fn resolve(&mut self, call: u64, value: Value) {
        self.outputs.push(Output::Resolve { call, value });
    }

    pub(crate) fn reject(&mut self, call: u64, failure: Failure) {
        self.outputs.push(Output::Reject { call, failure });
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.outputs.push(Output::Emit(event));
    }

    /// Below so many milliseconds, exponential, with full jitter; `attempt` from 0.
    pub(crate) fn backoff_ms(&mut self, attempt: u32) -> u64 {
        let bound = self.options.backoff.bound_ms(attempt);
        u64::from(self.dice.below(bound))
    }
}

/// The number, as a `ref`; the next one is greater.
pub(crate) fn next(number: &mut u64) -> String {
    let text = number.to_string();
    *number += 1;
    text
}

//! What the server says, refusals apart.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use parlor_core::ErrorCode;

use crate::client::Client;
use crate::event::{Change, Event, Gap, Left, Message, Presence};
use crate::failure::{ClientError, Code};
use crate::input::Position;
use crate::options::Secret;
use crate::output::{HistoryPage, Output, RoomList, UserList, Value};
use crate::request::{Asked, Request};
use crate::room::{MOST_NAMES, Phase, Room};
use crate::wire::Fields;

/// Messages that may belong to a page of history, until the server has said how long one is.
const HISTORY_PAGE: usize = 100;

impl Client {
    pub(crate) fn receive(&mut self, fields: &Fields) {
        let Some(frame) = fields.text("type") else {
            return;
        };
        let reference = fields.text("ref");
        if self.is_misunderstood(frame, reference) {
            return self.give_up("not understood");
        }
        match frame {
            "hello" => self.on_hello(fields),
            "joined" => self.on_joined(fields),
            "left" => self.on_left(fields),
            "message" => self.on_message(fields),
            "user_joined" => self.on_user_joined(fields),
            "user_left" => self.on_user_left(fields),
            "typing" => self.on_typing(fields),
            "history" => self.on_history(fields),
            "room_list" => {
                let rooms = fields.rooms();
                let room_count = fields.count("roomCount").unwrap_or(rooms.len() as u64);
                self.on_answer(reference, Value::Rooms(RoomList { rooms, room_count }));
            }
            "user_list" => self.on_user_list(fields),
            "pong" => {
                self.answered(reference);
            }
            "error" => self.on_error(fields),
            // A later server may say more; the protocol asks clients to overlook it.
            _ => {}
        }
    }

    /// Whether a frame names a request that it is no answer to.
    fn is_misunderstood(&self, frame: &str, reference: Option<&str>) -> bool {
        let request = self.find(reference).map(|index| &self.in_flight[index]);
        request.is_some_and(|request| !request.what.may_be_answered_by(frame))
    }

    fn find(&self, reference: Option<&str>) -> Option<usize> {
        let reference = reference?;
        let is_it = |request: &Request| request.reference.as_deref() == Some(reference);
        self.in_flight.iter().position(is_it)
    }

    /// The request that an answer belongs to. Whatever was asked before it was refused unread.
    pub(crate) fn answered(&mut self, reference: Option<&str>) -> Option<Asked> {
        let index = self.find(reference)?;
        let behind = self.in_flight.split_off(index + 1);
        let mut asked = mem::replace(&mut self.in_flight, behind);
        let answered = asked.pop_back()?;
        while let Some(unread) = asked.pop_back() {
            self.again(unread.what);
        }
        Some(answered.what)
    }

    /// A request was refused for a while.
    pub(crate) fn again(&mut self, asked: Asked) {
        match asked {
            Asked::Join(key) => {
                if let Some(index) = self.keyed(key) {
                    self.not_joined(index);
                }
            }
            Asked::Leave(key) => {
                if let Some(index) = self.keyed(key) {
                    self.stay(index);
                }
            }
            Asked::Message(key) => {
                if let Some(index) = self.keyed(key)
                    && let Some(pending) = self.rooms[index].in_flight()
                {
                    pending.in_flight = false;
                }
            }
            Asked::Question(question) => self.questions.push_front(question),
            Asked::Hello => self.must_greet = true,
            Asked::Ping | Asked::Typing => {}
        }
    }

    /// A join was refused; one that was to catch up leaves one where one was.
    pub(crate) fn not_joined(&mut self, index: usize) {
        let room = &mut self.rooms[index];
        if room.is_in {
            return self.stay(index);
        }
        room.phase = Phase::Out;
        if !room.wanted {
            self.left(index, None, None);
        }
    }

    /// One is still in, and heard nothing meanwhile.
    pub(crate) fn stay(&mut self, index: usize) {
        let room = &mut self.rooms[index];
        room.stay();
        if room.wanted {
            self.resolve_leaves(index);
        }
    }

    fn on_hello(&mut self, fields: &Fields) {
        if self.answered(fields.text("ref")).is_none() {
            return;
        }
        if let Some(limits) = fields.limits() {
            self.limits = Some(limits);
        }
        if let Some(server) = fields.owned("server") {
            self.server = Some(server);
        }
        if let Some(ms) = fields.wait_ms("pingIntervalMs") {
            self.link.look_every(ms);
        }
        self.guest.offer(fields.owned("resumeToken").map(Secret));
        let username = fields.owned("username");
        if username.is_some() {
            self.username.clone_from(&username);
            self.named();
        } else if self.guest.is_not_found() {
            return self.greet();
        }
        self.username = username.or_else(|| self.options.username.clone());
        self.guest.settle();
        self.ready();
    }

    /// The name is ours on this connection.
    fn named(&mut self) {
        self.name_refusals = 0;
        self.must_greet = false;
        if let Some(resume_token) = self.guest.named() {
            self.outputs.push(Output::Remember { resume_token });
        }
    }

    fn on_joined(&mut self, fields: &Fields) {
        let Some(Asked::Join(key)) = self.answered(fields.text("ref")) else {
            return;
        };
        let (Some(index), Some(stay)) = (self.keyed(key), Stay::of(fields)) else {
            // A room that is none of ours any more would be one that nobody leaves.
            return self.give_up("not understood");
        };
        self.named();
        let room = &mut self.rooms[index];
        let last = room.position.take();
        let rejoined = room.member;
        let continued = last.as_ref().filter(|last| stay.continues(last));
        let position = continued.map_or_else(|| stay.start.clone(), Position::clone);
        let continues = continued.is_some();
        room.position = Some(position);
        room.phase = Phase::In;
        room.is_in = true;
        room.replayed = stay.seq;
        room.users = stay.users;
        room.user_count = stay.user_count;
        room.refusals = 0;
        room.retry_at = 0;
        if !room.wanted {
            // It was left meanwhile: nobody wants to hear of it. Joined again, it goes on from what
            // was heard.
            room.position = last.or_else(|| room.position.take());
            return;
        }
        room.member = true;
        let mut joined = room.joined(rejoined);
        joined.seq = stay.seq;
        joined.recovered = stay.recovered;
        let joins = mem::take(&mut room.joins);
        let missed = last.filter(|_| !continues);
        // Of another epoch nothing is left that a message could be stored in.
        room.is_gapped = missed
            .as_ref()
            .is_some_and(|last| last.epoch == stay.start.epoch);
        let gap = missed.map(|last| Gap {
            room: room.id.clone(),
            last,
            next: Position {
                epoch: stay.start.epoch,
                seq: stay.start.seq + 1,
            },
        });
        self.emit(Event::Joined(joined.clone()));
        for join in joins {
            self.resolve(join, Value::Joined(joined.clone()));
        }
        self.outputs
            .extend(gap.map(|gap| Output::Emit(Event::Gap(gap))));
    }

    fn on_left(&mut self, fields: &Fields) {
        let reference = fields.text("ref");
        if let Some(Asked::Leave(key)) = self.answered(reference) {
            if let Some(index) = self.keyed(key) {
                self.has_left(index);
            }
            return;
        }
        let room = fields.text("roomId").and_then(|id| self.room(id));
        if let Some(index) = room.filter(|_| reference.is_none()) {
            self.reject_room(index, &ErrorCode::NotInRoom.into());
            self.left(index, None, fields.owned("reason"));
        }
    }

    /// One has left as one wanted.
    pub(crate) fn has_left(&mut self, index: usize) {
        let room = &mut self.rooms[index];
        room.phase = Phase::Out;
        room.is_in = false;
        if !room.wanted {
            return self.left(index, None, None);
        }
        // It was joined again meanwhile: another stay.
        let was_member = mem::take(&mut room.member);
        room.position.clone_from(&room.since);
        room.typing.clear();
        let left = Left {
            room: room.id.clone(),
            code: None,
            reason: None,
        };
        self.resolve_leaves(index);
        if was_member {
            self.emit(Event::Left(left));
        }
    }

    pub(crate) fn resolve_leaves(&mut self, index: usize) {
        for leave in mem::take(&mut self.rooms[index].leaves) {
            self.resolve(leave, Value::Left);
        }
    }

    /// The room is none of ours any more.
    pub(crate) fn left(&mut self, index: usize, code: Option<Code>, reason: Option<String>) {
        let room = self.rooms.remove(index);
        self.reject_questions(&room.id, &ClientError::Left.into());
        for leave in room.leaves {
            self.resolve(leave, Value::Left);
        }
        if room.member {
            self.emit(Event::Left(Left {
                room: room.id,
                code,
                reason,
            }));
        }
    }

    fn on_message(&mut self, fields: &Fields) {
        let reference = fields.text("ref");
        let request = self.answered(reference);
        let room = fields.text("roomId").and_then(|id| self.room(id));
        let acknowledged = match request {
            Some(Asked::Message(key)) => self.keyed(key),
            _ => None,
        };
        let message = room.and_then(|index| self.read_message(index, fields));
        if acknowledged.is_some() && (acknowledged != room || message.is_none()) {
            return self.give_up("not understood");
        }
        let (Some(index), Some(message)) = (room, message) else {
            return;
        };
        self.place(index, &message, reference.is_none());
        if acknowledged.is_some() {
            self.rooms[index].refusals = 0;
            self.settle(index, |client, _, pending| {
                let client_msg_id = Some(pending.client_msg_id);
                let stored = Message {
                    client_msg_id,
                    ..message
                };
                client.resolve(pending.call, Value::Sent(stored));
            });
        }
    }

    /// Tells of a message if it is the next one of its room.
    fn place(&mut self, index: usize, message: &Message, may_be_of_page: bool) {
        let most = self
            .limits
            .as_ref()
            .map_or(HISTORY_PAGE, |limits| limits.history_page as usize);
        let room = &mut self.rooms[index];
        let is_listening = room.is_listening();
        let Some(position) = &mut room.position else {
            return;
        };
        // What is said while nobody listens is read by whoever comes back.
        if message.seq == position.seq.saturating_add(1) && is_listening {
            position.seq = message.seq;
            let typing = room.stops_typing(&message.from);
            self.outputs.extend(typing.map(Output::Emit));
            self.emit(Event::Message(message.clone()));
            self.find_unanswered(index, message);
        } else if message.seq > position.seq {
            room.resync |= is_listening;
        } else if may_be_of_page {
            room.keep(message.clone(), most);
        }
    }

    /// A message whose answer was lost is stored after all.
    fn find_unanswered(&mut self, index: usize, message: &Message) {
        let is_it = self.rooms[index].outbox.front().is_some_and(|first| {
            let is_lost = first.unanswered && !first.in_flight;
            is_lost && message.client_msg_id.as_ref() == Some(&first.client_msg_id)
        });
        if is_it {
            self.settle(index, |client, _, pending| {
                client.resolve(pending.call, Value::Sent(message.clone()));
            });
        }
    }

    fn read_message(&self, index: usize, fields: &Fields) -> Option<Message> {
        let room = &self.rooms[index];
        let position = room.position.as_ref()?;
        let seq = fields.count("seq")?;
        let from = fields.owned("from")?;
        Some(Message {
            room: room.id.clone(),
            epoch: position.epoch.clone(),
            seq,
            text: fields.owned("text")?,
            timestamp: fields.count("timestamp")?,
            own: Some(&from) == self.username.as_ref(),
            from,
            replayed: seq <= room.replayed,
            client_msg_id: fields.owned("clientMsgId"),
        })
    }

    /// The room that a frame tells news of, if one listens there.
    fn listening(&mut self, fields: &Fields) -> Option<&mut Room> {
        let index = self.room(fields.text("roomId")?)?;
        self.rooms.get_mut(index).filter(|room| room.is_listening())
    }

    fn on_user_joined(&mut self, fields: &Fields) {
        let (Some(room), Some(joined)) = (self.listening(fields), fields.owned("username")) else {
            return;
        };
        if room.users.contains(&joined) {
            return;
        }
        room.user_count = room.user_count.saturating_add(1);
        if room.users.len() < MOST_NAMES {
            room.users.push(joined.clone());
        }
        let event = presence(room, Change::Joined { joined });
        self.emit(event);
    }

    fn on_user_left(&mut self, fields: &Fields) {
        let (Some(room), Some(left)) = (self.listening(fields), fields.owned("username")) else {
            return;
        };
        room.users.retain(|user| *user != left);
        let fewer = room.user_count.saturating_sub(1);
        room.user_count = fewer.max(room.users.len() as u64);
        let typing = room.stops_typing(&left);
        let reason = fields.owned("reason");
        let event = presence(room, Change::Left { left, reason });
        self.outputs.extend(typing.map(Output::Emit));
        self.emit(event);
    }

    fn on_typing(&mut self, fields: &Fields) {
        let now = self.now;
        let Some(username) = fields.text("username") else {
            return;
        };
        if self.username.as_deref() == Some(username) {
            return;
        }
        let active = fields.is_true("active");
        let typing = self
            .listening(fields)
            .and_then(|room| room.typist(username, active, now));
        self.outputs.extend(typing.map(Output::Emit));
    }

    fn on_history(&mut self, fields: &Fields) {
        let room = fields.owned("roomId");
        let index = room.as_deref().and_then(|id| self.room(id));
        let page = index.map_or_else(Default::default, |index| {
            mem::take(&mut self.rooms[index].page)
        });
        let count = fields.count("count").unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let before = page.len().saturating_sub(count);
        let page = HistoryPage {
            room: room.unwrap_or_default(),
            epoch: fields.owned("epoch").unwrap_or_default(),
            messages: page.into_iter().skip(before).collect(),
            has_more: fields.is_true("hasMore"),
        };
        self.on_answer(fields.text("ref"), Value::History(page));
    }

    fn on_user_list(&mut self, fields: &Fields) {
        let users = fields.texts("users").unwrap_or_default();
        let list = UserList {
            room: fields.owned("roomId").unwrap_or_default(),
            user_count: fields.count("userCount").unwrap_or(users.len() as u64),
            users,
        };
        self.on_answer(fields.text("ref"), Value::Users(list));
    }

    fn on_answer(&mut self, reference: Option<&str>, value: Value) {
        if let Some(Asked::Question(question)) = self.answered(reference) {
            self.resolve(question.call, value);
        }
    }
}

/// What `joined` says.
struct Stay {
    /// In front of the first message that follows.
    start: Position,
    /// The last message so far.
    seq: u64,
    recovered: bool,
    users: Vec<String>,
    user_count: u64,
}

impl Stay {
    fn of(fields: &Fields) -> Option<Self> {
        let seq = fields.count("seq")?;
        let users = fields.texts("users")?;
        Some(Self {
            start: Position {
                epoch: fields.owned("epoch")?,
                seq: seq.checked_sub(fields.count("history")?)?,
            },
            seq,
            recovered: fields.is_true("recovered"),
            user_count: fields.count("userCount").unwrap_or(users.len() as u64),
            users,
        })
    }

    /// Whether what follows goes on where one was, or before.
    fn continues(&self, last: &Position) -> bool {
        let is_there = last.epoch == self.start.epoch && last.seq <= self.seq;
        is_there && (self.recovered || self.start.seq <= last.seq)
    }
}

fn presence(room: &Room, change: Change) -> Event {
    Event::Presence(Presence {
        room: room.id.clone(),
        users: room.users.clone(),
        user_count: room.user_count,
        change,
    })
}

//! A room as this client knows it.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::event::{Event, Joined, Message, Typing};
use crate::input::Position;

/// Typists and members that are kept by name in a room: the server's own bound for lists.
pub(crate) const MOST_NAMES: usize = 1000;
/// A typist is announced this often: twice within the 6 s after which others forget.
const TYPING_EVERY_MS: u64 = 3_000;
const TYPING_FORGOTTEN_MS: u64 = 6_000;

/// Names a room for as long as it is one of ours; joined again later, it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoomKey(pub(crate) u64);

/// Where one is on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Out,
    Joining,
    In,
    Leaving,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) call: u64,
    pub(crate) text: String,
    pub(crate) client_msg_id: String,
    /// Its answer is awaited on this connection. True of the first in an outbox at most.
    pub(crate) in_flight: bool,
    /// It was sent, and the connection broke before the answer.
    pub(crate) unanswered: bool,
}

/// A room that one is in, or wants to be in, or is leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) key: RoomKey,
    pub(crate) id: String,
    /// Whether the application wants to be in it. The rest follows.
    pub(crate) wanted: bool,
    pub(crate) phase: Phase,
    /// Whether the server has one in it on this connection.
    pub(crate) is_in: bool,
    /// Whether this client was ever in.
    pub(crate) member: bool,
    /// A message is missing, and the log is to be read again.
    pub(crate) resync: bool,
    /// The last message delivered.
    pub(crate) position: Option<Position>,
    /// Where the next stay begins.
    pub(crate) since: Option<Position>,
    /// How many messages a first join replays.
    pub(crate) history: Option<u64>,
    /// A part of the log was missed at the last join.
    pub(crate) is_gapped: bool,
    /// Up to this seq, messages were said before the join.
    pub(crate) replayed: u64,
    pub(crate) users: Vec<String>,
    pub(crate) user_count: u64,
    /// Until when each is taken to be typing, in the order in which they began.
    pub(crate) typing: Vec<(String, u64)>,
    /// When the others were last told that this user types.
    pub(crate) typed_at: Option<u64>,
    pub(crate) outbox: VecDeque<Pending>,
    /// Calls that wait for the join.
    pub(crate) joins: Vec<u64>,
    /// Calls that wait for the leave.
    pub(crate) leaves: Vec<u64>,
    /// Messages that may belong to the page of history asked for.
    pub(crate) page: VecDeque<Message>,
    /// In a row, of what time mends.
    pub(crate) refusals: u32,
    /// Our name was refused in it on this connection.
    pub(crate) is_name_refused: bool,
    /// Nothing is tried before.
    pub(crate) retry_at: u64,
}

impl Room {
    pub(crate) fn new(
        key: RoomKey,
        id: String,
        call: u64,
        history: Option<u64>,
        since: Option<Position>,
    ) -> Self {
        Self {
            key,
            id,
            wanted: true,
            phase: Phase::Out,
            is_in: false,
            member: false,
            resync: false,
            position: since.clone(),
            since,
            history,
            is_gapped: false,
            replayed: 0,
            users: Vec::new(),
            user_count: 0,
            typing: Vec::new(),
            typed_at: None,
            outbox: VecDeque::new(),
            joins: vec![call],
            leaves: Vec::new(),
            page: VecDeque::new(),
            refusals: 0,
            is_name_refused: false,
            retry_at: 0,
        }
    }

    /// Whether one is in, wants to be, and has been told so.
    pub(crate) fn is_listening(&self) -> bool {
        self.phase == Phase::In && self.wanted && self.member
    }

    /// How things stand.
    pub(crate) fn joined(&self, rejoined: bool) -> Joined {
        let position = self.position.clone();
        let (epoch, seq) = position.map_or_else(Default::default, |at| (at.epoch, at.seq));
        Joined {
            room: self.id.clone(),
            users: self.users.clone(),
            user_count: self.user_count,
            epoch,
            seq: seq.max(self.replayed),
            recovered: false,
            rejoined,
        }
    }

    /// Nothing of the connection is left.
    pub(crate) fn disconnect(&mut self) {
        self.phase = Phase::Out;
        self.is_in = false;
        self.is_name_refused = false;
        self.resync = false;
        self.retry_at = 0;
        self.typed_at = None;
        self.page.clear();
        self.lose_answer();
    }

    /// The answer to what is in flight will not come.
    pub(crate) fn lose_answer(&mut self) {
        if let Some(first) = self.in_flight() {
            first.in_flight = false;
            first.unanswered = true;
        }
    }

    /// The message whose answer is awaited.
    pub(crate) fn in_flight(&mut self) -> Option<&mut Pending> {
        self.outbox.front_mut().filter(|first| first.in_flight)
    }

    /// One is still in, and heard nothing meanwhile.
    pub(crate) fn stay(&mut self) {
        self.phase = Phase::In;
        self.resync = true;
    }

    /// Keeps what may belong to a page of history, at most `most` messages.
    pub(crate) fn keep(&mut self, message: Message, most: usize) {
        self.page.push_back(message);
        if self.page.len() > most {
            self.page.pop_front();
        }
    }

    /// Whether the others are to be told that this user types, or does no more.
    pub(crate) fn types(&mut self, active: bool, now: u64) -> bool {
        let is_due = match self.typed_at {
            Some(at) => !active || now.saturating_sub(at) >= TYPING_EVERY_MS,
            None => active,
        };
        if is_due {
            self.typed_at = active.then_some(now);
        }
        is_due
    }

    /// Somebody else types, or does no more. The event to tell, if it changes who does.
    pub(crate) fn typist(&mut self, username: &str, active: bool, now: u64) -> Option<Event> {
        if !active {
            return self.stops_typing(username);
        }
        if self.typing.len() >= MOST_NAMES {
            return None;
        }
        let until = now.saturating_add(TYPING_FORGOTTEN_MS);
        if let Some((_, known)) = self.typing.iter_mut().find(|(name, _)| name == username) {
            *known = until;
            return None;
        }
        self.typing.push((username.into(), until));
        Some(self.typing_event())
    }

    /// Somebody does not type. The event to tell, if they did.
    pub(crate) fn stops_typing(&mut self, username: &str) -> Option<Event> {
        self.keep_typists(|name, _| name != username)
    }

    /// Nobody has typed for too long. The event to tell, if somebody had.
    pub(crate) fn forget_typists(&mut self, now: u64) -> Option<Event> {
        self.keep_typists(|_, until| now < until)
    }

    /// Nobody types. The event to tell, if somebody did.
    pub(crate) fn clear_typists(&mut self) -> Option<Event> {
        self.keep_typists(|_, _| false)
    }

    fn keep_typists(&mut self, stays: impl Fn(&str, u64) -> bool) -> Option<Event> {
        let before = self.typing.len();
        self.typing.retain(|(name, until)| stays(name, *until));
        (self.typing.len() != before).then(|| self.typing_event())
    }

    fn typing_event(&self) -> Event {
        Event::Typing(Typing {
            room: self.id.clone(),
            users: self.typing.iter().map(|(name, _)| name.clone()).collect(),
        })
    }
}

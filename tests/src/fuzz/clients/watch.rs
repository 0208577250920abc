//! A client, seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use parlor_client::{Code, Event, Gap, Input, Message, Output, Position, State, Value};
use parlor_core::ErrorCode;
use parlor_core::decode::decode;

/// What a client came by: the kinds of its events and answers, the codes of its failures.
pub(super) type Seen = BTreeSet<String>;

/// Objects as soon as a promise is broken.
#[derive(Default)]
pub(super) struct Watch {
    socket: Socket,
    is_closed: bool,
    /// The calls that are not settled.
    open: BTreeMap<u64, Call>,
    /// The rooms that one is in, and which message comes next where that is known.
    rooms: BTreeMap<String, Option<Position>>,
    pub(super) seen: Seen,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Socket {
    #[default]
    None,
    Dialling,
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Join,
    Leave,
    Send,
    History,
    Rooms,
    Users,
}

impl Watch {
    pub(super) fn is_dialling(&self) -> bool {
        self.socket == Socket::Dialling
    }

    /// Messages whose fate is not told.
    pub(super) fn pending(&self) -> usize {
        self.open
            .values()
            .filter(|&&call| call == Call::Send)
            .count()
    }

    /// No call is left.
    pub(super) fn is_over(&self) {
        assert!(self.is_closed);
        assert!(self.open.is_empty(), "{:?}", self.open);
    }

    pub(super) fn input(&mut self, input: &Input) {
        let (call, kind) = match input {
            Input::Join { call, .. } => (call, Call::Join),
            Input::Leave { call, .. } => (call, Call::Leave),
            Input::Send { call, .. } => (call, Call::Send),
            Input::History { call, .. } => (call, Call::History),
            Input::Rooms { call, .. } => (call, Call::Rooms),
            Input::Users { call, .. } => (call, Call::Users),
            Input::Opened { .. } => {
                if self.socket == Socket::Dialling {
                    self.socket = Socket::Open;
                }
                return;
            }
            Input::Closed { .. } => {
                self.socket = Socket::None;
                return;
            }
            Input::Connect
            | Input::Received { .. }
            | Input::Tick
            | Input::Remembered { .. }
            | Input::Typing { .. }
            | Input::Retry
            | Input::Close => return,
        };
        self.open.insert(*call, kind);
    }

    pub(super) fn output(&mut self, output: &Output) {
        match output {
            Output::Connect => {
                assert!(self.socket == Socket::None, "a second socket");
                self.socket = Socket::Dialling;
            }
            Output::HangUp => {
                assert!(self.socket != Socket::None, "there is no socket");
                self.socket = Socket::None;
            }
            Output::Transmit { text } => {
                assert!(self.socket == Socket::Open, "no socket for {text}");
                is_good(text);
            }
            Output::Remember { .. } => self.saw("remember"),
            Output::Emit(event) => self.event(event),
            Output::Resolve { call, value } => self.resolved(*call, value),
            Output::Reject { call, failure } => {
                let settled = self.open.remove(call);
                assert!(settled.is_some(), "{call} is settled twice: {failure}");
                self.saw(failure.code.as_str());
            }
        }
    }

    fn saw(&mut self, what: &str) {
        if !self.seen.contains(what) {
            self.seen.insert(what.into());
        }
    }

    fn resolved(&mut self, call: u64, value: &Value) {
        let kind = match value {
            Value::Joined(_) => Call::Join,
            Value::Left => Call::Leave,
            Value::Sent(_) => Call::Send,
            Value::History(_) => Call::History,
            Value::Rooms(_) => Call::Rooms,
            Value::Users(_) => Call::Users,
        };
        assert_eq!(self.open.remove(&call), Some(kind), "{call}: {value:?}");
        self.saw(&format!("{kind:?}"));
    }

    fn event(&mut self, event: &Event) {
        assert!(!self.is_closed, "{event:?}");
        match event {
            Event::State(state) => self.is_closed = matches!(state, State::Closed { .. }),
            Event::Joined(joined) => {
                let is_in = self.rooms.contains_key(&joined.room);
                assert_eq!(joined.rejoined, is_in, "{joined:?}");
                self.rooms.entry(joined.room.clone()).or_default();
                self.saw(if is_in { "rejoined" } else { "joined" });
            }
            Event::Left(left) => {
                let room = self.rooms.remove(&left.room);
                assert!(room.is_some(), "{left:?}, and was not in");
                self.saw("left");
            }
            Event::Message(message) => self.message(message),
            Event::Gap(gap) => self.gap(gap),
            Event::Presence(presence) => {
                assert!(self.rooms.contains_key(&presence.room), "{presence:?}");
                assert!(presence.user_count >= presence.users.len() as u64);
                self.saw("presence");
            }
            Event::Typing(typing) => {
                assert!(self.rooms.contains_key(&typing.room), "{typing:?}");
                self.saw("typing");
            }
            Event::Error(failure) => {
                assert!(!matches!(failure.code, Code::Client(_)), "{failure}");
                self.saw("error");
            }
        }
    }

    fn message(&mut self, message: &Message) {
        let known = self.rooms.get_mut(&message.room);
        let next = known.expect("one is in a room whose messages one gets");
        let (epoch, seq) = (message.epoch.clone(), message.seq);
        let place = Position { epoch, seq };
        assert!(
            next.as_ref().is_none_or(|next| *next == place),
            "{next:?}: {place:?}"
        );
        *next = Some(after(place));
        self.saw("message");
    }

    fn gap(&mut self, gap: &Gap) {
        let known = self.rooms.get_mut(&gap.room);
        let next = known.expect("one is in a room that has a gap");
        let last = after(gap.last.clone());
        assert!(
            next.as_ref().is_none_or(|next| *next == last),
            "{next:?}: {gap:?}"
        );
        let is_gap = gap.last.epoch != gap.next.epoch || gap.next != last;
        assert!(is_gap, "{gap:?} is none");
        *next = Some(gap.next.clone());
        self.saw("gap");
    }
}

fn after(place: Position) -> Position {
    Position {
        seq: place.seq.saturating_add(1),
        ..place
    }
}

/// The server reads every frame, if only it has said epochs that it would read itself.
fn is_good(text: &str) {
    let code = decode(text).err().map(|refusal| refusal.code);
    assert!(
        matches!(code, None | Some(ErrorCode::InvalidField)),
        "{code:?}: {text}"
    );
    if code.is_some() {
        assert!(text.contains(r#""since":{"epoch""#), "{text}");
    }
}

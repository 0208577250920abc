//! The hub's half: what is handed to whoever records, and the last events for a report.

use std::fmt;

use parlor_core::types::MessageText;
use parlor_core::{Effect, Event, Input, ServerMessage, State};

use super::Why;
use super::redact::refuse_other_text;
use crate::crash::Last;

/// Takes what the core is fed. The hub waits for it, so it must not wait itself.
pub trait Record: Send {
    /// What it can take: asked before each event.
    fn wanted(&mut self) -> Wanted;

    /// Takes an event; with a beginning if it wanted one, or one is needed.
    fn take(&mut self, fed: Fed);
}

/// What whoever records can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The next event.
    Event,
    /// The next event, and the state before it, for a trace that is to begin there.
    Beginning,
    /// Nothing. The event is lost; what is taken next has a beginning, which may be large, so it
    /// should be late enough to be the last for a while.
    Nothing,
}

/// An event, and what came of it.
#[derive(Debug)]
pub struct Fed {
    /// Its number, from 1.
    pub number: u64,
    /// The state before it, if that is not what the one before it left.
    pub beginning: Option<Box<Beginning>>,
    /// Itself, with all its secrets.
    pub event: Event,
    /// What came of it; none if the core panicked.
    pub effects: Option<Vec<Effect>>,
}

/// A state that begins.
#[derive(Debug)]
pub struct Beginning {
    /// Why.
    pub why: Why,
    /// Events before it that nobody took.
    pub lost: u64,
    /// Itself, with all its secrets.
    pub state: State,
}

impl Fed {
    /// About how many bytes it keeps in memory, but for a beginning, most of which is the state's.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const EVENT: usize = 400;
        const EFFECT: usize = 160;
        const NAME: usize = 120;
        let entry = |text: &MessageText| EFFECT + text.as_str().len();
        let input = match &self.event.input {
            Input::RoomLoaded { log, .. } => log.tail().iter().map(|it| entry(&it.text)).sum(),
            Input::PageFetched { page, .. } => page.entries.iter().map(|it| entry(&it.text)).sum(),
            Input::Received { request, .. } => request.kind.text().map_or(0, entry),
            Input::Published { publication, .. } => entry(&publication.text),
            Input::Connected { .. }
            | Input::Identified { .. }
            | Input::Refused { .. }
            | Input::Disconnected { .. }
            | Input::LoadFailed { .. }
            | Input::FetchFailed { .. }
            | Input::StoreFailed
            | Input::StoreRecovered
            | Input::Shutdown => 0,
        };
        let effect = |effect: &Effect| match effect {
            Effect::Send { message, .. } => match message {
                ServerMessage::Joined(joined) => EFFECT + NAME * joined.users.len(),
                ServerMessage::UserList(list) => EFFECT + NAME * list.users.len(),
                ServerMessage::RoomList(list) => EFFECT + NAME * list.rooms.len(),
                ServerMessage::Message(delivery) => entry(&delivery.entry.text),
                ServerMessage::Hello(_)
                | ServerMessage::Left(_)
                | ServerMessage::UserJoined(_)
                | ServerMessage::UserLeft(_)
                | ServerMessage::Typing(_)
                | ServerMessage::History(_)
                | ServerMessage::Pong(_)
                | ServerMessage::Error(_) => EFFECT,
            },
            Effect::Append { .. }
            | Effect::Answer { .. }
            | Effect::Tell(_)
            | Effect::Close { .. }
            | Effect::LoadRoom { .. }
            | Effect::FetchPage(_)
            | Effect::ReleaseRoom { .. } => EFFECT,
        };
        let effects = self.effects.iter().flatten().map(effect).sum::<usize>();
        EVENT + input + effects
    }
}

/// Stands between the hub and the core.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    /// Events so far.
    number: u64,
    last: Last,
    recording: Option<Recording>,
}

impl Tape {
    pub(crate) fn new(recorder: Option<Box<dyn Record>>) -> Self {
        let recording = recorder.map(|to| Recording {
            to,
            begins: Some(Why::Start),
            lost: 0,
            applying: None,
        });
        Self {
            recording,
            ..Self::default()
        }
    }

    /// Applies an event, and remembers it.
    pub(crate) fn apply(&mut self, state: &mut State, event: Event, effects: &mut Vec<Effect>) {
        self.number += 1;
        self.last.push(&event);
        if let Some(recording) = &mut self.recording {
            recording.before(self.number, state, &event);
        }
        let before = effects.len();
        state.apply(event, effects);
        let effects = &effects[before..];
        if refuse_other_text(effects) {
            self.last.had_another_text();
        }
        if let Some(recording) = &mut self.recording {
            recording.after(effects);
        }
    }

    /// What a report of a panic has.
    pub(crate) fn crashed(&mut self) -> Crashed {
        let (events, complete) = self.last.take();
        let recorded = self.recording.as_mut().is_some_and(Recording::crashed);
        Crashed {
            number: self.number,
            events,
            complete,
            recorded,
        }
    }

    /// The next event meets a new state.
    pub(crate) fn rebuilt(&mut self) {
        self.last = Last::default();
        if let Some(recording) = &mut self.recording {
            recording.begins = Some(Why::Rebuilt);
        }
    }
}

/// What the tape knows at a panic.
pub(crate) struct Crashed {
    /// The number of the last event.
    pub(crate) number: u64,
    /// The last events.
    pub(crate) events: Vec<Event>,
    /// Whether they reach back to where the state began.
    pub(crate) complete: bool,
    /// Whether the last of them was recorded.
    pub(crate) recorded: bool,
}

struct Recording {
    to: Box<dyn Record>,
    /// Why the next one that is taken has a beginning.
    begins: Option<Why>,
    lost: u64,
    /// What is being applied.
    applying: Option<Fed>,
}

impl Recording {
    fn before(&mut self, number: u64, state: &State, event: &Event) {
        match self.to.wanted() {
            Wanted::Event => {}
            Wanted::Beginning => {
                self.begins.get_or_insert(Why::Rotated);
            }
            Wanted::Nothing => {
                self.lost += 1;
                self.begins.get_or_insert(Why::Lost);
                return;
            }
        }
        let beginning = self.begins.take().map(|why| {
            Box::new(Beginning {
                why,
                lost: std::mem::take(&mut self.lost),
                state: state.clone(),
            })
        });
        self.applying = Some(Fed {
            number,
            beginning,
            event: event.clone(),
            effects: None,
        });
    }

    fn after(&mut self, effects: &[Effect]) {
        if let Some(mut fed) = self.applying.take() {
            fed.effects = Some(effects.into());
            self.to.take(fed);
        }
    }

    /// Hands on the event that the core panicked at; whether the last one is recorded.
    fn crashed(&mut self) -> bool {
        if let Some(fed) = self.applying.take() {
            self.to.take(fed);
        }
        self.begins.is_none()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("begins", &self.begins)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex};

    use parlor_core::protocol::{Delivery, Joined, RoomInfo, RoomList, UserList};
    use parlor_core::types::LoadId;
    use parlor_core::{
        ConnId, Entry, Epoch, Limits, Recipients, Request, RequestKind, ResumeToken, RoomId, Seq,
        StoredLog, Timestamp, Username,
    };

    use super::*;
    use crate::trace::{Line, Player, Reader, Recorder, Texts, Verdict};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A state on which the core panics as soon as somebody gets a name: one that it cannot come to
    /// by itself.
    fn damaged() -> State {
        let state = serde_json::to_string(&State::new(Limits::default())).unwrap();
        let state = state.replace("\"next_user\":0", &format!("\"next_user\":{}", u64::MAX));
        serde_json::from_str(&state).unwrap()
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore = "what is damaged does not panic then")]
    fn the_event_that_the_core_panics_at_is_recorded_and_panics_again() {
        let shared = Shared::default();
        let limits = Limits::default();
        let recorder = Recorder::new(Texts::Redacted, Timestamp(1), &limits, shared.clone());
        let mut tape = Tape::new(Some(Box::new(recorder.unwrap())));
        let conn = ConnId(1);
        let connected = Input::Connected {
            conn,
            resume_token: ResumeToken::from_random(1),
        };
        let kind = RequestKind::Join {
            room: RoomId::new("r").unwrap(),
            username: Some(Username::new("alice").unwrap()),
            since: None,
            history: None,
        };
        let request = Request {
            reference: None,
            kind,
        };
        let apply = |tape: &mut Tape, state: &mut State, input: &Input| {
            let event = Event {
                at: Timestamp(2),
                input: input.clone(),
            };
            tape.apply(state, event, &mut Vec::new());
        };
        let mut state = damaged();
        apply(&mut tape, &mut state, &connected);
        let join = Input::Received { conn, request };
        let panicked = catch_unwind(AssertUnwindSafe(|| apply(&mut tape, &mut state, &join)));
        assert!(panicked.is_err());
        let crashed = tape.crashed();
        assert_eq!((crashed.number, crashed.events.len()), (2, 2));
        assert!(crashed.recorded && crashed.complete);
        tape.rebuilt();
        let mut state = State::new(limits);
        apply(&mut tape, &mut state, &connected);
        apply(&mut tape, &mut state, &join);

        let bytes = shared.0.lock().unwrap().clone();
        let mut reader = Reader::open(&bytes[..]).unwrap();
        let mut player = Player::default();
        let mut came = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            came.push(match line {
                Line::Begin(begin) => {
                    let why = format!("{:?}", begin.why);
                    player.begin(*begin).unwrap();
                    why
                }
                Line::Event(event) => {
                    let verdict = player.event(&event).unwrap().verdict;
                    if matches!(verdict, Verdict::Panicked(_)) {
                        format!("panicked {}", event.digest.is_some())
                    } else {
                        format!("{verdict:?}")
                    }
                }
            });
        }
        assert_eq!(
            came,
            ["Start", "Same", "panicked false", "Rebuilt", "Same", "Same"]
        );
    }

    fn bytes(input: Input, effects: Vec<Effect>) -> usize {
        let fed = Fed {
            number: 1,
            beginning: None,
            event: Event {
                at: Timestamp(1),
                input,
            },
            effects: Some(effects),
        };
        fed.bytes()
    }

    /// What goes beyond `least` is a bounded part of it.
    #[track_caller]
    fn about(bytes: usize, least: usize) {
        assert!((least..3 * least).contains(&bytes), "{bytes} for {least}");
    }

    #[test]
    fn what_is_fed_is_weighed_by_its_texts_and_lists() {
        let room = RoomId::new("r").unwrap();
        let long = MessageText::new(&"x".repeat(2000)).unwrap();
        let entry = || {
            Arc::new(Entry {
                seq: Seq(1),
                at: Timestamp(1),
                from: Username::new("ann").unwrap(),
                text: long.clone(),
                client_msg_id: None,
            })
        };
        let kind = RequestKind::Message {
            room: room.clone(),
            text: long.clone(),
            client_msg_id: None,
        };
        let received = Input::Received {
            conn: ConnId(1),
            request: Request {
                reference: None,
                kind,
            },
        };
        let said = Effect::Send {
            to: Recipients::One(ConnId(1)),
            message: ServerMessage::Message(Delivery::plain(room.clone(), entry())),
        };
        about(bytes(received, vec![]), 2000);
        about(bytes(Input::Shutdown, vec![said.clone()]), 2000);
        about(bytes(Input::Shutdown, vec![said.clone(), said]), 4000);

        let log = StoredLog::new(
            Epoch::new("e").unwrap(),
            Seq(1),
            Timestamp(1),
            vec![entry()],
        );
        let loaded = Input::RoomLoaded {
            room: room.clone(),
            load: LoadId(1),
            log: log.unwrap(),
        };
        about(bytes(loaded, vec![]), 2000);

        let name = || Username::new(&"x".repeat(32)).unwrap();
        let users = UserList {
            room_id: room.clone(),
            users: vec![name(); 100],
            user_count: 100,
            reference: None,
        };
        let joined = Joined {
            room_id: room.clone(),
            users: vec![name(); 100],
            user_count: 100,
            epoch: Epoch::new("e").unwrap(),
            seq: Seq(1),
            recovered: false,
            history: 0,
            reference: None,
        };
        let rooms = RoomList {
            rooms: vec![
                RoomInfo {
                    id: room,
                    user_count: 1
                };
                100
            ],
            room_count: 100,
            reference: None,
        };
        // A name is kept as it was written and as it is compared.
        for list in [
            ServerMessage::UserList(users),
            ServerMessage::Joined(joined),
            ServerMessage::RoomList(rooms),
        ] {
            let to = Recipients::One(ConnId(1));
            let effects = vec![Effect::Send { to, message: list }];
            about(bytes(Input::Shutdown, effects), 100 * 2 * 32);
        }
    }
}

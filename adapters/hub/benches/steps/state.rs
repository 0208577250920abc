//! What the core takes for what a server does most.

use std::hint::black_box;

use parlor_core::decode::decode;
use parlor_core::encode::encode;
use parlor_core::session::Session;
use parlor_core::{
    ConnId, Effect, Epoch, Event, Input, Limits, ResumeToken, RoomId, State, StoredLog, Timestamp,
};

use crate::{Make, Step};

pub(crate) const STEPS: &[(&str, Make)] = &[
    ("core: decode", || {
        Box::new(|| drop(black_box(decode(black_box(MESSAGE)))))
    }),
    ("core: admit", admit),
    ("core: message in a room of 10", || message(10)),
    ("core: message in a room of 1000", || message(1000)),
    ("core: encode a message", encode_message),
    ("core: leave and join a room of 10", || leave_and_join(10)),
    ("core: leave and join a room of 1000", || {
        leave_and_join(1000)
    }),
    ("core: join with 50 replayed", replay),
    ("core: ping", ping),
];

/// 128 characters of text, as in most measurements of chat servers.
const MESSAGE: &str = r#"{"type":"message","roomId":"general","text":"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789ab","clientMsgId":"0f3c"}"#;

fn admit() -> Step {
    let mut at = Timestamp(0);
    let mut session = Session::new(&unlimited(), at);
    Box::new(move || {
        at = at.plus_ms(1);
        drop(black_box(session.text(black_box(MESSAGE), at)));
    })
}

fn message(members: u64) -> Step {
    let mut room = Room::of(members);
    // Without an id: one that repeats itself is a retry.
    let message = MESSAGE.replace(r#","clientMsgId":"0f3c""#, "");
    let said = request(1, &message);
    Box::new(move || room.happens(said.clone()))
}

fn encode_message() -> Step {
    let mut room = Room::of(10);
    room.happens(request(1, MESSAGE));
    let sent = room.effects.into_iter().find_map(|effect| {
        if let Effect::Send { message, .. } = effect {
            return Some(message);
        }
        None
    });
    let message = sent.expect("a message is sent");
    Box::new(move || drop(black_box(encode(black_box(&message)))))
}

fn leave_and_join(members: u64) -> Step {
    let mut room = Room::of(members);
    let leave = request(1, r#"{"type":"leave","roomId":"general"}"#);
    let join = request(1, r#"{"type":"join","roomId":"general"}"#);
    Box::new(move || {
        room.happens(leave.clone());
        room.happens(join.clone());
    })
}

fn replay() -> Step {
    let mut room = Room::of(2);
    let message = MESSAGE.replace(r#","clientMsgId":"0f3c""#, "");
    let said = request(1, &message);
    (0..50).for_each(|_| room.happens(said.clone()));
    let leave = request(2, r#"{"type":"leave","roomId":"general"}"#);
    let join = request(2, r#"{"type":"join","roomId":"general","history":50}"#);
    Box::new(move || {
        room.happens(leave.clone());
        room.happens(join.clone());
    })
}

fn ping() -> Step {
    let mut room = Room::of(10);
    let ping = request(1, r#"{"type":"ping"}"#);
    Box::new(move || room.happens(ping.clone()))
}

/// A server with one room.
struct Room {
    state: State,
    effects: Vec<Effect>,
    at: Timestamp,
}

impl Room {
    /// Connections 1, 2, 3 and so on are in it.
    fn of(members: u64) -> Self {
        let mut room = Self {
            state: State::new(unlimited()),
            effects: Vec::new(),
            at: Timestamp(1_700_000_000_000),
        };
        for number in 1..=members {
            let (conn, resume_token) = (ConnId(number), ResumeToken::from_random(number.into()));
            room.happens(Input::Connected { conn, resume_token });
            let join =
                format!(r#"{{"type":"join","roomId":"general","username":"user {number}"}}"#);
            room.happens(request(number, &join));
            if let [Effect::LoadRoom { load, .. }] = room.effects[..] {
                let log = StoredLog::empty(Epoch::new("e1").expect("a good epoch"));
                let room_id = RoomId::new("general").expect("a good room");
                room.happens(Input::RoomLoaded {
                    room: room_id,
                    load,
                    log,
                });
            }
        }
        room
    }

    fn happens(&mut self, input: Input) {
        self.at = self.at.plus_ms(1);
        self.effects.clear();
        let event = Event { at: self.at, input };
        self.state.apply(black_box(event), &mut self.effects);
        black_box(&self.effects);
    }
}

fn unlimited() -> Limits {
    Limits {
        messages_per_second: 0,
        ..Limits::default()
    }
}

fn request(conn: u64, text: &str) -> Input {
    let decoded = decode(text).expect("a good request");
    Input::Received {
        conn: ConnId(conn),
        request: decoded.request,
    }
}

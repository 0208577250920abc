//! What the core costs for what a server does most: its time by `cargo bench -p parlor-core`, its
//! instructions and allocations by `.ci/instructions`, which asks for the names of the steps
//! (`--steps`) and for a step so many times (`--count STEP TIMES`).
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "this is not the core"
)]

use std::env;
use std::hint::black_box;

use criterion::Criterion;
use parlor_core::decode::decode;
use parlor_core::encode::encode;
use parlor_core::session::Session;
use parlor_core::{
    ConnId, Effect, Epoch, Event, Input, Limits, ResumeToken, RoomId, State, StoredLog, Timestamp,
};

/// A step that can be repeated for ever.
type Step = Box<dyn FnMut()>;

/// Makes what a step needs, once, and the step.
type Make = fn() -> Step;

const STEPS: [(&str, Make); 9] = [
    ("decode", || {
        Box::new(|| drop(black_box(decode(black_box(MESSAGE)))))
    }),
    ("admit", admit),
    ("message in a room of 10", || message(10)),
    ("message in a room of 1000", || message(1000)),
    ("encode a message", encode_message),
    ("leave and join a room of 10", || leave_and_join(10)),
    ("leave and join a room of 1000", || leave_and_join(1000)),
    ("join with 50 replayed", replay),
    ("ping", ping),
];

/// 128 characters of text, as in most measurements of chat servers.
const MESSAGE: &str = r#"{"type":"message","roomId":"general","text":"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789ab","clientMsgId":"0f3c"}"#;

fn main() {
    let mut arguments = env::args().skip(1);
    let task = arguments.next();
    if task.as_deref() == Some("--steps") {
        return STEPS.iter().for_each(|(name, _)| println!("{name}"));
    }
    if task.as_deref() != Some("--count") {
        let mut criterion = Criterion::default().configure_from_args();
        for (name, step) in STEPS {
            criterion.bench_function(name, |bencher| bencher.iter(step()));
        }
        return criterion.final_summary();
    }
    let name = arguments.next().unwrap_or_default();
    let times = arguments.next().and_then(|times| times.parse().ok());
    let step = STEPS.iter().find(|(each, _)| *each == name);
    let (Some((_, step)), Some(times)) = (step, times) else {
        panic!(
            "--count STEP TIMES, where STEP is one of {:?}",
            STEPS.map(|(name, _)| name)
        );
    };
    let mut step = step();
    (0_u32..times).for_each(|_| step());
}

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

//! Target `client`.

mod choices;
mod watch;

use std::collections::VecDeque;

use parlor_client::{Backoff, Client, Input, Options, Output, Position};
use serde_json::{Value, json};

use choices::Choices;
use watch::Seen;
use watch::Watch;

/// Ticks at one moment after which something has to lie ahead: one gives up, one connects.
const MOST_TICKS: usize = 3;

/// A client between an application and a server that both do whatever the bytes say. It settles
/// every call once, tells of every message once and in order, asks nothing of a socket that is not
/// there, and is never due again for what was done. Answers with what it came by.
pub fn client(bytes: &[u8]) -> Seen {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(&mut choices);
    world.happens(Input::Connect);
    for _ in 0..400 {
        if choices.is_empty() {
            break;
        }
        world.step(&mut choices);
    }
    world.happens(Input::Close);
    world.finish()
}

const ANSWERS: [&str; 8] = [
    "hello",
    "pong",
    "joined",
    "left",
    "message",
    "room_list",
    "user_list",
    "history",
];

struct World {
    client: Client,
    watch: Watch,
    now: u64,
    calls: u64,
    /// What was asked on this connection, and has no answer yet.
    asked: VecDeque<Value>,
    /// What the server has numbered so far, in any room.
    seq: u64,
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        Self {
            client: Client::new(options(choices)),
            watch: Watch::default(),
            now: 1000,
            calls: 0,
            asked: VecDeque::new(),
            seq: 0,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        self.passes(choices);
        let input = match choices.below(16) {
            _ if self.watch.is_dialling() && !choices.one_in(4) => Input::Opened { token: None },
            0..5 => self.answer(choices),
            5..9 => self.news(choices),
            9..14 => self.call(choices),
            _ => rare(choices),
        };
        self.happens(input);
    }

    /// Time passes; if something is due by then, the client is told when it is, or too late.
    fn passes(&mut self, choices: &mut Choices<'_>) {
        let due = self.client.deadline();
        self.now += match choices.below(8) {
            0..4 => 0,
            4 => 1,
            5 => 40,
            6 => 4_000,
            _ => due.map_or(1, |due| due.saturating_sub(self.now)),
        };
        if choices.one_in(100) {
            self.now += 1 << 20;
        }
        if due.is_none_or(|due| due > self.now) {
            return;
        }
        self.happens(Input::Tick);
        for _ in 1..MOST_TICKS {
            if self.client.deadline().is_some_and(|due| due <= self.now) {
                self.happens(Input::Tick);
            }
        }
        let due = self.client.deadline();
        assert!(due.is_none_or(|due| due > self.now), "{:?}", self.client);
    }

    fn happens(&mut self, input: Input) {
        let mut twin = self.client.clone();
        let (mut outputs, mut again) = (Vec::new(), Vec::new());
        twin.handle(self.now, input.clone(), &mut again);
        self.watch.input(&input);
        self.client.handle(self.now, input, &mut outputs);
        assert_eq!(outputs, again, "a client is a value");
        assert_eq!(twin, self.client, "a client is a value");
        for output in outputs {
            match &output {
                Output::Transmit { text } => {
                    let frame = serde_json::from_str(text).expect("a frame is JSON");
                    self.asked.push_back(frame);
                }
                Output::Connect | Output::HangUp => self.asked.clear(),
                Output::Remember { .. }
                | Output::Emit(_)
                | Output::Resolve { .. }
                | Output::Reject { .. } => {}
            }
            self.watch.output(&output);
        }
        assert_eq!(self.client.pending(), self.watch.pending());
    }

    /// Nothing comes of a client that is closed, but that it says so.
    fn finish(mut self) -> Seen {
        self.watch.is_over();
        assert_eq!(self.client.deadline(), None);
        let text = r#"{"type":"pong"}"#.into();
        for input in [
            Input::Tick,
            Input::Connect,
            Input::Retry,
            Input::Received { text },
        ] {
            let mut outputs = Vec::new();
            self.client
                .handle(self.now + 1_000_000, input, &mut outputs);
            assert_eq!(outputs, []);
        }
        self.calls += 1;
        self.happens(Input::Rooms {
            call: self.calls,
            after: None,
        });
        self.watch.is_over();
        self.watch.seen
    }

    // The application.

    fn call(&mut self, choices: &mut Choices<'_>) -> Input {
        self.calls += 1;
        let (call, room) = (self.calls, room(choices));
        match choices.below(10) {
            0..2 => Input::Join {
                call,
                room,
                history: choices.maybe(3),
                since: since(choices),
            },
            2 => Input::Leave { call, room },
            3 => Input::Typing {
                room,
                active: !choices.one_in(3),
            },
            4 => Input::History {
                call,
                room,
                before: choices.maybe(9),
                limit: choices.maybe(3),
            },
            5 => Input::Rooms { call, after: None },
            6 => Input::Users { call, room },
            _ => Input::Send {
                call,
                room,
                text: format!("text {call}"),
                client_msg_id: choices.maybe(1).map(|_| format!("own-{call}")),
            },
        }
    }

    // The server.

    /// To what was asked, mostly to what was asked first.
    fn answer(&mut self, choices: &mut Choices<'_>) -> Input {
        let most = self.asked.len().min(256);
        let index = if choices.one_in(10) {
            choices.below(most)
        } else {
            0
        };
        let Some(request) = self.asked.drain(..(index + 1).min(most)).next_back() else {
            return self.news(choices);
        };
        let mut frame = if choices.one_in(7) {
            error(choices)
        } else {
            self.answer_to(&request, choices)
        };
        if !choices.one_in(30) {
            frame["ref"] = request["ref"].clone();
        }
        if choices.one_in(40) {
            frame["type"] = ANSWERS[choices.below(ANSWERS.len())].into();
        }
        received(frame, choices)
    }

    fn answer_to(&mut self, request: &Value, choices: &mut Choices<'_>) -> Value {
        let room = &request["roomId"];
        match request["type"].as_str().unwrap_or_default() {
            "hello" => json!({
                "type": "hello",
                "username": choices.maybe(1).map(|_| "Ann"),
                "resumeToken": choices.maybe(3).map(|token| format!("token-{token}")),
                "pingIntervalMs": choices.maybe(5000),
                "limits": { "historyPage": choices.maybe(3) },
            }),
            "join" => {
                self.seq += choices.below(4) as u64;
                json!({
                    "type": "joined", "roomId": room, "users": ["Ann", "Bob"], "seq": self.seq,
                    "epoch": if choices.one_in(8) { "f" } else { "e" },
                    "recovered": choices.one_in(2), "history": choices.below(4),
                })
            }
            "leave" => json!({ "type": "left", "roomId": room }),
            "message" => {
                let id = request["clientMsgId"].as_str().map(String::from);
                self.message(room.clone(), "Ann", id, choices)
            }
            "list_rooms" => {
                json!({ "type": "room_list", "rooms": [{ "id": "r", "userCount": 1 }] })
            }
            "list_users" => json!({ "type": "user_list", "roomId": room, "users": ["Bob"] }),
            "get_history" => json!({
                "type": "history", "roomId": room, "epoch": "e", "count": choices.below(4),
            }),
            _ => json!({ "type": "pong" }),
        }
    }

    fn news(&mut self, choices: &mut Choices<'_>) -> Input {
        let name = ["Ann", "Bob", "Eve"][choices.below(3)];
        let room = room(choices);
        let frame = match choices.below(10) {
            0 => json!({ "type": "user_joined", "roomId": room, "username": name }),
            1 => json!({ "type": "user_left", "roomId": room, "username": name }),
            2 => json!({
                "type": "typing", "roomId": room, "username": name, "active": !choices.one_in(3),
            }),
            3 if choices.one_in(3) => json!({ "type": "left", "roomId": room }),
            4 if choices.one_in(3) => error(choices),
            5 => json!({ "type": "pong" }),
            _ => {
                let most = usize::try_from(self.calls).unwrap_or(0);
                let id = choices
                    .maybe(1)
                    .map(|_| format!("id-{}", choices.below(most)));
                self.message(room.into(), name, id, choices)
            }
        };
        received(frame, choices)
    }

    fn message(
        &mut self,
        room: Value,
        from: &str,
        id: Option<String>,
        choices: &mut Choices<'_>,
    ) -> Value {
        let seq = match choices.below(8) {
            0 => self.seq.saturating_sub(choices.below(4) as u64),
            1 => self.seq + choices.below(4) as u64,
            _ => self.seq + 1,
        };
        self.seq = self.seq.max(seq);
        json!({
            "type": "message", "roomId": room, "from": from, "text": "hm", "timestamp": 9,
            "seq": seq, "clientMsgId": id,
        })
    }
}

fn options(choices: &mut Choices<'_>) -> Options {
    let mut options = Options::from_random(choices.below(256) as u128);
    options.username = choices.maybe(1).map(|_| "Ann".into());
    options.resume_token = choices.maybe(1).map(|_| "token-1".into());
    options.shares = choices.one_in(2);
    options.ping_interval_ms = choices.maybe(3).map(|seconds| 1000 * small(seconds));
    options.connect_timeout_ms = [10_000, 1, 500][choices.below(3)];
    options.max_pending = [1000, 2, 5][choices.below(3)];
    options.id_prefix = "id".into();
    if choices.one_in(3) {
        options.backoff = Backoff {
            base_ms: 0,
            cap_ms: 10,
        };
    }
    options
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn room(choices: &mut Choices<'_>) -> String {
    ["r", "s", "t"][choices.below(3)].into()
}

/// Mostly a place that there may be.
fn since(choices: &mut Choices<'_>) -> Option<Position> {
    let seq = choices.maybe(5)?;
    Some(Position {
        epoch: "e".into(),
        seq: if seq == 5 { u64::MAX } else { seq },
    })
}

fn rare(choices: &mut Choices<'_>) -> Input {
    match choices.below(10) {
        0 => Input::Retry,
        1 => Input::Tick,
        2 => Input::Connect,
        3 => Input::Opened { token: None },
        4 => Input::Remembered {
            resume_token: choices
                .maybe(3)
                .map(|token| format!("token-{token}").as_str().into()),
        },
        5 if choices.one_in(20) => Input::Close,
        5..8 => Input::Received {
            text: choices.text(),
        },
        _ => Input::Closed {
            code: [None, Some(1006), Some(4499), Some(1012)][choices.below(4)],
            reason: None,
        },
    }
}

fn error(choices: &mut Choices<'_>) -> Value {
    let code = [
        "RATE_LIMITED",
        "STORE_UNAVAILABLE",
        "NOT_IN_ROOM",
        "USERNAME_TAKEN",
        "ROOM_FULL",
        "FORBIDDEN",
        "SERVER_SHUTDOWN",
        "MOON",
    ][choices.below(8)];
    json!({ "type": "error", "code": code, "message": "No.", "retryAfterMs": choices.maybe(100) })
}

/// A frame, of which something may be wrong.
fn received(mut frame: Value, choices: &mut Choices<'_>) -> Input {
    if choices.one_in(25) {
        let junk = [
            json!(null),
            json!(-1),
            json!(0.5),
            json!(7),
            json!("x"),
            json!([]),
            json!({}),
            json!(u64::MAX),
            json!(1e300),
            json!(9_007_199_254_740_991_u64),
        ];
        let fields = frame.as_object_mut().expect("a frame is an object");
        let index = choices.below(fields.len());
        if let Some(field) = fields.values_mut().nth(index) {
            *field = junk[choices.below(junk.len())].clone();
        }
    }
    Input::Received {
        text: frame.to_string(),
    }
}

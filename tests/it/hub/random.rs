//! Everything at once: connections, requests, slow sockets and a store with faults, in any order.

use std::collections::{BTreeMap, BTreeSet};

use parlor_core::{CloseReason, Limits};
use parlor_hub::trace::Texts;
use parlor_tests::driven_hub::{Client, DrivenHub, Outcome, ScriptedStore};
use parlor_tests::taped::Distracted;
use parlor_tests::virtual_socket::Received;
use serde_json::Value;

use super::dice::{Dice, each_seed};
use super::{PING, kib, limits};

const SEEDS: u64 = 20;
const STEPS: u64 = 2000;
const ROOMS: [&str; 3] = ["r", "s", "t"];
const PEERS: usize = 6;

#[test]
fn a_1_to_a_4_hold_whatever_happens() {
    each_seed(SEEDS, run).has([
        "message",
        "typing",
        "history",
        "user_left slow",
        "user_left disconnected",
        "close 1012",
        "close 4000",
        "close 1001",
        "HISTORY_FETCH_FAILED",
        "STORE_UNAVAILABLE",
        "control",
        "parlor_deliveries_total",
        "parlor_delivery_seconds_count",
        "parlor_sent_bytes_total",
        "Start",
        "Rotated",
        "Rebuilt",
        "Lost",
    ]);
}

/// A client, and what it believes.
struct Peer {
    name: String,
    client: Client,
    rooms: BTreeMap<String, Membership>,
    /// Pages of history on their way.
    pages: u32,
    closed: bool,
}

struct Membership {
    epoch: String,
    seq: u64,
    users: BTreeSet<String>,
}

struct Run {
    dice: Dice,
    store: ScriptedStore,
    hub: DrivenHub,
    peers: Vec<Peer>,
    named: u64,
    /// Since everything that was asked of the store is answered, ms.
    unanswered_ms: u64,
    since_panic_ms: u64,
    reached: BTreeSet<String>,
}

fn run(seed: u64) -> BTreeSet<String> {
    let store = ScriptedStore::default();
    let limits = Limits {
        tail_entries: 5,
        outbox_total_bytes: 150_000,
        ..limits()
    };
    let inside = seed.is_multiple_of(4);
    let hub = DrivenHub::recorded(&limits, &store, inside, |tapes| {
        let inner = tapes.recorder(Texts::Redacted, &limits);
        if seed.is_multiple_of(3) {
            return Box::new(inner);
        }
        let dice = Dice::new(seed);
        Box::new(Distracted { inner, dice })
    });
    let mut run = Run {
        dice: Dice::new(seed),
        store,
        hub,
        peers: Vec::new(),
        named: 0,
        unanswered_ms: 0,
        since_panic_ms: 0,
        reached: BTreeSet::new(),
    };
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
    run.reached
}

impl Run {
    fn step(&mut self) {
        match self.dice.roll(20) {
            0 if self.peers.len() < PEERS => {
                self.named += 1;
                self.peers.push(Peer {
                    name: format!("peer {}", self.named),
                    client: self.hub.open(),
                    rooms: BTreeMap::new(),
                    pages: 0,
                    closed: false,
                });
            }
            1 => self.fault(),
            2 => {
                let ms = self.dice.roll(2000);
                self.wait(ms);
            }
            3..6 => drop(self.hub.settle()),
            6..10 => drop(self.hub.answer_one()),
            10 | 11 => self.socket(),
            _ => self.request(),
        }
        self.read();
    }

    fn wait(&mut self, ms: u64) {
        self.unanswered_ms += ms;
        self.since_panic_ms += ms;
        if self.unanswered_ms > 20_000 {
            self.hub.answer_all();
            self.unanswered_ms = 0;
        }
        assert_eq!(self.hub.wait(ms), None);
    }

    fn fault(&mut self) {
        let outcome = if self.dice.one_in(2) {
            Outcome::Fails
        } else {
            Outcome::Succeeds
        };
        match self.dice.roll(16) {
            0 => self.store.script().appends.push_back(Outcome::Fails),
            1 => self.store.script().load = outcome,
            2 => self.store.script().page = outcome,
            3 => self.store.script().reopen = outcome,
            4 if self.since_panic_ms > 30_000 => {
                if let Some(place) = self.peer() {
                    self.since_panic_ms = 0;
                    self.peers[place].client.socket.panic();
                }
            }
            5 => {
                if let Some(place) = self.peer() {
                    self.peers[place].client.socket.fail();
                }
            }
            _ => {}
        }
    }

    fn peer(&mut self) -> Option<usize> {
        let count = self.peers.len() as u64;
        (count > 0).then(|| self.dice.pick(count))
    }

    fn socket(&mut self) {
        let Some(place) = self.peer() else { return };
        let socket = self.peers[place].client.socket.clone();
        match self.dice.roll(8) {
            0..4 => socket.block(),
            4 => socket.take(self.dice.pick(5000)),
            5 => socket.take_per_write(1 + self.dice.pick(300)),
            _ => socket.flow(),
        }
    }

    fn request(&mut self) {
        let Some(place) = self.peer() else { return };
        let (room, kind) = (ROOMS[self.dice.pick(3)], self.dice.roll(40));
        let burst = if self.dice.one_in(4) { 20 } else { 1 };
        let long = self.dice.one_in(2);
        let peer = &mut self.peers[place];
        if peer.client.is_held() {
            return;
        }
        let client = &mut peer.client;
        match kind {
            0..8 => client.join(&peer.name, room),
            8 => {
                if let Some(Membership { epoch, seq, .. }) = peer.rooms.get(room) {
                    client.send(&format!(
                        r#"{{"type":"join","roomId":"{room}","since":{{"epoch":"{epoch}","seq":{seq}}}}}"#
                    ));
                }
            }
            9 => client.send(&format!(r#"{{"type":"leave","roomId":"{room}"}}"#)),
            10 => client.send(&format!(
                r#"{{"type":"typing","roomId":"{room}","active":true}}"#
            )),
            11 => client.send(r#"{"type":"list_rooms"}"#),
            12..15 => {
                peer.pages += 1;
                client.send(&format!(
                    r#"{{"type":"get_history","roomId":"{room}","ref":"page"}}"#
                ));
            }
            15 => client.send(PING),
            16 => client.perform(async |connection| {
                let ping = parlor_hub::frame(parlor_hub::Opcode::Ping, b"!");
                connection.control(ping).await
            }),
            17 => {
                let reason = self.dice.one_in(2).then_some(CloseReason::Normal);
                self.peers.swap_remove(place).client.end(reason);
            }
            18 => self.peers.swap_remove(place).client.cancel(),
            _ => {
                for number in 0..burst {
                    let text = if long {
                        kib()
                    } else {
                        format!("{kind} {number}")
                    };
                    client.say(room, &text);
                }
            }
        }
    }

    /// Everybody reads, and compares.
    fn read(&mut self) {
        for peer in &mut self.peers {
            for frame in peer.client.socket.read() {
                assert!(!peer.closed, "T-7: {frame:?} comes behind the close");
                match frame {
                    Received::Message(message) => {
                        peer.message(&message, &self.store, &mut self.reached);
                    }
                    Received::Control(_) => {
                        self.reached.insert("control".into());
                    }
                    Received::Close(code) => {
                        self.reached.insert(format!("close {code}"));
                        peer.closed = true;
                    }
                }
            }
        }
        // Who is told that it is over goes.
        let dice = &mut self.dice;
        self.peers.retain_mut(|peer| {
            let over = peer.client.socket.last_word().is_some();
            if over && dice.one_in(2) {
                peer.client.end(None);
            }
            !over
        });
    }

    fn finish(&mut self) {
        {
            let mut script = self.store.script();
            script.appends.clear();
            (script.load, script.page, script.reopen) = Default::default();
        }
        for peer in &self.peers {
            peer.client.socket.take_per_write(usize::MAX);
            peer.client.socket.flow();
        }
        for _ in 0..70 {
            self.hub.answer_all();
            self.wait(1000);
            self.hub.answer_all();
            self.read();
        }
        assert!(self.hub.handle().is_storing());
        for room in ROOMS {
            let inside = || {
                self.peers
                    .iter()
                    .filter(|peer| peer.rooms.contains_key(room))
            };
            let users: BTreeSet<String> = inside().map(|peer| peer.name.clone()).collect();
            for peer in inside() {
                let Membership {
                    epoch,
                    seq,
                    users: seen,
                } = &peer.rooms[room];
                assert_eq!(*seen, users, "A-3, T-6: who is in {room}");
                assert!(self.store.text(room, epoch, *seq).is_some() || *seq == 0);
                let more = self.store.text(room, epoch, seq + 1);
                assert_eq!(more, None, "{} got everything that is stored", peer.name);
            }
        }
        for peer in &mut self.peers {
            assert!(!peer.client.is_held(), "{} is answered", peer.name);
        }
        self.hub.shutdown();
        self.hub.answer_all();
        assert_eq!(self.hub.settle(), Some(Ok(())));
        self.read();
        self.account();
        let replayed = super::trace::check(&self.hub);
        let whys = replayed
            .begins
            .iter()
            .map(|begin| format!("{:?}", begin.why));
        self.reached.extend(whys);
    }

    /// When everybody is gone, every connection was closed once and nothing is left.
    fn account(&mut self) {
        let metrics = self.hub.metrics();
        let of = |name: &str| {
            let mut series: Vec<f64> = Vec::new();
            series.extend(
                metrics
                    .iter()
                    .filter_map(|(key, value)| key.starts_with(name).then_some(value)),
            );
            assert!(!series.is_empty(), "{name}");
            series.iter().sum::<f64>()
        };
        assert_eq!(of("parlor_closed_connections_total{"), self.named as f64);
        for left in ["connections", "rooms", "members", "outbox_bytes"] {
            assert_eq!(metrics[&format!("parlor_{left}")], 0.0, "{left}");
        }
        let said = of("parlor_events_total{kind=\"message\"}");
        let delivered = of("parlor_delivery_seconds_count");
        assert!(delivered <= said, "{delivered} of {said}");
        for counted in [
            "parlor_deliveries_total",
            "parlor_delivery_seconds_count",
            "parlor_sent_bytes_total",
        ] {
            if of(counted) > 0.0 {
                self.reached.insert(counted.into());
            }
        }
    }
}

impl Peer {
    fn message(&mut self, message: &Value, store: &ScriptedStore, reached: &mut BTreeSet<String>) {
        let text = |field: &str| message[field].as_str().unwrap_or_default().to_string();
        let number = |field: &str| message[field].as_u64().unwrap_or_default();
        let room = text("roomId");
        match text("type").as_str() {
            "joined" => {
                let users = message["users"].as_array().expect("it is a list");
                let users = users
                    .iter()
                    .filter_map(|user| user.as_str().map(String::from));
                let membership = Membership {
                    epoch: text("epoch"),
                    seq: number("seq") - number("history"),
                    users: users.collect(),
                };
                self.rooms.insert(room, membership);
            }
            "left" => {
                self.rooms.remove(&room);
            }
            "message" => {
                let membership = self.rooms.get_mut(&room).expect("T-1");
                let (epoch, seq) = (&membership.epoch, number("seq"));
                let stored = store.text(&room, epoch, seq);
                assert_eq!(stored, Some(text("text")), "A-4: {seq} of {room} is stored");
                if !(self.pages > 0 && seq <= membership.seq) {
                    assert_eq!(seq, membership.seq + 1, "A-1: without gap and duplicate");
                    membership.seq = seq;
                }
                reached.insert("message".into());
            }
            "history" => {
                self.pages -= 1;
                reached.insert("history".into());
            }
            "user_joined" => {
                let membership = self.rooms.get_mut(&room).expect("T-1");
                assert!(membership.users.insert(text("username")), "{message} again");
            }
            "user_left" => {
                let membership = self.rooms.get_mut(&room).expect("T-1");
                assert!(
                    membership.users.remove(&text("username")),
                    "A-3: {message} again"
                );
                reached.insert(format!("user_left {}", text("reason")));
            }
            "error" => {
                if text("ref") == "page" {
                    self.pages -= 1;
                }
                reached.insert(text("code"));
            }
            other => {
                reached.insert(other.to_string());
            }
        }
    }
}

//! Clients like real ones: they come back after whatever ended their connection, recover with
//! `since`, send again what was not acknowledged, and compare all that they get with the store at
//! the moment at which it comes.

use std::collections::{BTreeMap, BTreeSet};

use parlor_tests::driven_hub::{Client, ScriptedStore};
use parlor_tests::virtual_socket::Received;
use serde_json::Value;

use super::dice::Dice;

pub(super) const ROOMS: [&str; 3] = ["r", "s", "t"];
/// Messages of one guest in one room that wait for their answers.
const MOST_PENDING: usize = 3;

/// What all guests saw, and what it is compared with.
pub(super) struct Ledger {
    pub(super) store: ScriptedStore,
    pub(super) tail_entries: u64,
    /// Whether guests send again what a replay shows to be stored.
    pub(super) blind: bool,
    /// Texts by room, epoch and seq.
    seen: BTreeMap<(String, String, u64), String>,
    acknowledged: BTreeSet<(String, String)>,
    /// Texts that an append kept though it failed.
    torn: BTreeSet<String>,
    pub(super) reached: BTreeSet<String>,
}

impl Ledger {
    pub(super) const fn new(store: ScriptedStore, tail_entries: u64, blind: bool) -> Self {
        Self {
            store,
            tail_entries,
            blind,
            seen: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            torn: BTreeSet::new(),
            reached: BTreeSet::new(),
        }
    }

    pub(super) fn note(&mut self, kind: impl Into<String>) {
        self.reached.insert(kind.into());
    }

    /// What the store was asked since the last time.
    pub(super) fn take_calls(&mut self) -> Vec<String> {
        for append in &self.store.script().torn {
            self.torn.insert(append.entry.text.as_str().to_string());
        }
        self.store.take_calls()
    }

    /// A-4, T-5: whatever is seen is stored, exactly as it is seen.
    fn see(&mut self, room: &str, epoch: &str, message: &Value) {
        let seq = number(message, "seq");
        let entry = self.store.entry(room, epoch, seq);
        let entry = entry.unwrap_or_else(|| panic!("A-4: {message} of {epoch} is not stored"));
        let same = entry.text.as_str() == text(message, "text")
            && entry.from.as_str() == text(message, "from")
            && entry.at.0 == number(message, "timestamp");
        assert!(same, "A-4: {message} is stored as {entry:?}");
        let place = (room.to_string(), epoch.to_string(), seq);
        self.seen.insert(place, text(message, "text"));
    }

    fn is_stored(&self, room: &str, id: &str) -> bool {
        let entries = self.store.entries(room);
        entries.iter().any(|entry| entry.text.as_str() == id)
    }

    /// What was ever seen is there for ever, and what was acknowledged is there once.
    pub(super) fn check(&self) {
        for ((room, epoch, seq), seen) in &self.seen {
            let stored = self.store.text(room, epoch, *seq);
            assert_eq!(stored.as_ref(), Some(seen), "{seq} of {room} was seen");
        }
        for room in ROOMS {
            let entries = self.store.entries(room);
            let texts: BTreeSet<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
            assert_eq!(texts.len(), entries.len(), "nothing is twice in {room}");
            let mut acknowledged = self.acknowledged.iter().filter(|(own, _)| own == room);
            let lost = acknowledged.find(|(_, id)| !texts.contains(&id[..]));
            assert_eq!(lost, None, "it was acknowledged");
        }
    }
}

/// Somebody who keeps coming back under the same name.
pub(super) struct Guest {
    name: &'static str,
    pub(super) client: Option<Client>,
    /// Whether its socket takes nothing.
    pub(super) blocked: bool,
    /// The one request that it waits for the answer of.
    asked: Option<Asked>,
    rooms: BTreeMap<&'static str, Membership>,
    said: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Join,
    Leave,
    Page,
}

/// What a guest knows of a room, in it or not.
#[derive(Default)]
struct Membership {
    inside: bool,
    /// Up to where it saw everything.
    since: Option<(String, u64)>,
    /// Messages that a join still replays, and its own among those that it replayed.
    replay: u64,
    replayed: BTreeSet<String>,
    /// Whether what it said before that join is still to be looked after.
    rejoining: bool,
    /// Whether nothing is missing behind that join.
    complete: bool,
    paged: u64,
    /// What it said and has no answer to, by id; the text is the same.
    pending: BTreeMap<String, Attempt>,
}

struct Attempt {
    again: bool,
    /// Whether an attempt before this one was stored.
    stored: bool,
}

impl Guest {
    pub(super) fn new(name: &'static str) -> Self {
        let rooms = ROOMS.map(|room| (room, Membership::default()));
        Self {
            name,
            client: None,
            blocked: false,
            asked: None,
            rooms: rooms.into(),
            said: 0,
        }
    }

    /// Whether everything it said is answered.
    pub(super) fn is_content(&self) -> bool {
        self.rooms.values().all(|room| room.pending.is_empty())
    }

    /// Whether it is in all rooms and saw everything in them.
    pub(super) fn is_up_to_date(&self, store: &ScriptedStore) -> bool {
        self.rooms.iter().all(|(room, membership)| {
            let stored = store.entries(room).len() as u64;
            let seq = membership.since.as_ref().map(|(_, seq)| *seq);
            membership.inside && seq == Some(stored)
        })
    }

    fn may_ask(&mut self) -> bool {
        let client = self.client.as_mut();
        self.asked.is_none() && client.is_some_and(|client| !client.is_held())
    }

    /// Asks for something, if it may and it makes sense.
    pub(super) fn act(&mut self, dice: &mut Dice) {
        let room = ROOMS[dice.pick(3)];
        if !self.may_ask() {
            return;
        }
        if !self.rooms[room].inside {
            return self.join(room);
        }
        match dice.roll(10) {
            0 => self.ask(
                Asked::Leave,
                &format!(r#"{{"type":"leave","roomId":"{room}"}}"#),
            ),
            1 => self.ask(
                Asked::Page,
                &format!(r#"{{"type":"get_history","roomId":"{room}","limit":30}}"#),
            ),
            _ => self.say(room),
        }
    }

    /// Joins a room that it is not in; false if it is in all of them, or may not ask.
    pub(super) fn join_next(&mut self) -> bool {
        let mut rooms = self.rooms.iter();
        let outside = rooms.find(|(_, membership)| !membership.inside);
        let next = outside.map(|(room, _)| *room);
        let Some(room) = next.filter(|_| self.may_ask()) else {
            return false;
        };
        self.join(room);
        true
    }

    /// Says something new wherever it can; false if it can nowhere.
    pub(super) fn say_anywhere(&mut self) -> bool {
        let may_say = |room: &Membership| room.inside && room.pending.len() < MOST_PENDING;
        let mut rooms = self.rooms.iter();
        let found = rooms.find(|(_, membership)| may_say(membership));
        let room = found.map(|(room, _)| *room);
        let Some(room) = room.filter(|_| !self.blocked && self.may_ask()) else {
            return false;
        };
        self.say(room);
        true
    }

    fn join(&mut self, room: &'static str) {
        let since = self.rooms[room].since.as_ref();
        let since = since.map_or_else(String::new, |(epoch, seq)| {
            format!(r#","since":{{"epoch":"{epoch}","seq":{seq}}}"#)
        });
        let name = self.name;
        let join = format!(r#"{{"type":"join","roomId":"{room}","username":"{name}"{since}}}"#);
        self.ask(Asked::Join, &join);
    }

    fn ask(&mut self, asked: Asked, json: &str) {
        self.asked = Some(asked);
        self.send(json);
    }

    fn say(&mut self, room: &'static str) {
        if self.rooms[room].pending.len() < MOST_PENDING {
            self.said += 1;
            let id = format!("{}-{}", self.name, self.said);
            let attempt = Attempt {
                again: false,
                stored: false,
            };
            self.send_message(room, &id);
            self.membership(room).pending.insert(id, attempt);
        }
    }

    fn send_message(&mut self, room: &str, id: &str) {
        self.send(&format!(
            r#"{{"type":"message","roomId":"{room}","text":"{id}","clientMsgId":"{id}"}}"#
        ));
    }

    fn send(&mut self, json: &str) {
        let client = self.client.as_mut().expect("it is connected");
        client.send(json);
    }

    fn membership(&mut self, room: &str) -> &mut Membership {
        self.rooms.get_mut(room).expect("there are no other rooms")
    }

    /// Its connection breaks or is closed by it.
    pub(super) fn break_off(&mut self, dice: &mut Dice) {
        if let Some(mut client) = self.client.take() {
            if dice.one_in(2) {
                client.end(None);
            } else {
                client.cancel();
            }
            self.forget_connection();
        }
    }

    fn forget_connection(&mut self) {
        self.client = None;
        self.blocked = false;
        self.asked = None;
        for membership in self.rooms.values_mut() {
            membership.inside = false;
            membership.replay = 0;
        }
    }

    /// Reads everything that came.
    pub(super) fn read(&mut self, ledger: &mut Ledger) {
        let Some(client) = &self.client else { return };
        let socket = client.socket.clone();
        let mut closed = false;
        for frame in socket.read() {
            assert!(!closed, "T-7: {frame:?} comes behind the close");
            match frame {
                Received::Message(message) => self.message(&message, ledger),
                Received::Close(code) => {
                    ledger.note(format!("close {code}"));
                    closed = true;
                }
                Received::Control(_) => panic!("nobody asked for {frame:?}"),
            }
        }
        if socket.last_word().is_some() {
            self.forget_connection();
        }
    }

    fn message(&mut self, message: &Value, ledger: &mut Ledger) {
        let room = text(message, "roomId");
        match &text(message, "type")[..] {
            "joined" => {
                self.asked = None;
                self.membership(&room).joined(message, ledger);
                self.retry(&room, ledger);
            }
            "left" => {
                self.asked = None;
                let membership = self.membership(&room);
                membership.inside = false;
                assert!(membership.pending.is_empty(), "T-8: answered before");
            }
            "message" => {
                let pages = self.asked == Some(Asked::Page);
                self.membership(&room).message(message, pages, ledger);
                self.retry(&room, ledger);
            }
            "history" => {
                self.asked = None;
                let paged = std::mem::take(&mut self.membership(&room).paged);
                assert_eq!(paged, number(message, "count"));
            }
            "user_joined" | "user_left" => {}
            "error" => {
                let code = text(message, "code");
                if code != "SERVER_SHUTDOWN" {
                    assert!(self.asked.is_some(), "a message got {code}");
                    self.asked = None;
                }
                ledger.note(code);
            }
            _ => panic!("nobody asked for {message}"),
        }
    }

    /// When a join has replayed everything, sends again what has no answer.
    fn retry(&mut self, room: &str, ledger: &mut Ledger) {
        let membership = self.membership(room);
        if membership.replay > 0 || !membership.rejoining {
            return;
        }
        membership.rejoining = false;
        if !membership.complete && !membership.pending.is_empty() {
            // Nobody knows what became of it, and to say it again might be to say it twice.
            membership.pending.clear();
            ledger.note("gives up");
        }
        if !ledger.blind {
            let replayed = std::mem::take(&mut membership.replayed);
            membership.pending.retain(|id, _| !replayed.contains(id));
        }
        let mut ids = Vec::new();
        for (id, attempt) in &mut membership.pending {
            *attempt = Attempt {
                again: true,
                stored: ledger.is_stored(room, id),
            };
            ids.push(id.clone());
        }
        for id in ids {
            self.send_message(room, &id);
        }
    }
}

impl Membership {
    fn joined(&mut self, message: &Value, ledger: &mut Ledger) {
        let (room, epoch) = (text(message, "roomId"), text(message, "epoch"));
        let (seq, history) = (number(message, "seq"), number(message, "history"));
        let stored = ledger.store.entry(&room, &epoch, seq);
        assert!(seq == 0 || stored.is_some(), "A-4: {message}");
        let recovered = message["recovered"] == true;
        let known = self.since.replace((epoch.clone(), seq - history));
        self.complete = true;
        if let Some((old, since)) = known {
            let missed = seq.saturating_sub(since);
            let same = old == epoch;
            assert_eq!(
                recovered,
                same && missed <= ledger.tail_entries,
                "{message}"
            );
            if recovered {
                assert_eq!(since + history, seq, "exactly what was missed: {message}");
                ledger.note("recovered");
            } else if same {
                assert!(since + history < seq, "that was all: {message}");
                self.complete = false;
                ledger.note("too much was missed");
            } else {
                assert_eq!(since, 0, "{old} of {room} was seen, and is {epoch}");
                ledger.note("another epoch");
            }
        }
        self.inside = true;
        self.rejoining = true;
        self.replay = history;
        self.replayed.clear();
    }

    fn message(&mut self, message: &Value, pages: bool, ledger: &mut Ledger) {
        assert!(self.inside, "T-1: {message}");
        let (room, seq) = (text(message, "roomId"), number(message, "seq"));
        let (epoch, since) = self.since.as_mut().expect("it joined");
        ledger.see(&room, epoch, message);
        let duplicate = message["duplicate"] == true;
        if duplicate {
            assert!(seq <= *since, "it was replayed, or seen before: {message}");
        } else if pages && seq <= *since {
            self.paged += 1;
        } else {
            assert_eq!(seq, *since + 1, "without gap and duplicate: {message}");
            *since = seq;
        }
        let id = message["clientMsgId"].as_str();
        if self.replay > 0 {
            self.replay -= 1;
            self.replayed.extend(id.map(String::from));
        } else if let Some(id) = id {
            self.acknowledged(&room, id, duplicate, ledger);
        }
    }

    fn acknowledged(&mut self, room: &str, id: &str, duplicate: bool, ledger: &mut Ledger) {
        let Some(Attempt { again, stored }) = self.pending.remove(id) else {
            panic!("{id} has its answer already");
        };
        assert_eq!(
            duplicate, stored,
            "{id} is a duplicate if it was stored before"
        );
        ledger.acknowledged.insert((room.into(), id.into()));
        ledger.note(match (again, duplicate) {
            (false, _) => "said",
            (true, true) if ledger.torn.contains(id) => "was torn and kept",
            (true, true) => "was stored",
            (true, false) => "was lost",
        });
    }
}

fn text(message: &Value, field: &str) -> String {
    message[field].as_str().unwrap_or_default().to_string()
}

fn number(message: &Value, field: &str) -> u64 {
    message[field].as_u64().unwrap_or_default()
}

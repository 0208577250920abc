//! Conversations as text: a script goes in, a transcript comes out.
//!
//! A script is read line by line, and each line does one thing. The transcript repeats the line and
//! puts below it what the server did.
//!
//! ```text
//! # a comment
//! limits burst=2 token_required=true     for the whole script; the names are those of `Limits`
//! alice connects                         one word names a connection
//! alice: {"type":"ping"}                 a text frame, through the session and into the core
//! alice sends a binary frame
//! alice identified as Alice for 60s rooms team-* lobby
//!                                        her token was verified; `for` and `rooms` may be left out
//! alice falls silent                     no ping is answered any more
//! alice reads too slowly                 the server cuts her
//! alice drops                            her socket ends
//! wait 1500ms                            time passes, pings are due, connections time out
//! hold loads, release loads              the store does not answer until it is released
//! hold pages, release pages
//! next load fails, next page fails
//! store fails, store recovers
//! publish in general as Bot: hello      the application says something; a word in brackets behind
//!                                        the name, as in `Bot [id-1]`, is its `clientMsgId`
//! shutdown
//! ```
//!
//! The store is a list per room; the first room that is loaded has the epoch `e1`, the next `e2`.
//! The first connection has the resume token `00000000000000000000000000000001`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use parlor_core::encode::encode;
use parlor_core::session::{Due, Verdict};
use parlor_core::types::{ClientMsgId, LoadId, MessageText, PublicationId, RoomPattern};
use parlor_core::{
    Cause, CloseReason, ConnId, Effect, Entry, Epoch, ErrorCode, Event, Fetch, Identity, Input,
    Limits, Page, Publication, Published, Recipients, ResumeToken, RoomId, Seq, ServerMessage,
    Session, State, StoredLog, Timestamp, Username,
};

/// When every script begins: 14 November 2023, 22:13:20 UTC.
const START: Timestamp = Timestamp(1_700_000_000_000);

/// What a script led to.
#[derive(Debug, Default)]
pub struct Transcript {
    /// The script with what the server did below each line.
    pub text: String,
    /// The codes of all errors in it.
    pub codes: BTreeSet<ErrorCode>,
    /// The types of all messages in it.
    pub messages: BTreeSet<&'static str>,
}

/// The types of all messages of the server.
pub const SERVER_MESSAGES: [&str; 12] = [
    "hello",
    "joined",
    "left",
    "message",
    "user_joined",
    "user_left",
    "typing",
    "room_list",
    "user_list",
    "history",
    "pong",
    "error",
];

/// Runs a script.
///
/// # Panics
/// When a line cannot be understood, or the server breaks a rule that every script relies on:
/// `State::check` holds after each event (I-1 to I-8), nothing is sent to a connection that is
/// closed (T-7), and the store gets the entries of a room in order, each once (I-6).
#[must_use]
pub fn transcribe(script: &str) -> Transcript {
    let settings = script
        .lines()
        .filter_map(|line| line.strip_prefix("limits "))
        .flat_map(str::split_whitespace);
    let limits = settings.fold(Limits::default(), with);
    let mut stage = Stage::new(limits);
    for line in script.lines() {
        stage.tell(line);
        stage.perform(line);
    }
    stage.transcript
}

/// The limits with one setting `name=value`.
fn with(limits: Limits, setting: &str) -> Limits {
    let (name, value) = setting.split_once('=').expect("a limit is name=value");
    let mut object = serde_json::to_value(limits).expect("limits are plain numbers");
    let known = object.get_mut(name);
    *known.unwrap_or_else(|| panic!("no such limit: {name}")) =
        serde_json::from_str(value).expect("a limit is a number or a truth value");
    serde_json::from_value(object).expect("a limit is a number or a truth value")
}

/// Everything that takes part in a script.
struct Stage {
    limits: Limits,
    state: State,
    now: Timestamp,
    connections: u32,
    publications: u64,
    clients: BTreeMap<String, Client>,
    store: Store,
    transcript: Transcript,
}

struct Client {
    conn: ConnId,
    session: Session,
    silent: bool,
}

#[derive(Default)]
struct Store {
    rooms: BTreeMap<RoomId, Room>,
    loads: Gate<(RoomId, LoadId)>,
    pages: Gate<Fetch>,
    failed: bool,
}

struct Room {
    epoch: Epoch,
    entries: Vec<Arc<Entry>>,
}

/// Questions to the store, which may have to wait.
struct Gate<T> {
    closed: bool,
    next_fails: bool,
    held: Vec<T>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self {
            closed: false,
            next_fails: false,
            held: Vec::new(),
        }
    }
}

impl<T> Gate<T> {
    /// Lets a question through, or keeps it.
    fn pass(&mut self, question: T) -> Option<T> {
        if self.closed {
            self.held.push(question);
            return None;
        }
        Some(question)
    }

    fn open(&mut self) -> Vec<T> {
        self.closed = false;
        std::mem::take(&mut self.held)
    }
}

impl Store {
    fn append(&mut self, room: &RoomId, epoch: &Epoch, entry: Arc<Entry>) {
        let stored = self.rooms.get_mut(room).expect("the room was loaded");
        let next = stored.entries.len() as u64 + 1;
        assert_eq!((&stored.epoch, entry.seq), (epoch, Seq(next)), "I-6");
        assert!(!self.failed, "the store was said to have failed");
        stored.entries.push(entry);
    }

    fn load(&mut self, room: RoomId, load: LoadId, tail: u32) -> Input {
        if std::mem::take(&mut self.loads.next_fails) || self.failed {
            return Input::LoadFailed { room, load };
        }
        let epoch = format!("e{}", self.rooms.len() + 1);
        let stored = self.rooms.entry(room.clone()).or_insert_with(|| Room {
            epoch: Epoch::new(&epoch).expect("short and printable"),
            entries: Vec::new(),
        });
        let count = stored.entries.len();
        let log = StoredLog::new(
            stored.epoch.clone(),
            Seq(count as u64),
            stored.entries.last().map_or(Timestamp(0), |last| last.at),
            stored.entries[count.saturating_sub(tail as usize)..].to_vec(),
        );
        let log = log.expect("entries were appended in order");
        Input::RoomLoaded { room, load, log }
    }

    fn fetch(&mut self, fetch: Fetch) -> Input {
        if std::mem::take(&mut self.pages.next_fails) || self.failed {
            return Input::FetchFailed { fetch };
        }
        let entries = &self.rooms[&fetch.room].entries;
        let end = entries.partition_point(|entry| entry.seq < fetch.before);
        let start = end.saturating_sub(fetch.limit as usize);
        let page = Page {
            entries: entries[start..end].to_vec(),
            has_more: start > 0,
        };
        Input::PageFetched { fetch, page }
    }
}

impl Stage {
    fn new(limits: Limits) -> Self {
        Self {
            state: State::new(limits.clone()),
            limits,
            now: START,
            connections: 0,
            publications: 0,
            clients: BTreeMap::new(),
            store: Store::default(),
            transcript: Transcript::default(),
        }
    }

    /// Does what one line of the script says.
    fn perform(&mut self, line: &str) {
        if line.starts_with('#') {
            return;
        }
        if let Some(said) = line.strip_prefix("publish in ") {
            return self.publish(said);
        }
        if let Some((name, frame)) = line.split_once(':')
            && !name.contains(' ')
        {
            return self.frame(name, frame.trim_start());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] | ["limits", ..] => {}
            ["wait", time] => self.wait(millis(time)),
            ["hold", "loads"] => self.store.loads.closed = true,
            ["hold", "pages"] => self.store.pages.closed = true,
            ["release", "loads"] => {
                for (room, load) in self.store.loads.open() {
                    let input = self.store.load(room, load, self.limits.tail_entries);
                    self.happen(input);
                }
            }
            ["release", "pages"] => {
                for fetch in self.store.pages.open() {
                    let input = self.store.fetch(fetch);
                    self.happen(input);
                }
            }
            ["next", "load", "fails"] => self.store.loads.next_fails = true,
            ["next", "page", "fails"] => self.store.pages.next_fails = true,
            ["store", "fails"] => {
                self.store.failed = true;
                self.happen(Input::StoreFailed);
            }
            ["store", "recovers"] => {
                self.store.failed = false;
                self.happen(Input::StoreRecovered);
            }
            ["shutdown"] => self.happen(Input::Shutdown),
            [name, "connects"] => self.connect(name),
            [name, "drops"] => {
                let Client { conn, .. } = self.part(name);
                let cause = Cause::Disconnected;
                self.happen(Input::Disconnected { conn, cause });
            }
            [name, "reads", "too", "slowly"] => self.close(name, CloseReason::Slow),
            [name, "falls", "silent"] => self.client(name).silent = true,
            [name, "sends", "a", "binary", "frame"] => {
                let verdict = self.client(name).session.binary();
                self.judge(name, verdict);
            }
            [name, "identified", "as", subject, ref rest @ ..] => {
                self.identified(name, subject, rest);
            }
            _ => panic!("no such line: {line}"),
        }
    }

    fn connect(&mut self, name: &str) {
        self.connections += 1;
        let conn = ConnId(self.connections.into());
        let client = Client {
            conn,
            session: Session::new(&self.limits, self.now),
            silent: false,
        };
        let before = self.clients.insert(name.into(), client);
        assert!(before.is_none(), "{name} is connected already");
        let resume_token = ResumeToken::from_random(self.connections.into());
        self.happen(Input::Connected { conn, resume_token });
    }

    fn identified(&mut self, name: &str, subject: &str, mut rest: &[&str]) {
        let mut expires_at = None;
        if let ["for", time, then @ ..] = rest {
            expires_at = Some(self.now.plus_ms(millis(time)));
            rest = then;
        }
        let rooms = match rest {
            [] => None,
            ["rooms", rooms @ ..] => {
                Some(rooms.iter().map(|&room| RoomPattern(room.into())).collect())
            }
            _ => panic!("no such claims: {rest:?}"),
        };
        let client = self.client(name);
        client.session.identified(expires_at);
        let conn = client.conn;
        let subject = Username::new(subject).expect("a subject is a good name");
        let identity = Identity { subject, rooms };
        self.happen(Input::Identified { conn, identity });
    }

    fn publish(&mut self, said: &str) {
        let (head, text) = said.split_once(": ").expect("it says something");
        let (room, name) = head.split_once(" as ").expect("somebody says it");
        let (name, id) = match name.strip_suffix(']').map(|name| name.split_once(" [")) {
            Some(Some((name, id))) => (name, Some(id)),
            Some(None) | None => (name, None),
        };
        self.publications += 1;
        let publication = Publication {
            id: PublicationId(self.publications),
            from: Username::new(name).expect("it is a good name"),
            text: MessageText::new(text).expect("it is a good text"),
            client_msg_id: id.map(|id| ClientMsgId::new(id).expect("it is a good id")),
        };
        let room = RoomId::new(room).expect("it is a good room");
        self.happen(Input::Published { room, publication });
    }

    fn frame(&mut self, name: &str, text: &str) {
        let now = self.now;
        let verdict = self.client(name).session.text(text, now);
        self.judge(name, verdict);
    }

    fn judge(&mut self, name: &str, verdict: Verdict) {
        let conn = self.client(name).conn;
        match verdict {
            Verdict::Admit { request, .. } => self.happen(Input::Received { conn, request }),
            Verdict::Refuse(refusal) => self.happen(Input::Refused { conn, refusal }),
            Verdict::Ignore => {}
            Verdict::Close(reason) => self.close(name, reason),
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        let next = |(name, client): (&String, &Client)| (client.session.deadline(), name.clone());
        while let Some((at, name)) = self.clients.iter().map(next).min()
            && at <= end
        {
            self.now = at;
            self.due(&name);
        }
        self.now = end;
    }

    fn due(&mut self, name: &str) {
        let now = self.now;
        let client = self.client(name);
        match client.session.due(now) {
            Due::Nothing => {}
            Due::Ping if client.silent => self.tell(&format!("    {name} <- (ping)")),
            Due::Ping => {
                let verdict = client.session.control(now);
                self.judge(name, verdict);
            }
            Due::Close(reason) => self.close(name, reason),
        }
    }

    /// The adapter ends a connection.
    fn close(&mut self, name: &str, reason: CloseReason) {
        self.closed(name, reason);
        let Client { conn, .. } = self.part(name);
        let cause = reason.cause();
        self.happen(Input::Disconnected { conn, cause });
    }

    /// Applies an event, and then what the store answers to it.
    fn happen(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            let at = self.now;
            self.state.apply(Event { at, input }, &mut effects);
            if let Err(violation) = self.state.check() {
                panic!("{violation} after\n{}", self.transcript.text);
            }
            inputs.extend(
                effects
                    .into_iter()
                    .filter_map(|effect| self.carry_out(effect)),
            );
        }
    }

    /// Carries out an effect; the store's answer, if there is one at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Append { room, epoch, entry } => {
                self.tell(&format!("    append {room} {epoch} {}", entry.seq.0));
                self.store.append(&room, &epoch, entry);
                None
            }
            Effect::Send { to, message } => {
                self.send(&to, &message);
                None
            }
            Effect::Answer {
                publication,
                outcome,
            } => {
                let outcome = match outcome {
                    Ok(Published {
                        epoch,
                        seq,
                        duplicate,
                    }) => {
                        let again = if duplicate { ", a duplicate" } else { "" };
                        format!("{} of {epoch}{again}", seq.0)
                    }
                    Err(code) => {
                        self.transcript.codes.insert(code);
                        code.to_string()
                    }
                };
                self.tell(&format!("    publication {} <- {outcome}", publication.0));
                None
            }
            // Who comes and goes is seen by what is sent.
            Effect::Tell(_) => None,
            Effect::Close { conn, reason } => {
                let name = self.name(conn);
                self.closed(&name, reason);
                self.part(&name);
                None
            }
            Effect::LoadRoom { room, load } => {
                self.tell(&format!("    load {room}"));
                let (room, load) = self.store.loads.pass((room, load))?;
                Some(self.store.load(room, load, self.limits.tail_entries))
            }
            Effect::FetchPage(fetch) => {
                let (room, before) = (&fetch.room, fetch.before.0);
                self.tell(&format!(
                    "    fetch {} of {room} before {before}",
                    fetch.limit
                ));
                let fetch = self.store.pages.pass(fetch)?;
                Some(self.store.fetch(fetch))
            }
            Effect::ReleaseRoom { room } => {
                self.tell(&format!("    release {room}"));
                None
            }
        }
    }

    fn send(&mut self, to: &Recipients, message: &ServerMessage) {
        let names: Vec<String> = to.conns().map(|conn| self.name(conn)).collect();
        let json = String::from_utf8(encode(message)).expect("JSON is UTF-8");
        self.tell(&format!("    {} <- {json}", names.join(", ")));
        self.transcript.messages.insert(message_type(message));
        if let ServerMessage::Error(error) = message {
            self.transcript.codes.insert(error.0.code);
        }
    }

    fn closed(&mut self, name: &str, reason: CloseReason) {
        let (code, text) = (reason.code(), reason.text());
        self.tell(&format!("    {name} is closed: {code} {text}"));
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.transcript.text, "{line}").expect("a string takes everything");
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let client = self.clients.get_mut(name);
        client.unwrap_or_else(|| panic!("{name} is not connected"))
    }

    fn part(&mut self, name: &str) -> Client {
        let client = self.clients.remove(name);
        client.unwrap_or_else(|| panic!("{name} is not connected"))
    }

    fn name(&self, conn: ConnId) -> String {
        let found = self.clients.iter().find(|(_, client)| client.conn == conn);
        let Some((name, _)) = found else {
            panic!("T-7: {conn} is gone, after\n{}", self.transcript.text);
        };
        name.clone()
    }
}

/// One of [`SERVER_MESSAGES`].
fn message_type(message: &ServerMessage) -> &'static str {
    match message {
        ServerMessage::Hello(_) => "hello",
        ServerMessage::Joined(_) => "joined",
        ServerMessage::Left(_) => "left",
        ServerMessage::Message(_) => "message",
        ServerMessage::UserJoined(_) => "user_joined",
        ServerMessage::UserLeft(_) => "user_left",
        ServerMessage::Typing(_) => "typing",
        ServerMessage::RoomList(_) => "room_list",
        ServerMessage::UserList(_) => "user_list",
        ServerMessage::History(_) => "history",
        ServerMessage::Pong(_) => "pong",
        ServerMessage::Error(_) => "error",
    }
}

/// `1500ms` or `60s`.
fn millis(time: &str) -> u64 {
    let number = |digits: &str| digits.parse::<u64>().ok();
    let parsed = match time.strip_suffix("ms") {
        Some(ms) => number(ms),
        None => time.strip_suffix('s').and_then(number).map(|s| s * 1000),
    };
    parsed.unwrap_or_else(|| panic!("no such time: {time}"))
}

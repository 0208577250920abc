//! Killed under load from real clients, at random moments, and started again on the same data:
//! whatever a client saw or got acknowledged is there, once, where it was.
//!
//! `PARLOR_ROUNDS=200 cargo test -p parlor-smol --test binary crash` goes on for longer. The seed, which
//! is printed first, repeats what is drawn: with which frame of the traffic a kill comes. What else is
//! on its way then is up to the system, so a failure may take some tries to come back.
//!
//! What it finds was tried out with bugs that were put in by hand. When `Hub::submit` carries a batch
//! out before it asks the store to keep it, 100 seeds of 100 fail: two thirds within 4 rounds, all
//! within 12, `PARLOR_SEED=1` in its 3rd. It also finds tails that come back without their last entry,
//! empty or without the ids of retries, a write-ahead log or a last message that is thrown away,
//! and a database that has its name before it is whole. It cannot find that commits are not
//! synchronous: what a killed process wrote, the system still has. That takes a loss of power.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use parlor_core::Limits;
use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use super::{PATIENCE, Running, durable};

type Socket = WebSocket<TcpStream>;

const ROUNDS: u64 = 20;
/// Most frames, of all clients together, before a kill.
const KILL_AT: u64 = 8192;
const ROOMS: [&str; 4] = ["red", "green", "blue", "grey"];
/// Clients in each room.
const MEMBERS: usize = 3;
/// Most messages of one client that are not acknowledged.
const WINDOW: u64 = 32;
/// Kills while nobody talks.
const SILENCES: u64 = 2;
/// Kills during the start before each of them, the very first one included.
const STARTS: u64 = 5;
/// What each client says between two silences.
const SAYS: u64 = 5;
/// Most turns that other threads get during a start: on an idle machine it takes about as many.
const WAITS: u64 = 1 << 16;

#[test]
fn a_4_what_anybody_saw_or_got_acknowledged_survives_kills() {
    let mut dice = Dice::new();
    let dir = tempfile::tempdir().unwrap();
    let rooms = ROOMS.map(Room::new);
    let mut clients = clients(&rooms);
    let rounds = std::env::var("PARLOR_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("a whole number"));
    for round in 1..=rounds {
        // A good third of the kills come while rooms are joined; and batches are large or small.
        let kill_at = 1 + dice.roll_low(KILL_AT);
        let window = 1 + dice.roll_low(WINDOW);
        for client in &mut clients {
            client.window = 1 + dice.roll(window);
        }
        let server = Server::start(dir.path(), kill_at);
        let stored = check(server.address, &rooms, &clients);
        note(&format!(
            "round {round}: {stored} stored, killed at frame {kill_at}"
        ));
        let sockets = server.talk(&mut clients, |_| u64::MAX);
        assert!(sockets.is_empty());
        server.was_killed();
    }

    let server = Server::start(dir.path(), u64::MAX);
    check(server.address, &rooms, &clients);
    drop(server.talk(&mut clients, |client| client.sent));
    server.ends_well();

    let server = Server::start(dir.path(), u64::MAX);
    let stored = check(server.address, &rooms, &clients);
    let sum = |count: fn(&Client<'_>) -> u64| clients.iter().map(count).sum::<u64>();
    let missed = sum(|client| client.missed);
    let retries = sum(|client| client.retries);
    note(&format!(
        "{stored} stored, {missed} missed and recovered, {retries} retries known"
    ));
    assert_eq!(stored, sum(|client| client.sent));
    // Fewer rounds may happen to be too short for them.
    assert!(rounds < ROUNDS || (missed > 0 && retries > 0));
}

#[test]
fn what_was_said_survives_kills_in_silence_and_during_starts() {
    let mut dice = Dice::new();
    let dir = tempfile::tempdir().unwrap();
    let rooms = ROOMS.map(Room::new);
    let mut clients = clients(&rooms);
    for silence in 1..=SILENCES {
        for _ in 0..STARTS {
            start_and_kill(dir.path(), dice.roll_low(WAITS));
        }
        let server = Server::start(dir.path(), u64::MAX);
        let stored = check(server.address, &rooms, &clients);
        assert_eq!(stored, (silence - 1) * SAYS * clients.len() as u64);
        let sockets = server.talk(&mut clients, |_| silence * SAYS);
        assert_eq!(sockets.len(), clients.len());
        server.kill();
        server.was_killed();
    }
    let server = Server::start(dir.path(), u64::MAX);
    let stored = check(server.address, &rooms, &clients);
    assert_eq!(stored, SILENCES * SAYS * clients.len() as u64);
}

fn clients(rooms: &[Room]) -> Vec<Client<'_>> {
    let members = rooms
        .iter()
        .flat_map(|room| (0..MEMBERS).map(move |member| (room, member)));
    members
        .map(|(room, member)| Client::new(room, member))
        .collect()
}

/// The binary on the data in `dir`. Nothing that happens here is worth a warning.
fn parlor(dir: &Path) -> Command {
    durable(
        dir,
        &["--listen", "127.0.0.1:0", "--rate", "0", "--log", "warn"],
    )
}

/// Kills a server that hardly listens yet.
fn start_and_kill(dir: &Path, waits: u64) {
    let mut command = parlor(dir);
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary runs");
    // No clock: how far it comes meanwhile differs, and should.
    (0..waits).for_each(|_| thread::yield_now());
    child.kill().expect("it runs until it is killed");
    let status = child.wait().expect("it was not waited for yet");
    assert_eq!(status.code(), None, "it ended by itself");
}

/// A server from its start to its end.
struct Server {
    running: Mutex<Running>,
    address: SocketAddr,
    /// What clients have received of it, and with which frame it is killed.
    frames: AtomicU64,
    kill_at: u64,
    killed: AtomicBool,
}

impl Server {
    fn start(dir: &Path, kill_at: u64) -> Self {
        let running = Running::start(&mut parlor(dir));
        Self {
            address: running.address,
            running: Mutex::new(running),
            frames: AtomicU64::new(0),
            kill_at,
            killed: AtomicBool::new(false),
        }
    }

    /// Has each client talk on a thread of its own, until it said as much as `until` tells and has
    /// it acknowledged, or until the server is killed. Then its socket is left.
    fn talk(&self, clients: &mut [Client<'_>], until: impl Fn(&Client<'_>) -> u64) -> Vec<Socket> {
        let talks: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    let until = until(client);
                    scope.spawn(move || {
                        let _end = EndOfAll(self);
                        client.talk(self, until)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        if talks.iter().any(Result::is_err) {
            let (status, stderr) = self.running().end();
            panic!("a client panicked; the server: {status} {stderr}");
        }
        talks.into_iter().filter_map(|talk| talk.ok()?).collect()
    }

    fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        let killed = self.running().child.kill();
        killed.expect("it runs until it is killed");
    }

    fn was_killed(&self) {
        let (status, stderr) = self.running().end();
        assert_eq!(status.code(), None, "it ended by itself: {stderr}");
        assert_eq!(stderr, "");
    }

    fn ends_well(&self) {
        let mut running = self.running();
        running.signal("TERM");
        let (status, stderr) = running.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(stderr, "");
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None when the server was killed meanwhile.
    fn connect(&self) -> Option<Socket> {
        // Then somebody else may have its port.
        let killed = self.killed.load(Ordering::SeqCst);
        self.unless_killed(if killed { None } else { connect(self.address) })
    }

    /// The next frame. None when the server was killed and everything was read.
    fn read(&self, socket: &mut Socket) -> Option<Value> {
        let frame = self.unless_killed(read(socket))?;
        if self.frames.fetch_add(1, Ordering::SeqCst) + 1 == self.kill_at {
            self.kill();
        }
        Some(frame)
    }

    fn unless_killed<T>(&self, got: Option<T>) -> Option<T> {
        let killed = self.killed.load(Ordering::SeqCst);
        assert!(got.is_some() || killed, "the server ended a connection");
        got
    }
}

/// Whoever finds something wrong stops the server, and with it everybody else.
struct EndOfAll<'a>(&'a Server);

impl Drop for EndOfAll<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.kill();
        }
    }
}

/// None when the server ends meanwhile.
fn connect(address: SocketAddr) -> Option<Socket> {
    let stream = TcpStream::connect(address).ok()?;
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("it is a good time-out");
    let url = format!("ws://{address}/ws");
    Some(tungstenite::client(url, stream).ok()?.0)
}

/// The next frame of text; None at the end of the connection.
fn read(socket: &mut Socket) -> Option<Value> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                return Some(serde_json::from_str(&text).expect("frames are JSON"));
            }
            Ok(message) if message.is_ping() => {}
            Ok(message) => panic!("{message}"),
            // A read with a time-out is not begun again by the system (signal(7)).
            Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(Error::Io(error)) if is_late(&error) => panic!("nothing comes"),
            Err(_) => return None,
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind())
}

/// If it fails the server was killed, but what it sent before is still to be read.
fn send(socket: &mut Socket, requests: impl IntoIterator<Item = Value>) {
    for request in requests {
        let _ = socket.write(Message::text(request.to_string()));
    }
    let _ = socket.flush();
}

/// A room, as far as any client has seen it.
struct Room {
    id: &'static str,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// None until somebody joined it.
    epoch: Option<String>,
    said: BTreeMap<u64, Said>,
    /// Up to which seq each member has seen it.
    seen: [u64; MEMBERS],
}

#[derive(Clone, Debug, PartialEq)]
struct Said {
    from: String,
    text: String,
    timestamp: u64,
}

impl Room {
    fn new(id: &'static str) -> Self {
        let known = Mutex::default();
        Self { id, known }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Somebody is in that epoch: from here on there is no other, even if nothing was said yet.
    fn check_epoch(&mut self, epoch: &str) {
        let known = self.epoch.get_or_insert_with(|| epoch.to_string());
        assert_eq!(known, epoch, "an epoch is for ever");
    }

    /// Somebody saw it: from here on it is there, as it is.
    fn add(&mut self, epoch: &str, seq: u64, said: Said) {
        self.check_epoch(epoch);
        let known = self.said.entry(seq).or_insert_with(|| said.clone());
        assert_eq!(*known, said, "seq {seq}");
    }
}

/// A client that says one numbered text after another, and what it knows beyond any connection.
struct Client<'a> {
    room: &'a Room,
    /// Its place among the members of the room.
    member: usize,
    name: String,
    /// The epoch and the seq that it has seen last.
    since: Option<(String, u64)>,
    /// The last number that it sent, the last one it has seen, and the last one acknowledged.
    sent: u64,
    stored: u64,
    acknowledged: u64,
    /// How many may be sent and not acknowledged.
    window: u64,
    /// Messages of the answer to its join that are still to come; none before that.
    replay: Option<u64>,
    /// How many messages it missed and recovered, and how many of its retries were known.
    missed: u64,
    retries: u64,
}

impl<'a> Client<'a> {
    fn new(room: &'a Room, member: usize) -> Self {
        Self {
            room,
            member,
            name: format!("{} {member}", room.id),
            since: None,
            sent: 0,
            stored: 0,
            acknowledged: 0,
            window: WINDOW,
            replay: None,
            missed: 0,
            retries: 0,
        }
    }

    /// Comes back, sends again in the same order what was not acknowledged, and goes on.
    fn talk(&mut self, server: &Server, until: u64) -> Option<Socket> {
        let mut socket = server.connect()?;
        self.replay = None;
        let retries = self.acknowledged + 1..=self.sent;
        let retries = retries.map(|number| self.message(number));
        send(&mut socket, std::iter::once(self.join()).chain(retries));
        while self.replay != Some(0) || self.acknowledged < until {
            let frame = server.read(&mut socket)?;
            self.receive(&frame);
            send(&mut socket, self.say(until));
        }
        Some(socket)
    }

    fn join(&self) -> Value {
        let since = self.since.as_ref();
        let since = since.map(|(epoch, seq)| json!({"epoch": epoch, "seq": seq}));
        json!({"type": "join", "roomId": self.room.id, "username": self.name, "since": since})
    }

    fn text(&self, number: u64) -> String {
        format!("{} says {number}", self.name)
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.member)
    }

    fn message(&self, number: u64) -> Value {
        let (text, id) = (self.text(number), self.id(number));
        json!({"type": "message", "roomId": self.room.id, "text": text, "clientMsgId": id})
    }

    /// What it has to say next.
    fn say(&mut self, until: u64) -> Vec<Value> {
        let before = self.sent;
        if self.replay == Some(0) && self.is_near() {
            self.sent = until.min(self.acknowledged + self.window).max(before);
        }
        (before + 1..=self.sent)
            .map(|number| self.message(number))
            .collect()
    }

    /// Whether it is not too far ahead of the others. Nobody then ever misses more than a room
    /// remembers: each may have a window on its way beyond that.
    fn is_near(&self) -> bool {
        let lead = u64::from(Limits::default().tail_entries) - MEMBERS as u64 * WINDOW;
        let seen = self.room.known().seen;
        seen[self.member] < seen.into_iter().min().unwrap_or_default() + lead
    }

    fn receive(&mut self, frame: &Value) {
        match text(frame, "type").as_str() {
            "joined" => self.joined(frame),
            "message" if frame["duplicate"] == true => self.retried(frame),
            "message" => self.heard(frame),
            "user_joined" | "user_left" => {}
            _ => panic!("{}: {frame}", self.name),
        }
    }

    fn joined(&mut self, frame: &Value) {
        let (epoch, last) = (text(frame, "epoch"), number(frame, "seq"));
        let replay = number(frame, "history");
        self.replay = Some(replay);
        assert_eq!(frame["recovered"], self.since.is_some(), "{frame}");
        if let Some((_, seen)) = &self.since {
            assert_eq!(seen + replay, last, "{frame}");
            self.missed += replay;
        } else {
            self.since = Some((epoch.clone(), last - replay));
        }
        let mut known = self.room.known();
        known.check_epoch(&epoch);
        known.seen[self.member] = last - replay;
    }

    /// A message that is new to it.
    fn heard(&mut self, frame: &Value) {
        let (seq, said) = said(frame);
        let (epoch, seen) = self.since.as_mut().expect("first comes joined");
        *seen += 1;
        assert_eq!(seq, *seen, "no gap: {frame}");
        let mine = said.from == self.name;
        let mut known = self.room.known();
        known.add(epoch, seq, said);
        known.seen[self.member] = seq;
        drop(known);
        let replay = self.replay.as_mut().expect("first comes joined");
        let replayed = *replay > 0;
        *replay = replay.saturating_sub(1);
        if mine {
            self.stored += 1;
            self.is_mine(frame, self.stored);
        }
        if mine && !replayed {
            self.acknowledged += 1;
            assert_eq!(self.acknowledged, self.stored, "{frame}");
        }
    }

    /// The answer to a retry of what it has seen before.
    fn retried(&mut self, frame: &Value) {
        self.acknowledged += 1;
        self.retries += 1;
        self.is_mine(frame, self.acknowledged);
        assert!(self.acknowledged <= self.stored, "{frame}");
        let (seq, said) = said(frame);
        assert_eq!(self.room.known().said.get(&seq), Some(&said));
    }

    fn is_mine(&self, frame: &Value, number: u64) {
        assert_eq!(frame["text"], self.text(number), "{frame}");
        assert_eq!(frame["clientMsgId"], self.id(number), "{frame}");
    }
}

/// Whether everything that anybody knows is there, and nothing between. How many messages are stored.
fn check(address: SocketAddr, rooms: &[Room], clients: &[Client<'_>]) -> u64 {
    let mut socket = connect(address).expect("it lets everybody in");
    let stored = rooms.iter().map(|room| check_room(room, &mut socket)).sum();
    for client in clients {
        let known = client.room.known();
        let said = known.said.values().filter(|said| said.from == client.name);
        let mut numbers = 0;
        for said in said {
            numbers += 1;
            assert_eq!(said.text, client.text(numbers), "in order, each once");
        }
        let possible = client.stored.max(client.acknowledged)..=client.sent;
        assert!(possible.contains(&numbers), "{}: {numbers}", client.name);
    }
    stored
}

/// Pages through a room, from its end to its beginning. How many messages are stored in it.
fn check_room(room: &Room, socket: &mut Socket) -> u64 {
    let id = room.id;
    let join = json!({"type": "join", "roomId": id, "username": "checker", "history": 0});
    let (joined, _) = ask(socket, join);
    let (epoch, last) = (text(&joined, "epoch"), number(&joined, "seq"));
    let mut pages = Vec::new();
    let mut before = last + 1;
    while before > 1 {
        let page = json!({"type": "get_history", "roomId": id, "before": before, "limit": 100});
        let (history, page) = ask(socket, page);
        assert_eq!(history["epoch"], epoch, "{history}");
        assert!(!page.is_empty(), "nothing before {before}: {history}");
        before -= page.len() as u64;
        assert_eq!(history["hasMore"], before > 1, "{history}");
        pages.push(page);
    }
    // It is empty then, so that the clients' joins read it from the disk.
    let (left, _) = ask(socket, json!({"type": "leave", "roomId": id}));
    assert_eq!(left["type"], "left");

    let mut known = room.known();
    known.check_epoch(&epoch);
    let lost: Vec<_> = known.said.range(last + 1..).collect();
    assert!(
        lost.is_empty(),
        "{id} ends at {last}, but {lost:?} was seen"
    );
    let (mut seqs, mut at) = (0, 0);
    for frame in pages.iter().rev().flatten() {
        let (seq, said) = said(frame);
        seqs += 1;
        assert_eq!(seq, seqs, "no gap: {frame}");
        assert!(said.timestamp >= at, "{frame}");
        at = said.timestamp;
        known.add(&epoch, seq, said);
    }
    assert_eq!(seqs, last);
    last
}

/// Sends a request; its answer, and the messages before.
fn ask(socket: &mut Socket, request: Value) -> (Value, Vec<Value>) {
    send(socket, [request]);
    let mut messages = Vec::new();
    loop {
        let frame = read(socket).expect("it goes on");
        if frame["type"] != "message" {
            return (frame, messages);
        }
        messages.push(frame);
    }
}

fn text(frame: &Value, field: &str) -> String {
    let text = frame[field].as_str();
    text.unwrap_or_else(|| panic!("{field} in {frame}")).into()
}

fn number(frame: &Value, field: &str) -> u64 {
    let number = frame[field].as_u64();
    number.unwrap_or_else(|| panic!("{field} in {frame}"))
}

fn said(frame: &Value) -> (u64, Said) {
    let said = Said {
        from: text(frame, "from"),
        text: text(frame, "text"),
        timestamp: number(frame, "timestamp"),
    };
    (number(frame, "seq"), said)
}

#[allow(clippy::print_stdout, reason = "a test that fails shows what it did")]
fn note(line: &str) {
    println!("{line}");
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    /// From the environment, or drawn; printed in any case.
    fn new() -> Self {
        let given = std::env::var("PARLOR_SEED").ok();
        let seed = given.map_or_else(
            || RandomState::new().build_hasher().finish(),
            |seed| seed.parse().expect("PARLOR_SEED is a whole number"),
        );
        note(&format!("PARLOR_SEED={seed}"));
        Self(seed)
    }

    /// Mostly low, but of any magnitude.
    fn roll_low(&mut self, sides: u64) -> u64 {
        let magnitudes = u64::from(sides.ilog2()) + 1;
        let sides = 1 << self.roll(magnitudes);
        self.roll(sides)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

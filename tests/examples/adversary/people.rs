//! People who talk while the server is attacked: rooms of them, each at a steady rate. Everybody
//! checks everything that comes: the same messages in the same order in the whole room, none missed,
//! and everybody's own as they were numbered when they were sent.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use parlor_tests::client::{frame, head};
use parlor_tests::dice::Dice;
use smol::{LocalExecutor, Timer};

use crate::wire::{Wire, Writer};

pub(crate) const ROOMS: usize = 20;
const MEMBERS: usize = 10;
/// How often each of them says something. Together they send 400 messages a second, which are
/// delivered 4,000 times; each could say five times as much before flood control minds.
const EVERY: Duration = Duration::from_millis(500);
/// Letters behind what a text has to tell: a sentence or two.
const PADDING: usize = 100;
/// So many share an address, of the 64 that the server lets in from one.
const PER_ADDRESS: usize = 50;
/// Begins the names of all of them, and of nobody else.
const NAMES: &str = "good-";

/// All of them.
#[derive(Clone)]
pub(crate) struct People(Rc<RefCell<Seen>>);

/// What they saw.
struct Seen {
    began: Instant,
    rooms: Vec<Log>,
    /// How long each message took to each of its readers, µs, by the second in which it was due.
    waits: Vec<Vec<u32>>,
    faults: Vec<String>,
    talking: bool,
    /// How long each visit took to get in, µs.
    visits: Vec<u32>,
}

/// A room: what was said, as whoever is ahead of the others saw it.
#[derive(Default)]
struct Log {
    /// A hash of each message; the index is its seq.
    messages: Vec<u64>,
    /// How many messages of each member are among them.
    said: [u32; MEMBERS],
    /// How many messages each member sent.
    sent: [u32; MEMBERS],
    /// How many messages each member got.
    got: [usize; MEMBERS],
}

/// The place of one of them.
#[derive(Clone, Copy)]
struct Seat {
    room: usize,
    member: usize,
}

/// The name of a room in which they talk.
pub(crate) fn room_name(room: usize) -> String {
    format!("{NAMES}{room}")
}

impl People {
    /// Connects all of them, has them join, and lets them talk.
    pub(crate) async fn come(
        executor: &LocalExecutor<'_>,
        server: SocketAddr,
        dice: &mut Dice,
    ) -> Result<Self, String> {
        let seen = Rc::new(RefCell::new(Seen {
            began: Instant::now(),
            rooms: (0..ROOMS).map(|_| Log::default()).collect(),
            waits: Vec::new(),
            faults: Vec::new(),
            talking: true,
            visits: Vec::new(),
        }));
        let mut writers = Vec::new();
        for number in 0..ROOMS * MEMBERS {
            let seat = Seat {
                room: number / MEMBERS,
                member: number % MEMBERS,
            };
            let wire = join(server, seat, number).await?;
            writers.push((seat, wire.writer()));
            executor.spawn(listen(seat, wire, seen.clone())).detach();
        }
        for (seat, writer) in writers {
            let micros = u64::try_from(EVERY.as_micros()).unwrap_or(u64::MAX);
            let first = Instant::now() + Duration::from_micros(dice.roll(micros));
            executor
                .spawn(talk(seat, writer, first, seen.clone()))
                .detach();
        }
        Ok(Self(seen))
    }

    /// The first thing that was wrong, if anything was.
    pub(crate) fn fault(&self) -> Result<(), String> {
        let faults = &self.0.borrow().faults;
        match faults.first() {
            None => Ok(()),
            Some(first) => Err(format!("{first} (and {} more)", faults.len() - 1)),
        }
    }

    /// Somebody new got in after so long.
    pub(crate) fn note_visit(&self, took: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.0.borrow_mut().visits.push(us);
    }

    /// How long it took those who came since this was asked last to get in, µs.
    pub(crate) fn take_visits(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.borrow_mut().visits)
    }

    pub(crate) fn find_fault(&self, fault: String) {
        self.0.borrow_mut().faults.push(fault);
    }

    /// The second since they began.
    pub(crate) fn second(&self) -> usize {
        let elapsed = self.0.borrow().began.elapsed().as_secs();
        usize::try_from(elapsed).unwrap_or(usize::MAX)
    }

    /// How long they waited for each message that was due in these seconds, µs, second by second.
    pub(crate) fn waits(&self, seconds: Range<usize>) -> Vec<Vec<u32>> {
        self.0.borrow().waits[seconds].to_vec()
    }

    /// Has them fall silent, and waits until everything that was said has reached everybody.
    #[allow(clippy::print_stdout, reason = "what was seen")]
    pub(crate) async fn hush(&self) -> Result<(), String> {
        const LOOK: Duration = Duration::from_millis(50);
        const LOOKS: u32 = 200;
        self.0.borrow_mut().talking = false;
        for _ in 0..LOOKS {
            Timer::after(LOOK).await;
            self.fault()?;
            if self.0.borrow().missing() == 0 {
                println!(
                    "{} messages reached everybody, in one order",
                    self.0.borrow().sent()
                );
                return Ok(());
            }
        }
        Err(format!("{} messages are lost", self.0.borrow().missing()))
    }
}

/// Connects one of them and has it join its room.
async fn join(server: SocketAddr, seat: Seat, number: usize) -> Result<Wire, String> {
    let last = u8::try_from(number / PER_ADDRESS).map_err(|error| error.to_string())?;
    let from = Ipv4Addr::new(127, 0, 1, last + 1);
    let joining = async {
        let mut wire = Wire::connect(from, server).await?;
        let room = room_name(seat.room);
        let request = format!(
            r#"{{"type":"join","roomId":"{room}","username":"{}"}}"#,
            seat.name()
        );
        wire.write(&frame(head::TEXT, request.as_bytes())).await?;
        let (_, answer) = wire.frame().await?;
        let answer = String::from_utf8_lossy(answer);
        if answer.starts_with(r#"{"type":"joined""#) {
            Ok(wire)
        } else {
            Err(std::io::Error::other(answer))
        }
    };
    let joined: std::io::Result<Wire> = joining.await;
    joined.map_err(|error| format!("{} cannot join: {error}", seat.name()))
}

/// Says something whenever it is due, however late it is.
async fn talk(seat: Seat, writer: Writer, first: Instant, seen: Rc<RefCell<Seen>>) {
    let began = seen.borrow().began;
    let mut due = first;
    for number in 1.. {
        Timer::at(due).await;
        {
            let mut seen = seen.borrow_mut();
            if !seen.talking {
                return;
            }
            seen.rooms[seat.room].sent[seat.member] = number;
        }
        let due_us = due.duration_since(began).as_micros();
        let text = format!("{} {number} {due_us} {:x<PADDING$}", seat.member, "");
        let room = room_name(seat.room);
        let request = format!(r#"{{"type":"message","roomId":"{room}","text":"{text}"}}"#);
        let sent = writer.write(&frame(head::TEXT, request.as_bytes())).await;
        if let Err(error) = sent {
            let fault = format!("{} cannot send: {error}", seat.name());
            return seen.borrow_mut().faults.push(fault);
        }
        due += EVERY;
    }
}

/// Reads whatever comes and checks it, until something is wrong.
async fn listen(seat: Seat, mut wire: Wire, seen: Rc<RefCell<Seen>>) {
    let fault = loop {
        let pong = match wire.frame().await {
            Ok((head::TEXT, message)) => match seen.borrow_mut().take(seat, message) {
                Ok(()) => continue,
                Err(fault) => break fault,
            },
            Ok((head::PING, payload)) => frame(head::PONG, payload),
            Ok((head::CLOSE, reason)) => break format!("closed: {reason:?}"),
            Ok((other, _)) => break format!("a frame that begins with {other:#04x}"),
            Err(error) => break format!("cannot read: {error}"),
        };
        if let Err(error) = wire.write(&pong).await {
            break format!("cannot answer a ping: {error}");
        }
    };
    let fault = format!("{}: {fault}", seat.name());
    seen.borrow_mut().faults.push(fault);
}

impl Seen {
    fn sent(&self) -> u32 {
        self.rooms.iter().flat_map(|room| room.sent).sum()
    }

    /// Messages that were sent, and that somebody did not get.
    fn missing(&self) -> u32 {
        let missing = |room: &Log| {
            let everybody_is_ahead = room.got.iter().all(|got| *got == room.messages.len());
            let said: u32 = room.said.iter().sum();
            room.sent.iter().sum::<u32>() - if everybody_is_ahead { said } else { 0 }
        };
        self.rooms.iter().map(missing).sum()
    }

    fn take(&mut self, seat: Seat, message: &[u8]) -> Result<(), String> {
        let message = std::str::from_utf8(message).map_err(|error| error.to_string())?;
        let unexpected = || format!("got {message}");
        match text_of(message, "type").ok_or_else(unexpected)? {
            "user_joined" | "typing" => Ok(()),
            "user_left" => match text_of(message, "username") {
                Some(name) if !name.starts_with(NAMES) => Ok(()),
                _ => Err(unexpected()),
            },
            "message" => self
                .hear(seat, message)
                .map_err(|why| format!("{why}: {message}")),
            _ => Err(unexpected()),
        }
    }

    fn hear(&mut self, seat: Seat, message: &str) -> Result<(), &'static str> {
        let log = &mut self.rooms[seat.room];
        let index = log.got[seat.member];
        let seq: usize = message
            .rsplit_once(r#""seq":"#)
            .and_then(|(_, seq)| seq.trim_end_matches('}').parse().ok())
            .ok_or("no seq")?;
        if seq != index + 1 {
            return Err("out of order");
        }
        log.got[seat.member] = seq;
        let mut hasher = DefaultHasher::new();
        message.hash(&mut hasher);
        let hash = hasher.finish();
        let is_first = index == log.messages.len();
        if is_first {
            log.messages.push(hash);
        } else if log.messages[index] != hash {
            return Err("not what others got");
        }
        let from = text_of(message, "from").ok_or("from nobody")?;
        if !from.starts_with(NAMES) {
            return Ok(());
        }
        let text = text_of(message, "text").ok_or("no text")?;
        let mut words = text.split(' ').map(str::parse);
        let (Some(Ok(member)), Some(Ok(number)), Some(Ok(due_us))) =
            (words.next(), words.next(), words.next())
        else {
            return Err("garbled");
        };
        let member: u64 = member;
        let said = usize::try_from(member)
            .ok()
            .and_then(|member| log.said.get_mut(member))
            .ok_or("from nobody")?;
        if is_first {
            if u64::from(*said) + 1 != number {
                return Err("lost or twice");
            }
            *said += 1;
        }
        self.note_wait(due_us);
        Ok(())
    }

    fn note_wait(&mut self, due_us: u64) {
        let now_us = self.began.elapsed().as_micros();
        let wait = now_us.saturating_sub(due_us.into());
        let second = usize::try_from(due_us / 1_000_000).unwrap_or(usize::MAX);
        if self.waits.len() <= second {
            self.waits.resize_with(second + 1, Vec::new);
        }
        self.waits[second].push(u32::try_from(wait).unwrap_or(u32::MAX));
    }
}

impl Seat {
    fn name(self) -> String {
        format!("{NAMES}{}-{}", self.room, self.member)
    }
}

/// The value of a field whose text needs no escapes, in a message that has it once.
fn text_of<'a>(message: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(&format!(r#""{field}":""#))?;
    rest.split_once('"').map(|(value, _)| value)
}

//! A chat over std's sockets and threads: the core needs neither a runtime nor the hub. A line is
//! a frame, so `nc 127.0.0.1 7777` is a client: `{"type":"join","roomId":"tea","username":"Al"}`.
//!
//! One thread owns the [`State`] and does what it says. Each connection has one that writes and one
//! that reads, so a slow one holds up nobody else. The store is a list for each room that somebody
//! is in. A line has no ping, so [`Session::due`] is not asked who vanished: writing will tell.
#![allow(clippy::disallowed_types, reason = "this is not the core")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use parlor_core::{encode::encode, session::Verdict, *};

const CONNECTIONS: usize = 500; // at once
const INBOX: usize = 1024; // inputs; behind them readers wait, and TCP has their peers wait
const OUTBOX: usize = 1000; // lines of one connection, three long replays; beyond them it is cut
const LOG: usize = 1000; // messages of a room
type Outbox = SyncSender<Arc<[u8]>>;
type News = (Input, Option<Outbox>); // with `Connected` comes the way to whoever did

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    serve(address.as_deref().unwrap_or("127.0.0.1:7777"), io::stdout())
}

pub(crate) fn serve(address: &str, mut out: impl Write) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    let (inbox, news) = sync_channel(INBOX);
    let present = Arc::new(());
    thread::scope(|threads| {
        threads.spawn(|| run(news));
        for (conn, socket) in (1..).map(ConnId).zip(listener.incoming().flatten()) {
            let (inbox, present) = (&inbox, present.clone());
            if Arc::strong_count(&present) <= CONNECTIONS + 1 {
                threads.spawn(move || (attend(conn, &socket, inbox), present));
            }
        }
    });
    Ok(())
}

/// Writes to a connection what waits for it, and has another thread read from it.
fn attend(conn: ConnId, mut socket: &TcpStream, inbox: &SyncSender<News>) -> io::Result<()> {
    let (outbox, lines) = sync_channel::<Arc<[u8]>>(OUTBOX);
    socket.set_write_timeout(Some(Duration::from_secs(10)))?; // for it to take some of it
    thread::scope(|threads| {
        threads.spawn(|| read(conn, socket, inbox, outbox));
        let _ = lines.iter().try_for_each(|line| socket.write_all(&line));
        socket.shutdown(Shutdown::Both) // which ends the reading, too
    })
}

fn read(conn: ConnId, socket: &TcpStream, inbox: &SyncSender<News>, outbox: Outbox) -> Option<()> {
    let (high, low) = (getrandom::u64().ok()?, getrandom::u64().ok()?);
    let resume_token = ResumeToken::from_random((u128::from(high) << 64) | u128::from(low));
    let came = Input::Connected { conn, resume_token };
    inbox.send((came, Some(outbox))).ok()?;
    let limits = Limits::default();
    let (mut session, mut lines) = (Session::new(&limits, now()), BufReader::new(socket));
    let cause = loop {
        let mut line = String::new();
        let mut lines = lines.by_ref().take(limits.frame_bytes.into());
        if lines.read_line(&mut line).is_err() || !line.ends_with('\n') {
            break Cause::Disconnected; // closed, or the line is too long, or not UTF-8
        }
        let input = match session.text(&line, now()) {
            Verdict::Admit { request, .. } => Input::Received { conn, request },
            Verdict::Refuse(refusal) => Input::Refused { conn, refusal },
            Verdict::Ignore => continue,
            Verdict::Close(reason) => break reason.cause(),
        };
        inbox.send((input, None)).ok()?;
    };
    inbox.send((Input::Disconnected { conn, cause }, None)).ok()
}

fn run(news: Receiver<News>) {
    let (mut state, mut world) = (State::new(Limits::default()), World::default());
    for (input, outbox) in news {
        world.outboxes.extend(input.conn().zip(outbox));
        world.next.push_back(input);
        while let Some(input) = world.next.pop_front() {
            if let Input::Disconnected { conn, .. } = input {
                world.outboxes.remove(&conn);
            }
            let mut effects = Vec::new();
            state.apply(Event { at: now(), input }, &mut effects);
            effects.drain(..).for_each(|effect| world.carry_out(effect));
        }
    }
}

#[derive(Default)]
struct World {
    outboxes: BTreeMap<ConnId, Outbox>,
    logs: BTreeMap<RoomId, VecDeque<Arc<Entry>>>,
    next: VecDeque<Input>, // answers to effects, which nothing overtakes
}

impl World {
    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::LoadRoom { room, load } => {
                let epoch = format!("{}-{}", now().0, load.0); // of no other log
                let log = StoredLog::empty(Epoch::new(&epoch).expect("it is short"));
                self.next.push_back(Input::RoomLoaded { room, load, log });
            }
            Effect::Append { room, entry, .. } => {
                let log = self.logs.entry(room).or_default();
                log.push_back(entry);
                log.drain(..log.len().saturating_sub(LOG));
            }
            Effect::FetchPage(fetch) => {
                let log = self.logs.entry(fetch.room.clone()).or_default();
                let end = log.partition_point(|entry| entry.seq < fetch.before);
                let start = end.saturating_sub(fetch.limit as usize);
                let (entries, has_more) = (log.range(start..end).cloned().collect(), start > 0);
                let page = Page { entries, has_more };
                self.next.push_back(Input::PageFetched { fetch, page });
            }
            Effect::ReleaseRoom { room } => drop(self.logs.remove(&room)),
            Effect::Answer { .. } | Effect::Tell(_) => {} // for an application
            Effect::Send { to, message } => {
                let line: Arc<[u8]> = [&*encode(&message), b"\n"].concat().into();
                for conn in to.conns() {
                    let outbox = self.outboxes.get(&conn);
                    if outbox.is_some_and(|outbox| outbox.try_send(line.clone()).is_err()) {
                        let cause = Cause::Slow;
                        self.next.push_back(Input::Disconnected { conn, cause });
                    }
                }
            }
            Effect::Close { conn, .. } => drop(self.outboxes.remove(&conn)),
        }
    }
}

fn now() -> Timestamp {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp(now.as_secs() * 1000 + u64::from(now.subsec_millis()))
}

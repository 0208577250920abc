//! The attackers, in a process of their own: many of each kind at once, each of which comes again
//! when it was ended. They tally how that was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use parlor_tests::client::{frame, head};
use parlor_tests::dice::Dice;
use smol::future::FutureExt;
use smol::io::AsyncReadExt;
use smol::{LocalExecutor, Timer, Unblock};

use crate::kinds;
use crate::wire::Wire;

/// What the process of the attackers is told first.
pub(crate) const COMMAND: &str = "attack";
/// So many share an address, far below the 64 that the server lets in from one: it is to hold by its
/// other limits, and what it has not quite ended still counts.
const PER_ADDRESS: u32 = 25;
/// A kind of attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never reads, though much waits for it.
    Mute,
    /// Never finishes its handshake.
    SlowHandshake,
    /// Sends ten times what it may.
    Flood,
    /// Sends messages in pieces, without an end.
    Fragments,
    /// Sends what is no WebSocket, or makes no sense.
    Malformed,
    /// Connects and is gone.
    Drop,
    /// Asks for what is large.
    Costly,
}

/// All of them.
pub(crate) const ALL_KINDS: [Kind; 7] = [
    Kind::Mute,
    Kind::SlowHandshake,
    Kind::Flood,
    Kind::Fragments,
    Kind::Malformed,
    Kind::Drop,
    Kind::Costly,
];

impl Kind {
    /// How many connections there are at once.
    const fn count(self) -> u32 {
        match self {
            Self::Mute | Self::SlowHandshake => 300,
            Self::Flood | Self::Drop => 200,
            Self::Fragments | Self::Malformed => 100,
            Self::Costly => 40,
        }
    }

    /// Between two connections of one attacker, at most, ms. Together they send some 20,000 frames a
    /// second, fifty times what people send, and have the server work for half a second in each. More
    /// would show how fast it is, on a processor that it shares with them, and not whether it is fair.
    const fn pause_ms(self) -> u64 {
        match self {
            // It lasts for half a second, and each connection may send 200 frames at once.
            Self::Flood => 6000,
            Self::Fragments => 3000,
            Self::Mute | Self::SlowHandshake | Self::Malformed | Self::Drop | Self::Costly => 2000,
        }
    }

    /// After this the server has ended it, or else it will not, s.
    const fn patience_secs(self) -> u64 {
        match self {
            // It is cut when others have less waiting for them, at the latest 35 s after its system
            // is full; that it is cut at all is seen by the people.
            Self::Mute => 120,
            // Half a frame counts as silence: 25 s until a ping, and 10 s for its pong.
            Self::Fragments => 45,
            // 10 s for a handshake.
            Self::SlowHandshake => 20,
            Self::Flood | Self::Malformed | Self::Drop | Self::Costly => 30,
        }
    }

    /// How they are to end, most of them in the first way. A connection that is reset loses what
    /// the server said last.
    const fn ends(self) -> &'static [&'static str] {
        match self {
            Self::Mute => &[kinds::ENDED, kinds::DROPPED],
            Self::SlowHandshake => &[kinds::ENDED, "refused 431"],
            Self::Flood => &["closed 4002", kinds::ENDED],
            Self::Fragments => &["closed 1009", "closed 4001", kinds::ENDED],
            Self::Malformed => &[kinds::AS_IT_SHOULD, kinds::ANSWERED, kinds::ENDED],
            Self::Drop => &[kinds::DROPPED, kinds::ENDED],
            Self::Costly => &[kinds::ANSWERED],
        }
    }

    /// Attacks once; how it ended.
    async fn attack(self, attacker: &mut Attacker) -> io::Result<String> {
        match self {
            Self::Mute => kinds::mute(attacker).await,
            Self::SlowHandshake => kinds::slow_handshake(attacker).await,
            Self::Flood => kinds::flood(attacker).await,
            Self::Fragments => kinds::fragments(attacker).await,
            Self::Malformed => kinds::malformed(attacker).await,
            Self::Drop => kinds::drop_it(attacker).await,
            Self::Costly => kinds::costly(attacker).await,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mute => "mute",
            Self::SlowHandshake => "slow-handshake",
            Self::Flood => "flood",
            Self::Fragments => "fragments",
            Self::Malformed => "malformed",
            Self::Drop => "drop",
            Self::Costly => "costly",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = ALL_KINDS.into_iter().find(|kind| kind.to_string() == name);
        found.ok_or_else(|| format!("there is no attacker called {name}"))
    }
}

// As the other process sees it.

/// An attack that goes on; it ends with its process when dropped.
pub(crate) struct Attack {
    process: Child,
    /// Its end is the signal to stop.
    go_on: Option<ChildStdin>,
}

/// How often attackers ended how.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<(String, String), u64>);

impl Attack {
    pub(crate) fn begin(server: SocketAddr, kinds: &[Kind], seed: u64) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| error.to_string())?;
        let mut process = Command::new(program)
            .args([COMMAND, &server.to_string(), &seed.to_string()])
            .args(kinds.iter().map(Kind::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the attack does not begin: {error}"))?;
        let go_on = process.stdin.take();
        Ok(Self { process, go_on })
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Result<Tally, String> {
        self.go_on = None;
        let mut said = String::new();
        if let Some(mut stdout) = self.process.stdout.take() {
            let read = stdout.read_to_string(&mut said);
            read.map_err(|error| format!("the attackers say nothing: {error}"))?;
        }
        let mut tally = Tally::default();
        for line in said.lines() {
            let words: Vec<&str> = line.split('\t').collect();
            let [kind, ended, count] = words[..] else {
                return Err(format!("the attackers say {line:?}"));
            };
            let count = count
                .parse()
                .map_err(|error| format!("{line:?}: {error}"))?;
            tally.0.insert((kind.into(), ended.into()), count);
        }
        Ok(tally)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Tally {
    /// Whether all of them ended as they are to, and most of them came at least once.
    #[allow(clippy::print_stdout, reason = "what was seen")]
    pub(crate) fn judge(&self, kinds: &[Kind]) -> Result<(), String> {
        for ((kind, ended), count) in &self.0 {
            println!("{kind}: {ended}: {count}");
        }
        for kind in kinds {
            let ends = kind.ends();
            let of_kind = self.0.iter().filter(|((of, _), _)| *of == kind.to_string());
            let (mut first, mut others) = (0, 0);
            for ((_, ended), count) in of_kind {
                match ends.iter().position(|end| end == ended) {
                    Some(0) => first += count,
                    Some(_) => others += count,
                    None => return Err(format!("{kind} ended so: {ended}")),
                }
            }
            if first + others < kind.count().into() || first == 0 {
                return Err(format!("{kind}: there was hardly an attack"));
            }
        }
        Ok(())
    }
}

// As the attackers see it.

/// Somebody who attacks.
pub(crate) struct Attacker {
    server: SocketAddr,
    from: Ipv4Addr,
    /// Among those of its kind.
    pub(crate) number: u32,
    /// How often it came.
    times: u32,
    pub(crate) dice: Dice,
}

/// The attackers' own process: attacks until standard input ends, then prints the tally.
#[allow(clippy::print_stdout, reason = "the tally")]
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let [server, seed, kinds @ ..] = args else {
        return Err("say which server, and the seed".into());
    };
    let server = server
        .parse()
        .map_err(|error| format!("{server}: {error}"))?;
    let seed = seed.parse().map_err(|error| format!("{seed}: {error}"))?;
    // One connection is one file, and the usual soft limit is 1024.
    rlimit::increase_nofile_limit(u64::MAX).map_err(|error| error.to_string())?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let executor = LocalExecutor::new();
    let (mut dice, mut all) = (Dice::new(seed), 0);
    for kind in kinds {
        let kind: Kind = kind.parse()?;
        for number in 0..kind.count() {
            let network = u8::try_from(all / PER_ADDRESS).map_err(|error| error.to_string())?;
            let attacker = Attacker {
                server,
                from: Ipv4Addr::new(127, 0, 2, network + 1),
                number,
                times: 0,
                dice: Dice::new(dice.roll(u64::MAX)),
            };
            executor
                .spawn(again(kind, attacker, tally.clone()))
                .detach();
            all += 1;
        }
    }
    smol::block_on(executor.run(async {
        // An error is an end, too.
        let _ = Unblock::new(io::stdin()).read(&mut [0]).await;
    }));
    for ((kind, ended), count) in &tally.borrow().0 {
        println!("{kind}\t{ended}\t{count}");
    }
    Ok(())
}

/// What it looks like that the other side has ended a connection.
const ENDS: [ErrorKind; 3] = [
    ErrorKind::UnexpectedEof,
    ErrorKind::ConnectionReset,
    ErrorKind::BrokenPipe,
];

/// Attacks again and again.
async fn again(kind: Kind, mut attacker: Attacker, tally: Rc<RefCell<Tally>>) {
    // Not all at once.
    attacker.pause(1000).await;
    loop {
        let patience = async {
            Timer::after(Duration::from_secs(kind.patience_secs())).await;
            Ok("still there".into())
        };
        let ended = kind.attack(&mut attacker).or(patience).await;
        let ended = ended.unwrap_or_else(|error| match error.kind() {
            end if ENDS.contains(&end) => kinds::ENDED.into(),
            _other => format!("failed: {error}"),
        });
        let key = (kind.to_string(), ended);
        *tally.borrow_mut().0.entry(key).or_default() += 1;
        attacker.times += 1;
        attacker.pause(kind.pause_ms()).await;
    }
}

impl Attacker {
    pub(crate) async fn dial(&self) -> io::Result<Wire> {
        Wire::dial(self.from, self.server, None).await
    }

    /// A WebSocket.
    pub(crate) async fn connect(&self) -> io::Result<Wire> {
        Wire::connect(self.from, self.server).await
    }

    /// The same for somebody whose system takes little, since it will not read.
    pub(crate) async fn connect_narrow(&self) -> io::Result<Wire> {
        let mut wire = Wire::dial(self.from, self.server, Some(4 << 10)).await?;
        wire.upgrade().await?;
        Ok(wire)
    }

    /// A join under a name of its own.
    pub(crate) fn join(&self, room: &str) -> Vec<u8> {
        let name = format!("x-{room}-{}-{}", self.number, self.times);
        let request = format!(r#"{{"type":"join","roomId":"{room}","username":"{name}"}}"#);
        frame(head::TEXT, request.as_bytes())
    }

    /// Waits for up to so many milliseconds.
    pub(crate) async fn pause(&mut self, most_ms: u64) {
        Timer::after(Duration::from_millis(self.dice.roll(most_ms))).await;
    }
}

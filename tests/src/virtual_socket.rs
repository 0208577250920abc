//! A socket in memory: the [`Outlet`] that a hub writes to, and the far end, which decides how much
//! it takes and reads the frames that came.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use parlor_hub::Outlet;
use serde_json::Value;

/// One frame as its receiver sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A message of the server.
    Message(Value),
    /// A ping or pong, by its opcode.
    Control(u8),
    /// The end, with its code.
    Close(u16),
}

/// How the hub let go of an outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    /// Everything was written.
    Finished,
    /// What was left was given up.
    Aborted,
    /// It was dropped without a word.
    Dropped,
}

/// The far end of a connection; its clones are the same.
#[derive(Clone, Debug)]
pub struct VirtualSocket(Arc<Mutex<Wire>>);

/// The near end.
#[derive(Debug)]
pub struct VirtualOutlet(Arc<Mutex<Wire>>);

#[derive(Debug)]
struct Wire {
    /// Bytes that it takes before it blocks.
    room: usize,
    /// Bytes that one write takes.
    most_per_write: usize,
    fault: Option<Fault>,
    /// Who waits for room.
    waker: Option<Waker>,
    bytes: Vec<u8>,
    /// How many of `bytes` belong to frames that were read.
    read: usize,
    writes: usize,
    last_write: usize,
    last_word: Option<LastWord>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fails,
    Panics,
    PanicsWhenFull,
}

impl VirtualSocket {
    /// Both ends of a socket that takes everything.
    #[must_use]
    pub fn pair() -> (Self, VirtualOutlet) {
        let wire = Arc::new(Mutex::new(Wire {
            room: usize::MAX,
            most_per_write: usize::MAX,
            fault: None,
            waker: None,
            bytes: Vec::new(),
            read: 0,
            writes: 0,
            last_write: 0,
            last_word: None,
        }));
        (Self(wire.clone()), VirtualOutlet(wire))
    }

    /// From here on it takes `bytes` and then blocks, until it is told to take more.
    pub fn take(&self, bytes: usize) {
        let waker = {
            let mut wire = lock(&self.0);
            wire.room = bytes;
            (bytes > 0).then(|| wire.waker.take()).flatten()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// From here on it takes nothing.
    pub fn block(&self) {
        self.take(0);
    }

    /// From here on it takes everything.
    pub fn flow(&self) {
        self.take(usize::MAX);
    }

    /// From here on one write takes at most `bytes`.
    pub fn take_per_write(&self, bytes: usize) {
        lock(&self.0).most_per_write = bytes;
    }

    /// How many bytes it took so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        lock(&self.0).bytes.len()
    }

    /// From here on every write fails.
    pub fn fail(&self) {
        self.break_by(Fault::Fails);
    }

    /// From here on every write panics.
    pub fn panic(&self) {
        self.break_by(Fault::Panics);
    }

    /// It takes `bytes` more, and the write behind them panics.
    pub fn panic_after(&self, bytes: usize) {
        self.take(bytes);
        lock(&self.0).fault = Some(Fault::PanicsWhenFull);
    }

    fn break_by(&self, fault: Fault) {
        lock(&self.0).fault = Some(fault);
        self.flow();
    }

    /// How often the hub wrote to it, in vain or not.
    #[must_use]
    pub fn writes(&self) -> usize {
        lock(&self.0).writes
    }

    /// The address of what the hub wrote last: who is sent the same bytes, shares them.
    #[must_use]
    pub fn last_write(&self) -> usize {
        lock(&self.0).last_write
    }

    /// How the hub let go of it, if it did.
    #[must_use]
    pub fn last_word(&self) -> Option<LastWord> {
        lock(&self.0).last_word
    }

    /// The whole frames that came since the last time.
    ///
    /// # Panics
    /// When what came is not a sequence of whole unmasked frames, but for the last.
    #[must_use]
    pub fn read(&self) -> Vec<Received> {
        self.read_sized()
            .into_iter()
            .map(|(frame, _)| frame)
            .collect()
    }

    /// The same, each with the bytes that it took.
    ///
    /// # Panics
    /// When what came is not a sequence of whole unmasked frames, but for the last.
    #[must_use]
    pub fn read_sized(&self) -> Vec<(Received, usize)> {
        let mut wire = lock(&self.0);
        let mut frames = Vec::new();
        while let Some((frame, len)) = parse(&wire.bytes[wire.read..]) {
            wire.read += len;
            frames.push((frame, len));
        }
        frames
    }

    /// Whether a frame came of which a part is missing.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        let wire = lock(&self.0);
        wire.read < wire.bytes.len()
    }
}

impl Outlet for VirtualOutlet {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.0);
        assert!(wire.last_word.is_none(), "written to behind its last word");
        wire.writes += 1;
        wire.last_write = bytes.as_ptr().addr();
        match wire.fault {
            Some(Fault::Fails) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(Fault::PanicsWhenFull) if wire.room > 0 => {}
            Some(Fault::Panics | Fault::PanicsWhenFull) => {
                drop(wire);
                panic!("planned: the outlet panics");
            }
            None => {}
        }
        let taken = bytes.len().min(wire.room).min(wire.most_per_write);
        if taken == 0 {
            wire.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        wire.room -= taken;
        wire.bytes.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn finish(&mut self) {
        last_word(&self.0, LastWord::Finished);
    }

    fn abort(&mut self) {
        last_word(&self.0, LastWord::Aborted);
    }
}

impl Drop for VirtualOutlet {
    fn drop(&mut self) {
        last_word(&self.0, LastWord::Dropped);
    }
}

fn last_word(wire: &Mutex<Wire>, word: LastWord) {
    lock(wire).last_word.get_or_insert(word);
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().expect("nothing panics while it is locked")
}

/// The first frame of `bytes` and its length, if it is whole (RFC 6455, section 5.2).
fn parse(bytes: &[u8]) -> Option<(Received, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0xf0, 0x80, "a whole message, without extensions");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (len, rest) = match second {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*len).into(), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = u64::from_be_bytes(*len);
            (usize::try_from(len).expect("it fits into memory"), rest)
        }
        short => (usize::from(short), rest),
    };
    let head = bytes.len() - rest.len();
    let payload = rest.get(..len)?;
    let frame = match first & 0x0f {
        0x1 => Received::Message(serde_json::from_slice(payload).expect("messages are JSON")),
        0x8 => {
            let (code, _) = payload.split_first_chunk().expect("it has a code");
            Received::Close(u16::from_be_bytes(*code))
        }
        control => Received::Control(control),
    };
    Some((frame, head + len))
}

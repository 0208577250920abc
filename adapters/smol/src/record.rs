//! What the core is fed, as files. A thread writes them, so that the chat never waits for the disk: if
//! it cannot keep up, what comes meanwhile is lost, and what follows begins with a state.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parlor_core::Limits;
use parlor_hub::Clock;
use parlor_hub::trace::{Encoder, Fed, Record, Texts, Wanted};
use smol::channel::{self, Receiver};
use tracing::{error, info, warn};

/// Bytes of events that may wait for the thread, by [`Fed::bytes`]: about a second of all that a
/// core of today takes.
const MOST_WAITING: usize = 64 << 20;
/// Between two looks for more, when there is little to do: waking the thread for each event would cost
/// the hub more than anything else here.
const GATHERING: Duration = Duration::from_millis(10);
/// How a recording begins.
const BEGIN: &[u8] = br#"{"trace":"#;

/// What is to be recorded, and where.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The file. When it is full it gets `.1` behind its name, and takes the place of the one that
    /// had it.
    pub file: PathBuf,
    /// Bytes of events after which it is full; or as many as the state that it begins with takes, if
    /// that is more.
    pub bytes: u64,
    /// What becomes of texts.
    pub texts: Texts,
}

/// A file that is ready to be written.
#[derive(Debug)]
pub(crate) struct OpenRecording {
    config: Recording,
    file: File,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct RecordThread {
    /// Closed when it ends.
    ended: Receiver<Infallible>,
}

impl RecordThread {
    /// Waits until everything is written, which it is some time after the hub is gone.
    pub(crate) async fn ended(&self) {
        // Nothing is ever sent.
        let _ = self.ended.recv().await;
    }
}

impl Recording {
    /// Makes the file; one that is there is kept as the one before it.
    pub(crate) fn open(self) -> io::Result<OpenRecording> {
        let before = before(&self.file);
        for file in [&self.file, &before] {
            may_be_replaced(file)?;
        }
        let file = rotate(&self.file, &before)?;
        Ok(OpenRecording { config: self, file })
    }

    /// What an operator gives to `parlor replay`, wherever that is.
    pub(crate) fn name(&self) -> String {
        let path = std::path::absolute(&self.file);
        path.unwrap_or_else(|_| self.file.clone())
            .display()
            .to_string()
    }
}

impl OpenRecording {
    /// Begins to record.
    pub(crate) fn start(self, limits: &Limits) -> io::Result<(Queue, RecordThread)> {
        let Self { config, file } = self;
        info!(file = %config.file.display(), texts = ?config.texts, "recording");
        let (to, from) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let writer = Writer {
            encoder: Encoder::new(config.texts),
            clock: Box::new(Clock::system()),
            limits: limits.clone(),
            out: BufWriter::with_capacity(1 << 16, file),
            line: Vec::new(),
            state_bytes: 0,
            event_bytes: 0,
            asked: false,
            config,
            shared: shared.clone(),
        };
        let (running, ended) = channel::bounded(1);
        let run = move || {
            writer.run(&from);
            drop(running);
        };
        thread::Builder::new()
            .name("parlor-record".into())
            .spawn(run)?;
        let queue = Queue {
            to,
            shared,
            is_behind: false,
        };
        Ok((queue, RecordThread { ended }))
    }
}

/// What both sides of the queue know.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes that are not written yet.
    waiting: AtomicUsize,
    /// The file is full: the next one has to begin with a state.
    is_full: AtomicBool,
    /// Nothing is written any more.
    is_over: AtomicBool,
}

/// The hub's side.
#[derive(Debug)]
pub(crate) struct Queue {
    to: mpsc::Sender<Fed>,
    shared: Arc<Shared>,
    /// It takes nothing until everything is written.
    is_behind: bool,
}

impl Record for Queue {
    fn wanted(&mut self) -> Wanted {
        if self.shared.is_over.load(Ordering::Relaxed) {
            return Wanted::Nothing;
        }
        let waiting = self.shared.waiting.load(Ordering::Acquire);
        if self.is_behind {
            if waiting > 0 {
                return Wanted::Nothing;
            }
            self.is_behind = false;
        } else if waiting > MOST_WAITING {
            warn!("the recording cannot keep up: some events are lost");
            self.is_behind = true;
            return Wanted::Nothing;
        }
        if self.shared.is_full.swap(false, Ordering::Relaxed) {
            return Wanted::Beginning;
        }
        Wanted::Event
    }

    fn take(&mut self, fed: Fed) {
        self.shared.waiting.fetch_add(fed.bytes(), Ordering::AcqRel);
        // It fails when the recording is over.
        let _ = self.to.send(fed);
    }
}

/// The thread's side.
struct Writer {
    config: Recording,
    encoder: Encoder,
    clock: Box<dyn FnMut() -> parlor_core::Timestamp + Send>,
    limits: Limits,
    out: BufWriter<File>,
    line: Vec<u8>,
    /// In this file.
    state_bytes: u64,
    event_bytes: u64,
    /// Whether a state was asked for, for the next file.
    asked: bool,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, from: &mpsc::Receiver<Fed>) {
        if let Err(error) = self.write_all(from) {
            self.shared.is_over.store(true, Ordering::Relaxed);
            let file = self.config.file.display();
            error!(%file, %error, "the recording ends here; the server goes on");
            // What is left would fail as well, and once more when it is dropped.
            let _ = self.out.into_parts();
        }
    }

    fn write_all(&mut self, from: &mpsc::Receiver<Fed>) -> io::Result<()> {
        self.head()?;
        while let Ok(first) = from.recv() {
            self.write(first)?;
            while let Ok(next) = from.try_recv() {
                self.write(next)?;
            }
            self.out.flush()?;
            thread::sleep(GATHERING);
        }
        Ok(())
    }

    fn head(&mut self) -> io::Result<()> {
        (self.state_bytes, self.event_bytes, self.asked) = (0, 0, false);
        let at = (self.clock)();
        let head = self.encoder.head(at, &self.limits, &mut self.line);
        head.map_err(io::Error::other)?;
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }

    fn write(&mut self, fed: Fed) -> io::Result<()> {
        let waited = fed.bytes();
        let begins = fed.beginning.is_some();
        if begins && self.asked {
            self.out.flush()?;
            let file = rotate(&self.config.file, &before(&self.config.file))?;
            self.out = BufWriter::with_capacity(1 << 16, file);
            self.head()?;
        }
        let encoded = self.encoder.event(fed, &mut self.line);
        encoded.map_err(io::Error::other)?;
        self.out.write_all(&self.line)?;
        let bytes = self.line.len() as u64;
        let counted = if begins && self.state_bytes == 0 {
            &mut self.state_bytes
        } else {
            &mut self.event_bytes
        };
        *counted += bytes;
        self.line.clear();
        self.line.shrink_to(1 << 20);
        // A file is not to be full with its state alone.
        if !self.asked && self.event_bytes >= self.config.bytes.max(self.state_bytes) {
            self.asked = true;
            self.shared.is_full.store(true, Ordering::Relaxed);
        }
        self.shared.waiting.fetch_sub(waited, Ordering::AcqRel);
        Ok(())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The name of the file before it.
fn before(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".1");
    name.into()
}

/// Only recordings are replaced, and none that another server is at.
fn may_be_replaced(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?.file_type(),
    };
    let other = |what| {
        let path = path.display();
        Err(io::Error::other(format!("{path} is there, and {what}")))
    };
    if !kind.is_file() {
        return other("is no file");
    }
    let file = File::open(path)?;
    let mut begin = Vec::new();
    (&file).take(BEGIN.len() as u64).read_to_end(&mut begin)?;
    if !begin.is_empty() && begin != BEGIN {
        return other("is no recording");
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => other("another server writes it"),
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Gives the file the name of the one before, and makes a new one. Names and room ids will be in it,
/// so it is its owner's alone.
fn rotate(path: &Path, before: &Path) -> io::Result<File> {
    match fs::rename(path, before) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => {
            renamed?;
            info!(file = %before.display(), "an older recording is kept under this name");
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // As long as it is open; some file systems have no locks.
    let _ = file.try_lock();
    Ok(file)
}

#[cfg(test)]
mod tests {
    use parlor_core::{ConnId, ErrorCode, Event, Input, Refusal, State, Timestamp};
    use parlor_hub::trace::{Beginning, Line, Player, Reader, Verdict, Why};

    use super::*;

    fn recording(file: PathBuf, bytes: u64) -> Recording {
        Recording {
            file,
            bytes,
            texts: Texts::Redacted,
        }
    }

    fn fed(number: u64, why: Option<Why>) -> Fed {
        let refusal = Refusal::new(ErrorCode::InvalidJson);
        let input = Input::Refused {
            conn: ConnId(1),
            refusal,
        };
        let state = State::new(Limits::default());
        Fed {
            number,
            beginning: why.map(|why| {
                Box::new(Beginning {
                    why,
                    lost: 0,
                    state,
                })
            }),
            event: Event {
                at: Timestamp(number),
                input,
            },
            effects: Some(Vec::new()),
        }
    }

    /// The numbers of the events in a file that replays by itself.
    fn numbers(file: &Path) -> Vec<u64> {
        let bytes = fs::read(file).unwrap();
        let mut reader = Reader::open(&bytes[..]).unwrap();
        let (mut player, mut numbers) = (Player::default(), Vec::new());
        while let Some(line) = reader.next_line().unwrap() {
            match line {
                Line::Begin(begin) => player.begin(*begin).unwrap(),
                Line::Event(event) => {
                    assert_eq!(player.event(&event).unwrap().verdict, Verdict::Same);
                    numbers.push(event.number);
                }
            }
        }
        assert!(!reader.is_cut());
        numbers
    }

    #[test]
    fn two_files_follow_each_other_and_each_begins_with_a_state() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trace");
        let open = recording(file.clone(), 20_000).open().unwrap();
        let (mut queue, thread) = open.start(&Limits::default()).unwrap();
        let mut begun = 0;
        for number in 1..=3000 {
            let why = match queue.wanted() {
                Wanted::Event => (number == 1).then_some(Why::Start),
                Wanted::Beginning => Some(Why::Rotated),
                Wanted::Nothing => panic!("it keeps up"),
            };
            begun += u64::from(why.is_some());
            queue.take(fed(number, why));
            // It has its say now and then.
            while number % 30 == 0 && queue.shared.waiting.load(Ordering::Acquire) > 0 {
                thread::yield_now();
            }
        }
        drop(queue);
        smol::block_on(thread.ended());
        assert!(begun > 10, "{begun}");
        let [older, newer] = [before(&file), file.clone()].map(|file| numbers(&file));
        assert_eq!(newer.last(), Some(&3000));
        assert_eq!(older.last().map(|last| last + 1), newer.first().copied());
        for file in [&file, &before(&file)] {
            let (state, late) = (3000, 30 * 200);
            assert!(fs::metadata(file).unwrap().len() < 20_000 + state + late);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn who_cannot_keep_up_begins_anew_when_everything_is_written() {
        let (to, _from) = mpsc::channel();
        let mut queue = Queue {
            to,
            shared: Arc::default(),
            is_behind: false,
        };
        assert_eq!(queue.wanted(), Wanted::Event);
        let mut taken: u64 = 0;
        while queue.wanted() == Wanted::Event {
            taken += 1;
            queue.take(fed(taken, None));
        }
        assert!((MOST_WAITING as u64 / 1000..1_000_000).contains(&taken));
        assert_eq!(queue.wanted(), Wanted::Nothing);
        queue.shared.waiting.store(1, Ordering::Release);
        assert_eq!(queue.wanted(), Wanted::Nothing);
        queue.shared.waiting.store(0, Ordering::Release);
        assert_eq!(queue.wanted(), Wanted::Event);
        queue.shared.is_full.store(true, Ordering::Release);
        assert_eq!(queue.wanted(), Wanted::Beginning);
        assert_eq!(queue.wanted(), Wanted::Event);
        queue.shared.is_over.store(true, Ordering::Release);
        assert_eq!(queue.wanted(), Wanted::Nothing);
    }

    #[test]
    fn nothing_but_a_recording_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trace");
        let open = || recording(file.clone(), 1000).open();
        let first = open().unwrap();
        let refused = open().unwrap_err().to_string();
        assert!(refused.contains("another server writes it"), "{refused}");
        drop(first);
        drop(open().unwrap());
        assert!(before(&file).is_file());
        for name in [file.clone(), before(&file)] {
            fs::write(&name, "precious").unwrap();
            let refused = open().unwrap_err().to_string();
            assert!(refused.contains("is no recording"), "{refused}");
            assert_eq!(fs::read(&name).unwrap(), b"precious");
            fs::remove_file(&name).unwrap();
        }
        fs::create_dir(&file).unwrap();
        let refused = open().unwrap_err().to_string();
        assert!(refused.contains("is no file"), "{refused}");
    }
}

//! `parlor replay`: a trace happens again, in front of people. Everything is applied, whatever is
//! shown of it.

mod concerns;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use parlor_core::State;
use parlor_core::protocol::SERVER;
use parlor_hub::trace::show::{self, printable};
use parlor_hub::trace::{Line, Played, Player, Reader, Recorded, TraceError, Verdict};

use crate::cli::Replay;

/// Replays what the command line says, to standard output.
pub(crate) fn replay(task: &Replay) -> Result<(), Box<dyn Error>> {
    let file = task.file.display().to_string();
    let of_file = |error: TraceError| format!("{} {error}", printable(&file));
    let opened = File::open(&task.file).map_err(TraceError::Io);
    let reader = opened.and_then(|file| Reader::open(BufReader::with_capacity(1 << 16, file)));
    let reader = reader.map_err(of_file)?;
    // A core that panics is part of what is told.
    std::panic::set_hook(Box::new(|_| {}));
    let mut replay = Running {
        task,
        reader,
        player: Player::default(),
        out: BufWriter::new(io::stdout().lock()),
        first: None,
        last: None,
    };
    match replay.run() {
        Err(Failure::Trace(error)) => Err(of_file(error).into()),
        Err(Failure::Said(said)) => Err(said.into()),
        // Whoever reads has seen enough.
        Err(Failure::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Failure::Out(error)) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}

/// Why it does not go on.
enum Failure {
    /// The trace cannot be read.
    Trace(TraceError),
    /// Nothing can be printed.
    Out(io::Error),
    /// Something else, in words.
    Said(String),
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        Self::Trace(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Out(error)
    }
}

struct Running<'a, R, W> {
    task: &'a Replay,
    reader: Reader<R>,
    player: Player,
    out: W,
    /// The first and the last event that was there to be applied.
    first: Option<u64>,
    last: Option<u64>,
}

impl<R: BufRead, W: Write> Running<'_, R, W> {
    fn run(&mut self) -> Result<(), Failure> {
        let head = self.reader.head();
        if !head.is_of_this_version() {
            let server = printable(&head.server);
            note(&format!(
                "this was recorded by {server}, and is replayed by {SERVER}: effects may differ"
            ));
        }
        if self.task.check && head.crash.is_some() {
            return Err(Failure::Said(
                "a crash report has no digests to compare with: check the recording, if there is one"
                    .into(),
            ));
        }
        if self.prints_events() {
            writeln!(self.out, "{}", show::head(head))?;
        }
        self.lines()?;
        if self.reader.is_cut() {
            note(&format!(
                "line {} is cut short: the server was killed, or had no room on the disk; \
                 everything before it is replayed",
                self.reader.line()
            ));
        }
        self.end()?;
        Ok(self.out.flush()?)
    }

    fn lines(&mut self) -> Result<(), Failure> {
        while let Some(line) = self.reader.next_line()? {
            match line {
                Line::Begin(begin) => {
                    self.first.get_or_insert(begin.event);
                    if self.task.until.is_some_and(|until| begin.event > until) {
                        break;
                    }
                    if self.prints_events() {
                        writeln!(self.out, "{}", show::begin(&begin))?;
                    }
                    let begun = self.player.begin(*begin);
                    begun.map_err(|error| self.bad_line(&error))?;
                }
                Line::Event(event) => {
                    if self.task.until.is_some_and(|until| event.number > until) {
                        break;
                    }
                    let played = self.player.event(&event);
                    let played = played.map_err(|error| self.bad_line(&error))?;
                    self.last = Some(event.number);
                    self.played(&event, &played)?;
                }
            }
        }
        Ok(())
    }

    fn bad_line(&self, error: &str) -> Failure {
        Failure::Trace(TraceError::Line(self.reader.line(), error.into()))
    }

    const fn prints_events(&self) -> bool {
        !self.task.check && !self.task.state
    }

    fn played(&mut self, event: &Recorded, played: &Played) -> Result<(), Failure> {
        let differs = self.difference(event, played);
        if self.task.check {
            return differs.map_or(Ok(()), |differs| {
                let shown = show::event(event);
                let effects: Vec<String> = played.effects.iter().map(show::effect).collect();
                Err(Failure::Said(format!(
                    "{differs}\n  {shown}\n    {}",
                    effects.join("\n    ")
                )))
            });
        }
        if !self.prints_events() || !self.is_asked_for(event, played) {
            return Ok(());
        }
        writeln!(self.out, "{}", show::event(event))?;
        for effect in &played.effects {
            writeln!(self.out, "    {}", show::effect(effect))?;
        }
        match &played.verdict {
            Verdict::Panicked(panic) => {
                writeln!(self.out, "    the core panics: {}", show::quoted(panic))?;
            }
            Verdict::Same | Verdict::Differs(..) | Verdict::Unknown | Verdict::NotApplied => {}
        }
        if let Some(differs) = differs {
            writeln!(self.out, "    ! {differs}")?;
        }
        Ok(())
    }

    /// What is other than it was recorded.
    fn difference(&self, event: &Recorded, played: &Played) -> Option<String> {
        let number = event.number;
        if self.reader.head().crash.is_some() {
            return None;
        }
        match &played.verdict {
            Verdict::Differs(recorded, found) => Some(format!(
                "event {number} has other effects than it was recorded with: \
                 the digest is {found} and should be {recorded}"
            )),
            Verdict::Panicked(panic) if event.digest.is_some() => Some(format!(
                "the core panics at event {number}, and did not when it was recorded: {}",
                show::quoted(panic)
            )),
            Verdict::Unknown => Some(format!(
                "the core panicked at event {number} when it was recorded, and does not now"
            )),
            Verdict::NotApplied => Some(format!(
                "event {number} was not applied: the state before it is not known"
            )),
            Verdict::Same | Verdict::Panicked(_) => None,
        }
    }

    fn is_asked_for(&self, event: &Recorded, played: &Played) -> bool {
        let Replay { room, conn, .. } = self.task;
        let about = |room| concerns::room(&event.input, &played.effects, room);
        let of = |conn| concerns::conn(&event.input, &played.effects, conn);
        room.as_ref().is_none_or(about) && conn.is_none_or(of)
    }

    fn end(&mut self) -> Result<(), Failure> {
        if let (Some(until), Some(first)) = (self.task.until, self.first)
            && until < first
        {
            return Err(Failure::Said(format!("its first event is {first}")));
        }
        if self.task.check {
            let digest = self.player.digest();
            match (self.first, self.last) {
                (Some(first), Some(last)) => writeln!(
                    self.out,
                    "events {first} to {last} have the effects that were recorded, digest {digest}"
                )?,
                _ => writeln!(self.out, "no events")?,
            }
        }
        if self.task.state {
            let unknown = || Failure::Said("the state there is not known".into());
            let text = pretty(self.player.state().ok_or_else(unknown)?)?;
            for line in text.lines() {
                writeln!(self.out, "{}", printable(line))?;
            }
        }
        Ok(())
    }
}

fn pretty(state: &State) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(state)?)
}

#[allow(
    clippy::print_stderr,
    reason = "what is to be known besides the events"
)]
fn note(text: &str) {
    eprintln!("parlor: {text}");
}

//! From what the core was fed to the lines of a trace.

use std::fmt;
use std::io::{self, Write};

use parlor_core::{Limits, Timestamp};
use serde::Serialize;

use super::digest::Hasher;
use super::redact::refuse_other_text;
use super::{
    Begin, Beginning, Digest, Fed, Head, Line, MOST_LINE_BYTES, Record, Recorded, Redactor, Texts,
    Wanted,
};

/// Makes lines of a trace, without the secrets.
#[derive(Clone, Debug)]
pub struct Encoder {
    redactor: Redactor,
    hasher: Hasher,
    digest: Digest,
}

impl Encoder {
    /// An encoder that treats texts so.
    #[must_use]
    pub fn new(texts: Texts) -> Self {
        Self {
            redactor: Redactor(texts),
            hasher: Hasher::default(),
            digest: Digest::default(),
        }
    }

    /// The digest of all effects so far.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Appends the first line of a file to `out`.
    ///
    /// # Errors
    /// Never: it is short.
    pub fn head(&self, at: Timestamp, limits: &Limits, out: &mut Vec<u8>) -> Result<(), TooLong> {
        line(&Head::new(at, self.redactor.0, limits.clone()), out)
    }

    /// Appends the line of an event to `out`, behind the one of its beginning.
    ///
    /// # Errors
    /// When a line would be longer than any reader takes: the state is too large to be recorded.
    pub fn event(&mut self, fed: Fed, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let Fed {
            number,
            beginning,
            mut event,
            effects,
        } = fed;
        if let Some(beginning) = beginning {
            let Beginning {
                why,
                lost,
                mut state,
            } = *beginning;
            state.redact(&self.redactor);
            let begin = Begin {
                event: number,
                why,
                lost,
                digest: self.digest,
                state: Some(state),
            };
            line(&Line::Begin(Box::new(begin)), out)?;
        }
        let other_text = effects.as_deref().is_some_and(refuse_other_text);
        self.redactor.event(&mut event, other_text);
        let digest = effects.map(|mut effects| {
            for effect in &mut effects {
                effect.redact(&self.redactor);
            }
            self.digest = self.hasher.digest(self.digest, &effects);
            self.digest
        });
        let recorded = Recorded {
            number,
            at: event.at,
            input: event.input,
            digest,
        };
        line(&Line::Event(recorded), out)
    }
}

pub(crate) fn line(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), TooLong> {
    line_of(value, MOST_LINE_BYTES, out)
}

fn line_of(value: &impl Serialize, most_bytes: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let before = out.len();
    serde_json::to_writer(&mut *out, value).expect("it serialises, and memory takes it");
    out.push(b'\n');
    if out.len() - before > most_bytes {
        out.truncate(before);
        return Err(TooLong);
    }
    Ok(())
}

/// A line would be longer than [`MOST_LINE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is too much in memory to be recorded")
    }
}

impl std::error::Error for TooLong {}

/// Records at once, into something that does not make it wait: for tests and simulations.
#[derive(Debug)]
pub struct Recorder<W> {
    encoder: Encoder,
    out: W,
}

impl<W: Write + Send> Recorder<W> {
    /// Begins a trace in `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(texts: Texts, at: Timestamp, limits: &Limits, mut out: W) -> io::Result<Self> {
        let encoder = Encoder::new(texts);
        let mut bytes = Vec::new();
        let head = encoder.head(at, limits, &mut bytes);
        head.map_err(io::Error::other)?;
        out.write_all(&bytes)?;
        Ok(Self { encoder, out })
    }
}

impl<W: Write + Send> Record for Recorder<W> {
    fn wanted(&mut self) -> Wanted {
        Wanted::Event
    }

    /// # Panics
    /// When `out` fails: a test that goes on without its trace shows nothing.
    fn take(&mut self, fed: Fed) {
        let mut bytes = Vec::new();
        let encoded = self
            .encoder
            .event(fed, &mut bytes)
            .map_err(io::Error::other);
        let written = encoded.and_then(|()| self.out.write_all(&bytes));
        written.expect("what records takes everything");
    }
}

#[cfg(test)]
mod tests {
    use parlor_core::{Event, Input};

    use super::*;

    #[test]
    fn its_digest_is_that_of_the_last_line() {
        let mut encoder = Encoder::new(Texts::Redacted);
        assert_eq!(encoder.digest(), Digest::default());
        let mut out = Vec::new();
        let fed = Fed {
            number: 1,
            beginning: None,
            event: Event {
                at: Timestamp(1),
                input: Input::Shutdown,
            },
            effects: Some(vec![]),
        };
        encoder.event(fed, &mut out).unwrap();
        let Line::Event(recorded) = serde_json::from_slice(&out).unwrap() else {
            panic!("nothing begins here");
        };
        assert_eq!(recorded.digest, Some(encoder.digest()));
        assert_ne!(encoder.digest(), Digest::default());
    }

    #[test]
    fn what_is_too_long_for_a_line_leaves_nothing_behind() {
        let mut out = b"before\n".to_vec();
        for (most_bytes, fits) in [(5, false), (6, true), (7, true)] {
            let written = line_of(&"abc", most_bytes, &mut out);
            assert_eq!(written, if fits { Ok(()) } else { Err(TooLong) });
        }
        assert_eq!(out, b"before\n\"abc\"\n\"abc\"\n");
    }
}

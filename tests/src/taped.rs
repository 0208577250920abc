//! Traces of runs, and their replay.

use std::sync::{Arc, Mutex, PoisonError};

use parlor_core::{Effect, Event, Input, Limits, State, Timestamp};
use parlor_hub::trace::{
    Begin, Beginning, Encoder, Fed, Line, Player, Reader, Record, Recorded, Recorder, Texts,
    Verdict, Wanted, Why,
};

use crate::dice::Dice;

/// A trace that is written by hand, without a hub.
#[derive(Clone, Debug)]
pub struct Taped {
    encoder: Encoder,
    bytes: Vec<u8>,
    number: u64,
}

/// After how many events the state is written again.
const ROTATED: u64 = 23;

impl Taped {
    /// An empty trace.
    ///
    /// # Panics
    /// Never: its first line is short.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let (encoder, mut bytes) = (Encoder::new(Texts::Redacted), Vec::new());
        let head = encoder.head(Timestamp(0), limits, &mut bytes);
        head.expect("it is short");
        Self {
            encoder,
            bytes,
            number: 0,
        }
    }

    /// What a state was fed, and answered.
    ///
    /// # Panics
    /// When the state is too large.
    pub fn event(&mut self, before: &State, event: &Event, effects: &[Effect]) {
        self.number += 1;
        let beginning = (self.number % ROTATED == 1).then(|| beginning(Why::Rotated, before));
        let fed = Fed {
            number: self.number,
            beginning,
            event: event.clone(),
            effects: Some(effects.into()),
        };
        let encoded = self.encoder.event(fed, &mut self.bytes);
        encoded.expect("the state is small");
    }

    /// Whether the trace leads to the same effects, and to this state.
    ///
    /// # Errors
    /// What differs.
    ///
    /// # Panics
    /// When the state is too large.
    pub fn leads_to(mut self, state: &State) -> Result<(), String> {
        if self.number == 0 {
            return Ok(());
        }
        let event = Event {
            at: Timestamp(0),
            input: Input::StoreRecovered,
        };
        let fed = Fed {
            number: self.number + 1,
            beginning: Some(beginning(Why::Rotated, state)),
            event,
            effects: None,
        };
        let encoded = self.encoder.event(fed, &mut self.bytes);
        encoded.expect("the state is small");
        play(&self.bytes, |line, state| match line {
            Line::Begin(begin) if state.is_some() && begin.state.as_ref() != state => {
                Err(format!("another state before event {}", begin.event))
            }
            Line::Begin(_) => Ok(true),
            // The last one is there for the sake of its beginning.
            Line::Event(event) => Ok(event.digest.is_some()),
        })
    }
}

fn beginning(why: Why, state: &State) -> Box<Beginning> {
    Box::new(Beginning {
        why,
        lost: 0,
        state: state.clone(),
    })
}

/// Where a hub's trace is written to. Its clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tapes(Arc<Mutex<Vec<u8>>>);

impl Tapes {
    /// Somebody who writes a trace here.
    ///
    /// # Panics
    /// Never: memory takes it.
    #[must_use]
    pub fn recorder(&self, texts: Texts, limits: &Limits) -> Recorder<Self> {
        let recorder = Recorder::new(texts, Timestamp(0), limits, self.clone());
        recorder.expect("memory takes it")
    }

    /// What was written so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl std::io::Write for Tapes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Somebody who cannot always keep up, and begins anew now and then.
#[derive(Debug)]
pub struct Distracted<R> {
    /// Who records in earnest.
    pub inner: R,
    /// What decides.
    pub dice: Dice,
}

impl<R: Record> Record for Distracted<R> {
    fn wanted(&mut self) -> Wanted {
        match self.dice.roll(50) {
            0 => Wanted::Nothing,
            1 => Wanted::Beginning,
            _ => Wanted::Event,
        }
    }

    fn take(&mut self, fed: Fed) {
        self.inner.take(fed);
    }
}

/// What a trace has.
#[derive(Debug)]
pub struct Replayed {
    /// Its beginnings, without their states.
    pub begins: Vec<Begin>,
    /// Its events.
    pub events: Vec<Recorded>,
}

/// Replays a trace.
///
/// # Panics
/// When it does not lead to the same effects.
#[must_use]
pub fn replay(bytes: &[u8]) -> Replayed {
    let (mut begins, mut events) = (Vec::new(), Vec::new());
    let played = play(bytes, |line, _| {
        match line {
            Line::Begin(begin) => {
                let mut begin = (**begin).clone();
                begin.state = None;
                begins.push(begin);
            }
            Line::Event(event) => events.push(event.clone()),
        }
        Ok(true)
    });
    if let Err(differs) = played {
        panic!("{differs}");
    }
    Replayed { begins, events }
}

/// Whether a trace leads to the same effects again.
///
/// # Errors
/// What differs.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    play(bytes, |_, _| Ok(true))
}

/// Lets a trace happen again. `look` sees each line, and the state that it meets, and says whether
/// it is to happen.
fn play(
    bytes: &[u8],
    mut look: impl FnMut(&Line, Option<&State>) -> Result<bool, String>,
) -> Result<(), String> {
    let mut reader = Reader::open(bytes).map_err(|error| error.to_string())?;
    let mut player = Player::default();
    while let Some(line) = reader.next_line().map_err(|error| error.to_string())? {
        if !look(&line, player.state())? {
            continue;
        }
        match line {
            Line::Begin(begin) => player.begin(*begin)?,
            Line::Event(event) => {
                let verdict = player.event(&event)?.verdict;
                if verdict != Verdict::Same {
                    return Err(format!("{event:?} is {verdict:?}"));
                }
            }
        }
    }
    Ok(())
}

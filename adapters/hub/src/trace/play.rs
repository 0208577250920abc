//! Applies a trace again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parlor_core::{Effect, Event, State};

use super::digest::Hasher;
use super::{Begin, Digest, Recorded};

/// A core that is fed what a trace has.
#[derive(Debug, Default)]
pub struct Player {
    state: Option<State>,
    hasher: Hasher,
    digest: Digest,
    /// The number of the event that must come next; none if it may be any.
    next: Option<u64>,
}

/// What came of an event.
#[derive(Debug)]
pub struct Played {
    /// Its effects.
    pub effects: Vec<Effect>,
    /// Whether it is what was recorded.
    pub verdict: Verdict,
}

/// How an event compares with what was recorded of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It came to the same.
    Same,
    /// The digests differ: the recorded one, and the one of the replay.
    Differs(Digest, Digest),
    /// The core panicked, with this.
    Panicked(String),
    /// Nothing was recorded to compare with.
    Unknown,
    /// It was not applied: the state before it is not known.
    NotApplied,
}

impl Player {
    /// A state begins.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub fn begin(&mut self, begin: Begin) -> Result<(), String> {
        if self.next.is_some() && self.digest != begin.digest {
            let Begin { event, digest, .. } = &begin;
            return Err(format!(
                "the digest before event {event} should be {digest}, and is {}",
                self.digest
            ));
        }
        if let Some(state) = &begin.state {
            if *state.limits() != state.limits().clone().clamped() {
                return Err("the limits of the state are out of range".into());
            }
            state
                .check()
                .map_err(|violation| format!("the state contradicts itself: {violation:?}"))?;
        }
        self.state = begin.state;
        self.digest = begin.digest;
        self.next = Some(begin.event);
        Ok(())
    }

    /// The next event happens again.
    ///
    /// # Errors
    /// When it is not the next one.
    pub fn event(&mut self, recorded: &Recorded) -> Result<Played, String> {
        let Recorded {
            number,
            at,
            input,
            digest: expected,
        } = recorded;
        match self.next {
            Some(next) if next == *number => self.next = next.checked_add(1),
            Some(next) => return Err(format!("event {number} comes where {next} should")),
            None => return Err(format!("event {number} comes before any state")),
        }
        let mut effects = Vec::new();
        let Some(state) = &mut self.state else {
            let verdict = Verdict::NotApplied;
            return Ok(Played { effects, verdict });
        };
        let event = Event {
            at: *at,
            input: input.clone(),
        };
        let applied = catch_unwind(AssertUnwindSafe(|| state.apply(event, &mut effects)));
        if let Err(panic) = applied {
            // What it left of the state is good for nothing.
            self.state = None;
            self.digest = expected.unwrap_or(self.digest);
            let verdict = Verdict::Panicked(crate::hub::panic_message(&*panic));
            return Ok(Played { effects, verdict });
        }
        let verdict = match *expected {
            Some(expected) => {
                let found = self.hasher.digest(self.digest, &effects);
                // What differs once is not to differ ever after.
                self.digest = expected;
                if found == expected {
                    Verdict::Same
                } else {
                    Verdict::Differs(expected, found)
                }
            }
            None => Verdict::Unknown,
        };
        Ok(Played { effects, verdict })
    }

    /// The recorded digest of all effects so far.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The state behind the last event, if it is known.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use parlor_core::{ConnId, Input, Limits, ResumeToken, Timestamp};

    use super::super::Why;
    use super::*;

    fn begin(event: u64) -> Begin {
        Begin {
            event,
            why: Why::Start,
            lost: 0,
            digest: Digest::default(),
            state: Some(State::new(Limits::default())),
        }
    }

    fn recorded(number: u64, input: Input, digest: Option<Digest>) -> Recorded {
        Recorded {
            number,
            at: Timestamp(1),
            input,
            digest,
        }
    }

    #[test]
    fn events_come_one_after_the_other_behind_a_state() {
        let event = |number| recorded(number, Input::Shutdown, None);
        let mut player = Player::default();
        let error = player.event(&event(1)).unwrap_err();
        assert_eq!(error, "event 1 comes before any state");
        player.begin(begin(3)).unwrap();
        for number in [3, 4] {
            assert_eq!(
                player.event(&event(number)).unwrap().verdict,
                Verdict::Unknown
            );
        }
        for number in [4, 6] {
            let error = player.event(&event(number)).unwrap_err();
            assert_eq!(error, format!("event {number} comes where 5 should"));
        }
    }

    #[test]
    fn it_knows_the_state_and_the_recorded_digest() {
        let digest = |digit: char| -> Digest {
            let digits = digit.to_string().repeat(32);
            digits.try_into().unwrap()
        };
        let mut player = Player::default();
        assert_eq!(player.state(), None);
        player.begin(begin(1)).unwrap();
        let connected = Input::Connected {
            conn: ConnId(1),
            resume_token: ResumeToken::from_random(1),
        };
        let wrong = recorded(1, connected, Some(digest('7')));
        let verdict = player.event(&wrong).unwrap().verdict;
        assert!(matches!(verdict, Verdict::Differs(expected, _) if expected == digest('7')));
        assert_eq!(player.digest(), digest('7'));
        assert_eq!(player.state().map(State::connection_count), Some(1));
        // Where the digest is another one, there is a hole.
        let error = player.begin(begin(2)).unwrap_err();
        let (is, should) = (digest('7'), digest('0'));
        assert_eq!(
            error,
            format!("the digest before event 2 should be {should}, and is {is}")
        );
    }
}

//! How fast is too fast: GCRA (ITU-T I.371, the virtual scheduling form) in whole microseconds,
//! on time that is handed in.

use serde::{Deserialize, Serialize};

use crate::types::Timestamp;

/// What a bucket allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Per second; 0 allows everything.
    pub per_second: u32,
    /// At once after a silence; 0 counts as 1.
    pub burst: u32,
}

impl Rate {
    /// Both numbers times `factor`.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        Self {
            per_second: self.per_second.saturating_mul(factor),
            burst: self.burst.saturating_mul(factor),
        }
    }

    /// From one event to the next, µs; none where everything is allowed.
    const fn interval_us(self) -> Option<u64> {
        1_000_000_u64.checked_div(self.per_second as u64)
    }
}

/// One bucket: the theoretical arrival time of the next event, µs since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bucket {
    next_us: u64,
}

impl Bucket {
    /// Takes one event at `now`.
    ///
    /// # Errors
    /// Milliseconds to wait, at least 1, when it comes too early; then nothing is taken.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), u64> {
        self.take_many(1, rate, now)
    }

    /// Takes `count` events at once; more than a burst pass after a silence.
    ///
    /// # Errors
    /// Milliseconds to wait, at least 1, when they come too early; then nothing is taken.
    pub fn take_many(&mut self, count: u32, rate: Rate, now: Timestamp) -> Result<(), u64> {
        let Some(interval_us) = rate.interval_us().filter(|_| count > 0) else {
            return Ok(());
        };
        let wait_ms = self.wait_ms(count, rate, now);
        if wait_ms > 0 {
            return Err(wait_ms);
        }
        let taken_us = interval_us * u64::from(count);
        let now_us = now.0.saturating_mul(1000);
        self.next_us = self.next_us.max(now_us).saturating_add(taken_us);
        Ok(())
    }

    /// Milliseconds until `count` events may be taken at once.
    #[must_use]
    pub fn wait_ms(&self, count: u32, rate: Rate, now: Timestamp) -> u64 {
        let Some(interval_us) = rate.interval_us().filter(|_| count > 0) else {
            return 0;
        };
        let tolerance_us = interval_us * u64::from(rate.burst.saturating_sub(count));
        let now_us = now.0.saturating_mul(1000);
        let early_us = self
            .next_us
            .saturating_sub(now_us)
            .saturating_sub(tolerance_us);
        early_us.div_ceil(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 3,
    };

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(RATE, Timestamp(1000)), Ok(()));
        }
        assert_eq!(bucket.take(RATE, Timestamp(1000)), Err(100));
        assert_eq!(bucket.take(RATE, Timestamp(1099)), Err(1));
        assert_eq!(bucket.take(RATE, Timestamp(1100)), Ok(()));
        assert_eq!(bucket.take(RATE, Timestamp(1100)), Err(100));
    }

    #[test]
    fn many_at_once_are_as_many_one_after_the_other() {
        for count in 0..=RATE.burst {
            let (mut at_once, mut in_turn) = (Bucket::default(), Bucket::default());
            assert_eq!(at_once.take_many(count, RATE, Timestamp(7)), Ok(()));
            for _ in 0..count {
                assert_eq!(in_turn.take(RATE, Timestamp(7)), Ok(()));
            }
            assert_eq!(at_once, in_turn);
        }
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(RATE, Timestamp(0)), Ok(()));
        assert_eq!(bucket.take_many(3, RATE, Timestamp(0)), Err(100));
        assert_eq!(bucket.take_many(3, RATE, Timestamp(99)), Err(1));
        assert_eq!(bucket.take_many(9, RATE, Timestamp(100)), Ok(()));
        assert_eq!(bucket.take(RATE, Timestamp(100)), Err(700));
    }

    #[test]
    fn waiting_as_told_is_enough() {
        let mut bucket = Bucket::default();
        let mut now = Timestamp(5);
        for _ in 0..100 {
            if let Err(wait_ms) = bucket.take(RATE, now) {
                now = now.plus_ms(wait_ms);
                assert_eq!(bucket.take(RATE, now), Ok(()));
            }
        }
    }

    #[test]
    fn a_silence_brings_back_the_burst_and_no_more() {
        let mut bucket = Bucket::default();
        for at in [0, 1_000_000] {
            let taken = (0..10)
                .filter(|_| bucket.take(RATE, Timestamp(at)).is_ok())
                .count();
            assert_eq!(taken, 3);
        }
    }

    #[test]
    fn rate_zero_allows_everything() {
        let mut bucket = Bucket::default();
        let off = Rate {
            per_second: 0,
            burst: 0,
        };
        assert!((0..1000).all(|_| bucket.take(off, Timestamp(0)).is_ok()));
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let mut bucket = Bucket::default();
        let slow = Rate {
            per_second: 1,
            burst: u32::MAX,
        };
        assert_eq!(bucket.take(slow, Timestamp(u64::MAX)), Ok(()));
        assert_eq!(
            bucket.take(slow, Timestamp(0)),
            Err(u64::MAX / 1000 - (u64::from(u32::MAX) - 1) * 1000 + 1)
        );
    }

    #[test]
    fn nothing_need_not_wait() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take_many(30, RATE, Timestamp(0)), Ok(()));
        assert_eq!(bucket.wait_ms(1, RATE, Timestamp(0)), 2800);
        assert_eq!(bucket.wait_ms(0, RATE, Timestamp(0)), 0);
    }
}

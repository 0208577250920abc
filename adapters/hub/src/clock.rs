//! The time that events are stamped with.

use std::time::{Duration, Instant, SystemTime};

use parlor_core::Timestamp;

/// Wall time at the start plus monotonic time since, so that it never goes back. When the wall
/// clock is ahead it catches up; while the wall clock is behind it runs at half speed.
#[derive(Clone, Debug)]
pub struct Clock {
    shown: Duration,
    monotonic: Duration,
}

impl Clock {
    /// A clock that shows `wall` (since the Unix epoch) when the monotonic time is `monotonic`.
    #[must_use]
    pub const fn new(wall: Duration, monotonic: Duration) -> Self {
        Self {
            shown: wall,
            monotonic,
        }
    }

    /// What to show.
    pub fn now(&mut self, wall: Duration, monotonic: Duration) -> Timestamp {
        let elapsed = monotonic.saturating_sub(self.monotonic);
        self.monotonic = self.monotonic.max(monotonic);
        self.shown = if self.shown + elapsed > wall {
            // Ahead: half speed, until the wall is level.
            (self.shown + elapsed / 2).max(wall)
        } else {
            wall
        };
        Timestamp(u64::try_from(self.shown.as_millis()).unwrap_or(u64::MAX))
    }

    /// The system's own time, as a function to be asked again and again.
    pub fn system() -> impl FnMut() -> Timestamp + Send + Clone {
        let start = Instant::now();
        let wall = || {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
        };
        let mut clock = Self::new(wall(), Duration::ZERO);
        move || clock.now(wall(), start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn it_follows_the_wall_when_both_run() {
        let mut clock = Clock::new(secs(100), secs(0));
        assert_eq!(clock.now(secs(101), secs(1)), Timestamp(101_000));
    }

    #[test]
    fn it_jumps_ahead_with_the_wall() {
        let mut clock = Clock::new(secs(100), secs(0));
        assert_eq!(clock.now(secs(500), secs(1)), Timestamp(500_000));
    }

    #[test]
    fn it_runs_at_half_speed_while_the_wall_is_behind_and_never_back() {
        let mut clock = Clock::new(secs(100), secs(0));
        assert_eq!(clock.now(secs(90), secs(10)), Timestamp(105_000));
        assert_eq!(clock.now(secs(100), secs(20)), Timestamp(110_000));
        assert_eq!(clock.now(secs(110), secs(30)), Timestamp(115_000));
        assert_eq!(clock.now(secs(120), secs(40)), Timestamp(120_000));
        assert_eq!(clock.now(secs(121), secs(41)), Timestamp(121_000));
    }
}

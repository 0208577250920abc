//! Log lines that anybody can cause are written seldom, so that nobody fills a disk with them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines of one kind.
const BETWEEN: Duration = Duration::from_secs(1);

/// Lines of one kind, whoever causes them.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// Whether a line may be written; if so, how many were left out since the last one.
    pub(super) fn line(&self, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = |last| now.saturating_duration_since(last) < BETWEEN;
        if lines.last.is_some_and(is_early) {
            lines.left_out += 1;
            return None;
        }
        lines.last = Some(now);
        Some(std::mem::take(&mut lines.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_a_second_that_counts_the_others() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let lines = [0, 1, 999, 1000, 1001, 1999, 2000, 9000, 9500];
        let lines = lines.map(|ms| seldom.line(start + Duration::from_millis(ms)));
        let expected = [
            Some(0),
            None,
            None,
            Some(2),
            None,
            None,
            Some(2),
            Some(0),
            None,
        ];
        assert_eq!(lines, expected);
    }
}

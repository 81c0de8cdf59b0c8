//! How often processes that fail are started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many restarts within a time, each after a longer pause.
#[derive(Clone, Debug)]
pub struct Restarts {
    max: usize,
    within: Duration,
    pause_min: Duration,
    pause_max: Duration,
    past: VecDeque<Instant>,
}

impl Restarts {
    /// At most `max` within `within`; the first after `pauses.0`, each next after twice as long, up to
    /// `pauses.1`.
    pub fn new(max: usize, within: Duration, pauses: (Duration, Duration)) -> Self {
        Self { max, within, pause_min: pauses.0, pause_max: pauses.1, past: VecDeque::new() }
    }

    /// After which pause to start again; none if that has been done too often.
    pub fn next(&mut self, now: Instant) -> Option<Duration> {
        while self.past.front().is_some_and(|past| now.saturating_duration_since(*past) >= self.within) {
            self.past.pop_front();
        }
        if self.past.len() >= self.max {
            return None;
        }
        let doubled = u32::try_from(self.past.len()).unwrap_or(u32::MAX).min(20);
        self.past.push_back(now);
        Some(self.pause_min.saturating_mul(1 << doubled).min(self.pause_max))
    }

    /// How many there may be.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Within which time.
    pub fn within(&self) -> Duration {
        self.within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_restarts_run_out() {
        let second = Duration::from_secs(1);
        let mut restarts = Restarts::new(4, 60 * second, (second, 5 * second));
        let now = Instant::now();
        let pauses: Vec<_> = (0..5).map(|after| restarts.next(now + after * second)).collect();
        assert_eq!(pauses, [Some(second), Some(2 * second), Some(4 * second), Some(5 * second), None]);
        assert_eq!(restarts.next(now + 59 * second), None);
        // The first is forgotten, and so is one doubling.
        assert_eq!(restarts.next(now + 60 * second), Some(5 * second));
        assert_eq!(restarts.next(now + 300 * second), Some(second));
    }
}

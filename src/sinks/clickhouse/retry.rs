//! When to try again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::{ClickHouseError, Fault};

/// How often something is tried that no waiting is known to help.
const OTHER_ATTEMPTS_MAX: u32 = 8;

/// A wait is slept in pieces of this length, so that a stop is seen soon.
const NAP: Duration = Duration::from_millis(20);

/// The waits between attempts.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// The first, about.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Backoff {
    /// The wait after the `failed`th failed attempt (from 1), where `dice` in 0..1 is the jitter:
    /// it doubles up to the longest, and lies in its upper half so that many clients part.
    pub(super) fn wait(self, failed: u32, dice: f64) -> Duration {
        let doubled = self.min.saturating_mul(1 << failed.saturating_sub(1).min(20));
        doubled.min(self.max).mul_f64(0.5 + dice / 2.0)
    }
}

/// Tries until it succeeds, a fault turns out to be permanent, or `stop` is set. An outage may
/// last as long as it likes: waits grow up to the longest and stay there. After each failure
/// `tell` hears how often it failed, since when, and why.
pub(super) fn until_done<T>(
    backoff: Backoff,
    stop: &AtomicBool,
    mut tell: impl FnMut(u32, Instant, &ClickHouseError),
    mut attempt: impl FnMut() -> Result<T, ClickHouseError>,
) -> Result<T, ClickHouseError> {
    let began = Instant::now();
    for failed in 1.. {
        if stop.load(Ordering::Relaxed) {
            return Err(ClickHouseError::Stopped);
        }
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let hopeless = match error.fault() {
            Fault::Retry => false,
            Fault::Other => failed >= OTHER_ATTEMPTS_MAX,
            Fault::Schema | Fault::TooBig | Fault::Auth => true,
        };
        if hopeless {
            return Err(error);
        }
        tell(failed, began, &error);
        sleep(backoff.wait(failed, rand::random()), stop);
    }
    Err(ClickHouseError::Stopped)
}

fn sleep(wait: Duration, stop: &AtomicBool) {
    let until = Instant::now() + wait;
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(left.min(NAP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Backoff = Backoff { min: Duration::from_micros(1), max: Duration::from_micros(10) };

    fn failing(fault: Fault) -> ClickHouseError {
        ClickHouseError::Request { fault, doing: "try".to_owned(), reason: "no".to_owned() }
    }

    fn attempts(fault: Fault, succeeds_at: u32) -> (u32, bool) {
        let (mut made, mut told) = (0, 0);
        let never = AtomicBool::new(false);
        let tell = |failed: u32, _: Instant, _: &ClickHouseError| told = failed;
        let result = until_done(FAST, &never, tell, || {
            made += 1;
            if made == succeeds_at { Ok(()) } else { Err(failing(fault)) }
        });
        assert!(told + 1 >= made, "every failure but the last is told");
        (made, result.is_ok())
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(attempts(Fault::Retry, 100), (100, true));
        assert_eq!(attempts(Fault::Other, 3), (3, true));
        assert_eq!(attempts(Fault::Other, 100), (OTHER_ATTEMPTS_MAX, false));
        for fault in [Fault::Schema, Fault::TooBig, Fault::Auth] {
            assert_eq!(attempts(fault, 2), (1, false));
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(10) };
        let wait = |failed| backoff.wait(failed, 1.0).as_millis();
        assert_eq!([1, 2, 3, 7, 8, 1_000_000].map(wait), [100, 200, 400, 6_400, 10_000, 10_000]);
        assert_eq!(backoff.wait(3, 0.0).as_millis(), 200);
    }

    #[test]
    fn a_stop_ends_a_long_wait() {
        let long = Backoff { min: Duration::from_secs(60), max: Duration::from_secs(60) };
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        let tell = |_, _, _: &ClickHouseError| stop.store(true, Ordering::Relaxed);
        let result = until_done(long, &stop, tell, || Err::<(), _>(failing(Fault::Retry)));
        assert!(matches!(result, Err(ClickHouseError::Stopped)));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

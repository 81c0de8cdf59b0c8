//! Watermarks, and how long numbers can be corrected.

use std::time::Duration;

use dataflows::model::time::Millis;
use dataflows::rules::horizon::Terms;

use super::raw;
use super::validate::{Wrong, wrong};

/// How a live run deals with the time of events.
#[derive(Clone, Debug)]
pub struct TimeConfig {
    /// Disorder, horizon, and how the boundary moves.
    pub terms: Terms,
    /// After how long at its end a partition no longer holds the watermark back.
    pub idle_timeout: Duration,
}

/// A thousand years: what is longer is a mistake.
const HOURS_MAX: u64 = 8_760_000;

pub(super) fn validate(raw: &raw::Time) -> Result<TimeConfig, Wrong> {
    if raw.bucket_minutes == 0 || raw.bucket_minutes > 1_440 {
        return wrong("time.bucket_minutes", "a number of minutes from 1 to 1440 is expected");
    }
    for (key, hours) in [
        ("time.correction_horizon_hours", raw.correction_horizon_hours),
        ("time.bid_lifetime_hours", raw.bid_lifetime_hours),
        ("time.allowed_disorder_ms", raw.allowed_disorder_ms / 3_600_000),
        ("time.boundary_interval_ms", raw.boundary_interval_ms / 3_600_000),
    ] {
        if hours > HOURS_MAX {
            return wrong(key, "at most a thousand years are expected");
        }
    }
    if raw.idle_timeout_ms == 0 {
        return wrong("time.idle_timeout_ms", "a number above 0 is expected");
    }
    let hours = |hours: u64| Millis::hours(hours as i64);
    let terms = Terms {
        disorder: Millis(raw.allowed_disorder_ms as i64),
        correction: (raw.correction_horizon_hours > 0).then(|| hours(raw.correction_horizon_hours)),
        bucket: Millis(raw.bucket_minutes as i64 * 60_000),
        bid_lifetime: hours(raw.bid_lifetime_hours),
        pause: Millis(raw.boundary_interval_ms as i64),
    };
    Ok(TimeConfig { terms, idle_timeout: Duration::from_millis(raw.idle_timeout_ms) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(text: &str) -> Result<TimeConfig, String> {
        let config = Config::parse("my.toml", &format!("[time]\n{text}"));
        config.map(|config| config.time).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_can_be_corrected_for_35_days_unless_it_is_said_otherwise() {
        assert_eq!(load("").expect("valid").terms.correction, Some(Millis::days(35)));
        assert_eq!(load("correction_horizon_hours = 0").expect("valid").terms.correction, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "bucket_minutes = 0",
            "bucket_minutes = 1441",
            "idle_timeout_ms = 0",
            "bid_lifetime_hours = 9999999",
        ] {
            let error = load(text).expect_err(text);
            assert!(error.starts_with("my.toml:2: time."), "{error}");
        }
    }
}

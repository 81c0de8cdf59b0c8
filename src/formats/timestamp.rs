//! Times as feeds write them, to event times. Digits below the millisecond are cut off.

use dataflows::model::time::EventTime;
use jiff::fmt::strtime;
use jiff::tz::Offset;

/// What one step of an integer time is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Unit {
    /// The event time `count` steps after 1970.
    pub fn event_time(self, count: i64) -> Option<EventTime> {
        EventTime::from_millis(match self {
            Unit::Seconds => count.checked_mul(1000)?,
            Unit::Millis => count,
            Unit::Micros => count.div_euclid(1000),
            Unit::Nanos => count.div_euclid(1_000_000),
        })
    }
}

/// How a source writes its times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TimeFormat {
    /// RFC 3339 with a zone, or an integer.
    Rfc3339OrEpoch(Unit),
    /// An integer only.
    Epoch(Unit),
    /// A `strptime` pattern, with the offset from UTC that holds when the pattern has none.
    Pattern(String, Offset),
}

impl TimeFormat {
    /// Reads a time written as text.
    pub fn text(&self, text: &str) -> Option<EventTime> {
        match self {
            TimeFormat::Epoch(unit) => epoch(text, *unit),
            TimeFormat::Rfc3339OrEpoch(unit) => {
                rfc3339(text.as_bytes()).or_else(|| epoch(text, *unit)).or_else(|| slow_rfc3339(text))
            }
            TimeFormat::Pattern(pattern, offset) => {
                let time = strtime::parse(pattern, text).ok()?;
                let instant = match time.offset() {
                    Some(_) => time.to_timestamp().ok()?,
                    None => offset.to_timestamp(time.to_datetime().ok()?).ok()?,
                };
                floor(instant)
            }
        }
    }

    /// Reads a time written as a number token.
    pub fn number(&self, token: &str) -> Option<EventTime> {
        match self {
            TimeFormat::Epoch(unit) | TimeFormat::Rfc3339OrEpoch(unit) => epoch(token, *unit),
            TimeFormat::Pattern(..) => self.text(token),
        }
    }

    /// Reads a time held as an integer.
    pub fn integer(&self, count: i64) -> Option<EventTime> {
        match self {
            TimeFormat::Epoch(unit) | TimeFormat::Rfc3339OrEpoch(unit) => unit.event_time(count),
            TimeFormat::Pattern(..) => self.text(&count.to_string()),
        }
    }

    /// What is expected, for a reject's hint.
    pub fn expected(&self) -> String {
        match self {
            TimeFormat::Epoch(unit) => format!("whole {unit:?} since 1970").to_lowercase(),
            TimeFormat::Rfc3339OrEpoch(unit) => {
                format!("RFC 3339 with a zone, or whole {} since 1970", format!("{unit:?}").to_lowercase())
            }
            TimeFormat::Pattern(pattern, _) => format!("a time like {pattern}"),
        }
    }
}

fn epoch(text: &str, unit: Unit) -> Option<EventTime> {
    // `parse` accepts a plus sign, which no feed is meant to send.
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    unit.event_time(text.parse().ok()?)
}

fn slow_rfc3339(text: &str) -> Option<EventTime> {
    floor(text.parse().ok()?)
}

fn floor(time: jiff::Timestamp) -> Option<EventTime> {
    EventTime::from_millis(i64::try_from(time.as_nanosecond().div_euclid(1_000_000)).ok()?)
}

/// `YYYY-MM-DDTHH:MM:SS[.f…](Z|±HH:MM)`; `None` leaves the text to the general parser.
fn rfc3339(text: &[u8]) -> Option<EventTime> {
    let (date_time, mut rest) = text.split_at_checked(19)?;
    let d = |at: usize| -> Option<i64> {
        let digit = date_time[at].wrapping_sub(b'0');
        (digit < 10).then_some(i64::from(digit))
    };
    let two = |at: usize| Some(d(at)? * 10 + d(at + 1)?);
    let marks = [date_time[4], date_time[7], date_time[10], date_time[13], date_time[16]];
    if marks != *b"--T::" {
        return None;
    }
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let mut millis = 0;
    if let [b'.', fraction @ ..] = rest {
        let len = fraction.iter().position(|byte| !byte.is_ascii_digit())?;
        // More digits than nanoseconds are left to the general parser to judge.
        if !(1..=9).contains(&len) {
            return None;
        }
        let place = |at: usize| if at < len { i64::from(fraction[at] - b'0') } else { 0 };
        millis = place(0) * 100 + place(1) * 10 + place(2);
        rest = &fraction[len..];
    }
    let offset_minutes = match *rest {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), a, b, b':', c, e] if [a, b, c, e].iter().all(u8::is_ascii_digit) => {
            let n = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
            let (hours, minutes) = (n(a, b), n(c, e));
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    EventTime::from_millis((minutes * 60 + second) * 1000 + millis)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date of the Gregorian calendar, in years that start in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    const ANY: TimeFormat = TimeFormat::Rfc3339OrEpoch(Unit::Millis);

    fn millis(format: &TimeFormat, text: &str) -> Option<i64> {
        format.text(text).map(EventTime::millis)
    }

    #[test]
    fn the_usual_ways_to_write_a_time() {
        assert_eq!(millis(&ANY, "2026-03-01T01:05:22.646Z"), Some(1_772_327_122_646));
        assert_eq!(millis(&ANY, "2026-03-01T03:05:22.646999+02:00"), Some(1_772_327_122_646));
        assert_eq!(millis(&ANY, "1772327122646"), Some(1_772_327_122_646));
        assert_eq!(millis(&TimeFormat::Epoch(Unit::Seconds), "1772327122"), Some(1_772_327_122_000));
        assert_eq!(Unit::Micros.event_time(1_999).map(EventTime::millis), Some(1));
        let pattern = TimeFormat::Pattern("%Y%m%d%H%M%S%3f".to_owned(), Offset::constant(8));
        assert_eq!(millis(&pattern, "20130606000104008"), Some(1_370_448_064_008));
        let bad = [
            "yesterday",
            "",
            "31/03/2026",
            "2026-03-01T01:05:22",
            "2026-02-30T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "99999999999999999999",
            "-1",
            "+1",
            "1.5",
            "2026-03-01T25:00:00Z",
            "é026-03-01T25:00:00Z",
        ];
        for text in bad {
            assert_eq!(millis(&ANY, text), None, "{text}");
        }
    }

    #[test]
    fn the_fast_path_agrees_with_the_general_parser() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for _ in 0..100_000 {
            let (y, mo, d) =
                (rng.random_range(1969..10_000), rng.random_range(0..14), rng.random_range(0..33));
            let (h, mi, s) = (rng.random_range(0..25), rng.random_range(0..61), rng.random_range(0..60));
            let digits = rng.random_range(0..10usize);
            let fraction: u32 = rng.random_range(0..1_000_000_000);
            let fraction =
                if digits == 0 { String::new() } else { format!(".{}", &format!("{fraction:09}")[..digits]) };
            let zone = ["Z", "+00:00", "-05:30", "+23:59"][rng.random_range(0..4)];
            let text = format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}{fraction}{zone}");
            if let Some(fast) = rfc3339(text.as_bytes()) {
                assert_eq!(Some(fast), slow_rfc3339(&text), "{text}");
            } else {
                assert_eq!(slow_rfc3339(&text), None, "{text}");
            }
        }
    }
}

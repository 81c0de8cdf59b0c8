//! How far a run has moved on: which windows are frozen, and which records it has let go of.

use serde::{Deserialize, Serialize};

use super::reject::Reason;
use super::time::{EventTime, Hour, Millis, Minute};

/// What holds for an epoch: decided when the epoch is opened, and bound with it, so that a record
/// that is read again meets the same judgement. No part of it ever moves back.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Horizon {
    /// Windows that end here or before are frozen. A whole minute.
    pub freeze: EventTime,
    /// Bids before this are let go of.
    pub bids: EventTime,
    /// Impressions before this.
    pub impressions: EventTime,
    /// Clicks before this.
    pub clicks: EventTime,
    /// Conversions before this.
    pub conversions: EventTime,
}

impl Horizon {
    /// All its parts; see [`Horizon::from_parts`].
    pub fn parts(&self) -> [EventTime; 5] {
        let Self { freeze, bids, impressions, clicks, conversions } = *self;
        [freeze, bids, impressions, clicks, conversions]
    }

    /// From [`Horizon::parts`].
    pub fn from_parts([freeze, bids, impressions, clicks, conversions]: [EventTime; 5]) -> Self {
        Self { freeze, bids, impressions, clicks, conversions }
    }

    /// All events before this that have an id of their own are let go of.
    pub fn ids(&self) -> EventTime {
        self.impressions.min(self.clicks).min(self.conversions)
    }

    /// Whether any part of this lies before that of `before`, which is not allowed.
    pub fn is_behind(&self, before: &Horizon) -> bool {
        self.parts().into_iter().zip(before.parts()).any(|(now, before)| now < before)
    }
}

/// Which event times an epoch lets in.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Gate {
    /// What is before this is too late.
    first: EventTime,
    /// What is behind this lies in the future.
    last: EventTime,
}

impl Default for Gate {
    fn default() -> Self {
        Self::OPEN
    }
}

impl Gate {
    /// Lets everything in: what a replay without a horizon has.
    pub const OPEN: Gate = Gate { first: EventTime::MIN, last: EventTime::MAX };
    /// How far an event time may be ahead of the ingest clock.
    pub const AHEAD_MAX: Millis = Millis::hours(1);

    /// The gate of a live epoch. Its number, milliseconds since 1970, is the ingest clock: unlike a
    /// clock it is the same when the epoch is read again.
    pub fn live(epoch: super::time::Epoch, horizon: &Horizon) -> Self {
        let clock = i64::try_from(epoch).unwrap_or(i64::MAX);
        let last = EventTime::from_millis(clock.saturating_add(Self::AHEAD_MAX.0));
        Self { first: horizon.freeze, last: last.unwrap_or(EventTime::MAX) }
    }

    /// The gate of a replay that has a horizon: what is frozen is closed to it too, but no clock says
    /// what lies in the future of history.
    pub fn replayed(horizon: &Horizon) -> Self {
        Self { first: horizon.freeze, ..Self::OPEN }
    }

    /// Why an event of this time is rejected, if it is. It is too late once its minute is frozen,
    /// the first of its windows to be so: it could no longer be counted in all of its tables.
    pub fn judge(&self, ts: EventTime) -> Option<Reason> {
        if ts.minute() < self.first.minute() {
            Some(Reason::TooLate)
        } else if ts > self.last {
            Some(Reason::Future)
        } else {
            None
        }
    }

    /// The minute in which a record of this time is counted as received: its own, or the nearest
    /// that the gate lets in, as a frozen minute does not change any more and one far ahead would
    /// be kept for as long. Without a readable time it is the first of 1970, which never freezes.
    pub fn minute(&self, ts: Option<EventTime>) -> Minute {
        ts.map_or(Minute(0), |ts| ts.clamp(self.first, self.last.max(self.first)).minute())
    }
}

/// A window that freezes.
pub trait Freezes {
    /// Whether it is frozen once all windows that end at `freeze` or before are.
    fn is_frozen(&self, freeze: EventTime) -> bool;
}

macro_rules! freezes {
    ($($window:ty),+) => {
        $(impl Freezes for $window {
            fn is_frozen(&self, freeze: EventTime) -> bool {
                Self(self.0.saturating_add(1)).start_millis() <= freeze.millis()
            }
        })+
    };
}

freezes!(Minute, Hour, super::time::Day);

#[cfg(test)]
mod tests {
    use super::super::time::Day;
    use super::*;

    fn time(millis: i64) -> EventTime {
        EventTime::from_millis(millis).expect("in range")
    }

    #[test]
    fn an_event_is_too_late_once_its_minute_is_frozen_and_ahead_of_its_time_beyond_an_hour() {
        let horizon = Horizon { freeze: time(7_200_000), ..Horizon::default() };
        let gate = Gate::live(10_000_000, &horizon);
        assert_eq!(gate.judge(time(7_199_999)), Some(Reason::TooLate));
        assert_eq!(gate.judge(time(7_200_000)), None);
        assert_eq!(gate.judge(time(13_600_000)), None);
        assert_eq!(gate.judge(time(13_600_001)), Some(Reason::Future));
        assert_eq!(Gate::OPEN.judge(EventTime::MAX), None);
    }

    #[test]
    fn what_is_rejected_is_counted_in_the_nearest_minute_that_is_open() {
        let horizon = Horizon { freeze: time(7_200_000), ..Horizon::default() };
        let gate = Gate::live(10_000_000, &horizon);
        let minute = |millis| gate.minute(Some(time(millis)));
        assert_eq!(minute(0), time(7_200_000).minute());
        assert_eq!(minute(8_000_000), time(8_000_000).minute());
        assert_eq!(minute(99_000_000), time(13_600_000).minute());
        assert_eq!(gate.minute(None), Minute(0));
    }

    #[test]
    fn a_window_is_frozen_when_its_end_is() {
        assert!(Minute(1).is_frozen(time(120_000)) && !Minute(2).is_frozen(time(120_000)));
        assert!(Hour(0).is_frozen(time(3_600_000)) && !Hour(0).is_frozen(time(3_599_999)));
        assert!(Day(0).is_frozen(time(86_400_000)) && !Day(0).is_frozen(time(86_399_999)));
        assert!(!Minute(u32::MAX).is_frozen(EventTime::MAX));
    }
}

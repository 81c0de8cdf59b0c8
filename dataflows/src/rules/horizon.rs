//! When a window freezes, and when a record can be let go of without moving a number that is not
//! frozen yet.
//!
//! ```text
//!   ── time of events ──────────────────────────────────────────────────────────────▶
//!      impressions    clicks       bids   conversions
//!   ──────┴──────────────┴──────────┴─────────┴ freeze ◀── correction ──▶ watermark ─ newest
//!         each let go of before its edge        in whole buckets
//! ```
//!
//! Windows freeze from the front: a minute when it ends at the freeze boundary or before, the hour
//! and the day around it later. So the edges are reckoned from the first instant of the hour and of
//! the day that the boundary lies in.

use std::collections::BTreeMap;

use crate::model::events::{Bid, Click, Conversion, Impression};
use crate::model::horizon::Horizon;
use crate::model::lookups::Windows;
use crate::model::time::{Epoch, EventTime, Millis};

const MINUTE: Millis = Millis(60_000);
const HOUR: Millis = Millis::hours(1);
const DAY: Millis = Millis::days(1);

/// How time is dealt with, as configured.
#[derive(Copy, Clone, Debug)]
pub struct Terms {
    /// How far events may lie behind the newest of their partition.
    pub disorder: Millis,
    /// How long a window can be corrected; none: for ever, and nothing expires.
    pub correction: Option<Millis>,
    /// The boundary moves by multiples of this; whole minutes.
    pub bucket: Millis,
    /// How long after its auction an impression may still come and win.
    pub bid_lifetime: Millis,
    /// The boundary moves at most once in this time.
    pub pause: Millis,
}

/// What one partition has shown.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    /// The greatest event time; none before its first event.
    pub greatest: Option<EventTime>,
    /// Whether it has been at its end for so long that nobody waits for it.
    pub idle: bool,
}

/// Decides what is frozen, from what the partitions have shown. It reads no clock: who feeds it
/// says which partitions are idle. One run has one of these, and its decisions are bound.
#[derive(Clone, Debug)]
pub struct Decider<P> {
    terms: Terms,
    partitions: BTreeMap<P, Seen>,
    windows: Windows,
    horizon: Horizon,
    moved: Epoch,
}

impl<P: Ord> Decider<P> {
    /// Goes on behind `horizon`.
    pub fn new(terms: Terms, horizon: Horizon) -> Self {
        Self { terms, partitions: BTreeMap::new(), windows: Windows::default(), horizon, moved: 0 }
    }

    /// Notes what a partition has shown. One that is new joins; before its first event it holds the
    /// watermark back until it is idle.
    pub fn observe(&mut self, partition: P, seen: Seen) {
        let known = self.partitions.entry(partition).or_default();
        known.greatest = known.greatest.max(seen.greatest);
        known.idle = seen.idle;
    }

    /// Notes the longest windows in force.
    pub fn set_windows(&mut self, windows: Windows) {
        self.windows = windows;
    }

    /// The least, over the partitions that are not idle, of the greatest event time seen minus the
    /// allowed disorder; none while one of them has shown nothing, or all are idle.
    pub fn watermark(&self) -> Option<EventTime> {
        let live = self.partitions.values().filter(|seen| !seen.idle);
        let least = live.map(|seen| seen.greatest).min()??;
        Some(before(least, self.terms.disorder))
    }

    /// What is frozen in `epoch`, which is about to be opened.
    pub fn decide(&mut self, epoch: Epoch) -> Horizon {
        let pause = u64::try_from(self.terms.pause.0).unwrap_or_default();
        if epoch >= self.moved.saturating_add(pause)
            && let Some(watermark) = self.watermark()
        {
            let next = advanced(&self.horizon, watermark, &self.windows, &self.terms);
            if next != self.horizon {
                (self.horizon, self.moved) = (next, epoch);
            }
        }
        self.horizon
    }

    /// What was decided last.
    pub fn horizon(&self) -> Horizon {
        self.horizon
    }
}

/// The horizon that a watermark leads to; no part of it moves back.
pub fn advanced(now: &Horizon, watermark: EventTime, windows: &Windows, terms: &Terms) -> Horizon {
    let Some(correction) = terms.correction else { return *now };
    let freeze = floor(before(watermark, correction), terms.bucket);
    if freeze <= now.freeze {
        return *now;
    }
    let Windows { click_join, click_lookback, view_lookback } = *windows;
    let (hour, day) = (floor(freeze, HOUR), floor(freeze, DAY));
    // A touch at `t` is on the path of no conversion after `t + lookback`. A click that goes makes a
    // view of its impression, which lies before it. The clicks of one minute go together, as their
    // number decides on each of them.
    let touched = click_lookback.max(view_lookback);
    let clicks = floor(before(hour, touched), MINUTE);
    // With an impression go its clicks, of which the last comes at the end of the join window; a
    // minute more, for the others of that click's minute.
    let clicked = Millis(click_join.0.saturating_add(click_lookback.0)).max(view_lookback);
    let impressions = before(floor(before(hour, clicked), MINUTE), MINUTE);
    let next = Horizon {
        freeze,
        bids: before(hour, terms.bid_lifetime),
        impressions: impressions.min(day),
        clicks,
        conversions: hour,
    };
    let parts: Vec<EventTime> = next.parts().into_iter().zip(now.parts()).map(|(a, b)| a.max(b)).collect();
    parts.try_into().map_or(*now, Horizon::from_parts)
}

fn before(time: EventTime, by: Millis) -> EventTime {
    EventTime::from_millis(time.millis().saturating_sub(by.0)).unwrap_or(EventTime::MIN)
}

fn floor(time: EventTime, unit: Millis) -> EventTime {
    let unit = unit.0.max(1);
    EventTime::from_millis(time.millis() / unit * unit).unwrap_or(EventTime::MIN)
}

/// A record that is let go of.
pub trait Expires {
    /// Whether no number that is not frozen can depend on it any more, as far as its own time tells.
    /// Others of its identity, or what is joined to it, may still keep it.
    fn is_expired(&self, horizon: &Horizon) -> bool;
}

macro_rules! expires {
    ($($kind:ty, $edge:ident;)+) => {
        $(impl Expires for $kind {
            fn is_expired(&self, horizon: &Horizon) -> bool {
                self.ts < horizon.$edge
            }
        })+
    };
}

expires! {
    Bid, bids;
    Impression, impressions;
    Click, clicks;
    Conversion, conversions;
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        disorder: Millis(1_000),
        correction: Some(Millis::hours(2)),
        bucket: HOUR,
        bid_lifetime: Millis::hours(3),
        pause: Millis(0),
    };
    const BASE: i64 = 20_000 * DAY.0;

    fn at(hours: i64, millis: i64) -> EventTime {
        EventTime::from_millis(BASE + hours * HOUR.0 + millis).expect("in range")
    }

    fn seen(hours: i64) -> Seen {
        Seen { greatest: Some(at(hours, 0)), idle: false }
    }

    #[test]
    fn the_slowest_live_partition_holds_the_watermark_and_an_idle_one_does_not() {
        let mut decider = Decider::new(TERMS, Horizon::default());
        assert_eq!(decider.watermark(), None);
        decider.observe("a", seen(9));
        decider.observe("b", Seen::default());
        assert_eq!(decider.watermark(), None, "b has shown nothing yet");
        decider.observe("b", seen(5));
        assert_eq!(decider.watermark(), Some(at(5, -1_000)));
        decider.observe("b", Seen { idle: true, ..seen(5) });
        assert_eq!(decider.watermark(), Some(at(9, -1_000)));
        decider.observe("b", seen(6));
        assert_eq!(decider.watermark(), Some(at(6, -1_000)), "it holds again when it speaks");
        decider.observe("b", seen(4));
        assert_eq!(decider.watermark(), Some(at(6, -1_000)), "the greatest counts, not the last");
        decider.observe("c", Seen::default());
        assert_eq!(decider.watermark(), None, "a partition that is new joins");
        for partition in ["a", "b", "c"] {
            decider.observe(partition, Seen { greatest: None, idle: true });
        }
        assert_eq!(decider.watermark(), None, "nobody speaks");
    }

    #[test]
    fn the_boundary_moves_in_whole_buckets_never_back_and_not_too_often() {
        let mut decider = Decider::new(Terms { pause: Millis(10), ..TERMS }, Horizon::default());
        decider.observe("a", seen(9));
        let first = decider.decide(100);
        assert_eq!(first.freeze, at(6, 0), "9:00 minus a second, minus two hours, in whole hours");
        decider.observe("a", Seen { greatest: Some(at(9, 59 * 60_000)), idle: false });
        assert_eq!(decider.decide(200).freeze, at(7, 0));
        decider.observe("a", seen(20));
        assert_eq!(decider.decide(209).freeze, at(7, 0), "too soon");
        assert_eq!(decider.decide(210).freeze, at(17, 0));
        decider.observe("b", seen(3));
        assert_eq!(decider.decide(300).freeze, at(17, 0), "never back");
    }

    #[test]
    fn nothing_freezes_without_a_horizon() {
        let terms = Terms { correction: None, ..TERMS };
        let now = Horizon::default();
        assert_eq!(advanced(&now, at(1_000, 0), &Windows::default(), &terms), now);
    }

    #[test]
    fn each_kind_outlives_the_last_number_that_may_need_it() {
        let windows =
            Windows { click_join: HOUR, click_lookback: Millis(5 * HOUR.0 + 1), view_lookback: HOUR };
        let now = advanced(&Horizon::default(), at(100, 0), &windows, &TERMS);
        let hour = at(98, 0);
        assert_eq!((now.freeze, now.conversions, now.bids), (hour, hour, at(95, 0)));
        assert_eq!(now.clicks, at(93, -60_000));
        // 96 is midnight; the join window and the lookback reach further back.
        assert_eq!(now.impressions, at(92, -120_000));
        let long = Windows { click_join: Millis(i64::MAX), ..windows };
        assert_eq!(advanced(&now, at(200, 0), &long, &TERMS).impressions, now.impressions, "it stands");
        let short = Windows { click_join: Millis(0), click_lookback: Millis(0), view_lookback: Millis(0) };
        assert_eq!(advanced(&now, at(100, 0), &short, &TERMS), now, "between two buckets nothing moves");
        assert_eq!(advanced(&now, at(111, 0), &short, &TERMS).impressions, at(96, 0), "reach is by day");
    }

    #[test]
    fn a_record_expires_when_its_edge_has_passed_it() {
        let horizon = Horizon { clicks: at(1, 0), ..Horizon::default() };
        let click = |millis| Click { ts: at(1, millis), ..Click::default() };
        assert!(click(-1).is_expired(&horizon) && !click(0).is_expired(&horizon));
    }
}

//! Under which dimensions do conversions and revenue count? Those of the touch's impression.
//!
//! SQL: bookings `JOIN` impressions on `impression_id`.
//!
//! *Keys*: the impression id. *State*: the shared impressions, and the bookings, of which there
//! are few. *Late events*: an impression replaced by an earlier one of its id moves its bookings.

use crate::model::events::{Impression, Placed};
use crate::model::ids::Id;
use crate::model::lookups::Lookups;
use crate::model::measures::Measures;
use crate::model::time::Minute;
use crate::operators::regroup::{GroupRule, Lanes};
use crate::rules::dedup::winner;

use super::attribution::Booked;

/// The rule. *First*: facts: conversions and revenue.
pub struct Booking;

impl GroupRule for Booking {
    type Key = Id;
    type Left = Impression;
    type Right = Booked;
    type First = Placed<Minute>;
    type FirstDiff = Measures;
    type Second = ();
    type SecondDiff = isize;
    type Third = ();
    type ThirdDiff = isize;
    const NEEDS_RIGHT: bool = true;

    fn worth(
        &self,
        _: &Id,
        candidates: &[(Impression, isize)],
        bookings: &[(Booked, isize)],
        _: &Lookups,
        lanes: &mut Lanes<Self>,
    ) {
        if bookings.is_empty() {
            return;
        }
        let Some(impression) = winner(candidates) else { return };
        for (booked, count) in bookings {
            let measures = Measures {
                conversions: booked.conversions * *count as i32,
                revenue_micros: booked.revenue.0 * *count as i64,
                ..Measures::default()
            };
            lanes.first.give(Placed::new(booked.minute, &impression.dims), measures);
        }
    }
}

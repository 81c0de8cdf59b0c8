//! Which record of one identity counts. A total order decides, so the choice can't depend on
//! the order of arrival.

use std::cmp::Reverse;

use crate::model::events::{Bid, Click, Conversion, Impression};

/// A record that may arrive more than once under one identity.
pub trait Candidate: Copy + Ord {
    /// What is compared first; the least wins.
    type Rank: Ord;

    /// This record's rank.
    fn rank(&self) -> Self::Rank;
}

impl Candidate for Bid {
    type Rank = (Reverse<i64>, i64);

    fn rank(&self) -> Self::Rank {
        (Reverse(self.bid.0), self.ts.millis())
    }
}

/// The earliest record wins.
macro_rules! earliest_wins {
    ($($kind:ty),+) => {
        $(impl Candidate for $kind {
            type Rank = i64;

            fn rank(&self) -> i64 {
                self.ts.millis()
            }
        })+
    };
}

earliest_wins!(Impression, Click, Conversion);

/// The record that counts: the one of least rank, a tie decided by the record's contents.
pub fn winner<C: Candidate>(candidates: &[(C, isize)]) -> Option<C> {
    match candidates {
        [] => None,
        [(only, _)] => Some(*only),
        many => many.iter().map(|(record, _)| *record).min_by(|a, b| (a.rank(), a).cmp(&(b.rank(), b))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{money::Micros, time::EventTime};

    #[test]
    fn the_highest_bid_wins_then_the_earliest() {
        let bid = |micros, ts| Bid {
            bid: Micros(micros),
            ts: EventTime::from_millis(ts).expect("in range"),
            ..Bid::default()
        };
        let candidates = [(bid(5, 1), 1), (bid(9, 7), 1), (bid(9, 3), 2)];
        assert_eq!(winner(&candidates), Some(bid(9, 3)));
    }

    #[test]
    fn the_earliest_click_wins() {
        let click =
            |ts| Click { ts: EventTime::from_millis(ts).expect("in range"), impression: Default::default() };
        assert_eq!(winner(&[(click(8), 1), (click(2), 1)]), Some(click(2)));
        assert_eq!(winner::<Click>(&[]), None);
    }
}

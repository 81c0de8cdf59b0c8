//! How many distinct users did a campaign reach in a day?
//!
//! SQL: `SELECT day, campaign_id, COUNT(DISTINCT user_id), COUNT(*) FROM counted GROUP BY 1, 2`
//!
//! *Keys*: day, campaign and user. *State*: one count per key, exact; bounded by the retention
//! of the impressions. *Retractions*: a user leaves when the last impression does.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::ThresholdTotal;

use crate::model::ids::{Id, Name};
use crate::model::measures::Reach;
use crate::model::time::{Day, Epoch};
use crate::operators::arrange::{ArrangeBy, Summed};

use super::impressions::Counted;

/// The aggregate behind `reach_day`.
pub fn reach<'scope>(
    counted: VecCollection<'scope, Epoch, Counted, isize>,
    residues: VecCollection<'scope, Epoch, ((Day, Name), Id), Reach>,
) -> Summed<'scope, (Day, Name), Reach> {
    counted
        .arrange_by("users by day and campaign", |seen| {
            let place = seen.served.place;
            (((place.window.day(), place.campaign), seen.user), ())
        })
        .threshold_semigroup(|_, new: &isize, old: Option<&isize>| {
            let before = old.copied().unwrap_or(0);
            Some(Reach {
                users: i64::from(*new > 0) - i64::from(before > 0),
                impressions: (*new - before) as i64,
            })
        })
        .concat(residues)
        .arrange_by("reach by day", |(key, _user)| (key, ()))
}

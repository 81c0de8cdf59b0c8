//! Which timely clicks are valid?
//!
//! SQL: `COUNT(*) OVER (PARTITION BY user_id, minute) <= max_clicks_per_user_minute`, and the
//! impression is not listed.
//!
//! *Keys*: the user and the click's UTC minute. *State*: the timely clicks. *Late events*: the
//! click that crosses the limit takes the others of its minute with it; a retraction that falls
//! below it brings them back. Clicks on listed impressions count towards the limit, for they are
//! valid by time, but are never valid.

use std::collections::HashSet;

use crate::model::ids::Id;
use crate::model::lookups::{Lookups, Subject};
use crate::model::reject::{Feed, Quality, QualityKey};
use crate::model::time::Minute;
use crate::operators::regroup::{GroupRule, Lanes};

use super::impressions::{ClickAt, TimelyClick};

/// The rule. *First*: valid clicks by impression. *Third*: invalid clicks.
pub struct Flood;

impl GroupRule for Flood {
    type Key = (Id, Minute);
    type Left = TimelyClick;
    type Right = ();
    type First = (Id, ClickAt);
    type FirstDiff = isize;
    type Second = ();
    type SecondDiff = isize;
    type Third = QualityKey;
    type ThirdDiff = isize;

    fn worth(
        &self,
        (_, minute): &(Id, Minute),
        clicks: &[(TimelyClick, isize)],
        _: &[((), isize)],
        lookups: &Lookups,
        lanes: &mut Lanes<Self>,
    ) {
        let total: isize = clicks.iter().map(|(_, count)| *count).sum();
        let flooded = total > lookups.max_clicks_per_user_minute() as isize;
        for (click, count) in clicks {
            if flooded || click.listed {
                let key = QualityKey { minute: *minute, feed: Feed::Events, what: Quality::Invalid };
                lanes.third.count(key, *count);
            } else {
                lanes.first.give((click.impression, ClickAt { ts: click.ts, click: click.click }), *count);
            }
        }
    }

    fn depends_on(&self, changed: &HashSet<Subject>, _: &(Id, Minute), _: &TimelyClick) -> bool {
        changed.contains(&Subject::ClickLimit)
    }
}

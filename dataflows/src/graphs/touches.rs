//! What touched a user on behalf of an advertiser?
//!
//! SQL: counted impressions `JOIN campaigns`, each as its valid clicks, or as a view when it has
//! none.
//!
//! *Keys*: the impression id. *State*: the shared impressions, and the valid clicks. *Lookups*: a
//! campaign that moves to another advertiser takes its touches along.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::model::events::{Impression, Placed};
use crate::model::ids::{Id, Name};
use crate::model::lookups::{Lookups, Subject};
use crate::model::measures::Measures;
use crate::model::time::{EventTime, Minute};
use crate::operators::regroup::{GroupRule, Lanes};
use crate::rules::attribution::TouchLike;
use crate::rules::dedup::winner;

use super::impressions::{ClickAt, lists};

/// A touch. Its order is path order: by time, ties by the touch id.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Touch {
    /// When the user clicked, or saw.
    pub ts: EventTime,
    /// The click, or the impression seen.
    pub touch: Id,
    /// The impression.
    pub impression: Id,
    /// Its campaign.
    pub campaign: Name,
    /// Whether it is a click.
    pub click: bool,
}

impl TouchLike for Touch {
    fn ts(&self) -> EventTime {
        self.ts
    }

    fn is_click(&self) -> bool {
        self.click
    }
}

/// The rule. *First*: touches by user and advertiser. *Second*: facts: clicks.
pub struct Touches;

impl GroupRule for Touches {
    type Key = Id;
    type Left = Impression;
    type Right = ClickAt;
    type First = ((Id, Name), Touch);
    type FirstDiff = isize;
    type Second = Placed<Minute>;
    type SecondDiff = Measures;
    type Third = ();
    type ThirdDiff = isize;

    fn worth(
        &self,
        key: &Id,
        candidates: &[(Impression, isize)],
        clicks: &[(ClickAt, isize)],
        lookups: &Lookups,
        lanes: &mut Lanes<Self>,
    ) {
        let Some(seen) = winner(candidates) else { return };
        for (click, count) in clicks {
            let place = Placed::new(click.ts.minute(), &seen.dims);
            lanes.second.give(place, Measures { clicks: *count as i32, ..Measures::default() });
        }
        let Some(advertiser) = lookups.advertiser(seen.dims.campaign) else { return };
        let side = (seen.user, advertiser);
        let view =
            Touch { ts: seen.ts, touch: *key, impression: *key, campaign: seen.dims.campaign, click: false };
        for (click, count) in clicks {
            lanes.first.give((side, Touch { ts: click.ts, touch: click.click, click: true, ..view }), *count);
        }
        if clicks.is_empty() && !lookups.is_listed(seen.user, seen.dims.site) {
            lanes.first.give((side, view), 1);
        }
    }

    fn depends_on(&self, changed: &HashSet<Subject>, _: &Id, impression: &Impression) -> bool {
        changed.contains(&Subject::Campaign(impression.dims.campaign)) || lists(changed, impression)
    }
}

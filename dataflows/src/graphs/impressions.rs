//! Which impressions count, and which clicks come in time?
//!
//! SQL: impressions deduplicated by `impression_id`, anti-joined with the lists of invalid
//! traffic, `LEFT JOIN` clicks on `impression_id` within the click join window.
//!
//! ```text
//!   impressions by id ──┐          ┌─▶ counted impressions
//!   clicks by impression┼─ rule ───┼─▶ timely clicks
//!   lookups ────────────┘          └─▶ quality: accepted, duplicate, orphans, invalid
//! ```
//!
//! *Keys*: the impression id. *State*: the impressions (shared with `touches` and `booking`) and
//! the clicks; bounded by the retention of the inputs. *Late events*: a click without impression
//! is an orphan and counts as soon as the impression comes. *Lists*: a listed user or site takes
//! its impressions out of every number, and back in when it is taken off the list.

use std::collections::HashSet;

use differential_dataflow::difference::Multiply;
use serde::{Deserialize, Serialize};

use crate::model::events::{Impression, Placed};
use crate::model::ids::Id;
use crate::model::lookups::{Lookups, Subject};
use crate::model::measures::Measures;
use crate::model::money::Micros;
use crate::model::reject::{Feed, Quality, QualityKey};
use crate::model::time::{EventTime, Minute};
use crate::operators::lanes::Lane;
use crate::operators::regroup::{GroupRule, Lanes};

use super::dedup::elect;

/// A click, under its impression.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct ClickAt {
    /// When it happened.
    pub ts: EventTime,
    /// The click.
    pub click: Id,
}

/// An impression that counts.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Counted {
    /// The auction that was won.
    pub auction: Id,
    /// Who saw it.
    pub user: Id,
    /// What it counts for.
    pub served: Served,
}

/// What an impression that counts is worth.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Served {
    /// When and under what it counts.
    pub place: Placed<Minute>,
    /// What it cost.
    pub cost: Micros,
    /// Whether it was measured as viewable.
    pub viewable: bool,
}

impl Served {
    /// What so many such impressions add to the performance tables.
    pub fn measures(&self, count: isize) -> Measures {
        let one = Measures {
            impressions: 1,
            viewable: i32::from(self.viewable),
            spend_micros: self.cost.0,
            ..Measures::default()
        };
        one.multiply(&count)
    }
}

/// A click within the click join window of its impression.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct TimelyClick {
    /// When it happened.
    pub ts: EventTime,
    /// The click.
    pub click: Id,
    /// The impression.
    pub impression: Id,
    /// Whether the impression is invalid traffic, and the click with it.
    pub listed: bool,
}

/// The rule. *First*: counted impressions. *Second*: timely clicks by user and minute.
/// *Third*: counts.
pub struct Impressions;

impl GroupRule for Impressions {
    type Key = Id;
    type Left = Impression;
    type Right = ClickAt;
    type First = Counted;
    type FirstDiff = isize;
    type Second = ((Id, Minute), TimelyClick);
    type SecondDiff = isize;
    type Third = QualityKey;
    type ThirdDiff = isize;

    fn worth(
        &self,
        key: &Id,
        candidates: &[(Impression, isize)],
        clicks: &[(ClickAt, isize)],
        lookups: &Lookups,
        lanes: &mut Lanes<Self>,
    ) {
        let Some(impression) = elect(Feed::Impressions, candidates, &mut lanes.third) else {
            return count_orphans(clicks, &mut lanes.third);
        };
        let Impression { ts, auction, user, dims, cost, viewable } = impression;
        let listed = lookups.is_listed(user, dims.site);
        if listed {
            let minute = ts.minute();
            lanes.third.count(QualityKey { minute, feed: Feed::Impressions, what: Quality::Invalid }, 1);
        } else {
            let place = Placed::new(ts.minute(), &dims);
            lanes.first.give(Counted { auction, user, served: Served { place, cost, viewable } }, 1);
        }
        if clicks.is_empty() {
            return;
        }
        let window = lookups.click_join_window();
        for (ClickAt { ts: at, click }, count) in clicks {
            if at.since(ts).is_some_and(|age| age <= window) {
                let timely = TimelyClick { ts: *at, click: *click, impression: *key, listed };
                lanes.second.give(((user, at.minute()), timely), *count);
            }
        }
    }

    fn depends_on(&self, changed: &HashSet<Subject>, _: &Id, impression: &Impression) -> bool {
        changed.contains(&Subject::ClickJoinWindow) || lists(changed, impression)
    }
}

/// Whether lookup rows may list this impression's user or site.
pub(super) fn lists(subjects: &HashSet<Subject>, impression: &Impression) -> bool {
    subjects.contains(&Subject::User(impression.user))
        || subjects.contains(&Subject::Site(impression.dims.site))
}

fn count_orphans(clicks: &[(ClickAt, isize)], quality: &mut Lane<QualityKey, isize>) {
    for (click, count) in clicks {
        let minute = click.ts.minute();
        quality.count(QualityKey { minute, feed: Feed::Events, what: Quality::Orphan }, *count);
    }
}

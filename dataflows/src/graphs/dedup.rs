//! Which clicks and conversions count? One of each identity.
//!
//! SQL: `SELECT DISTINCT ON (click_id) * FROM clicks ORDER BY click_id, ts, …`
//!
//! *Keys*: the click or conversion id. *State*: the records, arranged by id; bounded by the
//! retention of the inputs. *Late events and retractions*: a record that ranks before the winner
//! replaces it downstream; when the winner is retracted, the next takes its place.

use std::marker::PhantomData;

use crate::model::events::{Click, Conversion};
use crate::model::ids::{Id, Name};
use crate::model::lookups::Lookups;
use crate::model::reject::{Feed, Quality, QualityKey};
use crate::operators::arrange::Val;
use crate::operators::lanes::Lane;
use crate::operators::regroup::{GroupRule, Lanes};
use crate::rules::dedup::{Candidate, winner};

use super::attribution::ConversionAt;
use super::impressions::ClickAt;
use crate::model::time::EventTime;

/// A record with a time of its own.
pub trait Timed {
    /// When it happened.
    fn ts(&self) -> EventTime;
}

macro_rules! timed {
    ($($kind:ty),+) => {
        $(impl Timed for $kind {
            fn ts(&self) -> EventTime {
                self.ts
            }
        })+
    };
}

timed!(crate::model::events::Bid, crate::model::events::Impression, Click, Conversion);

/// Picks the winner and counts it as accepted, all others as duplicates.
pub fn elect<C: Candidate + Timed>(
    feed: Feed,
    candidates: &[(C, isize)],
    quality: &mut Lane<QualityKey, isize>,
) -> Option<C> {
    let chosen = winner(candidates)?;
    let minute = chosen.ts().minute();
    quality.count(QualityKey { minute, feed, what: Quality::Accepted }, 1);
    for (record, count) in candidates {
        let copies = count - isize::from(*record == chosen);
        if copies > 0 {
            let minute = record.ts().minute();
            quality.count(QualityKey { minute, feed, what: Quality::Duplicate }, copies);
        }
    }
    Some(chosen)
}

/// A click or conversion, re-keyed for the graph that needs it.
pub trait Event: Val + Candidate + Timed {
    /// The key it is joined on.
    type JoinKey: Val;
    /// What the join needs of it.
    type Joined: Val;

    /// This event under its join key.
    fn joined(self, id: Id) -> (Self::JoinKey, Self::Joined);
}

impl Event for Click {
    type JoinKey = Id;
    type Joined = ClickAt;

    fn joined(self, id: Id) -> (Id, ClickAt) {
        (self.impression, ClickAt { ts: self.ts, click: id })
    }
}

impl Event for Conversion {
    type JoinKey = (Id, Name);
    type Joined = ConversionAt;

    fn joined(self, id: Id) -> ((Id, Name), ConversionAt) {
        ((self.user, self.advertiser), ConversionAt { ts: self.ts, conversion: id, value: self.value })
    }
}

/// The rule. *First*: the winners, re-keyed. *Third*: counts of the `events` feed.
pub struct Dedup<E>(PhantomData<E>);

impl<E> Default for Dedup<E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: Event> GroupRule for Dedup<E> {
    type Key = Id;
    type Left = E;
    type Right = ();
    type First = (E::JoinKey, E::Joined);
    type FirstDiff = isize;
    type Second = ();
    type SecondDiff = isize;
    type Third = QualityKey;
    type ThirdDiff = isize;

    fn worth(&self, key: &Id, left: &[(E, isize)], _: &[((), isize)], _: &Lookups, lanes: &mut Lanes<Self>) {
        if let Some(event) = elect(Feed::Events, left, &mut lanes.third) {
            lanes.first.give(event.joined(*key), 1);
        }
    }
}

//! What a process tells of the tables: the changes of some epochs.

use std::sync::Arc;

use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::Placed;
use dataflows::model::ids::{Id, Name};
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::Feed;
use dataflows::model::time::{Day, Epoch, EventTime, Hour, Minute};
use serde::{Deserialize, Serialize};

use super::shape::{Key, TableId};
use crate::formats::dimension::{Attributes, DIMENSIONS, DimensionRow};
use crate::sinks::clickhouse::{CampaignModel, Upsert, Upserts};

/// The changes of some epochs, in one process: of each changed key its state as of the last of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Update {
    /// The last epoch.
    pub epoch: Epoch,
    since: Option<i64>,
    /// How far each feed is, if this is all that there is.
    latest: [Option<i64>; Feed::ALL.len()],
    performance_minute: Vec<Upsert<(Minute, Name), Measures>>,
    performance_hour: Vec<Upsert<Placed<Hour>, Measures>>,
    attribution_hour: Vec<Upsert<CampaignModel, Credit>>,
    reach_day: Vec<Upsert<(Day, Name), Reach>>,
    supply_hour: Vec<Upsert<SupplyKey, Supply>>,
    quality_minute: Vec<Upsert<(Minute, Feed), [i64; 14]>>,
    /// The paths of conversions.
    pub paths: Vec<Upsert<Id, Arc<[PathStep]>>>,
    /// What ids stand for.
    pub dimensions: [Vec<Upsert<Name, Attributes>>; DIMENSIONS],
}

impl From<&Upserts> for Update {
    fn from(upserts: &Upserts) -> Self {
        Self {
            epoch: upserts.epochs.last,
            since: None,
            latest: Default::default(),
            performance_minute: upserts.performance_minute.clone(),
            performance_hour: upserts.performance_hour.clone(),
            attribution_hour: upserts.attribution_hour.clone(),
            reach_day: upserts.reach_day.clone(),
            supply_hour: upserts.supply_hour.clone(),
            quality_minute: upserts.quality_minute.clone(),
            paths: upserts.conversion_paths.clone(),
            dimensions: upserts.dimensions.clone(),
        }
    }
}

impl Update {
    /// Says that nothing has changed up to an epoch.
    pub fn nothing(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Adds what ids stand for.
    pub fn with_dimensions(mut self, rows: &[DimensionRow]) -> Self {
        for DimensionRow { dimension, id, attributes } in rows {
            self.dimensions[*dimension as usize].push((*id, Some(attributes.clone())));
        }
        self
    }

    /// Says that this is all there is, but for windows that begin before this millisecond, if one is
    /// said.
    pub fn since(self, since: Option<i64>) -> Self {
        Self { since, ..self }
    }

    /// Says how far each feed is.
    pub fn latest(self, latest: [Option<EventTime>; Feed::ALL.len()]) -> Self {
        Self { latest: latest.map(|latest| latest.map(EventTime::millis)), ..self }
    }

    /// How far all feeds are of which anything was said, in all of these updates.
    pub fn reached(updates: &[Self]) -> Option<i64> {
        let of = |feed: Feed| updates.iter().filter_map(move |update| update.latest[feed as usize]).max();
        Feed::ALL.into_iter().filter_map(of).min()
    }

    /// Before which millisecond nothing is told of, if that was said.
    pub fn edge(&self) -> Option<i64> {
        self.since
    }

    /// Adds another worker's, of the same epochs and of other keys.
    pub fn append(&mut self, mut other: Update) {
        self.since = self.since.max(other.since);
        self.latest.iter_mut().zip(other.latest).for_each(|(latest, more)| *latest = (*latest).max(more));
        self.performance_minute.append(&mut other.performance_minute);
        self.performance_hour.append(&mut other.performance_hour);
        self.attribution_hour.append(&mut other.attribution_hour);
        self.reach_day.append(&mut other.reach_day);
        self.supply_hour.append(&mut other.supply_hour);
        self.quality_minute.append(&mut other.quality_minute);
        self.paths.append(&mut other.paths);
        self.dimensions.iter_mut().zip(&mut other.dimensions).for_each(|(all, more)| all.append(more));
    }
}

/// A changed row: the table, the window's first millisecond, the key, and the sums.
pub type Row<'a> = (TableId, i64, Key, Option<&'a [i64]>);

fn measures(m: &Measures) -> [i64; 9] {
    let counts = [m.bids, m.wins, m.impressions, m.viewable, m.clicks, m.conversions].map(i64::from);
    let [bids, wins, impressions, viewable, clicks, conversions] = counts;
    let (spend, revenue) = (m.spend_micros, m.revenue_micros);
    [bids, wins, impressions, viewable, clicks, conversions, spend, revenue, m.bid_micros]
}

impl Update {
    /// Every changed row of the tables of sums.
    pub fn rows(&self, each: &mut dyn FnMut(Row)) {
        let mut row = |table, start, key: &[u64], sums: Option<&[i64]>| {
            let key = std::array::from_fn(|at| key.get(at).copied().unwrap_or_default());
            each((table, start, key, sums));
        };
        for ((minute, campaign), sums) in &self.performance_minute {
            let sums = sums.as_ref().map(measures);
            row(
                TableId::PerformanceMinute,
                minute.start_millis(),
                &[campaign.raw()],
                sums.as_ref().map(|sums| &sums[..]),
            );
        }
        for (place, sums) in &self.performance_hour {
            let Placed { window, campaign, creative, site, country, device } = *place;
            let viewer = [u64::from(country.code()), device as u64];
            let key = [campaign.raw(), creative.raw(), site.raw(), viewer[0], viewer[1]];
            let sums = sums.as_ref().map(measures);
            row(TableId::PerformanceHour, window.start_millis(), &key, sums.as_ref().map(|sums| &sums[..]));
        }
        for (((hour, campaign), model), credit) in &self.attribution_hour {
            let sums = credit.map(|credit| [credit.credit_micros, credit.revenue_micros]);
            let key = [campaign.raw(), *model as u64];
            row(TableId::AttributionHour, hour.start_millis(), &key, sums.as_ref().map(|sums| &sums[..]));
        }
        for ((day, campaign), reach) in &self.reach_day {
            let sums = reach.map(|reach| [reach.users, reach.impressions]);
            row(
                TableId::ReachDay,
                day.start_millis(),
                &[campaign.raw()],
                sums.as_ref().map(|sums| &sums[..]),
            );
        }
        for (SupplyKey { hour, country, device, site }, supply) in &self.supply_hour {
            let sums = supply.map(|supply| [supply.bid_requests, supply.bids, supply.wins]);
            let key = [site.raw(), u64::from(country.code()), *device as u64];
            row(TableId::SupplyHour, hour.start_millis(), &key, sums.as_ref().map(|sums| &sums[..]));
        }
        for ((minute, feed), counts) in &self.quality_minute {
            let counts = counts.as_ref().map(|counts| &counts[..]);
            row(TableId::QualityMinute, minute.start_millis(), &[*feed as u64], counts);
        }
    }
}

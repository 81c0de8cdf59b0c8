//! What one worker's part of the tables has changed into.

use std::sync::Arc;

use dataflows::changes::Changes;
use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::graphs::catalogue::Outputs;
use dataflows::model::diff::Diff;
use dataflows::model::events::Placed;
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::{Quality, QualityKey};
use dataflows::model::time::{Day, Epoch, Hour, Minute};
use dataflows::operators::arrange::Key;
use timely::worker::Worker;

use crate::sinks::clickhouse::{Epochs, Upsert, Upserts};
use crate::sinks::tables::QualityMinute;

type Sums<K, R> = Changes<K, (), R>;

/// The changes of every table.
pub struct Following {
    performance_minute: Sums<(Minute, Name), Measures>,
    performance_hour: Sums<Placed<Hour>, Measures>,
    attribution_hour: Sums<((Hour, Name), Model), Credit>,
    reach_day: Sums<(Day, Name), Reach>,
    supply_hour: Sums<SupplyKey, Supply>,
    quality_minute: Sums<QualityKey, isize>,
    conversion_paths: Changes<Id, PathStep, isize>,
}

impl Following {
    /// Follows the tables; their probe then tells when changes can be asked for.
    pub fn new(worker: &mut Worker, outputs: &Outputs) -> Self {
        worker.dataflow(|scope| Self {
            performance_minute: Changes::follow(scope, &outputs.performance_minute, &outputs.probe),
            performance_hour: Changes::follow(scope, &outputs.performance_hour, &outputs.probe),
            attribution_hour: Changes::follow(scope, &outputs.attribution_hour, &outputs.probe),
            reach_day: Changes::follow(scope, &outputs.reach_day, &outputs.probe),
            supply_hour: Changes::follow(scope, &outputs.supply_hour, &outputs.probe),
            quality_minute: Changes::follow(scope, &outputs.quality_minute, &outputs.probe),
            conversion_paths: Changes::follow(scope, &outputs.conversion_paths, &outputs.probe),
        })
    }

    /// Forgets the changes up to and including `epoch`: they are published.
    pub fn skip(&mut self, epoch: Epoch) {
        self.performance_minute.keys(epoch);
        self.performance_hour.keys(epoch);
        self.attribution_hour.keys(epoch);
        self.reach_day.keys(epoch);
        self.supply_hour.keys(epoch);
        self.quality_minute.keys(epoch);
        self.conversion_paths.keys(epoch);
        self.compact_to(epoch);
    }

    /// What has changed since the last call, as of the end of the last of `epochs`, which is
    /// complete.
    pub fn take(&mut self, epochs: Epochs) -> Upserts {
        let mut upserts = Upserts::new(epochs);
        let epoch = epochs.last;
        upserts.performance_minute = sums(&mut self.performance_minute, epoch);
        upserts.performance_hour = sums(&mut self.performance_hour, epoch);
        upserts.attribution_hour = sums(&mut self.attribution_hour, epoch);
        upserts.reach_day = sums(&mut self.reach_day, epoch);
        upserts.supply_hour = sums(&mut self.supply_hour, epoch);
        self.take_quality(epoch, &mut upserts);
        self.take_paths(epoch, &mut upserts);
        self.compact_to(epoch);
        upserts
    }

    /// The counts of a minute and feed are one row, so all of them are read when one has changed.
    fn take_quality(&mut self, epoch: Epoch, upserts: &mut Upserts) {
        let mut changed = self.quality_minute.keys(epoch);
        changed.dedup_by_key(|key| (key.minute, key.feed));
        let counts = changed.iter().flat_map(|&QualityKey { minute, feed, .. }| {
            Quality::all().map(move |what| QualityKey { minute, feed, what })
        });
        let rows = &mut upserts.quality_minute;
        self.quality_minute.read(epoch, counts, |key, found| {
            let place = (key.minute, key.feed);
            if rows.last().is_none_or(|(last, _)| *last != place) {
                rows.push((place, None));
            }
            if let (Some((_, row)), [((), count)]) = (rows.last_mut(), found) {
                row.get_or_insert([0; 14])[QualityMinute::slot(key.what)] = *count as i64;
            }
        });
    }

    fn take_paths(&mut self, epoch: Epoch, upserts: &mut Upserts) {
        let changed = self.conversion_paths.keys(epoch);
        let rows = &mut upserts.conversion_paths;
        self.conversion_paths.read(epoch, changed, |conversion, found| {
            let steps: Arc<[PathStep]> = found.iter().map(|(step, _)| *step).collect();
            rows.push((conversion, (!steps.is_empty()).then_some(steps)));
        });
    }

    fn compact_to(&mut self, epoch: Epoch) {
        self.performance_minute.compact_to(epoch);
        self.performance_hour.compact_to(epoch);
        self.attribution_hour.compact_to(epoch);
        self.reach_day.compact_to(epoch);
        self.supply_hour.compact_to(epoch);
        self.quality_minute.compact_to(epoch);
        self.conversion_paths.compact_to(epoch);
    }
}

fn sums<K: Key, R: Diff>(table: &mut Sums<K, R>, epoch: Epoch) -> Vec<Upsert<K, R>> {
    let mut rows = Vec::new();
    let changed = table.keys(epoch);
    table.read(epoch, changed, |key, found| rows.push((key, found.first().map(|((), sums)| *sums))));
    rows
}

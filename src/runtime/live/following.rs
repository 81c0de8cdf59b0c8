//! What one worker's part of the tables has changed into.

use std::sync::Arc;

use dataflows::changes::Changes;
use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::graphs::catalogue::Outputs;
use dataflows::model::diff::Diff;
use dataflows::model::events::Placed;
use dataflows::model::horizon::Freezes;
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::{Feed, Quality, QualityKey};
use dataflows::model::time::{Day, Epoch, EventTime, Hour, Minute};
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
        worker.dataflow_named("following", |scope| Self {
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
    /// complete. Windows that end at `freeze` or before, which holds in all of these epochs, are
    /// left out: they keep what they had when they froze, whatever becomes of their records.
    pub fn take(&mut self, epochs: Epochs, freeze: EventTime) -> Upserts {
        let upserts = self.changed(epochs, freeze);
        self.compact_to(epochs.last);
        upserts
    }

    /// As [`Following::take`], and before it what the same keys had until these epochs.
    pub fn take_moved(&mut self, epochs: Epochs, freeze: EventTime) -> [Upserts; 2] {
        let after = self.changed(epochs, freeze);
        let (mut before, epoch) = (Upserts::new(epochs), epochs.first.saturating_sub(1));
        before.performance_minute =
            sums(&mut self.performance_minute, epoch, keys(&after.performance_minute));
        before.performance_hour = sums(&mut self.performance_hour, epoch, keys(&after.performance_hour));
        before.attribution_hour = sums(&mut self.attribution_hour, epoch, keys(&after.attribution_hour));
        before.reach_day = sums(&mut self.reach_day, epoch, keys(&after.reach_day));
        before.supply_hour = sums(&mut self.supply_hour, epoch, keys(&after.supply_hour));
        before.quality_minute = self.quality(epoch, keys(&after.quality_minute));
        before.conversion_paths = self.paths(epoch, keys(&after.conversion_paths));
        self.compact_to(epochs.last);
        [before, after]
    }

    fn changed(&mut self, epochs: Epochs, freeze: EventTime) -> Upserts {
        let mut upserts = Upserts::new(epochs);
        let as_of = AsOf { epoch: epochs.last, freeze };
        upserts.performance_minute = as_of.sums(&mut self.performance_minute, |(minute, _)| *minute);
        upserts.performance_hour = as_of.sums(&mut self.performance_hour, |place| place.window);
        upserts.attribution_hour = as_of.sums(&mut self.attribution_hour, |((hour, _), _)| *hour);
        upserts.reach_day = as_of.sums(&mut self.reach_day, |(day, _)| *day);
        upserts.supply_hour = as_of.sums(&mut self.supply_hour, |key| key.hour);
        upserts.quality_minute = self.changed_quality(as_of);
        upserts.conversion_paths = self.changed_paths(as_of);
        upserts
    }

    fn changed_quality(&mut self, AsOf { epoch, freeze }: AsOf) -> Vec<Upsert<(Minute, Feed), [i64; 14]>> {
        // Records without a readable time are counted in minute 0, whenever they come.
        let open = |key: &QualityKey, (): &()| key.minute == Minute(0) || !key.minute.is_frozen(freeze);
        let mut changed = self.quality_minute.keys_where(epoch, open);
        changed.dedup_by_key(|key| (key.minute, key.feed));
        self.quality(epoch, changed.iter().map(|key| (key.minute, key.feed)))
    }

    /// The counts of a minute and feed are one row, so all of them are read when one has changed.
    fn quality(
        &mut self,
        epoch: Epoch,
        keys: impl Iterator<Item = (Minute, Feed)>,
    ) -> Vec<Upsert<(Minute, Feed), [i64; 14]>> {
        let counts =
            keys.flat_map(|(minute, feed)| Quality::all().map(move |what| QualityKey { minute, feed, what }));
        let mut rows: Vec<Upsert<_, [i64; 14]>> = Vec::new();
        self.quality_minute.read(epoch, counts, |key, found| {
            let place = (key.minute, key.feed);
            if rows.last().is_none_or(|(last, _)| *last != place) {
                rows.push((place, None));
            }
            if let (Some((_, row)), [((), count)]) = (rows.last_mut(), found) {
                row.get_or_insert([0; 14])[QualityMinute::slot(key.what)] = *count as i64;
            }
        });
        rows
    }

    fn changed_paths(&mut self, AsOf { epoch, freeze }: AsOf) -> Vec<Upsert<Id, Arc<[PathStep]>>> {
        let open = |_: &Id, step: &PathStep| !step.minute.is_frozen(freeze);
        let changed = self.conversion_paths.keys_where(epoch, open);
        self.paths(epoch, changed.into_iter())
    }

    fn paths(&mut self, epoch: Epoch, keys: impl Iterator<Item = Id>) -> Vec<Upsert<Id, Arc<[PathStep]>>> {
        let mut rows = Vec::new();
        self.conversion_paths.read(epoch, keys, |conversion, found| {
            let steps: Arc<[PathStep]> = found.iter().map(|(step, _)| *step).collect();
            rows.push((conversion, (!steps.is_empty()).then_some(steps)));
        });
        rows
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

/// The end of an epoch, and what is frozen in it.
#[derive(Copy, Clone)]
struct AsOf {
    epoch: Epoch,
    freeze: EventTime,
}

impl AsOf {
    fn sums<K: Key, R: Diff, W: Freezes>(
        self,
        table: &mut Sums<K, R>,
        window: impl Fn(&K) -> W,
    ) -> Vec<Upsert<K, R>> {
        let Self { epoch, freeze } = self;
        let changed = table.keys_where(epoch, |key, ()| !window(key).is_frozen(freeze));
        sums(table, epoch, changed.into_iter())
    }
}

/// What a table holds of some keys.
fn sums<K: Key, R: Diff>(
    table: &mut Sums<K, R>,
    epoch: Epoch,
    keys: impl Iterator<Item = K>,
) -> Vec<Upsert<K, R>> {
    let mut rows = Vec::new();
    table.read(epoch, keys, |key, found| rows.push((key, found.first().map(|((), sums)| *sums))));
    rows
}

fn keys<K: Copy, V>(upserts: &[Upsert<K, V>]) -> impl Iterator<Item = K> {
    upserts.iter().map(|(key, _)| *key)
}

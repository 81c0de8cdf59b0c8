//! The seven tables, as plain maps, and how they are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};

use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::graphs::residue::Residue;
use dataflows::model::events::{Dims, Placed};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::{Feed, Quality, QualityKey};
use dataflows::model::time::{Day, EventTime, Hour, Minute};
use differential_dataflow::difference::{Abelian, Semigroup};

/// The contents of every table at one epoch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tables {
    pub performance_minute: BTreeMap<(Minute, Name), Measures>,
    pub performance_hour: BTreeMap<Placed<Hour>, Measures>,
    pub attribution_hour: BTreeMap<((Hour, Name), Model), Credit>,
    pub reach_day: BTreeMap<(Day, Name), Reach>,
    pub supply_hour: BTreeMap<SupplyKey, Supply>,
    pub quality_minute: BTreeMap<QualityKey, isize>,
    pub conversion_paths: BTreeMap<Id, Vec<PathStep>>,
}

pub fn minute(ts: EventTime) -> Minute {
    Minute((ts.millis() / 60_000) as u32)
}

pub fn hour(ts: EventTime) -> Hour {
    Hour((ts.millis() / 3_600_000) as u32)
}

pub fn day(ts: EventTime) -> Day {
    Day((ts.millis() / 86_400_000) as u32)
}

impl Tables {
    /// Adds to both performance tables.
    pub fn perform(&mut self, ts: EventTime, dims: &Dims, add: impl Fn(&mut Measures)) {
        let Dims { campaign, creative, site, country, device } = *dims;
        let place = Placed { window: hour(ts), country, device, campaign, creative, site };
        add(self.performance_minute.entry((minute(ts), campaign)).or_default());
        add(self.performance_hour.entry(place).or_default());
    }

    /// Adds to `supply_hour`.
    pub fn supply(&mut self, key: SupplyKey, add: impl Fn(&mut Supply)) {
        add(self.supply_hour.entry(key).or_default());
    }

    /// Adds to `quality_minute`.
    pub fn count(&mut self, minute: Minute, feed: Feed, what: Quality, by: isize) {
        *self.quality_minute.entry(QualityKey { minute, feed, what }).or_default() += by;
    }

    /// Adds what stays published of records that are gone.
    pub fn add_residue(&mut self, residue: Residue) {
        fn add<K: Ord, V: Semigroup + Default>(table: &mut BTreeMap<K, V>, key: K, more: &V) {
            table.entry(key).or_default().plus_equals(more);
        }
        match residue {
            Residue::PerformanceMinute(key, sums) => add(&mut self.performance_minute, key, &sums),
            Residue::PerformanceHour(key, sums) => add(&mut self.performance_hour, key, &sums),
            Residue::AttributionHour(key, sums) => add(&mut self.attribution_hour, key, &sums),
            Residue::ReachDay(key, sums) => add(&mut self.reach_day, key, &sums),
            Residue::SupplyHour(key, sums) => add(&mut self.supply_hour, key, &sums),
            Residue::QualityMinute(key, count) => add(&mut self.quality_minute, key, &(count as isize)),
        }
    }

    /// What these tables have more than others.
    pub fn lost_in(&self, after: &Tables) -> Vec<Residue> {
        fn lost<K: Ord + Copy, V: Abelian + Default + Copy>(
            before: &BTreeMap<K, V>,
            after: &BTreeMap<K, V>,
        ) -> Vec<(K, V)> {
            let keys: BTreeSet<K> = before.keys().chain(after.keys()).copied().collect();
            let value = |table: &BTreeMap<K, V>, key| table.get(&key).copied().unwrap_or_default();
            let lost = |key| {
                let mut lost = value(after, key);
                lost.negate();
                lost.plus_equals(&value(before, key));
                (key, lost)
            };
            keys.into_iter().map(lost).filter(|(_, lost)| !lost.is_zero()).collect()
        }
        let mut all = Vec::new();
        let Tables { performance_minute, performance_hour, attribution_hour, .. } = self;
        all.extend(
            lost(performance_minute, &after.performance_minute)
                .into_iter()
                .map(|(key, sums)| Residue::PerformanceMinute(key, sums)),
        );
        all.extend(
            lost(performance_hour, &after.performance_hour)
                .into_iter()
                .map(|(key, sums)| Residue::PerformanceHour(key, sums)),
        );
        all.extend(
            lost(attribution_hour, &after.attribution_hour)
                .into_iter()
                .map(|(key, sums)| Residue::AttributionHour(key, sums)),
        );
        all.extend(
            lost(&self.reach_day, &after.reach_day)
                .into_iter()
                .map(|(key, sums)| Residue::ReachDay(key, sums)),
        );
        all.extend(
            lost(&self.supply_hour, &after.supply_hour)
                .into_iter()
                .map(|(key, sums)| Residue::SupplyHour(key, sums)),
        );
        all.extend(
            lost(&self.quality_minute, &after.quality_minute)
                .into_iter()
                .map(|(key, count)| Residue::QualityMinute(key, count as i64)),
        );
        all
    }

    /// The tables as published: a key whose measures are all zero is absent.
    pub fn without_zeros(mut self) -> Self {
        fn clean<K: Ord, V: Default + PartialEq>(table: &mut BTreeMap<K, V>) {
            table.retain(|_, value| *value != V::default());
        }
        clean(&mut self.performance_minute);
        clean(&mut self.performance_hour);
        clean(&mut self.attribution_hour);
        clean(&mut self.reach_day);
        clean(&mut self.supply_hour);
        clean(&mut self.quality_minute);
        clean(&mut self.conversion_paths);
        self
    }

    /// Adds another worker's part. A key has one owner, so no two parts share one.
    pub fn unite(&mut self, part: Tables) {
        fn join<K: Ord + Debug, V>(table: &mut BTreeMap<K, V>, part: BTreeMap<K, V>) {
            for (key, value) in part {
                assert!(!table.contains_key(&key), "two workers hold {key:?}");
                table.insert(key, value);
            }
        }
        join(&mut self.performance_minute, part.performance_minute);
        join(&mut self.performance_hour, part.performance_hour);
        join(&mut self.attribution_hour, part.attribution_hour);
        join(&mut self.reach_day, part.reach_day);
        join(&mut self.supply_hour, part.supply_hour);
        join(&mut self.quality_minute, part.quality_minute);
        join(&mut self.conversion_paths, part.conversion_paths);
    }

    /// The keys at which `actual` is not what it should be; empty when all is well.
    pub fn differences(&self, actual: &Tables) -> String {
        fn compare<K: Ord + Debug, V: PartialEq + Debug>(
            report: &mut String,
            table: &str,
            expected: &BTreeMap<K, V>,
            actual: &BTreeMap<K, V>,
        ) {
            let mut keys: Vec<&K> = expected.keys().chain(actual.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys.into_iter().filter(|key| expected.get(key) != actual.get(key)) {
                let (expected, actual) = (expected.get(key), actual.get(key));
                writeln!(report, "{table} {key:?}\n  expected {expected:?}\n  actual   {actual:?}")
                    .expect("a string takes any text");
            }
        }
        let mut report = String::new();
        let r = &mut report;
        compare(r, "performance_minute", &self.performance_minute, &actual.performance_minute);
        compare(r, "performance_hour", &self.performance_hour, &actual.performance_hour);
        compare(r, "attribution_hour", &self.attribution_hour, &actual.attribution_hour);
        compare(r, "reach_day", &self.reach_day, &actual.reach_day);
        compare(r, "supply_hour", &self.supply_hour, &actual.supply_hour);
        compare(r, "quality_minute", &self.quality_minute, &actual.quality_minute);
        compare(r, "conversion_paths", &self.conversion_paths, &actual.conversion_paths);
        report
    }
}

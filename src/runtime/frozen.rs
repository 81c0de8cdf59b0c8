//! What windows had when they froze: one worker's part of the tables, apart from the traces, in which
//! their records expire.
//!
//! Windows freeze in their order, and every table but two begins with the window: rows are put aside
//! on disk in the order in which they will be published. `quality_minute` and `conversion_paths` are
//! small, and stay in memory: the first has a minute that never freezes before all others, and the
//! second is ordered by conversion.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::catalogue::Outputs;
use dataflows::model::diff::Diff;
use dataflows::model::horizon::Freezes;
use dataflows::model::ids::Id;
use dataflows::model::reject::QualityKey;
use dataflows::model::time::{Epoch, EventTime, Minute};
use dataflows::operators::arrange::Key;
use dataflows::snapshot::{Table, rows};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rows::{qualities, whole_paths};
use super::spill::Spill;
use crate::names::{Collision, Names};
use crate::sinks::tables::{
    AttributionHour, PerformanceHour, PerformanceMinute, QualityMinute, ReachDay, SupplyHour,
};

/// The rows of windows that are frozen.
pub struct Frozen {
    /// Windows that end here or before are.
    pub freeze: EventTime,
    /// `performance_minute`.
    pub performance_minute: Spill<PerformanceMinute>,
    /// `performance_hour`.
    pub performance_hour: Spill<PerformanceHour>,
    /// `attribution_hour`.
    pub attribution_hour: Spill<AttributionHour>,
    /// `reach_day`.
    pub reach_day: Spill<ReachDay>,
    /// `supply_hour`.
    pub supply_hour: Spill<SupplyHour>,
    /// `quality_minute`.
    pub quality_minute: Vec<QualityMinute>,
    /// `conversion_paths`: of a conversion whose id came again, the last.
    pub conversion_paths: BTreeMap<Id, Arc<[PathStep]>>,
}

/// Why rows can't be put aside.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// The disk.
    #[error("can't put aside what is frozen; is the disk full?")]
    Disk(#[from] io::Error),
    /// Two names share a key.
    #[error(transparent)]
    Names(#[from] Collision),
}

impl Frozen {
    /// Nothing ever is.
    pub fn none() -> Self {
        Self::new(Path::new(""))
    }

    /// Nothing is yet. What will be is put aside in `directory`.
    pub fn new(directory: &Path) -> Self {
        Self {
            freeze: EventTime::MIN,
            performance_minute: Spill::new(directory),
            performance_hour: Spill::new(directory),
            attribution_hour: Spill::new(directory),
            reach_day: Spill::new(directory),
            supply_hour: Spill::new(directory),
            quality_minute: Vec::new(),
            conversion_paths: BTreeMap::new(),
        }
    }

    /// Freezes all windows that end at `freeze` or before, which is not before the last time: they
    /// keep what the tables hold as of `epoch`, which is complete.
    pub fn advance(
        &mut self,
        outputs: &mut Outputs,
        freeze: EventTime,
        epoch: Epoch,
        names: &Names,
    ) -> Result<(), FreezeError> {
        let step = Step { before: self.freeze, freeze, epoch };
        step.sums(&mut outputs.performance_minute, |(minute, _)| *minute, &mut self.performance_minute)?;
        step.sums(&mut outputs.performance_hour, |place| place.window, &mut self.performance_hour)?;
        step.sums(&mut outputs.attribution_hour, |((hour, _), _)| *hour, &mut self.attribution_hour)?;
        step.sums(&mut outputs.reach_day, |(day, _)| *day, &mut self.reach_day)?;
        step.sums(&mut outputs.supply_hour, |key| key.hour, &mut self.supply_hour)?;
        self.quality_minute.extend(step.qualities(&mut outputs.quality_minute));
        let steps = rows(&mut outputs.conversion_paths, epoch);
        for (conversion, path) in whole_paths(steps.filter(|((_, of), _)| step.freezes(of.minute))) {
            // Its records expire, and with them what keeps the texts of these ids.
            let ids = path.iter().map(|step| step.touch).chain([conversion]);
            ids.into_iter().try_for_each(|id| names.hold(id, EventTime::MAX))?;
            self.conversion_paths.insert(conversion, path);
        }
        self.freeze = freeze;
        Ok(())
    }

    /// Whether a row of this window is not among these.
    pub fn is_open(freeze: EventTime, minute: Minute) -> bool {
        // Records without a readable time are counted in minute 0, whenever they come.
        minute == Minute(0) || !minute.is_frozen(freeze)
    }
}

/// From one boundary to the next.
#[derive(Copy, Clone)]
struct Step {
    before: EventTime,
    freeze: EventTime,
    epoch: Epoch,
}

impl Step {
    fn freezes(self, window: impl Freezes) -> bool {
        window.is_frozen(self.freeze) && !window.is_frozen(self.before)
    }

    fn sums<K, R, W>(
        self,
        table: &mut Table<K, (), R>,
        window: impl Fn(&K) -> W,
        into: &mut Spill<(K, R)>,
    ) -> io::Result<()>
    where
        K: Key + Serialize + DeserializeOwned,
        R: Diff + Serialize + DeserializeOwned,
        W: Freezes,
    {
        let frozen = rows(table, self.epoch)
            .take_while(|((key, ()), _)| window(key).is_frozen(self.freeze))
            .filter(|((key, ()), _)| self.freezes(window(key)));
        into.extend(frozen.map(|((key, ()), sum)| (key, sum)))
    }

    fn qualities(self, table: &mut Table<QualityKey, (), isize>) -> impl Iterator<Item = QualityMinute> {
        let counts = rows(table, self.epoch).map(|((key, ()), count)| (key, count));
        let frozen = counts
            .take_while(move |(key, _)| key.minute.is_frozen(self.freeze) || key.minute == Minute(0))
            .filter(move |(key, _)| key.minute != Minute(0) && self.freezes(key.minute));
        qualities(frozen)
    }
}

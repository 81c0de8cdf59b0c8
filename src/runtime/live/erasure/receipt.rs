//! What was erased, and which numbers moved by it.

use std::io::Write;
use std::path::Path;

use dataflows::graphs::residue::Residue;
use dataflows::model::reject::{Quality, QualityKey};
use dataflows::model::time::Epoch;
use differential_dataflow::difference::{Abelian, Semigroup};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::forget::Forgotten;
use super::{Asked, EraseError};
use crate::archive::Removed;
use crate::names::SharedNames;
use crate::sinks::cells::{CellSink, Text};
use crate::sinks::clickhouse::{Upsert, Upserts};
use crate::sinks::tables::{QualityMinute, Shape, TableRow};
use crate::sinks::texts::Texts;

/// What becomes of published numbers.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Those that can still be corrected are.
    #[default]
    Restate,
    /// They stay as they are.
    Freeze,
}

impl Policy {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restate => "restate",
            Self::Freeze => "freeze",
        }
    }
}

/// What was erased. It names no user, and no record of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The job.
    pub job: String,
    /// What the request is known by elsewhere.
    pub request: Option<String>,
    /// What became of published numbers.
    pub policy: Policy,
    /// When.
    pub erased_at: String,
    /// The epoch in which the published numbers moved.
    pub epoch: Epoch,
    /// How many users were named.
    pub users: usize,
    /// Records that left the state.
    pub state: Removed,
    /// Records that left the archive, where there is one.
    pub archive: Option<Removed>,
    /// Rejects that were deleted.
    pub rejects: u64,
    /// Rows of `conversion_paths` that were withdrawn.
    pub paths: u64,
    /// Published rows that moved, or would have but for the policy.
    pub cells: Vec<Cell>,
}

/// A row that moved.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The table.
    pub table: String,
    /// Its key.
    pub key: Map<String, Value>,
    /// What it was, of all that has changed; nothing of a row that was not there.
    pub from: Option<Map<String, Value>>,
    /// What it is; nothing of a row that is gone.
    pub to: Option<Map<String, Value>>,
}

impl Receipt {
    /// Of an erasure that is worked out, but not done.
    pub(super) fn new(
        job: &str,
        asked: &Asked,
        epoch: Epoch,
        Forgotten { removed, before, after }: &Forgotten,
        names: &SharedNames,
    ) -> Self {
        Self {
            job: job.to_owned(),
            request: asked.request.clone(),
            policy: asked.policy,
            erased_at: jiff::Timestamp::now().to_string(),
            epoch,
            users: asked.users.len(),
            state: *removed,
            archive: None,
            rejects: 0,
            paths: after.conversion_paths.len() as u64,
            cells: cells(before, after, &Texts::new(names)),
        }
    }

    /// Says in the log what was done.
    pub(super) fn log(&self) {
        tracing::info!(
            job = self.job,
            request = self.request,
            policy = self.policy.as_str(),
            epoch = self.epoch,
            users = self.users,
            state = self.state.total(),
            archive = self.archive.map(|removed| removed.total()),
            rejects = self.rejects,
            paths = self.paths,
            cells = self.cells.len(),
            "erased"
        );
    }

    /// Writes it where it is to be kept.
    pub(super) fn write(&self, path: &Path) -> Result<(), EraseError> {
        let written = || {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            let mut file = std::fs::File::create(path)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        written().map_err(|source| EraseError::File { path: path.to_owned(), source })
    }

    /// Done again, less may be left to be found: then what was found at first is what was done.
    pub(super) fn take_over(&mut self, first: Option<Self>) {
        if let Some(first) = first {
            if self.state.total() == 0 {
                (self.state, self.cells, self.paths) = (first.state, first.cells, first.paths);
            }
            (self.archive, self.rejects) = (first.archive, first.rejects);
        }
    }
}

/// What the sums lose: of rows without it the same stays published.
pub(super) fn residues(before: &Upserts, after: &Upserts) -> Vec<Residue> {
    let mut residues = Vec::new();
    let mut add = |more: &mut dyn Iterator<Item = Residue>| residues.extend(more);
    add(&mut lost(&before.performance_minute, &after.performance_minute)
        .map(|(key, sums)| Residue::PerformanceMinute(key, sums)));
    add(&mut lost(&before.performance_hour, &after.performance_hour)
        .map(|(key, sums)| Residue::PerformanceHour(key, sums)));
    add(&mut lost(&before.attribution_hour, &after.attribution_hour)
        .map(|(key, sums)| Residue::AttributionHour(key, sums)));
    add(&mut lost(&before.reach_day, &after.reach_day).map(|(key, sums)| Residue::ReachDay(key, sums)));
    add(&mut lost(&before.supply_hour, &after.supply_hour).map(|(key, sums)| Residue::SupplyHour(key, sums)));
    for (((minute, feed), before), (_, after)) in before.quality_minute.iter().zip(&after.quality_minute) {
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        residues.extend(Quality::all().filter_map(|what| {
            let slot = QualityMinute::slot(what);
            let lost = before[slot] - after[slot];
            let key = QualityKey { minute: *minute, feed: *feed, what };
            (lost != 0).then_some(Residue::QualityMinute(key, lost))
        }));
    }
    residues
}

fn lost<'a, K: Copy, R: Abelian + Semigroup + Default + Copy + 'a>(
    before: &'a [Upsert<K, R>],
    after: &'a [Upsert<K, R>],
) -> impl Iterator<Item = (K, R)> + use<'a, K, R> {
    before.iter().zip(after).filter_map(|((key, before), (_, after))| {
        let mut lost = after.unwrap_or_default();
        lost.negate();
        lost.plus_equals(&before.unwrap_or_default());
        (!lost.is_zero()).then_some((*key, lost))
    })
}

fn cells(before: &Upserts, after: &Upserts, texts: &Texts) -> Vec<Cell> {
    let mut cells = Vec::new();
    moved(
        &before.performance_minute,
        &after.performance_minute,
        |key, sums| (*key, *sums),
        texts,
        &mut cells,
    );
    moved(&before.performance_hour, &after.performance_hour, |key, sums| (*key, *sums), texts, &mut cells);
    moved(&before.attribution_hour, &after.attribution_hour, |key, sums| (*key, *sums), texts, &mut cells);
    moved(&before.reach_day, &after.reach_day, |key, sums| (*key, *sums), texts, &mut cells);
    moved(&before.supply_hour, &after.supply_hour, |key, sums| (*key, *sums), texts, &mut cells);
    let quality =
        |(minute, feed): &(_, _), counts: &_| QualityMinute { minute: *minute, feed: *feed, counts: *counts };
    moved(&before.quality_minute, &after.quality_minute, quality, texts, &mut cells);
    cells
}

fn moved<K, V, R: TableRow>(
    before: &[Upsert<K, V>],
    after: &[Upsert<K, V>],
    row: impl Fn(&K, &V) -> R,
    texts: &Texts,
    cells: &mut Vec<Cell>,
) {
    let keys = Shape::all().into_iter().find(|shape| shape.table == R::TABLE).map_or(0, |shape| shape.keys);
    let read = |key: &K, value: &Option<V>| {
        let mut sink = Values::default();
        value.as_ref().map(|value| {
            row(key, value).cells(texts, &mut sink);
            let columns = R::columns().into_iter().map(|column| column.name.to_owned());
            columns.zip(sink.0).collect::<Vec<_>>()
        })
    };
    for ((key, before), (_, after)) in before.iter().zip(after) {
        let (from, to) = (read(key, before), read(key, after));
        if from == to {
            continue;
        }
        let place = from.iter().chain(&to).next().map(|row| row[..keys].iter().cloned().collect());
        let changed = |row: &Option<Vec<(String, Value)>>, other: &Option<Vec<(String, Value)>>| {
            let differs = |at: usize| match (row, other) {
                (Some(row), Some(other)) => row[at].1 != other[at].1,
                _ => true,
            };
            let row = row.as_ref()?.iter().enumerate().skip(keys);
            Some(row.filter(|(at, _)| differs(*at)).map(|(_, cell)| cell.clone()).collect())
        };
        cells.push(Cell {
            table: R::TABLE.to_owned(),
            key: place.unwrap_or_default(),
            from: changed(&from, &to),
            to: changed(&to, &from),
        });
    }
}

/// The cells of a row, as JSON has them.
#[derive(Default)]
struct Values(Vec<Value>);

impl CellSink for Values {
    fn int(&mut self, value: i64) {
        self.0.push(value.into());
    }

    fn text(&mut self, text: Text<'_>) {
        self.0.push(String::from_utf8_lossy(text.bytes).into_owned().into());
    }
}

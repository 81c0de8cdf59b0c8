//! One worker's part of every table, taken out of the traces at the end of a run.

use std::sync::Arc;

use dataflows::graphs::catalogue::Outputs;
use dataflows::model::ids::Id;
use dataflows::model::lookups::Model;
use dataflows::model::reject::QualityKey;
use dataflows::model::time::Epoch;
use dataflows::snapshot::{pairs, sums};

use crate::names::Names;
use crate::sinks::order::NameOrder;
use crate::sinks::tables::{
    AttributionHour, ConversionPath, PerformanceHour, PerformanceMinute, QualityMinute, ReachDay, SupplyHour,
    TableRow,
};

/// Rows in table order, in pieces of one window each: pieces fit the room that the traces leave
/// behind, where one large list would need new room while it grows.
#[derive(Debug)]
pub struct Windows<R>(Vec<Vec<R>>);

impl<R> Default for Windows<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> IntoIterator for Windows<R> {
    type Item = R;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<R>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

impl<R: TableRow> Windows<R> {
    /// Adds a row. Rows come window by window.
    fn push(&mut self, row: R) {
        match self.0.last_mut() {
            Some(piece) if piece.last().is_some_and(|last| last.window() == row.window()) => piece.push(row),
            _ => self.0.push(vec![row]),
        }
    }

    /// Puts each window in table order. Rows are mostly in it: only hashed names are out of place.
    fn sort(&mut self, names: &Names, order: &NameOrder) {
        for piece in &mut self.0 {
            piece.sort_by_cached_key(|row| row.key(order, names));
        }
    }

    fn last_mut(&mut self) -> Option<&mut R> {
        self.0.last_mut().and_then(|piece| piece.last_mut())
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.0.iter().flatten()
    }
}

/// One worker's part of every table.
#[derive(Debug, Default)]
pub struct Parts {
    /// `performance_minute`.
    pub performance_minute: Windows<PerformanceMinute>,
    /// `performance_hour`.
    pub performance_hour: Windows<PerformanceHour>,
    /// `attribution_hour`.
    pub attribution_hour: Windows<AttributionHour>,
    /// `reach_day`.
    pub reach_day: Windows<ReachDay>,
    /// `supply_hour`.
    pub supply_hour: Windows<SupplyHour>,
    /// `quality_minute`.
    pub quality_minute: Windows<QualityMinute>,
    /// `conversion_paths`.
    pub conversion_paths: Windows<ConversionPath>,
}

impl Parts {
    /// Takes the rows out of the tables, as of the end of `epoch`.
    pub fn take(mut outputs: Outputs, epoch: Epoch, names: &Names, order: &NameOrder) -> Self {
        let mut parts = Self::default();
        // A trace is let go of as soon as it has been read.
        sums(&mut outputs.performance_hour, epoch, |key, sum| parts.performance_hour.push((key, sum)));
        drop(outputs.performance_hour);
        sums(&mut outputs.performance_minute, epoch, |key, sum| parts.performance_minute.push((key, sum)));
        drop(outputs.performance_minute);
        sums(&mut outputs.supply_hour, epoch, |key, sum| parts.supply_hour.push((key, sum)));
        sums(&mut outputs.attribution_hour, epoch, |key, sum| parts.attribution_hour.push((key, sum)));
        sums(&mut outputs.reach_day, epoch, |key, sum| parts.reach_day.push((key, sum)));
        sums(&mut outputs.quality_minute, epoch, |key, count| {
            count_quality(&mut parts.quality_minute, key, count);
        });
        let mut steps: Vec<(Id, _)> = Vec::new();
        pairs(&mut outputs.conversion_paths, epoch, |conversion, step| steps.push((conversion, step)));
        for path in steps.chunk_by(|a, b| a.0 == b.0) {
            let steps: Arc<[_]> = path.iter().map(|(_, step)| *step).collect();
            for model in Model::ALL {
                let steps = Arc::clone(&steps);
                parts.conversion_paths.push(ConversionPath { conversion: path[0].0, model, steps });
            }
        }
        parts.sort(names, order);
        parts
    }

    fn sort(&mut self, names: &Names, order: &NameOrder) {
        self.performance_minute.sort(names, order);
        self.performance_hour.sort(names, order);
        self.attribution_hour.sort(names, order);
        self.reach_day.sort(names, order);
        self.supply_hour.sort(names, order);
        self.quality_minute.sort(names, order);
        self.conversion_paths.sort(names, order);
    }
}

/// Keys of one minute and feed follow each other, and become one row.
fn count_quality(rows: &mut Windows<QualityMinute>, key: QualityKey, count: isize) {
    let QualityKey { minute, feed, what } = key;
    if rows.last_mut().is_none_or(|row| (row.minute, row.feed) != (minute, feed)) {
        rows.push(QualityMinute { minute, feed, counts: [0; 14] });
    }
    if let Some(row) = rows.last_mut() {
        row.counts[QualityMinute::slot(what)] = count as i64;
    }
}

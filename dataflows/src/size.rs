//! How much is held.

use differential_dataflow::trace::TraceReader;
use timely::progress::Antichain;

use crate::graphs::catalogue::{Outputs, Traces};
use crate::model::diff::Diff;
use crate::operators::arrange::Val;
use crate::snapshot::Table;

/// The size of an arrangement on one worker.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Size {
    /// Which.
    pub name: &'static str,
    /// Its rows. One that has changed lately may stand several times.
    pub rows: usize,
    /// Their bytes, without what times and differences take beside them.
    pub bytes: usize,
}

fn size<K: Val, V: Val, R: Diff>(name: &'static str, table: &mut Table<K, V, R>) -> Size {
    let batches = table.batches_through(Antichain::new().borrow()).unwrap_or_default();
    let rows = batches.iter().flat_map(|batch| &batch.chunks).map(|run| run.rows().len()).sum();
    Size { name, rows, bytes: rows * size_of::<(K, V)>() }
}

/// The sizes of the inputs' arrangements and of the tables. Looks at runs of rows, not at rows.
pub fn sizes(traces: &mut Traces, outputs: &mut Outputs) -> [Size; 12] {
    [
        size("bids", &mut traces.bids),
        size("impressions", &mut traces.impressions),
        size("clicks", &mut traces.clicks),
        size("conversions", &mut traces.conversions),
        size("impressions_by_auction", &mut traces.impressions_by_auction),
        size("performance_minute", &mut outputs.performance_minute),
        size("performance_hour", &mut outputs.performance_hour),
        size("attribution_hour", &mut outputs.attribution_hour),
        size("reach_day", &mut outputs.reach_day),
        size("supply_hour", &mut outputs.supply_hour),
        size("quality_minute", &mut outputs.quality_minute),
        size("conversion_paths", &mut outputs.conversion_paths),
    ]
}

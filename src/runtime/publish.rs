//! Takes the tables out of the traces and writes them, all workers together.
//!
//! ```text
//!   traces of each worker ─▶ chunks of rows ─▶ assembly ─▶ whole pieces ─▶ crew
//!                                                                           │ any worker
//!   files, in order ◀─ pieces as lines or row groups ◀─ put in order ◀──────┘
//! ```
//!
//! A worker reads its traces, which are freed while they are read, table by table and window by
//! window. All that is in memory besides are the pieces that are being worked on.

use std::sync::{Arc, OnceLock};

use dataflows::graphs::catalogue::Outputs;
use dataflows::model::time::Epoch;
use dataflows::snapshot::take;

use super::crew::{Crew, Shift};
use super::report::{QualityTotals, TableReport};
use super::rows::{paths, qualities, sums};
use super::table::Table;
use super::top::Campaigns;
use crate::names::Names;
use crate::sinks::directory::PendingDirectory;
use crate::sinks::table_file::{PublishError, TableFormat};
use crate::sinks::tables::{
    AttributionHour, ConversionPath, PerformanceHour, PerformanceMinute, QualityMinute, ReachDay, SupplyHour,
    TableRow,
};
use crate::sinks::texts::Texts;

/// Rows that a worker brings at a time.
const CHUNK_ROWS: usize = 4096;

/// A piece to put in order, encode and write.
type Task = Box<dyn FnOnce(&Texts) -> Result<(), PublishError> + Send>;

/// The files of all tables, to which every worker contributes.
pub struct Publication {
    names: Arc<Names>,
    texts: OnceLock<Texts>,
    crew: Crew<Task>,
    performance_minute: Arc<Table<PerformanceMinute>>,
    performance_hour: Arc<Table<PerformanceHour>>,
    attribution_hour: Arc<Table<AttributionHour>>,
    reach_day: Arc<Table<ReachDay>>,
    supply_hour: Arc<Table<SupplyHour>>,
    quality_minute: Arc<Table<QualityMinute>>,
    conversion_paths: Arc<Table<ConversionPath>>,
}

/// What the rows of a worker amount to.
#[derive(Debug, Default)]
pub struct Totals {
    /// What became of the records.
    pub quality: QualityTotals,
    /// What each campaign amounts to.
    pub campaigns: Campaigns,
}

impl Totals {
    /// Adds another worker's.
    pub fn add(&mut self, other: Totals) {
        self.quality.add(other.quality);
        self.campaigns.add(other.campaigns);
    }
}

impl Publication {
    /// Creates the files.
    pub fn new(
        directory: &PendingDirectory,
        format: TableFormat,
        names: &Arc<Names>,
        workers: usize,
    ) -> Result<Self, PublishError> {
        fn table<R: TableRow>(
            directory: &PendingDirectory,
            format: TableFormat,
            workers: usize,
        ) -> Result<Arc<Table<R>>, PublishError> {
            Table::new(directory, format, workers).map(Arc::new)
        }
        Ok(Self {
            names: Arc::clone(names),
            texts: OnceLock::new(),
            crew: Crew::new(workers),
            performance_minute: table(directory, format, workers)?,
            performance_hour: table(directory, format, workers)?,
            attribution_hour: table(directory, format, workers)?,
            reach_day: table(directory, format, workers)?,
            supply_hour: table(directory, format, workers)?,
            quality_minute: table(directory, format, workers)?,
            conversion_paths: table(directory, format, workers)?,
        })
    }

    /// Publishes a worker's share of all tables as of the end of `epoch`, together with the others,
    /// and returns when all shares are published or the run has `stopped`. All input has been read.
    pub fn contribute(
        &self,
        worker: usize,
        outputs: Outputs,
        epoch: Epoch,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Totals, PublishError> {
        let mut totals = Totals::default();
        let Totals { quality, campaigns } = &mut totals;
        // All input has been read, so all names are known.
        let texts = self.texts.get_or_init(|| Texts::new(&self.names));
        let mut hands = Hands { texts, shift: self.crew.start(worker), worker, tables: 0, stopped };
        // The small tables come first, so that nobody waits for a last large piece of them.
        hands.bring(&self.conversion_paths, paths(take(outputs.conversion_paths, epoch)))?;
        let counted = qualities(sums(take(outputs.quality_minute, epoch)));
        hands.bring(&self.quality_minute, counted.inspect(|row| quality.count(row)))?;
        hands.bring(&self.attribution_hour, sums(take(outputs.attribution_hour, epoch)))?;
        hands.bring(&self.reach_day, sums(take(outputs.reach_day, epoch)))?;
        hands.bring(&self.performance_hour, sums(take(outputs.performance_hour, epoch)))?;
        let minutes = sums(take(outputs.performance_minute, epoch));
        hands.bring(&self.performance_minute, minutes.inspect(|row| campaigns.count(row)))?;
        hands.bring(&self.supply_hour, sums(take(outputs.supply_hour, epoch)))?;
        hands.help()?;
        Ok(totals)
    }

    /// Ends the files, to which all workers have contributed.
    pub fn finish(&self) -> Result<Vec<TableReport>, PublishError> {
        Ok(vec![
            self.performance_minute.finish()?,
            self.performance_hour.finish()?,
            self.attribution_hour.finish()?,
            self.reach_day.finish()?,
            self.supply_hour.finish()?,
            self.quality_minute.finish()?,
            self.conversion_paths.finish()?,
        ])
    }
}

/// A worker at the publication.
struct Hands<'a> {
    texts: &'a Texts,
    shift: Shift<'a, Task>,
    worker: usize,
    /// How many tables it has brought its share of.
    tables: u64,
    stopped: &'a dyn Fn() -> bool,
}

impl Hands<'_> {
    /// Brings this worker's share of a table, in order of the windows.
    fn bring<R: TableRow>(
        &mut self,
        table: &Arc<Table<R>>,
        rows: impl Iterator<Item = R>,
    ) -> Result<(), PublishError> {
        let task = |piece| -> Task {
            let table = Arc::clone(table);
            Box::new(move |texts| table.publish(piece, texts))
        };
        let mut chunk = Vec::with_capacity(CHUNK_ROWS);
        for row in rows {
            chunk.push(row);
            if chunk.len() < CHUNK_ROWS {
                continue;
            }
            if self.shift.is_over() || (self.stopped)() {
                return Ok(());
            }
            let window = chunk.last().map_or(0, R::window);
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_ROWS));
            let pieces = table.assembly.add(self.worker, full);
            self.shift.report(self.tables << 32 | u64::from(window), pieces.into_iter().map(task));
            self.work()?;
        }
        self.tables += 1;
        let pieces =
            table.assembly.add(self.worker, chunk).into_iter().chain(table.assembly.close(self.worker));
        self.shift.report(self.tables << 32, pieces.map(task));
        self.work()
    }

    /// Does tasks as long as it is this worker's turn.
    fn work(&self) -> Result<(), PublishError> {
        while let Some(task) = self.shift.task() {
            task(self.texts)?;
        }
        Ok(())
    }

    /// Does tasks until all workers are done.
    fn help(self) -> Result<(), PublishError> {
        self.shift.done();
        while let Some(task) = self.shift.wait(self.stopped) {
            task(self.texts)?;
        }
        Ok(())
    }
}

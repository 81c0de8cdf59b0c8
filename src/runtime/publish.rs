//! Takes the tables out of the traces and writes them, into files or into ClickHouse, all workers
//! together.
//!
//! ```text
//!   traces of each worker ─▶ chunks of rows ─▶ assembly ─▶ whole pieces ─▶ crew
//!                                                                           │ any worker
//!   files, in order ◀─ pieces as lines or row groups ◀─ put in order ◀──────┘
//! ```
//!
//! A worker reads its traces, which are freed while they are read, table by table and window by
//! window. All that is in memory besides are the pieces that are being worked on.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::catalogue::Outputs;
use dataflows::model::horizon::Freezes;
use dataflows::model::ids::Id;
use dataflows::model::time::{Epoch, Minute};
use dataflows::snapshot::take;

use serde::{Deserialize, Serialize};

use super::crew::{Crew, Shift};
use super::frozen::Frozen;
use super::output::Place;
use super::report::{QualityTotals, TableReport};
use super::rows::{by_model, qualities, sums, whole_paths};
use super::spill::Fault;
use super::table::Table;
use super::top::Campaigns;
use crate::names::Names;
use crate::sinks::clickhouse::Published;
use crate::sinks::table_file::PublishError;
use crate::sinks::tables::{
    AttributionHour, ConversionPath, PerformanceHour, PerformanceMinute, QualityMinute, ReachDay, SupplyHour,
};
use crate::sinks::texts::Texts;

/// Rows that a worker brings at a time.
const CHUNK_ROWS: usize = 4096;

/// A piece to put in order, encode and write.
type Task = Box<dyn FnOnce(&Texts) -> Result<(), PublishError> + Send>;

/// All tables, to which every worker contributes.
pub struct Publication {
    names: Arc<Names>,
    texts: OnceLock<Texts>,
    crew: Crew<Task>,
    workers: usize,
    performance_minute: Arc<Table<PerformanceMinute>>,
    performance_hour: Arc<Table<PerformanceHour>>,
    attribution_hour: Arc<Table<AttributionHour>>,
    reach_day: Arc<Table<ReachDay>>,
    supply_hour: Arc<Table<SupplyHour>>,
    quality_minute: Arc<Table<QualityMinute>>,
    conversion_paths: Arc<Table<ConversionPath>>,
}

/// What the rows of a worker amount to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// Starts the tables.
    pub fn new(place: Place<'_>, names: &Arc<Names>, workers: usize) -> Result<Self, PublishError> {
        fn table<R: Published>(place: Place<'_>, workers: usize) -> Result<Arc<Table<R>>, PublishError> {
            Table::new(place, workers).map(Arc::new)
        }
        Ok(Self {
            names: Arc::clone(names),
            texts: OnceLock::new(),
            crew: Crew::new(workers),
            workers,
            performance_minute: table(place, workers)?,
            performance_hour: table(place, workers)?,
            attribution_hour: table(place, workers)?,
            reach_day: table(place, workers)?,
            supply_hour: table(place, workers)?,
            quality_minute: table(place, workers)?,
            conversion_paths: table(place, workers)?,
        })
    }

    /// How many workers contribute, all of this process.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Publishes a worker's share of all tables, together with the others, and returns when all shares
    /// are published or the run has `stopped`. All input has been read. Of the windows that are
    /// `frozen` it is what was put aside, of the others what the tables hold as of the end of `epoch`.
    pub fn contribute(
        &self,
        worker: usize,
        outputs: Outputs,
        frozen: Frozen,
        epoch: Epoch,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Totals, PublishError> {
        let mut totals = Totals::default();
        let Totals { quality, campaigns } = &mut totals;
        // All input has been read, so all names are known.
        let texts = self.texts.get_or_init(|| Texts::new(&self.names));
        let mut hands = Hands { texts, shift: self.crew.start(worker), worker, tables: 0, stopped };
        let (freeze, fault) = (frozen.freeze, Fault::default());
        // The small tables come first, so that nobody waits for a last large piece of them.
        let open =
            take(outputs.conversion_paths, epoch).filter(|((_, step), _)| !step.minute.is_frozen(freeze));
        hands.bring(&self.conversion_paths, all_paths(frozen.conversion_paths, whole_paths(open)))?;
        let open =
            sums(take(outputs.quality_minute, epoch)).filter(|(key, _)| Frozen::is_open(freeze, key.minute));
        let counted = all_qualities(frozen.quality_minute, qualities(open));
        hands.bring(&self.quality_minute, counted.inspect(|row| quality.count(row)))?;
        let open = sums(take(outputs.attribution_hour, epoch));
        let open = open.filter(|(((hour, _), _), _)| !hour.is_frozen(freeze));
        hands.bring(&self.attribution_hour, frozen.attribution_hour.into_rows(&fault).chain(open))?;
        let open = sums(take(outputs.reach_day, epoch)).filter(|((day, _), _)| !day.is_frozen(freeze));
        hands.bring(&self.reach_day, frozen.reach_day.into_rows(&fault).chain(open))?;
        let open = sums(take(outputs.performance_hour, epoch));
        let open = open.filter(|(place, _)| !place.window.is_frozen(freeze));
        hands.bring(&self.performance_hour, frozen.performance_hour.into_rows(&fault).chain(open))?;
        let open = sums(take(outputs.performance_minute, epoch));
        let open = open.filter(|((minute, _), _)| !minute.is_frozen(freeze));
        let minutes = frozen.performance_minute.into_rows(&fault).chain(open);
        hands.bring(&self.performance_minute, minutes.inspect(|row| campaigns.count(row)))?;
        let open = sums(take(outputs.supply_hour, epoch)).filter(|(key, _)| !key.hour.is_frozen(freeze));
        hands.bring(&self.supply_hour, frozen.supply_hour.into_rows(&fault).chain(open))?;
        if let Some(source) = fault.take() {
            return Err(PublishError::PutAside { source });
        }
        hands.help()?;
        Ok(totals)
    }

    /// Ends the tables, to which all workers have contributed.
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

/// The paths that are frozen, and the others; of a conversion whose id has come again, the latter.
fn all_paths(
    mut frozen: BTreeMap<Id, Arc<[PathStep]>>,
    open: impl Iterator<Item = (Id, Arc<[PathStep]>)>,
) -> impl Iterator<Item = ConversionPath> {
    let mut open = open.peekable();
    if !frozen.is_empty() {
        frozen.extend(open.by_ref());
    }
    by_model(frozen.into_iter().chain(open))
}

/// Puts the minutes that are frozen between the first of all, which never is, and the others.
fn all_qualities(
    frozen: Vec<QualityMinute>,
    open: impl Iterator<Item = QualityMinute>,
) -> impl Iterator<Item = QualityMinute> {
    let mut open = open.peekable();
    let first: Vec<_> = std::iter::from_fn(|| open.next_if(|row| row.minute == Minute(0))).collect();
    first.into_iter().chain(frozen).chain(open)
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
    fn bring<R: Published>(
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::thread;

    use super::*;
    use crate::sinks::table_file::{Encoder, TableFile};
    use dataflows::model::measures::Reach;
    use dataflows::model::time::Day;

    /// Each worker's rows of many days, in no order within a day.
    fn shares(names: &Names, rows: [u32; 2]) -> Vec<Vec<ReachDay>> {
        let row = |worker: usize, n: u32| {
            let kind = ["c", "campaign-"][n as usize % 2];
            let campaign = names.name(&format!("{kind}{:02}-{worker}", n % 100 / 2));
            let reach = Reach { users: i64::from(n), impressions: -1 };
            ((Day(n / 100), campaign.expect("no collision")), reach)
        };
        (0..).zip(rows).map(|(worker, rows)| (0..rows).map(|n| row(worker, n)).collect()).collect()
    }

    fn publish(
        table: &Arc<Table<ReachDay>>,
        names: &Arc<Names>,
        shares: Vec<Vec<ReachDay>>,
    ) -> Vec<Result<(), PublishError>> {
        let (texts, crew) = (&Texts::new(names), &Crew::new(shares.len()));
        thread::scope(|scope| {
            let workers: Vec<_> = (0..)
                .zip(shares)
                .map(|(worker, rows)| {
                    scope.spawn(move || {
                        let shift = crew.start(worker);
                        let mut hands = Hands { texts, shift, worker, tables: 0, stopped: &|| false };
                        hands.bring(table, rows.into_iter())?;
                        hands.help()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
        })
    }

    #[test]
    fn a_table_is_the_same_however_it_is_shared_out() {
        let root = tempfile::tempdir().expect("temporary directory");
        for rows in [[100_000, 100_000], [200_000, 0], [0, 1], [0, 0], [1_000, 150_000]] {
            let names = Arc::new(Names::default());
            let shares = shares(&names, rows);
            let mut expected: Vec<String> = Vec::new();
            for ((day, campaign), reach) in shares.iter().flatten() {
                let campaign = names.name_text(*campaign);
                expected.push(format!("{:06} {},{campaign},{},-1", day.0, day.start_millis(), reach.users));
            }
            expected.sort_by_key(|line| line.split(',').take(2).map(str::to_owned).collect::<Vec<_>>());
            let path = root.path().join("reach_day.csv");
            let file = TableFile::Csv(File::create(&path).expect("creates"));
            let table = Arc::new(Table::in_file(file, Encoder::Csv, shares.len()));
            publish(&table, &names, shares).into_iter().for_each(|done| done.expect("publishes"));
            let published = fs::read_to_string(&path).expect("reads");
            assert!(published.lines().eq(expected.iter().map(|line| &line[7..])), "{rows:?}");
            assert_eq!(table.finish().expect("ends").rows, u64::from(rows[0] + rows[1]));
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_stops_all_workers() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("reach_day.csv");
        fs::write(&path, "").expect("writes");
        let names = Arc::new(Names::default());
        let unwritable = TableFile::Csv(File::open(&path).expect("opens for reading"));
        let table = Arc::new(Table::in_file(unwritable, Encoder::Csv, 2));
        let done = publish(&table, &names, shares(&names, [100_000, 100_000]));
        assert!(done.iter().any(|done| matches!(done, Err(PublishError::Io { table: "reach_day", .. }))));
    }
}

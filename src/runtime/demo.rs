//! A day of traffic, epoch by epoch, so that one can watch the numbers move: upwards as events
//! arrive, and back when a lookup changes under them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataflows::model::ids::Name;
use dataflows::model::lookups::{AttributionRule, LookupRow, Model};
use dataflows::model::measures::Measures;
use dataflows::snapshot;
use differential_dataflow::difference::Semigroup;
use timely::worker::Worker;

use super::frozen::Frozen;
use super::job::{Counts, Job};
use super::output::Place;
use super::publish::{Publication, Totals};
use super::replay::{ReplayError, Replayed, write_rejects, write_report};
use super::report::{RunReport, feeds};
use crate::config::Config;
use crate::formats::Batch;
use crate::names::Names;
use crate::sinks::directory::PendingDirectory;
use crate::sinks::table_file::TableFormat;
use crate::sources::files::{Split, SplitReader, discover, plan};
use crate::sources::lookups;

/// The epochs a demo has: half an hour of its day each.
const EPOCHS: u64 = 48;

/// What changed at the end of an epoch.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How far the day is, in half hours.
    pub epoch: u64,
    /// Events taken in by now.
    pub events: u64,
    /// All campaigns together, as published at this epoch.
    pub totals: Measures,
    /// How long the epoch took from its last event to its numbers.
    pub latency: Duration,
    /// What was done to the lookups in this epoch.
    pub note: Option<String>,
}

/// Runs the demo over the feeds in `feeds_dir` and leaves the tables in `output`; `show` sees
/// every epoch.
pub fn demo(
    config: &Config,
    feeds_dir: &Path,
    output: &Path,
    mut show: impl FnMut(&Frame),
) -> Result<Replayed, ReplayError> {
    let started = Instant::now();
    let directory = PendingDirectory::new(output, true)?;
    let names = Arc::new(Names::default());
    let rows = lookups::load(feeds_dir, &names)?;
    let files = discover(feeds_dir, &config.sources)?;
    let splits = plan(&files)?;
    let script = Arc::new(Script {
        bytes: splits.iter().map(|split| split.bytes).sum(),
        lanes: Mutex::new(lanes(splits)),
        rows,
        config: config.clone(),
        names: Arc::clone(&names),
        publication: Publication::new(Place::Directory(&directory, TableFormat::Csv), &names, 1)?,
        rejects: directory.path().join("rejects.jsonl"),
    });
    let input = (files.len(), script.bytes);
    let (sender, frames): (Sender<Frame>, Receiver<Frame>) = channel();
    let (sender, theirs) = (Mutex::new(Some(sender)), Arc::clone(&script));
    let guards = timely::execute(timely::Config::process(1), move |worker| {
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        run(worker, &theirs, &mut |frame| {
            // A closed channel only means that nobody watches any more.
            let _ = sender.as_ref().map(|sender| sender.send(frame));
        })
    })
    .map_err(ReplayError::Worker)?;
    frames.iter().for_each(|frame| show(&frame));
    let result = guards.join().into_iter().next().unwrap_or_else(|| Err("no worker".to_owned()));
    let (counts, totals) = result.map_err(ReplayError::Worker)??;

    let feeds = feeds(&totals.quality, &counts)?;
    let mut report = RunReport::new(1, input, feeds, &counts, script.publication.finish()?);
    report.took(started.elapsed());
    write_report(&directory, &report)?;
    directory.publish()?;
    Ok(Replayed { report, top: totals.campaigns.largest(&names) })
}

struct Script {
    lanes: Mutex<Vec<Lane>>,
    bytes: u64,
    rows: Vec<LookupRow>,
    config: Config,
    names: Arc<Names>,
    publication: Publication,
    rejects: PathBuf,
}

/// One feed, read in step with the others.
struct Lane {
    splits: VecDeque<Split>,
    reader: Option<SplitReader>,
    total: u64,
    done: u64,
}

fn lanes(splits: Vec<Split>) -> Vec<Lane> {
    let mut lanes: BTreeMap<_, Lane> = BTreeMap::new();
    for split in splits {
        let empty = || Lane { splits: VecDeque::new(), reader: None, total: 0, done: 0 };
        let lane = lanes.entry(split.file.contents.feed()).or_insert_with(empty);
        lane.total += split.bytes;
        lane.splits.push_back(split);
    }
    lanes.into_values().collect()
}

impl Lane {
    /// Reads up to `share` of the feed.
    fn read(
        &mut self,
        share: f64,
        script: &Script,
        mut each: impl FnMut(&Batch) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let mut batch = Batch::default();
        while (self.done as f64) < self.total as f64 * share {
            if self.reader.is_none() {
                let Some(split) = self.splits.pop_front() else { break };
                let names = Arc::clone(&script.names);
                self.reader = Some(SplitReader::open(split, &script.config.sources, names));
            }
            let Some(reader) = &mut self.reader else { break };
            batch.clear();
            let more = reader.read(&mut batch, 16)?;
            self.done += batch.bytes;
            each(&batch)?;
            if !more {
                self.reader = None;
            }
        }
        Ok(())
    }
}

fn run(
    worker: &mut Worker,
    script: &Script,
    show: &mut dyn FnMut(Frame),
) -> Result<(Counts, Totals), ReplayError> {
    let fail = |source| ReplayError::Output { file: "rejects.jsonl", source };
    let mut rejects = BufWriter::new(std::fs::File::create(&script.rejects).map_err(fail)?);
    let mut lanes = script.lanes.lock().unwrap_or_else(PoisonError::into_inner);
    let mut job = Job::new(worker, &script.rows);
    for epoch in 0..EPOCHS {
        let share = if epoch + 1 == EPOCHS { 2.0 } else { (epoch + 1) as f64 / EPOCHS as f64 };
        for lane in lanes.iter_mut() {
            lane.read(share, script, |batch| {
                job.feed(batch);
                write_rejects(&batch.rejects, &mut rejects)
            })?;
        }
        let note = change(epoch, &mut job);
        let closing = Instant::now();
        job.advance_to(epoch + 1);
        job.catch_up(worker, || false);
        let latency = closing.elapsed();
        let mut totals = Measures::default();
        let table = &mut job.outputs().performance_minute;
        snapshot::rows(table, epoch).for_each(|(_, measures)| totals.plus_equals(&measures));
        let events = job.counts().kinds.iter().sum();
        show(Frame { epoch, events, totals, latency, note });
    }
    rejects.flush().map_err(fail)?;
    let counts = job.counts().clone();
    Ok((counts, job.finish(worker, &script.publication, Frozen::none(), || false)?))
}

/// What happens to the lookups in the course of the day; all is withdrawn before it ends.
fn change(epoch: u64, job: &mut Job) -> Option<String> {
    let site = LookupRow::ListedSite(Name::new("site0"));
    let linear = AttributionRule { default_model: Some(Model::Linear), ..AttributionRule::default() };
    let (row, diff, note) = match epoch {
        20 => (site, 1, "site0 is listed as invalid traffic: all it ever earned is taken back"),
        26 => (site, -1, "site0 is cleared: everything returns"),
        34 => (
            LookupRow::GlobalRule(linear),
            1,
            "attribution by the linear model from now on, and for the past",
        ),
        42 => (LookupRow::GlobalRule(linear), -1, "back to last touch"),
        _ => return None,
    };
    job.change_lookup(row, diff);
    Some(note.to_owned())
}

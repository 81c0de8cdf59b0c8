//! A day of traffic, epoch by epoch, so that one can watch the numbers move: upwards as events
//! arrive, and back when a lookup changes under them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataflows::model::ids::Name;
use dataflows::model::lookups::{AttributionRule, LookupRow, Model};
use dataflows::model::measures::Measures;
use dataflows::model::time::{Epoch, EventTime};
use dataflows::snapshot;
use differential_dataflow::difference::Semigroup;
use timely::worker::Worker;

use super::frozen::Frozen;
use super::job::{Counts, Job};
use super::live::Following;
use super::output::Place;
use super::publish::{Publication, Totals};
use super::replay::{ReplayError, Replayed, write_rejects, write_report};
use super::report::{RunReport, feeds};
use crate::config::Config;
use crate::formats::Batch;
use crate::names::Names;
use crate::serve::http::Served;
use crate::serve::store::Store;
use crate::serve::update::Update;
use crate::sinks::clickhouse::{Epochs, Upserts};
use crate::sinks::directory::PendingDirectory;
use crate::sinks::table_file::TableFormat;
use crate::sources::files::{Split, SplitReader, discover, plan};
use crate::sources::lookups;
use crate::telemetry::{Anatomy, Telemetry};

/// The half hours that a demo has.
const HALF_HOURS: u64 = 48;
/// Epochs of a half hour, if somebody looks at a page.
const STEPS: u64 = 6;
/// How often a page is told that nothing has changed.
const PULSE: Duration = Duration::from_secs(1);
/// Rows of each table that a page is shown.
const ROWS_MAX: usize = 5_000_000;

/// Where a demo is shown besides.
#[derive(Clone)]
pub struct Stage {
    /// The pages.
    pub served: Arc<Served>,
    /// What they tell of the run.
    pub telemetry: Arc<Telemetry>,
    /// The time from one epoch to the next.
    pub pace: Duration,
    /// The part of the traffic that is there from the beginning.
    pub past: f64,
    /// Set from outside to go on without pauses.
    pub stop: Arc<AtomicBool>,
}

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
/// every half hour, and who looks at the `stage` more.
pub fn demo(
    config: &Config,
    (feeds_dir, output): (&Path, &Path),
    stage: Option<Stage>,
    mut show: impl FnMut(&Frame),
) -> Result<Replayed, ReplayError> {
    let started = Instant::now();
    let directory = PendingDirectory::new(output, true)?;
    let names = Arc::new(Names::default());
    let rows = lookups::load(feeds_dir, &names)?;
    let stage = stage.map(|stage| Playing::open(stage, feeds_dir, &names)).transpose()?;
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
        stage,
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
    stage: Option<Playing>,
}

/// A stage on which a demo plays.
struct Playing {
    stage: Stage,
    store: Arc<Store>,
}

impl Playing {
    fn open(stage: Stage, feeds_dir: &Path, names: &Arc<Names>) -> Result<Self, ReplayError> {
        let store = Arc::new(Store::new(Arc::clone(names), ROWS_MAX));
        stage.served.open(Arc::clone(&store), None);
        let dimensions = lookups::load_dimensions(feeds_dir, names)?;
        let first = Update::nothing(now_millis()).with_dimensions(&dimensions);
        store.apply(&[first], None);
        Ok(Self { stage, store })
    }

    fn is_stopped(&self) -> bool {
        self.stage.stop.load(Relaxed)
    }

    /// Shows what an epoch has changed, and waits for the next one.
    fn show(&self, changed: &Upserts, reached: Option<EventTime>, latency: Duration) {
        let Stage { telemetry, pace, .. } = &self.stage;
        telemetry.horizon(reached, EventTime::MIN);
        telemetry.epoch(changed.epochs.last, latency);
        self.store.apply(&[Update::from(changed)], reached.map(EventTime::millis));
        let began = Instant::now();
        while began.elapsed() < *pace && !self.is_stopped() {
            std::thread::sleep((*pace).min(PULSE / 20));
        }
    }
}

/// Keeps a page alive whose demo is over, until that is to end.
pub fn hold(stage: &Stage) {
    let mut told = Instant::now();
    while !stage.stop.load(Relaxed) {
        std::thread::sleep(PULSE / 20);
        if told.elapsed() >= PULSE {
            told = Instant::now();
            stage.served.pulse(Update::nothing(now_millis()));
        }
    }
}

fn now_millis() -> Epoch {
    jiff::Timestamp::now().as_millisecond().max(1) as Epoch
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
    if let Some(playing) = &script.stage {
        playing.stage.telemetry.anatomy(Anatomy::follow(worker));
    }
    let mut job = Job::new(worker, &script.rows);
    let mut following = script.stage.as_ref().map(|_| Following::new(worker, job.outputs()));
    // Who looks at a page sees the last day go by, and what came before it at once.
    let (steps, past) = script.stage.as_ref().map_or((1, 0.0), |playing| (STEPS, playing.stage.past));
    let mut first = now_millis();
    job.advance_to(first);
    for step in 0..HALF_HOURS * steps {
        let (half_hour, is_whole) = (step / steps, (step + 1) % steps == 0);
        let is_last = step + 1 == HALF_HOURS * steps;
        let done = (step + 1) as f64 / (HALF_HOURS * steps) as f64;
        let share = if is_last { 2.0 } else { past + (1.0 - past) * done };
        for lane in lanes.iter_mut() {
            lane.read(share, script, |batch| {
                script.stage.iter().for_each(|playing| playing.stage.telemetry.batch(batch));
                job.feed(batch);
                write_rejects(&batch.rejects, &mut rejects)
            })?;
        }
        let note = if is_whole { change(half_hour, &mut job) } else { None };
        let closing = Instant::now();
        let next = now_millis().max(first + 1);
        let epochs = Epochs { first, last: next - 1 };
        first = next;
        job.advance_to(next);
        job.catch_up(worker, || false);
        let latency = closing.elapsed();
        if let (Some(playing), Some(following)) = (&script.stage, &mut following) {
            let reached = job.reached();
            // Followed apart from the tables themselves, and complete with them.
            playing.show(&following.take(epochs, EventTime::MIN), reached, latency);
        }
        if is_whole {
            let mut totals = Measures::default();
            let table = &mut job.outputs().performance_minute;
            snapshot::rows(table, epochs.last).for_each(|(_, measures)| totals.plus_equals(&measures));
            let events = job.counts().kinds.iter().sum();
            show(Frame { epoch: half_hour, events, totals, latency, note });
        }
    }
    drop(following);
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

//! Runs a history through the real job while a horizon moves over it.

use std::sync::Arc;

use dataflows::expiry::{Expiry, Kept};
use dataflows::graphs::catalogue::{Inputs, Outputs, Traces, build_traced};
use dataflows::model::horizon::{Freezes, Horizon};
use dataflows::model::time::{Epoch, EventTime, Minute};
use dataflows::rules::horizon::Expires;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use timely::worker::Worker;

use super::run::{give, read};
use super::tables::Tables;
use super::{Change, Record};

/// What happens in an epoch.
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub changes: Vec<Change>,
    /// What is in force in it; what it lets go of is reckoned from before it.
    pub horizon: Horizon,
}

/// How the steps are run.
#[derive(Copy, Clone, Debug)]
pub struct Plan {
    pub workers: usize,
    pub seed: u64,
    /// Before this step the job is thrown away, and another one goes on from what a checkpoint holds.
    pub restart: Option<usize>,
}

/// The tables as of the end of every step.
pub fn run(steps: &Arc<Vec<Step>>, plan: Plan) -> Vec<Tables> {
    let steps = Arc::clone(steps);
    let workers = timely::execute(timely::Config::process(plan.workers), move |worker| {
        let mut run = Run::new(worker, plan);
        let mut tables = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            if plan.restart == Some(number) {
                run.restart(worker, number as Epoch);
            }
            tables.push(run.step(worker, number as Epoch + 1, step));
        }
        tables
    });
    let parts = workers.expect("the job starts").join().into_iter();
    let unite = |mut all: Vec<Tables>, part: Vec<Tables>| {
        all.iter_mut().zip(part).for_each(|(all, part)| all.unite(part));
        all
    };
    let whole = |part: Result<Vec<Tables>, String>| part.unwrap_or_else(|error| panic!("{plan:?}: {error}"));
    parts.map(whole).reduce(unite).expect("there is a worker")
}

struct Run {
    plan: Plan,
    rng: ChaCha8Rng,
    inputs: Inputs,
    outputs: Outputs,
    traces: Traces,
    horizon: Horizon,
    /// All that was given to this worker: the segments of its checkpoint.
    given: Vec<Change>,
    kept: Kept,
}

impl Run {
    fn new(worker: &mut Worker, plan: Plan) -> Self {
        let (inputs, outputs, traces) = worker.dataflow(build_traced);
        let rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let (horizon, given, kept) = (Horizon::default(), Vec::new(), Kept::default());
        let mut run = Self { plan, rng, inputs, outputs, traces, horizon, given, kept };
        run.inputs.advance_to(1);
        run
    }

    fn step(&mut self, worker: &mut Worker, epoch: Epoch, step: &Step) -> Tables {
        let mut pending = (step.horizon != self.horizon).then_some(step.horizon);
        self.horizon = step.horizon;
        let mut expiry = None;
        // What is read into the epoch and what expires in it come in any order.
        let split = self.rng.random_range(0..=step.changes.len());
        self.give(worker, &step.changes[..split]);
        while let Some(horizon) = pending {
            if expiry.is_none() && self.outputs.is_complete(epoch - 1) {
                expiry = Some(Expiry::begin(&mut self.traces, horizon, epoch - 1));
            }
            if let Some(running) = &mut expiry
                && running.work(&mut self.inputs, 3)
            {
                pending = None;
            }
            worker.step();
        }
        if let Some(expiry) = expiry {
            self.kept = expiry.finish().0;
        }
        self.give(worker, &step.changes[split..]);
        self.inputs.advance_to(epoch + 1);
        while !self.outputs.is_complete(epoch) {
            worker.step();
        }
        let tables = read(&mut self.outputs, epoch);
        self.outputs.compact_to(epoch);
        self.traces.compact_to(epoch);
        tables
    }

    fn give(&mut self, worker: &Worker, changes: &[Change]) {
        for change in changes {
            if self.rng.random_range(0..self.plan.workers) == worker.index() {
                give(&mut self.inputs, *change);
                self.given.push(*change);
            }
        }
    }

    /// Goes on from what was given and is not expired, and what is kept all the same.
    fn restart(&mut self, worker: &mut Worker, epoch: Epoch) {
        (self.inputs, self.outputs, self.traces) = worker.dataflow(build_traced);
        let horizon = self.horizon;
        for change in self.given.iter().filter(|(record, _)| !is_expired(record, &horizon)) {
            give(&mut self.inputs, *change);
        }
        let Kept { bids, impressions, clicks, conversions } = std::mem::take(&mut self.kept);
        bids.into_iter().for_each(|(record, copies)| self.inputs.bids.update(record, copies));
        impressions.into_iter().for_each(|(record, copies)| self.inputs.impressions.update(record, copies));
        clicks.into_iter().for_each(|(record, copies)| self.inputs.clicks.update(record, copies));
        conversions.into_iter().for_each(|(record, copies)| self.inputs.conversions.update(record, copies));
        self.inputs.advance_to(epoch + 1);
        while !self.outputs.is_complete(epoch) {
            worker.step();
        }
    }
}

fn is_expired(record: &Record, horizon: &Horizon) -> bool {
    match record {
        Record::Bid(_, bid) => bid.is_expired(horizon),
        Record::Impression(_, impression) => impression.is_expired(horizon),
        Record::Click(_, click) => click.is_expired(horizon),
        Record::Conversion(_, conversion) => conversion.is_expired(horizon),
        Record::Quality(key) => key.minute.is_frozen(horizon.freeze),
        Record::Lookup(_) => false,
        Record::Residue(residue) => residue.is_frozen(horizon.freeze),
    }
}

/// The tables without the windows that are frozen.
pub fn open(mut tables: Tables, freeze: EventTime) -> Tables {
    tables.performance_minute.retain(|(minute, _), _| !minute.is_frozen(freeze));
    tables.performance_hour.retain(|place, _| !place.window.is_frozen(freeze));
    tables.attribution_hour.retain(|((hour, _), _), _| !hour.is_frozen(freeze));
    tables.reach_day.retain(|(day, _), _| !day.is_frozen(freeze));
    tables.supply_hour.retain(|key, _| !key.hour.is_frozen(freeze));
    tables.quality_minute.retain(|key, _| key.minute == Minute(0) || !key.minute.is_frozen(freeze));
    tables.conversion_paths.retain(|_, path| path.iter().any(|step| !step.minute.is_frozen(freeze)));
    tables
}

/// How many rows all tables have.
pub fn rows(tables: &Tables) -> usize {
    tables.performance_minute.len()
        + tables.performance_hour.len()
        + tables.attribution_hour.len()
        + tables.reach_day.len()
        + tables.supply_hour.len()
        + tables.quality_minute.len()
        + tables.conversion_paths.len()
}

//! Runs a history through the real job.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use advertisex::config::ClusterConfig;
use advertisex::runtime::cluster::Cluster;
use dataflows::graphs::catalogue::{Inputs, Outputs, build};
use dataflows::model::time::Epoch;
use dataflows::snapshot;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use timely::worker::Worker;

use super::tables::Tables;
use super::{Change, Record};
use crate::cluster::free_hosts;

/// The changes of each epoch, from epoch 0.
pub type History = Vec<Vec<Change>>;

/// How a history is run.
#[derive(Copy, Clone, Debug)]
pub struct Plan {
    /// How many processes share the work; here each is some threads, as connected as others are.
    pub processes: usize,
    /// How many workers each of them has; each record is given to one of all at random.
    pub workers: usize,
    /// At most so many epochs are closed before the job is given time to work.
    pub closed_at_once: usize,
    pub seed: u64,
}

/// The tables as of every epoch of the history.
pub fn run(history: &Arc<History>, plan: Plan) -> Vec<Tables> {
    let hosts = free_hosts(plan.processes);
    let start = |process| {
        let (hosts, history) = (hosts.clone(), Arc::clone(history));
        thread::spawn(move || {
            let patience =
                ClusterConfig { connect: Duration::from_secs(30), silence: Duration::from_secs(30) };
            let cluster = Cluster::new(hosts, process, plan.workers, patience).expect("valid");
            let connected = cluster.connect("a random history", &|| false).expect("connects");
            let config = timely::WorkerConfig::default();
            let work = move |worker: &mut Worker| work(worker, &history, plan);
            connected.execute(config, work).expect("the job starts").join()
        })
    };
    let processes: Vec<_> = (0..plan.processes).map(start).collect();
    let parts = processes.into_iter().flat_map(|process| process.join().expect("it starts"));
    let unite = |mut all: Vec<Tables>, part: Vec<Tables>| {
        all.iter_mut().zip(part).for_each(|(all, part)| all.unite(part));
        all
    };
    let whole = |part: Result<Vec<Tables>, String>| {
        part.unwrap_or_else(|error| panic!("{plan:?}: a worker panicked, see above: {error}"))
    };
    parts.map(whole).reduce(unite).expect("there is a worker")
}

/// One worker: gives it its records, and reads its part of the tables.
fn work(worker: &mut Worker, history: &History, plan: Plan) -> Vec<Tables> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let (mut inputs, mut outputs) = worker.dataflow(build);
    let mut tables = Vec::new();
    while tables.len() < history.len() {
        // 1. Close some epochs; all workers draw the same numbers.
        let start = tables.len();
        let end = history.len().min(start + rng.random_range(1..=plan.closed_at_once));
        for (epoch, changes) in history.iter().enumerate().take(end).skip(start) {
            for change in changes {
                if rng.random_range(0..worker.peers()) == worker.index() {
                    give(&mut inputs, *change);
                }
            }
            inputs.advance_to(epoch as Epoch + 1);
            // Give it a moment, so that the next epoch may find this one half done.
            (0..rng.random_range(0..3)).for_each(|_| {
                worker.step();
            });
        }
        // 2. Work off the rest, then read the tables as of each of these epochs.
        while !outputs.is_complete(end as Epoch - 1) {
            worker.step();
        }
        tables.extend((start..end).map(|epoch| read(&mut outputs, epoch as Epoch)));
        outputs.compact_to(end as Epoch - 1);
    }
    tables
}

pub fn give(inputs: &mut Inputs, (record, diff): Change) {
    match record {
        Record::Bid(auction, bid) => inputs.bids.update((auction, bid), diff),
        Record::Impression(id, impression) => inputs.impressions.update((id, impression), diff),
        Record::Click(id, click) => inputs.clicks.update((id, click), diff),
        Record::Conversion(id, conversion) => inputs.conversions.update((id, conversion), diff),
        Record::Quality(key) => inputs.quality.update(key, diff),
        Record::Lookup(row) => inputs.lookups.update(row, diff),
        Record::Residue(residue) => inputs.residues.update(residue, diff),
    }
}

pub fn read(outputs: &mut Outputs, epoch: Epoch) -> Tables {
    let mut tables = Tables::default();
    let t = &mut tables;
    t.performance_minute.extend(snapshot::rows(&mut outputs.performance_minute, epoch).map(summed));
    t.performance_hour.extend(snapshot::rows(&mut outputs.performance_hour, epoch).map(summed));
    t.attribution_hour.extend(snapshot::rows(&mut outputs.attribution_hour, epoch).map(summed));
    t.reach_day.extend(snapshot::rows(&mut outputs.reach_day, epoch).map(summed));
    t.supply_hour.extend(snapshot::rows(&mut outputs.supply_hour, epoch).map(summed));
    t.quality_minute.extend(snapshot::rows(&mut outputs.quality_minute, epoch).map(summed));
    for ((conversion, step), count) in snapshot::rows(&mut outputs.conversion_paths, epoch) {
        let path = t.conversion_paths.entry(conversion).or_default();
        path.extend((0..count).map(|_| step));
    }
    t.conversion_paths.values_mut().for_each(|path| path.sort());
    tables
}

fn summed<K, R>(((key, ()), sum): ((K, ()), R)) -> (K, R) {
    (key, sum)
}

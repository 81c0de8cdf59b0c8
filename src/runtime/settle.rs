//! The end of a replay: what all workers of all processes have is put together, checked, and put in
//! place as one.
//!
//! ```text
//!   workers of a process ─▶ its share ─▶ first process: does it add up? ─▶ run.json, in place
//!                                                                               │
//!   every process ends with success ◀──────────── published ◀───────────────────┘
//! ```
//!
//! A process that fails before leaves the others at once, and nobody puts anything in place.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::cluster::Cluster;
use super::history::Skipped;
use super::job::Counts;
use super::output::Opened;
use super::post::Post;
use super::publish::Totals;
use super::replay::{ReplayError, Replayed, Shared};
use super::report::{RunReport, TableReport, feeds, peak_memory_bytes};
use crate::sinks::cells::Digest;

/// How long a worker that waits sleeps before it asks again whether the run was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

/// What the processes say to each other at the end.
#[derive(Clone, Serialize, Deserialize)]
enum Letter {
    /// This is what one has.
    Share(Box<Share>),
    /// All of it is in place.
    Published,
}

/// What one process has, or several together.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Share {
    counts: Counts,
    totals: Totals,
    /// The tables in their order: rows and digest.
    tables: Vec<(u64, String)>,
    peak_memory_bytes: Option<u64>,
    exchanged_bytes: u64,
}

impl Share {
    fn add(&mut self, other: Share) {
        self.counts.add(&other.counts);
        self.totals.add(other.totals);
        for ((rows, digest), (more, theirs)) in self.tables.iter_mut().zip(&other.tables) {
            let mut sum = Digest::read(digest, *rows).unwrap_or_default();
            sum.add(Digest::read(theirs, *more).unwrap_or_default());
            (*rows, *digest) = (sum.rows(), sum.hex());
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
        self.exchanged_bytes += other.exchanged_bytes;
    }
}

/// How far a process is with settling.
pub(super) struct Settlement {
    state: Mutex<State>,
    processes: usize,
    is_first: bool,
    workers: usize,
    input: (usize, u64),
    skipped: Skipped,
    started: Instant,
}

struct State {
    /// Workers of this process that have published their part.
    brought: usize,
    share: Share,
    /// The tables by name, for the report.
    tables: Vec<TableReport>,
    /// What is put in place.
    opened: Option<Opened>,
    replayed: Option<Replayed>,
    over: bool,
}

impl Settlement {
    pub fn new(
        cluster: &Cluster,
        opened: Opened,
        (input, skipped): ((usize, u64), Skipped),
        started: Instant,
    ) -> Self {
        let state = State {
            brought: 0,
            share: Share::default(),
            tables: Vec::new(),
            opened: Some(opened),
            replayed: None,
            over: false,
        };
        Self {
            state: Mutex::new(state),
            processes: cluster.processes(),
            is_first: cluster.is_first(),
            workers: cluster.workers(),
            input,
            skipped,
            started,
        }
    }

    /// What the run amounts to; the first process knows.
    pub fn replayed(&self) -> Option<Replayed> {
        self.state().replayed.take()
    }

    /// Whether the tables are in place.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a worker of this process has.
    fn bring(&self, counts: &Counts, totals: Totals) {
        let mut state = self.state();
        state.share.counts.add(counts);
        state.share.totals.add(totals);
        state.brought += 1;
    }

    fn all_brought(&self) -> bool {
        self.state().brought == self.workers
    }

    /// Ends the files of this process.
    fn close(&self, shared: &Shared) -> Result<Share, ReplayError> {
        let mut rejects = shared.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        rejects.flush().map_err(|source| ReplayError::Output { file: "rejects.jsonl", source })?;
        let tables = shared.publication.finish()?;
        let mut state = self.state();
        let mut share = std::mem::take(&mut state.share);
        share.tables = tables.iter().map(|table| (table.rows, table.digest.clone())).collect();
        share.peak_memory_bytes = peak_memory_bytes();
        share.exchanged_bytes = shared.links.traffic().0;
        state.tables = tables;
        Ok(share)
    }

    /// Checks the whole, and puts it in place. On the first process only.
    fn publish(&self, whole: Share, shared: &Shared) -> Result<(), ReplayError> {
        let Share { counts, totals, tables, peak_memory_bytes, exchanged_bytes } = whole;
        let feeds: BTreeMap<_, _> = feeds(&totals.quality, &counts)?;
        let mut state = self.state();
        let named = state.tables.iter().map(|table| table.table).zip(tables);
        let tables = named.map(|(table, (rows, digest))| TableReport { table, rows, digest }).collect();
        let mut report = RunReport::new(self.workers, self.input, feeds, &counts, tables);
        report.processes = self.processes;
        (report.files_skipped, report.row_groups_skipped) = (self.skipped.files, self.skipped.row_groups);
        report.peak_memory_bytes = peak_memory_bytes;
        report.exchanged_bytes = exchanged_bytes;
        report.horizon = shared.horizon_report(&counts);
        report.took(self.started.elapsed());
        // Whoever asks meanwhile whether it is over waits for the answer.
        if let Some(opened) = state.opened.take() {
            opened.publish(&report)?;
        }
        state.replayed = Some(Replayed { report, top: totals.campaigns.largest(&shared.names) });
        state.over = true;
        Ok(())
    }

    fn end(&self) {
        let mut state = self.state();
        state.over = true;
        if let Some(opened) = state.opened.take() {
            opened.leave();
        }
    }
}

/// A worker that has published its part waits until all others have, and the whole is in place. The
/// first one of each process does what there is to do.
pub(super) fn settle(
    worker: &mut Worker,
    shared: &Arc<Shared>,
    counts: Counts,
    totals: Totals,
) -> Result<(), ReplayError> {
    let settlement = &shared.settlement;
    if shared.has_failed() {
        return Ok(());
    }
    settlement.bring(&counts, totals);
    let mut post = (settlement.processes > 1).then(|| Post::open(worker, settlement.workers));
    let is_spokesman = worker.index().is_multiple_of(settlement.workers);
    let until = |done: &dyn Fn() -> bool, worker: &mut Worker| {
        while !(done() || shared.has_failed()) {
            worker.step_or_park(Some(PATIENCE));
        }
        !shared.has_failed()
    };
    if !is_spokesman {
        until(&|| settlement.is_over(), worker);
        return Ok(());
    }
    if !until(&|| settlement.all_brought(), worker) {
        return Ok(());
    }
    let share = settlement.close(shared)?;
    let Some(post) = &mut post else { return settlement.publish(share, shared) };
    post.send(0, Letter::Share(Box::new(share)));
    gather(worker, post, shared)
}

/// Awaits what the other processes say.
fn gather(worker: &mut Worker, post: &mut Post<Letter>, shared: &Shared) -> Result<(), ReplayError> {
    let settlement = &shared.settlement;
    let (mut whole, mut shares): (Option<Share>, usize) = (None, 0);
    while !(settlement.is_over() || shared.has_failed()) {
        worker.step_or_park(Some(PATIENCE));
        for letter in post.receive() {
            match (letter, &mut whole) {
                (Letter::Share(share), Some(whole)) => whole.add(*share),
                (Letter::Share(share), none) => *none = Some(*share),
                (Letter::Published, _) => settlement.end(),
            }
            shares += 1;
        }
        if settlement.is_first
            && shares == settlement.processes
            && let Some(whole) = whole.take()
        {
            settlement.publish(whole, shared)?;
            post.to_all_processes(&Letter::Published);
        }
    }
    Ok(())
}

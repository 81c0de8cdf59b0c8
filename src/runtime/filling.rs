//! A new generation of the published tables while a replay fills it, on one process or on several.
//!
//! ```text
//!   process 0: tables made ─ label ─▶ all processes: read, compute, write their rows ─ shares ─▶
//!   process 0: counted? nothing missing? nobody else published? ─▶ exchanged ─▶ all end
//! ```
//!
//! Whoever fails before the exchange leaves the others, and nothing is exchanged: process 0 drops the
//! tables, or the next generation does.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use timely::worker::Worker;

use super::generation::Refusal;
use super::post::Post;
use super::replay::{ReplayError, Shared};
use super::report::RunReport;
use crate::sinks::clickhouse::{ClickHouseError, Frontier, Generation, Label, Received, Staging, Swapped};

/// How long a worker that waits sleeps before it asks again whether the run was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

/// A generation that is filled, as one process sees it.
#[derive(Debug)]
pub struct Filling {
    staging: Arc<Staging>,
    /// On the first process, which puts it in place.
    owner: Option<Owner>,
}

#[derive(Debug)]
struct Owner {
    generation: Generation,
    /// What was published when it was begun.
    before: Vec<Frontier>,
    /// Also put in place what has less than is published.
    force: bool,
    is_swapping: AtomicBool,
    swapped: OnceLock<Swapped>,
}

impl Filling {
    /// For the process that has made the tables; `before` is what was published then.
    pub fn own(staging: Staging, generation: Generation, before: Vec<Frontier>, force: bool) -> Self {
        staging.set_label(generation.label().clone());
        let (is_swapping, swapped) = (AtomicBool::new(false), OnceLock::new());
        let owner = Owner { generation, before, force, is_swapping, swapped };
        Self { staging: Arc::new(staging), owner: Some(owner) }
    }

    /// For any other process, which is told the tables when all have come together.
    pub fn help(staging: Staging) -> Self {
        Self { staging: Arc::new(staging), owner: None }
    }

    /// Where rows are written.
    pub(super) fn staging(&self) -> &Arc<Staging> {
        &self.staging
    }

    /// The generation, once it is in place.
    pub(super) fn swapped(&self) -> Option<Swapped> {
        self.owner.as_ref()?.swapped.get().copied()
    }

    /// Puts the tables in place of the published ones, if they hold what all processes wrote and no
    /// less than is published. Only the first process does.
    pub(super) fn put_in_place(&self, report: &RunReport) -> Result<(), ReplayError> {
        let Some(owner) = &self.owner else { return Ok(()) };
        let rows: Vec<_> = report.tables.iter().map(|table| (table.table, table.rows)).collect();
        owner.check(&rows)?;
        owner.is_swapping.store(true, Relaxed);
        let swapped = owner.generation.swap(&rows).map_err(|error| ReplayError::Exchange(Box::new(error)))?;
        let _ = owner.swapped.set(swapped);
        Ok(())
    }

    /// Drops the tables, unless they may have begun to be the published ones.
    pub(super) fn abandon(&self) {
        match &self.owner {
            Some(owner) if !owner.is_swapping.load(Relaxed) => owner.generation.abandon(),
            _ => {}
        }
    }
}

impl Owner {
    fn check(&self, rows: &[(&'static str, u64)]) -> Result<(), ReplayError> {
        let Self { generation, before, force, .. } = self;
        rows.iter().try_for_each(|(table, rows)| generation.count(table, *rows)).map_err(failed)?;
        let less = |received: &Received| received.next < received.published;
        let received = generation.received().map_err(failed)?;
        if let Some(Received { feed, published, next }) = received.into_iter().find(less)
            && !force
        {
            return Err(Refusal::Missing { feed, published, found: next }.into());
        }
        match generation.server().frontiers().map_err(failed)? {
            now if now == *before => Ok(()),
            _ => Err(Refusal::Moved.into()),
        }
    }
}

/// Before anything is exchanged, to be stopped means that nothing was published.
fn failed(error: ClickHouseError) -> ReplayError {
    match error {
        ClickHouseError::Stopped => ReplayError::Stopped,
        error => ReplayError::Exchange(Box::new(error)),
    }
}

/// Tells every process which tables its rows go into. All workers must do so at the same place among
/// their dataflows.
pub(super) fn agree(worker: &mut Worker, staging: &Staging, shared: &Shared) {
    let mut post = Post::<Label>::open(worker, shared.publication.workers());
    if worker.index() == 0
        && let Some(label) = staging.label()
    {
        post.to_all_processes(label);
    }
    while staging.label().is_none() && !shared.has_failed() {
        worker.step_or_park(Some(PATIENCE));
        post.receive().into_iter().for_each(|label| staging.set_label(label));
    }
    if post.is_first_of_process()
        && let Some(Label { version, mark, .. }) = staging.label()
    {
        tracing::info!("rows go into the tables …{mark}, as of epoch {version}");
    }
}

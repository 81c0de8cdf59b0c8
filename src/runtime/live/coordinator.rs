//! What the first process decides for all: which epoch it is, what is bound, when it is published,
//! and when the run is over.
//!
//! ```text
//!   closed by all ─▶ bound: on disk ─▶ complete ─▶ emitted ─▶ inserted by all ─▶ frontier noted
//!                                      archives, by each process its own ◀──────────┤
//!                                      checkpoint, as far as all are anchored ◀─────┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::model::lookups::Lookups;
use dataflows::model::time::Epoch;
use dataflows::rules::horizon::{Decider, Terms};

use super::LiveError;
use super::boundaries::Boundaries;
use super::hub::Wanted;
use super::wire::{Closed, Opened, Opening, Order, Report};
use crate::bindings::{Binding, Bindings, Range, TopicPartition};
use crate::checkpoint::{Checkpointer, Fence};
use crate::sinks::clickhouse::{Epochs, FrontierWriter};
use crate::telemetry::Telemetry;

/// How long the end of a run waits for what was read to be published.
const DRAIN: Duration = Duration::from_secs(10);
/// How often it is looked what the binding log may forget.
const SWEEP: Duration = Duration::from_millis(50);

/// How fast things go.
#[derive(Copy, Clone, Debug)]
pub struct Pace {
    /// From one epoch to the next.
    pub epoch: Duration,
    /// From one emission to the next, at least.
    pub emission: Duration,
    /// End once nothing has arrived for this long.
    pub until_idle: Option<Duration>,
    /// When windows freeze.
    pub terms: Terms,
}

/// The first process's view of all of them.
pub struct Coordinator {
    pace: Pace,
    log: Bindings,
    fence: Fence,
    frontier: FrontierWriter,
    processes: Vec<Standing>,
    /// What was read into epochs that some process has not closed yet.
    unbound: BTreeMap<Epoch, Vec<Range>>,
    /// All epochs up to here are bound, so they may be published.
    bound: Epoch,
    /// The last of them into which anything was read.
    last: Epoch,
    /// All up to here was asked for to be published.
    emitted: Epoch,
    /// What a checkpoint brought that was never published is published as a whole or not at all: up to
    /// here.
    whole: Epoch,
    /// All up to here was handed to whoever notes the frontier, and is noted.
    noting: Epoch,
    noted: Epoch,
    first: Epoch,
    epoch: Epoch,
    decider: Decider<TopicPartition>,
    /// The rows that say how far numbers look back.
    rules: Lookups,
    /// For what is to be published, and for what is to be bound.
    boundaries: Boundaries,
    horizons: Boundaries,
    telemetry: Arc<Telemetry>,
    epoch_began: Instant,
    emission_began: Instant,
    swept: Instant,
    /// When something arrived last, or there was nothing left to be read again.
    arrived: Option<Instant>,
    /// The epoch in which it was noticed that nothing had arrived for long.
    quiet: Option<Epoch>,
    /// Since when the run is being ended.
    draining: Option<Instant>,
    over: bool,
}

/// How far a process is.
#[derive(Copy, Clone, Debug)]
struct Standing {
    /// It reads into no epoch before this one.
    closed: Epoch,
    drained: bool,
    handed: Epoch,
    inserted: Epoch,
    /// How far a checkpoint may go for its archive's sake.
    anchored: Epoch,
}

/// The first epoch of a start, behind all that were bound or published.
pub fn first_epoch(bound: Epoch) -> Epoch {
    now_millis().max(bound + 1)
}

fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Coordinator {
    /// Goes on from `opening` with so many processes.
    pub fn new(
        opening: &Opening,
        (log, fence): (Bindings, Fence),
        frontier: FrontierWriter,
        (processes, telemetry): (usize, Arc<Telemetry>),
        pace: Pace,
    ) -> Self {
        let mut boundaries = Boundaries::new(opening.published_horizon());
        let later = opening.history.iter().filter(|binding| binding.epoch > opening.published);
        later.for_each(|binding| boundaries.note(binding.epoch, binding.horizon));
        let horizon = opening.opened().horizon;
        let Opening { history, published, first, .. } = opening;
        let (handed, inserted) = (*published, *published);
        let standing = Standing { closed: 0, drained: false, handed, inserted, anchored: 0 };
        let now = Instant::now();
        Self {
            pace,
            log,
            fence,
            frontier,
            processes: vec![standing; processes],
            unbound: BTreeMap::new(),
            bound: first - 1,
            last: history.last().map_or(opening.claim.epoch, |binding| binding.epoch),
            emitted: *published,
            whole: opening.claim.epoch,
            noting: *published,
            noted: 0,
            first: *first,
            epoch: *first,
            decider: Decider::new(pace.terms, horizon),
            rules: Lookups::default(),
            boundaries,
            horizons: Boundaries::new(horizon),
            telemetry,
            epoch_began: now,
            emission_began: now,
            swept: now,
            arrived: None,
            quiet: None,
            draining: None,
            over: false,
        }
    }

    /// Hears of what has happened in a process.
    ///
    /// # Errors
    /// It failed, or the log can't be written.
    pub fn hear(
        &mut self,
        process: usize,
        report: Report,
        checkpointer: &Checkpointer,
    ) -> Result<(), LiveError> {
        let standing = &mut self.processes[process];
        match report {
            Report::Closed(closed) => self.close(process, closed),
            Report::Handed(epoch) => standing.handed = epoch,
            Report::Inserted(epoch) => standing.inserted = epoch,
            Report::Anchored(epoch) => standing.anchored = epoch,
            Report::Errand(errand) => checkpointer.bring(errand),
            Report::Board { shown, rejected } => self.telemetry.other(process, *shown, rejected),
            // The clerk has shown it.
            Report::Changed(_) => {}
            Report::Stop => _ = self.draining.get_or_insert_with(Instant::now),
            Report::Failed(reason) => return Err(LiveError::Elsewhere { process, reason }),
        }
        Ok(())
    }

    /// Takes in what a process has closed.
    fn close(&mut self, process: usize, closed: Closed) {
        let Closed { before, bindings, seen, rules, drained, held_back } = closed;
        seen.into_iter().for_each(|(place, seen)| self.decider.observe(place, seen));
        if !rules.is_empty() {
            rules.into_iter().for_each(|(row, diff)| self.rules.update(row, diff));
            self.decider.set_windows(self.rules.windows());
        }
        let standing = &mut self.processes[process];
        (standing.closed, standing.drained) = (before, drained);
        let has_read = |binding: &Binding| binding.ranges.iter().any(|range| range.from < range.to);
        if held_back || bindings.iter().any(has_read) {
            (self.arrived, self.quiet) = (Some(Instant::now()), None);
        }
        for Binding { epoch, ranges, .. } in bindings {
            self.unbound.entry(epoch).or_default().extend(ranges);
        }
    }

    /// Binds what every process has closed, while the place is ours: else another run may have read
    /// the log already, and bind the same offsets to other epochs. What was written counts only if the
    /// place is still ours then.
    fn bind(&mut self) -> Result<(), LiveError> {
        let closed = self.closed();
        while self.fence.holds() {
            let first = self.unbound.first_entry().filter(|entry| *entry.key() < closed);
            let Some(entry) = first else {
                self.bound = self.bound.max(closed.saturating_sub(1));
                break;
            };
            let (epoch, ranges) = entry.remove_entry();
            let horizon = self.horizons.at(epoch);
            self.log.append(&Binding { epoch, ranges, horizon })?;
            self.last = epoch;
        }
        Ok(())
    }

    fn closed(&self) -> Epoch {
        self.processes.iter().map(|standing| standing.closed).min().unwrap_or_default()
    }

    /// What is to be done next. All tables are complete up to `complete`.
    ///
    /// # Errors
    /// The frontier or the log can't be written.
    pub fn go_on(&mut self, complete: Epoch, checkpointer: &Checkpointer) -> Result<Vec<Order>, LiveError> {
        let mut orders: Vec<Order> = checkpointer.errands().into_iter().map(Order::Errand).collect();
        if self.over {
            return Ok(orders);
        }
        orders.extend(self.tick());
        self.bind()?;
        orders.extend(self.emit(complete));
        orders.extend(self.note_frontier());
        let kept = self.kept();
        checkpointer.published(kept);
        self.sweep(checkpointer)?;
        orders.extend(self.end_if_idle());
        orders.extend(self.drain(checkpointer, kept));
        Ok(orders)
    }

    /// The clock of the first process alone says which epoch it is, so clocks need not agree.
    fn tick(&mut self) -> Option<Order> {
        if self.epoch_began.elapsed() < self.pace.epoch {
            return None;
        }
        self.epoch = now_millis().max(self.epoch + 1);
        self.epoch_began = Instant::now();
        let (epoch, before) = (self.epoch, self.decider.horizon());
        // Before all workers have closed an epoch, there are partitions that nobody spoke of.
        let horizon = if self.is_recovering() { before } else { self.decider.decide(epoch) };
        if horizon != before {
            // It is bound even if nothing is read into this epoch.
            self.unbound.entry(epoch).or_default();
            self.horizons.note(epoch, horizon);
            self.boundaries.note(epoch, horizon);
        }
        self.telemetry.horizon(self.decider.watermark(), horizon.freeze);
        Some(Order::Tick(Opened { epoch, horizon }))
    }

    fn emit(&mut self, complete: Epoch) -> Option<Order> {
        let due = match self.draining {
            None => self.emission_began.elapsed() >= self.pace.emission,
            Some(_) => self.emitted < self.last,
        };
        let (last, horizon) = self.boundaries.emission(self.emitted, self.bound.min(complete));
        let awaited = self.processes.iter().any(|standing| standing.handed < self.emitted);
        if !due || awaited || last <= self.emitted || last < self.whole {
            return None;
        }
        self.emission_began = Instant::now();
        let first = std::mem::replace(&mut self.emitted, last) + 1;
        Some(Order::Emit(Wanted { epochs: Epochs { first, last }, freeze: horizon.freeze }))
    }

    /// Notes what all have inserted, and tells all what is noted by now.
    fn note_frontier(&mut self) -> Option<Order> {
        let inserted = self.processes.iter().map(|standing| standing.inserted).min().unwrap_or_default();
        if inserted > self.noting {
            let first = std::mem::replace(&mut self.noting, inserted) + 1;
            self.frontier.note(Epochs { first, last: inserted });
        }
        let before = std::mem::replace(&mut self.noted, self.frontier.noted());
        (self.noted > before).then_some(Order::Published(self.noted))
    }

    /// Up to where a checkpoint may go.
    fn kept(&self) -> Epoch {
        self.processes.iter().map(|standing| standing.anchored).fold(self.noted, Epoch::min)
    }

    fn sweep(&mut self, checkpointer: &Checkpointer) -> Result<(), LiveError> {
        if self.swept.elapsed() < SWEEP {
            return Ok(());
        }
        self.swept = Instant::now();
        self.log.forget(checkpointer.safe())?;
        if let Some(error) = self.fence.failure() {
            return Err(error.into());
        }
        self.frontier.failure().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether some process still reads what was read before this start.
    fn is_recovering(&self) -> bool {
        self.closed() <= self.first
    }

    /// Nothing has arrived for long: neither in the epochs that are closed, nor in those that were
    /// open when that was noticed.
    fn end_if_idle(&mut self) -> Option<Order> {
        let quiet = self.pace.until_idle?;
        if self.draining.is_some() || self.is_recovering() {
            return None;
        }
        let arrived = *self.arrived.get_or_insert_with(Instant::now);
        if arrived.elapsed() < quiet {
            return None;
        }
        let noticed = *self.quiet.get_or_insert(self.epoch + 1);
        if self.closed() < noticed || self.noted < self.last {
            return None;
        }
        self.draining = Some(Instant::now());
        Some(Order::Drain)
    }

    /// Ends the run once all that was read is published and in a checkpoint.
    fn drain(&mut self, checkpointer: &Checkpointer, kept: Epoch) -> Option<Order> {
        let since = self.draining?;
        if self.is_recovering() {
            return Some(self.end());
        }
        let drained = self.unbound.is_empty() && self.processes.iter().all(|standing| standing.drained);
        // Nothing is noted behind what archives and checkpoint were told of.
        let settled = self.noting == self.noted && self.noted >= self.last && kept == self.noted;
        if drained && settled && checkpointer.has_saved(kept) {
            return Some(self.end());
        }
        if since.elapsed() >= DRAIN {
            tracing::warn!(
                "what was read could not be published and kept within {} s; the next start will",
                DRAIN.as_secs()
            );
            return Some(self.end());
        }
        (!drained).then_some(Order::Drain)
    }

    fn end(&mut self) -> Order {
        self.over = true;
        Order::End(None)
    }
}

//! One worker of the live run: reads its partitions, epoch by epoch, and brings what changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::model::horizon::Gate;
use dataflows::model::lookups::LookupRow;
use dataflows::model::time::{Epoch, EventTime, Millis};
use dataflows::rules::horizon::Seen;
use timely::worker::Worker;

use super::archiving::Archiving;
use super::binder::Closing;
use super::clerk::Clerk;
use super::expiring::{Expired, Expiring};
use super::following::Following;
use super::gauges::Gauges;
use super::hub::Wanted;
use super::shares::{add_dimensions, check};
use super::wire::{Opened, Opening};
use super::{LiveError, Process, Shared};
use crate::bindings::{Binding, Range, TopicPartition};
use crate::checkpoint::{CheckpointError, Fed, Records, RejectCount};
use crate::formats::dimension::{DimensionChange, DimensionRow};
use crate::formats::{Batch, RowChange};
use crate::names::Dated;
use crate::runtime::job::Job;
use crate::runtime::telling::Neighbours;
use crate::serve::update::Update;
use crate::sinks::clickhouse::{Epochs, Reject, Upserts};
use crate::sources::kafka::{Budget, KafkaSource, RangesLeft, Share};
use crate::telemetry::Reading;

/// What is read between two steps of the dataflow.
const BUDGET: Budget = Budget { messages: 8192, bytes: 4 << 20, wait: Duration::from_millis(2) };
/// How long the dataflow is waited for when there is nothing to read.
const PARK: Duration = Duration::from_millis(1);
/// The same at the start.
const PATIENCE: Duration = Duration::from_millis(20);
/// How much of what a start finds is shown from memory; what is older comes from ClickHouse.
const SHOWN: Millis = Millis::hours(48);
/// Epochs that are read before the first of them is worked off.
const EPOCHS_AHEAD: usize = 8;

pub(super) struct LiveWorker<'a> {
    process: &'a Process,
    shared: &'a Shared,
    /// In the first worker of a process.
    clerk: Option<&'a mut Clerk>,
    /// Among the workers of this process.
    index: usize,
    source: KafkaSource,
    job: Job,
    following: Following,
    expiring: Expiring,
    gauges: Gauges,
    /// A horizon that took effect in the present epoch.
    expired: Option<Expired>,
    batch: Batch,
    /// What was read into the present epoch.
    ranges: BTreeMap<TopicPartition, Range>,
    /// The same, for the checkpoint.
    records: Records,
    archiving: Archiving<'a>,
    rows: Vec<RowChange>,
    /// Changes of rules that nobody was told of.
    rules: Vec<(LookupRow, isize)>,
    /// Closed epochs that are not complete yet.
    unfinished: Vec<Epoch>,
    /// Beside the tables, what is still to be brought, by epoch.
    rejects: Vec<(Epoch, Reject)>,
    dimensions: Vec<(Epoch, DimensionChange)>,
    /// Everything up to here was brought.
    brought: Epoch,
    /// Nothing is read any more.
    drained: bool,
    /// There was no room for more in the present epoch.
    held_back: bool,
}

impl<'a> LiveWorker<'a> {
    pub(super) fn open(
        worker: &mut Worker,
        process: &'a Arc<Process>,
        shared: &'a Shared,
        clerk: Option<&'a mut Clerk>,
    ) -> Result<Self, LiveError> {
        let share = Share { worker: worker.index(), workers: worker.peers() };
        let registry = shared.registry.as_ref();
        let source = KafkaSource::open(&process.kafka, share, &shared.positions, &shared.names, registry)?;
        let theirs = Arc::downgrade(process);
        let collided = move |collision| {
            if let Some(process) = theirs.upgrade() {
                process.fail(CheckpointError::from(collision).into());
            }
        };
        let (names, workers) = (Arc::clone(&shared.names), process.options.cluster.workers());
        let neighbours = Neighbours { names, workers, collided: Arc::new(collided) };
        let mut job = Job::live(worker, &neighbours);
        let following = Following::new(worker, job.outputs());
        let mut batch = Batch::default();
        let archiving = Archiving::new(shared.archiver.as_ref(), &mut batch);
        Ok(Self {
            process,
            shared,
            clerk,
            index: worker.index() % workers,
            source,
            job,
            following,
            expiring: Expiring::default(),
            gauges: Gauges::new(&process.telemetry, process.options.cluster.process(), worker.index()),
            expired: None,
            batch,
            ranges: BTreeMap::new(),
            records: Records::default(),
            archiving,
            rows: Vec::new(),
            rules: Vec::new(),
            unfinished: Vec::new(),
            rejects: Vec::new(),
            dimensions: Vec::new(),
            brought: shared.opening.published,
            drained: false,
            held_back: false,
        })
    }

    pub(super) fn run(mut self, worker: &mut Worker) -> Result<(), LiveError> {
        let done = self.work(worker);
        self.source.close();
        done
    }

    fn work(&mut self, worker: &mut Worker) -> Result<(), LiveError> {
        self.recover(worker)?;
        while !self.process.is_over() {
            let moved = self.read()? || self.expiring.is_busy();
            self.expire()?;
            self.end_epoch()?;
            if moved {
                let began = Instant::now();
                worker.step();
                self.gauges.stepped(began);
            } else {
                // Other workers and both servers may want this core.
                worker.step_or_park(Some(PARK));
            }
            self.bring()?;
            self.attend()?;
            self.gauges.look(&mut self.job, &self.shared.names);
        }
        Ok(())
    }

    /// Speaks for the process, if that is this worker's to do.
    fn attend(&mut self) -> Result<(), LiveError> {
        let Some(clerk) = &mut self.clerk else { return Ok(()) };
        clerk.attend(self.process, self.shared, self.job.outputs().complete())
    }

    /// Reads what was read before: the checkpoint and all that is published at once, the rest epoch
    /// by epoch, as it was bound.
    fn recover(&mut self, worker: &mut Worker) -> Result<(), LiveError> {
        let shared = self.shared;
        let Opening { claim, history, published, first, .. } = &shared.opening;
        if claim.epoch > *published {
            // It came from an archive: all of it is a change, of that epoch.
            self.job.advance_to(claim.epoch);
        }
        self.load(worker)?;
        self.archive_missed()?;
        let (past, rest) = history.split_at(history.partition_point(|binding| binding.epoch <= *published));
        // What is published is as one epoch, but for what expired meanwhile.
        for bindings in past.chunk_by(|a, b| a.horizon == b.horizon) {
            self.begin_again(worker, &bindings[0])?;
            for binding in bindings {
                self.read_again(worker, binding)?;
            }
            let last = bindings.last().map_or(*published, |binding| binding.epoch);
            self.hand_on(last, joined(bindings));
        }
        self.job.advance_to(rest.first().map_or(*first, |binding| binding.epoch));
        let last = self.job.epoch() - 1;
        while !self.job.outputs().is_complete(last) && !self.process.is_over() {
            worker.step_or_park(Some(PATIENCE));
            self.attend()?;
        }
        // What the tables hold is published: only what changes from here on is of interest.
        self.show_held(*published);
        self.rejects.clear();
        self.dimensions.clear();
        for binding in rest {
            self.begin_again(worker, binding)?;
            self.read_again(worker, binding)?;
            self.hand_on(binding.epoch, binding.ranges.clone());
            self.unfinished.push(binding.epoch);
        }
        self.begin(shared.opening.opened());
        shared.checkpointer.ready();
        self.archiving.ready();
        Ok(())
    }

    /// Shows the newest of what is published and held, if anybody looks; all of it is published.
    fn show_held(&mut self, published: Epoch) {
        let hub = &self.shared.hub;
        if !hub.shows() {
            return self.following.skip(published);
        }
        let freeze = self.shared.opening.published_horizon().freeze;
        let recent = self.job.latest().and_then(|latest| EventTime::from_millis(latest.millis() - SHOWN.0));
        // If nothing is held, all that is published is frozen.
        let since = recent.map_or((published > 0).then_some(freeze), |recent| Some(recent.max(freeze)));
        let epochs = Epochs { first: 0, last: published };
        let mut held = self.following.take(epochs, since.unwrap_or(freeze));
        add_dimensions(&mut held, std::mem::take(&mut self.dimensions));
        hub.show(Update::from(&held).since(since.map(EventTime::millis)).latest(self.job.reached_by_feed()));
    }

    /// Starts to read into an epoch.
    fn begin(&mut self, Opened { epoch, horizon }: Opened) {
        self.job.advance_to(epoch);
        self.expiring.begin(epoch, horizon);
        self.batch.gate = Gate::live(epoch, &horizon);
    }

    /// Starts to read into an epoch that was read before; what expired in it does so first.
    fn begin_again(&mut self, worker: &mut Worker, binding: &Binding) -> Result<(), LiveError> {
        let Binding { epoch, horizon, .. } = *binding;
        self.begin(Opened { epoch, horizon });
        while self.expiring.is_busy() && !self.process.is_over() {
            self.expire()?;
            worker.step();
            self.attend()?;
        }
        Ok(())
    }

    /// Lets records go whose time is up.
    fn expire(&mut self) -> Result<(), LiveError> {
        if let Some(expired) = self.expiring.work(&mut self.job) {
            let Expired { horizon, gone, kept } = &expired;
            let (names, edge) = (&self.shared.names, horizon.ids());
            kept.ids().try_for_each(|id| names.hold(id, edge)).map_err(CheckpointError::from)?;
            self.gauges.expired(gone);
            tracing::debug!(
                epoch = self.job.epoch(),
                freeze = horizon.freeze.millis(),
                ?gone,
                "records expired"
            );
            self.expired = Some(expired);
        }
        Ok(())
    }

    /// Takes its share of the checkpoint in.
    fn load(&mut self, worker: &mut Worker) -> Result<(), LiveError> {
        let Shared { recovery, store, names, .. } = self.shared;
        let telemetry = &self.process.telemetry;
        let mut more = true;
        while more && !self.process.is_over() {
            let job = &mut self.job;
            more = recovery.next::<LiveError>(store, names, &mut self.batch, |batch, rejects| {
                telemetry.held(batch);
                job.feed(batch);
                rejects.into_iter().for_each(|RejectCount { minute, feed, reason, count }| {
                    job.count_rejects(minute, feed, reason, count);
                });
                worker.step();
                Ok(())
            })?;
            self.attend()?;
        }
        for ((place, key), row) in &recovery.rows {
            if self.source.owns(place) {
                let text = row.text.clone().map(Dated::always);
                text.iter().try_for_each(|text| names.restore(text)).map_err(CheckpointError::from)?;
                self.source.restore(&place.topic, key, row.clone());
                row.rule.into_iter().for_each(|rule| self.change_lookup(rule, 1));
                let known = row.dimension.clone();
                let known =
                    known.map(|DimensionRow { dimension, id, attributes }| (dimension, id, Some(attributes)));
                self.dimensions.extend(known.map(|known| (recovery.manifest.epoch, known)));
            }
        }
        let horizon = recovery.manifest.horizon;
        recovery.residues.restore(names).map_err(CheckpointError::from)?;
        // Every worker knows their names, and one of all brings them in.
        if worker.index() == 0 {
            recovery.residues.open(horizon.freeze).for_each(|residue| self.job.add_residue(residue));
        }
        self.expiring.resume(horizon);
        Ok(())
    }

    fn change_lookup(&mut self, row: LookupRow, diff: isize) {
        self.job.change_lookup(row, diff);
        if row.is_window() {
            self.rules.push((row, diff));
        }
    }

    /// Hands what was read into an epoch to the checkpoint.
    fn hand_on(&mut self, epoch: Epoch, mut ranges: Vec<Range>) {
        ranges.retain(|range| self.source.owns(&range.place));
        self.archiving.hand_on(epoch, &ranges);
        let (records, rows) = (std::mem::take(&mut self.records), std::mem::take(&mut self.rows));
        let expired =
            self.expired.take().map(|Expired { horizon, kept, .. }| (horizon, Records::kept(&kept)));
        if !ranges.is_empty() || expired.is_some() {
            self.shared.checkpointer.feed(Fed { epoch, ranges, records, rows, expired });
        }
    }

    /// Reads what an epoch was made of, and judges it as it was judged then.
    fn read_again(&mut self, worker: &mut Worker, binding: &Binding) -> Result<(), LiveError> {
        self.batch.gate = Gate::live(binding.epoch, &binding.horizon);
        for (ranges, archived) in self.archiving.cut(binding.ranges.clone()).into_iter().zip([true, false]) {
            let ours = ranges.into_iter().filter(|range| self.source.owns(&range.place));
            let mut left = RangesLeft::new(ours);
            self.archiving.set_archived(archived);
            while !left.is_empty() && !self.process.is_over() {
                self.batch.clear();
                self.source.read_ranges(&mut left, BUDGET, &mut self.batch)?;
                self.feed();
                worker.step();
                self.attend()?;
            }
        }
        Ok(())
    }

    /// Reads what the checkpoint holds and the archive doesn't, for the archive alone.
    fn archive_missed(&mut self) -> Result<(), LiveError> {
        // How it was judged is not known any more; at worst the archive has more than was counted.
        self.batch.gate = Gate::OPEN;
        let manifest = &self.shared.recovery.manifest;
        let mut missed = self.archiving.missed(&manifest.positions());
        missed.retain(|range| self.source.owns(&range.place));
        let mut left = RangesLeft::new(missed.clone());
        while !left.is_empty() && !self.process.is_over() {
            self.batch.clear();
            self.source.read_ranges(&mut left, BUDGET, &mut self.batch)?;
            self.archiving.add(&self.batch);
            self.attend()?;
        }
        self.archiving.catch_up(&missed, &self.shared.recovery.rows);
        self.archiving.hand_on(manifest.epoch, &missed);
        Ok(())
    }

    /// Reads what has arrived, while there is room for what comes of it. Waits for it only when all
    /// epochs before are worked off. Returns whether there was something.
    fn read(&mut self) -> Result<bool, LiveError> {
        let (job, unfinished) = (&mut self.job, &mut self.unfinished);
        unfinished.retain(|epoch| !job.outputs().is_complete(*epoch));
        let Shared { hub, checkpointer, .. } = self.shared;
        self.drained = self.process.is_draining();
        let full = !hub.has_room() || !checkpointer.has_room() || !self.archiving.has_room();
        self.held_back |= full;
        if self.drained || full || unfinished.len() > EPOCHS_AHEAD {
            return Ok(false);
        }
        let wait = if unfinished.is_empty() { BUDGET.wait } else { Duration::ZERO };
        self.batch.clear();
        for range in self.source.poll(Budget { wait, ..BUDGET }, &mut self.batch)? {
            match self.ranges.get_mut(&range.place) {
                Some(known) => known.to = range.to,
                None => _ = self.ranges.insert(range.place.clone(), range),
            }
        }
        let any = !self.batch.is_empty();
        if any {
            self.feed();
        }
        Ok(any)
    }

    fn feed(&mut self) {
        self.process.telemetry.batch(&self.batch);
        self.gauges.read(self.batch.events() + self.batch.rejects.len());
        self.job.feed(&self.batch);
        self.records.add(&self.batch);
        self.archiving.add(&self.batch);
        self.rows.append(&mut self.batch.rows);
        let epoch = self.job.epoch();
        for (row, diff) in std::mem::take(&mut self.batch.lookups) {
            self.change_lookup(row, diff);
        }
        self.dimensions.extend(self.batch.dimensions.drain(..).map(|change| (epoch, change)));
        for fault in self.batch.lookup_faults.drain(..) {
            tracing::warn!(origin = ?fault.origin, "a lookup row was not taken: {}", fault.hint);
        }
        self.rejects.extend(self.batch.rejects.drain(..).map(|reject| (epoch, reject.into())));
    }

    fn end_epoch(&mut self) -> Result<(), LiveError> {
        let epoch = self.job.epoch();
        if self.shared.binder.current() > epoch && !self.expiring.is_busy() {
            let ranges: Vec<_> = std::mem::take(&mut self.ranges).into_values().collect();
            self.hand_on(epoch, ranges.clone());
            let seen = self.source.seen(self.process.config.time.idle_timeout);
            for (place, Seen { greatest, idle }) in &seen {
                let (greatest, idle, behind) = (*greatest, *idle, self.source.behind(place));
                self.process.telemetry.partition(place, Reading { greatest, behind, idle });
            }
            self.gauges.closed(epoch);
            let (rules, drained) = (std::mem::take(&mut self.rules), self.drained);
            let held_back = std::mem::take(&mut self.held_back);
            let closing = Closing { ranges, seen, rules, drained, held_back };
            let next = self.shared.binder.close(self.index, epoch, closing);
            self.begin(next);
            self.unfinished.push(epoch);
            self.source.discover()?;
        }
        Ok(())
    }

    /// Brings the changes that are asked for, once they are complete.
    fn bring(&mut self) -> Result<(), LiveError> {
        let (shared, outputs) = (self.shared, self.job.outputs());
        if let Some(Wanted { epochs, freeze }) = shared.hub.wanted()
            && epochs.last > self.brought
            && outputs.is_complete(epochs.last)
        {
            self.brought = epochs.last;
            let mut share = self.following.take(epochs, freeze);
            check(&share)?;
            self.add_rest(&mut share);
            shared.hub.bring(share);
            self.source.commit(&self.source.positions());
        }
        Ok(shared.hub.hand_over()?)
    }

    fn add_rest(&mut self, share: &mut Upserts) {
        let last = share.epochs.last;
        let rejects = self.rejects.extract_if(.., |(epoch, _)| *epoch <= last);
        share.rejects = rejects.map(|(_, reject)| (reject, Some(()))).collect();
        let changes = self.dimensions.extract_if(.., |(epoch, _)| *epoch <= last);
        add_dimensions(share, changes.collect());
    }
}

/// All ranges of bindings, those of one partition joined.
fn joined(bindings: &[Binding]) -> Vec<Range> {
    let mut ranges: BTreeMap<&TopicPartition, Range> = BTreeMap::new();
    for range in bindings.iter().flat_map(|binding| &binding.ranges) {
        ranges.entry(&range.place).or_insert_with(|| range.clone()).to = range.to;
    }
    ranges.into_values().collect()
}

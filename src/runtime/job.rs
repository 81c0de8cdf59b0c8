//! One worker's part of the running job: its inputs, its share of the tables, its epoch.

use std::collections::HashMap;
use std::time::Duration;

use dataflows::expiry::Gone;
use dataflows::graphs::catalogue::{Inputs, Outputs, Traces, build_traced};
use dataflows::graphs::residue::Residue;
use dataflows::model::lookups::LookupRow;
use dataflows::model::reject::{Feed, Quality, QualityKey, Reason};
use dataflows::model::time::{Epoch, EventTime, Minute};
use dataflows::size::sizes;
use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::frozen::Frozen;
use super::publish::{Publication, Totals};
use super::telling::{Neighbours, Telling};
use crate::checkpoint::RejectCount;
use crate::formats::Batch;
use crate::sinks::table_file::PublishError;

/// How long an idle worker sleeps before it asks again whether the run was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

/// What the sources counted, per feed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Records received.
    pub received: [u64; Feed::ALL.len()],
    /// Records rejected, by reason.
    pub rejected: [[u64; Reason::ALL.len()]; Feed::ALL.len()],
    /// Canonical events: bids, clicks, conversions, impressions.
    pub kinds: [u64; 4],
    /// Those of them that were let go of, as a horizon had passed them.
    pub expired: [u64; 4],
    /// The most rows that were held at a time, where records expire.
    pub state_rows_max: u64,
}

impl Counts {
    /// The names of [`Counts::kinds`].
    pub const KINDS: [&'static str; 4] = ["bids", "clicks", "conversions", "impressions"];

    /// Adds another's counts.
    pub fn add(&mut self, other: &Counts) {
        for (mine, theirs) in self.received.iter_mut().zip(other.received) {
            *mine += theirs;
        }
        for (mine, theirs) in self.kinds.iter_mut().zip(other.kinds) {
            *mine += theirs;
        }
        for (mine, theirs) in self.expired.iter_mut().zip(other.expired) {
            *mine += theirs;
        }
        self.state_rows_max += other.state_rows_max;
        for (mine, theirs) in self.rejected.iter_mut().flatten().zip(other.rejected.iter().flatten()) {
            *mine += theirs;
        }
    }
}

/// A range of event times; what lies outside is not read.
#[derive(Copy, Clone, Debug, Default)]
pub struct TimeRange {
    /// The first instant read.
    pub since: Option<EventTime>,
    /// The first instant no longer read.
    pub until: Option<EventTime>,
}

impl TimeRange {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }

    /// Whether an instant is read.
    pub fn contains(&self, ts: EventTime) -> bool {
        self.since.is_none_or(|since| ts >= since) && self.until.is_none_or(|until| ts < until)
    }

    /// Drops what lies outside. A reject whose time can't be told stays.
    pub fn retain(&self, batch: &mut Batch) {
        if self.is_everything() {
            return;
        }
        batch.bids.retain(|(_, bid)| self.contains(bid.ts));
        batch.impressions.retain(|(_, impression)| self.contains(impression.ts));
        batch.clicks.retain(|(_, click)| self.contains(click.ts));
        batch.conversions.retain(|(_, conversion)| self.contains(conversion.ts));
        batch.rejects.retain(|reject| reject.ts.is_none_or(|ts| self.contains(ts)));
    }
}

/// One worker's part of the job.
pub struct Job {
    inputs: Inputs,
    outputs: Outputs,
    /// Only where records expire: it would keep state alive that the end of the inputs frees.
    traces: Option<Traces>,
    epoch: Epoch,
    counts: Counts,
    arrived: Arrived,
    latest: [Option<EventTime>; Feed::ALL.len()],
    /// With several processes: the texts of keys.
    telling: Option<Telling>,
}

/// Counts of the present epoch.
#[derive(Default)]
struct Arrived {
    counts: HashMap<QualityKey, isize>,
    /// The key counted last, and its count beside `counts`: records come in order of time, more
    /// or less, so that most have the key of the one before.
    latest: Option<(QualityKey, isize)>,
}

impl Arrived {
    fn count(&mut self, key: QualityKey, by: isize) {
        match &mut self.latest {
            Some((latest, count)) if *latest == key => *count += by,
            latest => {
                if let Some((key, count)) = latest.replace((key, by)) {
                    *self.counts.entry(key).or_insert(0) += count;
                }
            }
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = (QualityKey, isize)> {
        self.counts.drain().chain(self.latest.take())
    }
}

impl Job {
    /// Builds this worker's part; all workers are of this process. The first worker brings in the
    /// lookups.
    pub fn new(worker: &mut Worker, lookups: &[LookupRow]) -> Self {
        Self { traces: None, ..Self::build(worker, lookups, None) }
    }

    /// As [`Job::new`], where workers may be of several processes.
    pub fn among(worker: &mut Worker, lookups: &[LookupRow], neighbours: &Neighbours) -> Self {
        Self { traces: None, ..Self::build(worker, lookups, Some(neighbours)) }
    }

    /// As [`Job::among`], with the means to let records expire.
    pub fn expiring(worker: &mut Worker, lookups: &[LookupRow], neighbours: &Neighbours) -> Self {
        Self::build(worker, lookups, Some(neighbours))
    }

    /// The same, without lookups and with the means to let records expire.
    pub fn live(worker: &mut Worker, neighbours: &Neighbours) -> Self {
        Self::build(worker, &[], Some(neighbours))
    }

    fn build(worker: &mut Worker, lookups: &[LookupRow], neighbours: Option<&Neighbours>) -> Self {
        let (mut inputs, outputs, traces, telling) = worker.dataflow_named("job", |scope| {
            let (inputs, outputs, traces) = build_traced(scope);
            let telling = neighbours.and_then(|neighbours| Telling::new(scope, neighbours, &outputs));
            (inputs, outputs, traces, telling)
        });
        if worker.index() == 0 {
            lookups.iter().for_each(|row| inputs.lookups.update(*row, 1));
        }
        let (counts, arrived) = (Counts::default(), Arrived::default());
        Self { inputs, outputs, traces: Some(traces), epoch: 0, counts, arrived, latest: [None; 3], telling }
    }

    /// Takes a batch into the present epoch.
    pub fn feed(&mut self, batch: &Batch) {
        self.change(batch, 1);
        let Batch { bids, impressions, clicks, conversions, rejects, .. } = batch;
        for reject in rejects {
            self.count_rejects(batch.gate.minute(reject.ts), reject.feed, reject.reason, 1);
            self.counts.rejected[reject.feed as usize][reject.reason as usize] += 1;
        }
        let events = bids.len() + impressions.len() + clicks.len() + conversions.len();
        debug_assert_eq!(events, batch.events());
        let by_feed = [bids.len(), clicks.len() + conversions.len(), impressions.len()];
        for (received, (feed, events)) in self.counts.received.iter_mut().zip(Feed::ALL.iter().zip(by_feed)) {
            let rejected = rejects.iter().filter(|reject| reject.feed == *feed).count();
            *received += (events + rejected) as u64;
        }
        let by_kind = [bids.len(), clicks.len(), conversions.len(), impressions.len()];
        self.counts.kinds.iter_mut().zip(by_kind).for_each(|(kind, events)| *kind += events as u64);
        self.telling.iter_mut().for_each(Telling::tell);
    }

    /// Takes the events of a batch out again, from the present epoch on.
    pub fn retract(&mut self, batch: &Batch) {
        self.change(batch, -1);
    }

    fn change(&mut self, Batch { bids, impressions, clicks, conversions, .. }: &Batch, by: isize) {
        for (auction, bid) in bids {
            self.arrive(Feed::BidRequests, bid.ts, by);
            self.inputs.bids.update((*auction, *bid), by);
        }
        for (id, impression) in impressions {
            self.arrive(Feed::Impressions, impression.ts, by);
            self.inputs.impressions.update((*id, *impression), by);
        }
        for (id, click) in clicks {
            self.arrive(Feed::Events, click.ts, by);
            self.inputs.clicks.update((*id, *click), by);
        }
        for (id, conversion) in conversions {
            self.arrive(Feed::Events, conversion.ts, by);
            self.inputs.conversions.update((*id, *conversion), by);
        }
    }

    /// Adds what stays published of records that are gone; on one worker only.
    pub fn add_residue(&mut self, residue: Residue) {
        if let Some((key, count)) = residue.received() {
            self.counts.received[key.feed as usize] += count.unsigned_abs();
        }
        self.inputs.residues.update(residue, 1);
    }

    fn arrive(&mut self, feed: Feed, ts: EventTime, by: isize) {
        let latest = &mut self.latest[feed as usize];
        *latest = (*latest).max(Some(ts));
        self.arrived.count(QualityKey { minute: ts.minute(), feed, what: Quality::Received }, by);
    }

    /// Counts rejects in a minute, which need not be their own.
    pub fn count_rejects(&mut self, minute: Minute, feed: Feed, reason: Reason, count: u64) {
        for what in [Quality::Received, Quality::Rejected(reason)] {
            self.arrived.count(QualityKey { minute, feed, what }, count as isize);
        }
    }

    /// Counts rejects that were kept as numbers, and that the source has not counted.
    pub fn receive_rejects(&mut self, RejectCount { minute, feed, reason, count }: RejectCount) {
        self.count_rejects(minute, feed, reason, count);
        self.counts.received[feed as usize] += count;
        self.counts.rejected[feed as usize][reason as usize] += count;
    }

    /// Ends the present epoch on this worker and starts `epoch`.
    pub fn advance_to(&mut self, epoch: Epoch) {
        for (key, count) in self.arrived.drain() {
            self.inputs.quality.update(key, count);
        }
        self.epoch = epoch;
        self.inputs.advance_to(epoch);
        self.telling.iter_mut().for_each(|telling| telling.advance_to(epoch));
        self.outputs.compact_to(epoch - 1);
        if let Some(traces) = &mut self.traces {
            traces.compact_to(epoch - 1);
        }
    }

    /// Works until every table is complete before the present epoch, on all workers, or until
    /// `stopped` says that it never will be.
    pub fn catch_up(&mut self, worker: &mut Worker, stopped: impl Fn() -> bool) {
        while !(self.outputs.is_complete(self.epoch - 1) || stopped()) {
            worker.step_or_park(Some(PATIENCE));
        }
    }

    /// Adds `diff` copies of a lookup row in the present epoch; on one worker only.
    pub fn change_lookup(&mut self, row: LookupRow, diff: isize) {
        self.inputs.lookups.update(row, diff);
    }

    /// The inputs, what they hold, and the tables; only of one that lets records expire.
    pub fn held(&mut self) -> Option<(&mut Inputs, &mut Traces, &mut Outputs)> {
        Some((&mut self.inputs, self.traces.as_mut()?, &mut self.outputs))
    }

    /// Counts records that were let go of.
    pub fn note_expired(&mut self, Gone { bids, clicks, conversions, impressions }: &Gone) {
        let gone = [bids, clicks, conversions, impressions];
        self.counts.expired.iter_mut().zip(gone).for_each(|(expired, gone)| *expired += *gone as u64);
    }

    /// Notes how much is held, of one that lets records expire.
    pub fn note_size(&mut self) {
        if let Some(traces) = &mut self.traces {
            let rows: usize = sizes(traces, &mut self.outputs).iter().map(|size| size.rows).sum();
            self.counts.state_rows_max = self.counts.state_rows_max.max(rows as u64);
        }
    }

    /// The present epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The greatest time of an event that this worker's sources read.
    pub fn latest(&self) -> Option<EventTime> {
        self.latest.iter().copied().max().flatten()
    }

    /// The same of each feed.
    pub fn reached_by_feed(&self) -> [Option<EventTime>; Feed::ALL.len()] {
        self.latest
    }

    /// How far all feeds are: the least of the greatest times of each.
    pub fn reached(&self) -> Option<EventTime> {
        self.latest.iter().copied().min().flatten()
    }

    /// What this worker's sources counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The tables, for reading while the job runs.
    pub fn outputs(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// Ends the job: no more will come. Waits until that holds for all workers, then publishes
    /// this one's part of every table together with them, unless `stopped` says that there is no
    /// point in it. Windows that are `frozen` keep what they had.
    pub fn finish(
        self,
        worker: &mut Worker,
        publication: &Publication,
        frozen: Frozen,
        stopped: impl Fn() -> bool,
    ) -> Result<Totals, PublishError> {
        let Self { mut inputs, outputs, traces, mut arrived, telling, .. } = self;
        drop(traces);
        for (key, count) in arrived.drain() {
            inputs.quality.update(key, count);
        }
        // Graphs whose inputs have ended let go of their state: what is made of it needs the room.
        drop(inputs);
        if let Some(telling) = telling {
            telling.end();
        }
        // Another worker may be epochs ahead, and what it reads there is partly for this one.
        while !(outputs.is_complete(Epoch::MAX) || stopped()) {
            worker.step_or_park(Some(PATIENCE));
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
        if stopped() {
            return Ok(Totals::default());
        }
        publication.contribute(worker.index() % publication.workers(), outputs, frozen, Epoch::MAX, &stopped)
    }
}

//! What moves when records are taken out: the checkpoint through the same graphs, and their retraction.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataflows::model::time::Epoch;
use dataflows::rules::erasure::{Concerns, Subject};
use timely::worker::Worker;

use super::{EraseError, Tell};
use crate::archive::Removed;
use crate::checkpoint::{CheckpointError, Recovery, RejectCount};
use crate::formats::Batch;
use crate::names::{Dated, SharedNames};
use crate::runtime::job::Job;
use crate::runtime::live::shares::check;
use crate::runtime::live::{Following, LiveError};
use crate::runtime::telling::Neighbours;
use crate::sinks::clickhouse::{Epochs, Upserts};
use crate::store::Store;

const PATIENCE: Duration = Duration::from_millis(20);

/// What came of it.
pub(super) struct Forgotten {
    /// Records that were taken out.
    pub removed: Removed,
    /// The rows that change, as they were.
    pub before: Upserts,
    /// The same rows without the records.
    pub after: Upserts,
}

/// What the workers share.
struct Shared {
    recovery: Recovery,
    store: Arc<Store>,
    names: SharedNames,
    subject: Subject,
    epoch: Epoch,
    parts: Mutex<Vec<Forgotten>>,
    failure: Mutex<Option<EraseError>>,
}

impl Shared {
    fn fail(&self, error: EraseError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Loads a checkpoint, and takes the records of `subject` out of it in `epoch`.
pub(super) fn forget(
    (recovery, store): (Recovery, Arc<Store>),
    names: &SharedNames,
    subject: &Subject,
    (epoch, workers): (Epoch, usize),
    tell: &Tell<'_>,
) -> Result<Forgotten, EraseError> {
    tell("working out what moves", 0, 0);
    let (parts, failure) = Default::default();
    let (names, subject) = (Arc::clone(names), subject.clone());
    let shared = Arc::new(Shared { recovery, store, names, subject, epoch, parts, failure });
    let theirs = Arc::clone(&shared);
    let guards = timely::execute(timely::Config::process(workers.max(1)), move |worker| {
        work(worker, &theirs).unwrap_or_else(|error| theirs.fail(error));
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    });
    for result in guards.map_err(LiveError::Worker)?.join() {
        result.map_err(LiveError::Worker)?;
    }
    if let Some(error) = shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    let epochs = Epochs { first: epoch, last: epoch };
    let all =
        Forgotten { removed: Removed::default(), before: Upserts::new(epochs), after: Upserts::new(epochs) };
    let parts = std::mem::take(&mut *shared.parts.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(parts.into_iter().fold(all, |mut all, part| {
        all.removed.add(part.removed);
        all.before.append(part.before);
        all.after.append(part.after);
        all
    }))
}

fn work(worker: &mut Worker, shared: &Arc<Shared>) -> Result<(), EraseError> {
    let theirs = Arc::clone(shared);
    let collided = move |collision| theirs.fail(CheckpointError::from(collision).into());
    let neighbours = Neighbours {
        names: Arc::clone(&shared.names),
        workers: worker.peers(),
        collided: Arc::new(collided),
    };
    let mut job = Job::live(worker, &neighbours);
    let mut following = Following::new(worker, job.outputs());
    let theirs = load(worker, &mut job, shared)?;
    job.advance_to(shared.epoch);
    job.catch_up(worker, || shared.has_failed());
    following.skip(shared.epoch - 1);
    job.retract(&theirs);
    job.advance_to(shared.epoch + 1);
    while !(job.outputs().is_complete(shared.epoch) || shared.has_failed()) {
        worker.step_or_park(Some(PATIENCE));
    }
    if shared.has_failed() {
        return Ok(());
    }
    let epochs = Epochs { first: shared.epoch, last: shared.epoch };
    let [before, after] = following.take_moved(epochs, shared.recovery.manifest.horizon.freeze);
    check(&after)?;
    let part = Forgotten { removed: Removed::of_batch(&theirs), before, after };
    shared.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    Ok(())
}

/// Takes this worker's share of the checkpoint in; returns what is the subject's of it.
fn load(worker: &mut Worker, job: &mut Job, shared: &Shared) -> Result<Batch, EraseError> {
    let Shared { recovery, store, names, subject, .. } = shared;
    let (mut batch, mut theirs) = (Batch::default(), Batch::default());
    let mut more = true;
    while more && !shared.has_failed() {
        more = recovery.next::<CheckpointError>(store, names, &mut batch, |batch, rejects| {
            job.feed(batch);
            rejects.into_iter().for_each(|RejectCount { minute, feed, reason, count }| {
                job.count_rejects(minute, feed, reason, count);
            });
            theirs.bids.extend(batch.bids.iter().filter(|bid| bid.concerns(subject)));
            theirs.impressions.extend(batch.impressions.iter().filter(|shown| shown.concerns(subject)));
            theirs.clicks.extend(batch.clicks.iter().filter(|click| click.concerns(subject)));
            theirs.conversions.extend(batch.conversions.iter().filter(|one| one.concerns(subject)));
            worker.step();
            Ok(())
        })?;
    }
    if worker.index() == 0 {
        for row in recovery.rows.values() {
            let text = row.text.clone().map(Dated::always);
            text.iter().try_for_each(|text| names.restore(text)).map_err(CheckpointError::from)?;
            row.rule.into_iter().for_each(|rule| job.change_lookup(rule, 1));
        }
        recovery.residues.restore(names).map_err(CheckpointError::from)?;
        recovery.residues.open(recovery.manifest.horizon.freeze).for_each(|residue| job.add_residue(residue));
    }
    Ok(theirs)
}

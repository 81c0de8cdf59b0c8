//! One worker's part of a replay with a horizon.
//!
//! ```text
//!   round n complete ─▶ windows that n+1 freezes are put aside ─▶ what has expired is retracted
//!         ▲                                                          │ in the epoch of n+1
//!         └──── all workers meet ◀──── lanes read into it, judged ◀──┘
//! ```

use std::time::Duration;

use timely::worker::Worker;

use super::frozen::Frozen;
use super::job::Job;
use super::live::expiring::{Expired, Expiring};
use super::replay::{BATCH_EVENTS, ReplayError, Shared, take};
use super::rounds::{Round, Rounds};

/// How long the dataflow is waited for while others still read.
const PARK: Duration = Duration::from_millis(1);

/// Reads all rounds together with the other workers; returns what has frozen on the way.
pub(super) fn read_in_rounds(
    worker: &mut Worker,
    job: &mut Job,
    rounds: &Rounds,
    shared: &Shared,
) -> Result<Frozen, ReplayError> {
    let (mut frozen, mut expiring) = (Frozen::new(&shared.scratch), Expiring::default());
    while let Some(round) = rounds.round().filter(|_| !shared.has_failed()) {
        job.advance_to(round.epoch);
        job.catch_up(worker, || shared.has_failed());
        if shared.has_failed() {
            break;
        }
        begin(worker, job, round, (&mut frozen, &mut expiring), shared)?;
        rounds.take_rejected().into_iter().for_each(|count| job.receive_rejects(count));
        while let Some(mut lane) = rounds.take_lane() {
            let mut unseen = 0;
            lane.read(round.until, round.gate(), rounds.desk(), |batch| {
                take(job, batch, shared)?;
                unseen += batch.events();
                if unseen >= BATCH_EVENTS {
                    unseen = 0;
                    worker.step();
                }
                Ok(!shared.has_failed())
            })?;
        }
        job.note_size();
        rounds.arrive(&shared.names);
        while !(rounds.is_past(round.epoch) || shared.has_failed()) {
            worker.step_or_park(Some(PARK));
        }
    }
    Ok(frozen)
}

/// Freezes what the round freezes, and lets go of what has expired by that.
fn begin(
    worker: &mut Worker,
    job: &mut Job,
    Round { epoch, horizon, .. }: Round,
    (frozen, expiring): (&mut Frozen, &mut Expiring),
    shared: &Shared,
) -> Result<(), ReplayError> {
    if horizon.freeze > frozen.freeze {
        frozen.advance(job.outputs(), horizon.freeze, epoch - 1, &shared.names)?;
    }
    expiring.begin(epoch, horizon);
    while expiring.is_busy() && !shared.has_failed() {
        if let Some(Expired { horizon, kept, gone }) = expiring.work(job) {
            kept.ids().try_for_each(|id| shared.names.hold(id, horizon.ids()))?;
            job.note_expired(&gone);
        }
        worker.step();
    }
    Ok(())
}

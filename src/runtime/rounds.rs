//! A replay that is judged as a live run is: read in rounds of event time, at the end of each of
//! which it is decided what is frozen.
//!
//! ```text
//!   lanes, one a feed     round 1    round 2    round 3
//!     impressions      ──────────┼──────────┼──────────┼──▶      each lane reads until its present
//!     bid requests     ──────────┼───────────┼─────────┼──▶      file has come to the round's end
//!     events           ───────────┼─────────┼──────────┼──▶
//!                                 └─ all workers meet: what was seen decides on the next horizon
//! ```
//!
//! A round is an epoch. A lane is read by one worker at a time, in batches that are the same whoever
//! reads them, and what a round lets in was decided before it: so nothing depends on the workers.
//! What has expired by the horizon of a round is retracted in it, and windows that it freezes keep
//! what they had in the round before ([`Frozen`](super::frozen::Frozen)).

mod lane;

use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::model::horizon::{Gate, Horizon};
use dataflows::model::lookups::{LookupRow, Lookups};
use dataflows::model::time::{Epoch, EventTime};
use dataflows::rules::horizon::{Decider, Seen, Terms};

use self::lane::Lane;
pub use self::lane::{Dated, Desk};
use crate::checkpoint::RejectCount;
use crate::names::Names;

/// All lanes, and how far they are.
pub struct Rounds {
    desk: Desk,
    lanes: Vec<Mutex<Lane>>,
    state: Mutex<State>,
    workers: usize,
    bucket: i64,
}

/// What is read next, and what holds for it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Round {
    /// Its epoch, from 1.
    pub epoch: Epoch,
    /// What is frozen in it.
    pub horizon: Horizon,
    /// How far lanes are read.
    pub until: EventTime,
}

impl Round {
    /// What it lets in.
    pub fn gate(&self) -> Gate {
        Gate::replayed(&self.horizon)
    }
}

struct State {
    round: Round,
    is_over: bool,
    decider: Decider<(usize, usize)>,
    /// Of each lane, how many files were begun when it was last looked at.
    files: Vec<usize>,
    /// Lanes that somebody has taken in this round.
    taken: usize,
    /// Workers that have ended it.
    arrived: usize,
    /// Texts of ids are forgotten that are not needed from here on.
    forgotten: EventTime,
    /// Rejects that are kept as numbers, the latest first.
    rejected: Vec<RejectCount>,
}

impl Rounds {
    /// The rounds of some input: its pieces, and its rejects that are kept as numbers.
    pub fn new(
        (splits, mut rejected): (Vec<Dated>, Vec<RejectCount>),
        lookups: &[LookupRow],
        terms: Terms,
        desk: Desk,
        workers: usize,
    ) -> Self {
        let lanes = Lane::all(splits, &desk);
        let mut rules = Lookups::default();
        lookups.iter().for_each(|row| rules.update(*row, 1));
        // Epochs are no milliseconds here: every round may move the boundary.
        let mut decider = Decider::new(Terms { pause: Default::default(), ..terms }, Horizon::default());
        decider.set_windows(rules.windows());
        rejected.sort_by_key(|count| std::cmp::Reverse(count.minute));
        let round = Round { epoch: 0, horizon: Horizon::default(), until: EventTime::MIN };
        let (files, bucket) = (vec![0; lanes.len()], terms.bucket.0.max(1));
        let forgotten = EventTime::MIN;
        let mut state =
            State { round, is_over: false, decider, files, taken: 0, arrived: 0, forgotten, rejected };
        let lanes: Vec<_> = lanes.into_iter().map(Mutex::new).collect();
        state.turn(&lanes, bucket);
        Self { desk, lanes, state: Mutex::new(state), workers, bucket }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present round; none once all is read.
    pub fn round(&self) -> Option<Round> {
        let state = self.state();
        (!state.is_over).then_some(state.round)
    }

    /// A lane that nobody has read in this round.
    pub fn take_lane(&self) -> Option<MutexGuard<'_, Lane>> {
        let mut state = self.state();
        let lane = self.lanes.get(state.taken)?;
        state.taken += 1;
        drop(state);
        Some(lane.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rejects of this round that nobody has counted.
    pub fn take_rejected(&self) -> Vec<RejectCount> {
        let mut state = self.state();
        let until = state.round.until;
        let later = state.rejected.partition_point(|count| count.minute.start_millis() >= until.millis());
        state.rejected.split_off(later)
    }

    /// What lanes are read with.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Ends the present round for one worker. The last one decides on the next, and forgets the texts
    /// of ids that all have let go of.
    pub fn arrive(&self, names: &Names) {
        let mut state = self.state();
        state.arrived += 1;
        if state.arrived == self.workers {
            let edge = state.round.horizon.ids();
            if edge > state.forgotten {
                names.forget_before(edge);
                state.forgotten = edge;
            }
            state.turn(&self.lanes, self.bucket);
        }
    }

    /// Whether the round of an epoch has ended for all.
    pub fn is_past(&self, epoch: Epoch) -> bool {
        let state = self.state();
        state.is_over || state.round.epoch > epoch
    }

    /// What is frozen.
    pub fn horizon(&self) -> Horizon {
        self.state().round.horizon
    }
}

impl State {
    /// Begins the next round, from what the lanes have come to. All workers have left them.
    fn turn(&mut self, lanes: &[Mutex<Lane>], bucket: i64) {
        let mut furthest_behind: Option<Option<EventTime>> = None;
        for (number, lane) in lanes.iter().enumerate() {
            let lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            let (files, seen) = (lane.files(), lane.seen());
            for file in self.files[number]..files {
                // One that was read to its end holds nobody back.
                self.decider.observe((number, file), Seen { greatest: None, idle: true });
            }
            self.files[number] = files;
            self.decider.observe((number, files), Seen { greatest: seen, idle: lane.is_over() });
            if !lane.is_over() {
                furthest_behind = Some(furthest_behind.map_or(seen, |least| least.min(seen)));
            }
        }
        let until = match furthest_behind {
            // Nothing was read yet that tells a time: every lane reads its first events.
            Some(None) => EventTime::MIN,
            Some(Some(least)) => next_bucket(least, bucket),
            None => EventTime::MAX,
        };
        self.is_over = furthest_behind.is_none() && self.rejected.is_empty();
        let epoch = self.round.epoch + 1;
        self.round = Round { epoch, horizon: self.decider.decide(epoch), until };
        (self.taken, self.arrived) = (0, 0);
    }
}

/// The end of the bucket that a time lies in.
fn next_bucket(time: EventTime, bucket: i64) -> EventTime {
    let end = (time.millis() / bucket + 1).saturating_mul(bucket);
    EventTime::from_millis(end).unwrap_or(EventTime::MAX)
}

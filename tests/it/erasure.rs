//! Random histories in which users are erased: the tables are those of the records that are left, and
//! with residues they are what they were, and go on from there.

use std::sync::Arc;

use dataflows::model::ids::Id;
use dataflows::rules::erasure::{Concerns, Subject};

use crate::oracle::coverage::Coverage;
use crate::oracle::generate::history;
use crate::oracle::run::{History, Plan, run};
use crate::oracle::tables::Tables;
use crate::oracle::{Change, Record, State, recompute, seeds};

/// What is a user's of what there is.
fn theirs(state: &State, user: Id) -> Vec<Change> {
    let mut subject = Subject::new([user]);
    for (record, _) in state.present() {
        if let Record::Impression(id, impression) = record {
            subject.learn(id, impression.auction, impression.user);
        }
    }
    let is_theirs = |record: &Record| match *record {
        Record::Bid(auction, bid) => (auction, bid).concerns(&subject),
        Record::Impression(id, impression) => (id, impression).concerns(&subject),
        Record::Click(id, click) => (id, click).concerns(&subject),
        Record::Conversion(id, conversion) => (id, conversion).concerns(&subject),
        _ => false,
    };
    let gone = state.present().filter(|(record, _)| is_theirs(record));
    gone.map(|(record, copies)| (record, -copies)).collect()
}

/// The user with most impressions.
fn busiest(state: &State) -> Option<Id> {
    let user = |(record, _)| match record {
        Record::Impression(_, impression) => Some(impression.user),
        _ => None,
    };
    let mut users: Vec<Id> = state.present().filter_map(user).collect();
    users.sort();
    users.chunk_by(|a, b| a == b).max_by_key(|group| group.len()).map(|group| group[0])
}

/// A history in which a user is erased on the way, and the epoch in which the residues are added.
fn with_erasure(seed: u64) -> Option<(History, usize)> {
    let (mut state, mut coverage) = (State::default(), Coverage::default());
    let mut epochs = history(seed, 12);
    epochs.iter().for_each(|changes| state.apply(changes));
    let before = recompute(&state, &mut coverage);
    let gone = theirs(&state, busiest(&state)?);
    state.apply(&gone);
    let after = recompute(&state, &mut coverage);
    assert!(!gone.is_empty() && after != before);
    epochs.push(gone);
    let lost = before.lost_in(&after).into_iter().map(|residue| (Record::Residue(residue), 1)).collect();
    epochs.push(lost);
    let at = epochs.len() - 1;
    epochs.extend(history(seed + 500, 6));
    Some((epochs, at))
}

fn check(plan: Plan) {
    let Some((epochs, at)) = with_erasure(plan.seed) else { return };
    let epochs = Arc::new(epochs);
    let mut state = State::default();
    let expected: Vec<Tables> = epochs
        .iter()
        .map(|changes| {
            state.apply(changes);
            recompute(&state, &mut Coverage::default())
        })
        .collect();
    let actual = run(&epochs, plan);
    for (epoch, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
        let differences = expected.differences(actual);
        assert!(differences.is_empty(), "{plan:?}, epoch {epoch}:\n{differences}");
    }
    // The erasure is in the epoch before; single conversions are no sums.
    let sums = |tables: &Tables| Tables { conversion_paths: Default::default(), ..tables.clone() };
    assert_eq!(sums(&actual[at]), sums(&actual[at - 2]), "{plan:?}");
}

#[test]
fn the_tables_are_those_without_the_records_and_with_residues_those_from_before() {
    for seed in seeds(7_000..7_030) {
        check(Plan { processes: 1, workers: 1, closed_at_once: 1 + seed as usize % 4, seed });
    }
}

#[test]
fn several_workers_erase_as_one() {
    for seed in seeds(7_100..7_104) {
        check(Plan { processes: 1, workers: 2 + seed as usize % 2, closed_at_once: 3, seed });
    }
}

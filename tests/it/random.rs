//! Random histories: at every epoch, under any batching, order and number of workers, the tables
//! are what a recomputation from scratch says. `ADVERTISEX_SEED` runs one seed only.

use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::oracle::bulk::bulk;
use crate::oracle::coverage::Coverage;
use crate::oracle::generate::history;
use crate::oracle::run::{History, Plan, run};
use crate::oracle::tables::Tables;
use crate::oracle::{Change, State, recompute, seeds};

/// How often each case must have been met over the whole run.
const OFTEN: usize = 30;

fn expected(history: &History, coverage: &mut Coverage) -> Vec<Tables> {
    let mut state = State::default();
    let mut after = |changes: &Vec<Change>| {
        state.apply(changes);
        recompute(&state, coverage)
    };
    history.iter().map(&mut after).collect()
}

/// Runs a history and compares every epoch.
fn check(plan: Plan, history: History, coverage: &mut Coverage) {
    let history = Arc::new(history);
    let expected = expected(&history, coverage);
    let actual = run(&history, plan);
    for (epoch, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
        let differences = expected.differences(actual);
        assert!(differences.is_empty(), "{plan:?}, epoch {epoch}:\n{differences}");
    }
    assert_eq!(actual.len(), expected.len());
}

#[test]
fn every_epoch_equals_a_recomputation() {
    let (mut coverage, all) = (Coverage::default(), 0..90);
    for seed in seeds(all.clone()) {
        check(Plan { processes: 1, workers: 1, closed_at_once: 1, seed }, history(seed, 25), &mut coverage);
    }
    let rare = coverage.rare(OFTEN);
    assert!(seeds(all.clone()) != all || rare.is_empty(), "hardly ever tested: {rare:?}");
}

#[test]
fn every_epoch_of_several_closed_at_once_equals_a_recomputation() {
    for seed in seeds(1_000..1_040) {
        check(
            Plan { processes: 1, workers: 1, closed_at_once: 5, seed },
            history(seed, 25),
            &mut Coverage::default(),
        );
    }
}

#[test]
fn several_workers_do_as_one() {
    for seed in seeds(2_000..2_012) {
        let (workers, closed_at_once) = (2 + seed as usize % 2, 1 + 4 * (seed as usize / 2 % 2));
        check(
            Plan { processes: 1, workers, closed_at_once, seed },
            history(seed, 20),
            &mut Coverage::default(),
        );
    }
}

#[test]
fn several_processes_do_as_one() {
    for seed in seeds(5_000..5_004) {
        let (processes, workers) = [(2, 2), (3, 1)][seed as usize % 2];
        let closed_at_once = 1 + 4 * (seed as usize / 2 % 2);
        check(Plan { processes, workers, closed_at_once, seed }, history(seed, 20), &mut Coverage::default());
    }
}

#[test]
fn order_and_batching_of_the_same_records_do_not_matter() {
    for seed in seeds(3_000..3_015) {
        let original = history(seed, 20);
        let expected = expected(&original, &mut Coverage::default());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes: Vec<Change> = original.into_iter().flatten().collect();
        for workers in [1, 1, 2] {
            changes.shuffle(&mut rng);
            let size = rng.random_range(1..=changes.len() / 2);
            let shuffled: History = changes.chunks(size).map(<[_]>::to_vec).collect();
            let plan = Plan { processes: 1, workers, closed_at_once: 3, seed };
            let actual = run(&Arc::new(shuffled), plan);
            let last = |tables: &Vec<Tables>| tables.last().cloned().expect("an epoch");
            let differences = last(&expected).differences(&last(&actual));
            assert!(differences.is_empty(), "{plan:?}, in epochs of {size} changes:\n{differences}");
        }
    }
}

#[test]
fn epochs_too_large_for_one_turn_equal_a_recomputation() {
    for (seed, workers, closed_at_once) in [(4_000, 1, 1), (4_001, 1, 5), (4_002, 2, 5)] {
        check(Plan { processes: 1, workers, closed_at_once, seed }, bulk(seed), &mut Coverage::default());
    }
}

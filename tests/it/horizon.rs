//! A horizon that moves over random histories: what it lets go of moves no number that is open.
//! `ADVERTISEX_SEED` runs one seed only.

use std::sync::Arc;

use dataflows::model::horizon::{Gate, Horizon};
use dataflows::model::lookups::{Lookups, Windows};
use dataflows::model::time::{EventTime, Millis};
use dataflows::rules::horizon::{Terms, advanced};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::oracle::aging::{Plan, Step, open, rows, run};
use crate::oracle::coverage::Coverage;
use crate::oracle::generate::{START, history};
use crate::oracle::passing::Passing;
use crate::oracle::{Record, State, recompute, seeds};

const HOUR: i64 = 3_600_000;

fn time(millis: i64) -> EventTime {
    EventTime::from_millis(millis).expect("in range")
}

fn terms(bucket: Millis) -> Terms {
    let (disorder, correction) = (Millis(0), Some(Millis(0)));
    Terms { disorder, correction, bucket, bid_lifetime: Millis::hours(3), pause: Millis(0) }
}

/// Anything may come, go, contradict itself and come again, but for what comes too late. After every
/// epoch of the history comes one in which the horizon moves and nothing else happens.
fn anything(seed: u64) -> Vec<Step> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let terms = terms(Millis(*[60_000, HOUR, 24 * HOUR].choose(&mut rng).expect("not empty")));
    let (mut lookups, mut horizon, mut steps) = (Lookups::default(), Horizon::default(), Vec::new());
    let mut watermark = START;
    for mut changes in history(seed, 20) {
        let gate = Gate::live(u64::MAX, &horizon);
        changes.retain(|(record, _)| record.ts().is_none_or(|ts| gate.judge(ts).is_none()));
        for (record, diff) in &changes {
            if let Record::Lookup(row) = record {
                lookups.update(*row, *diff);
            }
        }
        steps.push(Step { changes, horizon });
        watermark += match rng.random_range(0..10) {
            0..6 => rng.random_range(0..6 * HOUR),
            6..8 => rng.random_range(0..3 * 24 * HOUR),
            8 => 15 * 24 * HOUR,
            _ => 0,
        };
        horizon = advanced(&horizon, time(watermark), &lookups.windows(), &terms);
        steps.push(Step { changes: Vec::new(), horizon });
    }
    steps
}

#[test]
fn what_expires_moves_no_number_that_is_open() {
    let mut let_go = 0;
    for seed in seeds(0..100) {
        let steps = Arc::new(anything(seed));
        let plan = Plan { workers: 1 + usize::from(seed % 20 == 0), seed, restart: None };
        let tables = run(&steps, plan);
        for (number, pair) in tables.windows(2).enumerate().step_by(2) {
            let freeze = steps[number + 1].horizon.freeze;
            let (before, after) = (open(pair[0].clone(), freeze), open(pair[1].clone(), freeze));
            let differences = before.differences(&after);
            assert!(
                differences.is_empty(),
                "{plan:?}, step {number}, {:?}:\n{differences}",
                steps[number + 1].horizon
            );
            let_go += rows(&pair[0]).saturating_sub(rows(&pair[1]));
        }
    }
    assert!(std::env::var("ADVERTISEX_SEED").is_ok() || let_go > 3_000, "hardly anything expired: {let_go}");
}

/// A world that moves on: events come late, twice and in other versions, and some too late.
fn passing(seed: u64, windows: &Windows) -> (Vec<Step>, usize) {
    let mut world = Passing::new(seed, windows);
    let terms = terms(Millis::hours(1));
    let (mut horizon, mut steps, mut too_late) = (Horizon::default(), Vec::new(), 0);
    for _ in 0..40 {
        let (mut changes, watermark) = world.epoch();
        horizon = advanced(&horizon, watermark, windows, &terms);
        let gate = Gate::live(u64::MAX, &horizon);
        let all = changes.len();
        changes.retain(|(record, _)| record.ts().is_none_or(|ts| gate.judge(ts).is_none()));
        too_late += all - changes.len();
        steps.push(Step { changes, horizon });
    }
    (steps, too_late)
}

const WINDOWS: Windows = Windows {
    click_join: Millis::hours(2),
    click_lookback: Millis::hours(5),
    view_lookback: Millis::hours(1),
};

#[test]
fn open_numbers_are_those_of_a_run_that_forgets_nothing() {
    let (mut coverage, mut late, mut kept, mut all) = (Coverage::default(), 0, 0, 0);
    for seed in seeds(10_000..10_040) {
        let (steps, too_late) = passing(seed, &WINDOWS);
        late += too_late;
        let steps = Arc::new(steps);
        let restart = (seed % 2 == 1).then_some(10 + seed as usize % 25);
        let plan = Plan { workers: 1 + usize::from(seed % 10 == 0), seed, restart };
        let mut state = State::default();
        for (number, (step, actual)) in steps.iter().zip(run(&steps, plan)).enumerate() {
            state.apply(&step.changes);
            let whole = recompute(&state, &mut coverage);
            (kept, all) = (kept + rows(&actual), all + rows(&whole));
            let differences =
                open(whole, step.horizon.freeze).differences(&open(actual, step.horizon.freeze));
            assert!(differences.is_empty(), "{plan:?}, step {number}:\n{differences}");
        }
    }
    assert!(std::env::var("ADVERTISEX_SEED").is_ok() || late > 300, "hardly anything was late: {late}");
    assert!(kept < all * 3 / 4, "hardly anything was let go of: {kept} of {all} rows");
}

#[test]
fn a_restart_goes_on_with_the_same_numbers() {
    for seed in seeds(20_000..20_030) {
        let steps = Arc::new(anything(seed));
        let workers = 1 + usize::from(seed % 10 == 0);
        let straight = run(&steps, Plan { workers, seed, restart: None });
        let plan = Plan { workers, seed, restart: Some(3 + seed as usize % 30) };
        for (number, (expected, actual)) in straight.into_iter().zip(run(&steps, plan)).enumerate() {
            let freeze = steps[number].horizon.freeze;
            let differences = open(expected, freeze).differences(&open(actual, freeze));
            assert!(differences.is_empty(), "{plan:?}, step {number}:\n{differences}");
        }
    }
}

//! The worked example of attribution, through the whole job.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::model::events::{Bid, Click, Conversion, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::{LookupRow, Model};
use dataflows::model::money::Micros;
use dataflows::model::time::EventTime;

use super::coverage::Coverage;
use super::run::{Plan, run};
use super::tables::Tables;
use super::{Change, Record, State, recompute};

const HOUR: i64 = 3_600_000;
const CONVERTED: i64 = 20_000 * 24 * HOUR + 1;

/// Campaigns touched and hours before the conversion; how many users did so and converted.
const PATHS: [(&[(&str, i64)], usize); 3] =
    [(&[("A", 72), ("B", 24), ("C", 0)], 3), (&[("A", 336), ("C", 168)], 1), (&[("C", 48), ("A", 1)], 2)];
const NOT_CONVERTED: [(&[(&str, i64)], usize); 2] = [(&[("B", 5)], 2), (&[("A", 9), ("B", 2)], 1)];

fn example() -> Vec<Change> {
    let mut records: Vec<Record> = ["A", "B", "C"]
        .map(|campaign| Record::Lookup(LookupRow::Campaign(Name::new(campaign), Name::new("shop"))))
        .into();
    let mut user = 0;
    for (paths, convert) in [(&PATHS[..], true), (&NOT_CONVERTED[..], false)] {
        for (path, times) in paths {
            for _ in 0..*times {
                user += 1;
                records.extend(journey(user, path));
                if convert {
                    records.push(conversion(user));
                }
            }
        }
    }
    records.into_iter().map(|record| (record, 1)).collect()
}

/// A user is shown, and clicks on, one ad after the other: each at once.
fn journey(user: u32, path: &[(&str, i64)]) -> Vec<Record> {
    let mut records = Vec::new();
    for (campaign, hours_before) in path {
        let id = |kind: &str| Id::new(&format!("{kind}{user}{campaign}"));
        let ts = EventTime::from_millis(CONVERTED - hours_before * HOUR).expect("within range");
        let dims = Dims { campaign: Name::new(campaign), ..Dims::default() };
        let (user, auction) = (Id::new(&user.to_string()), id("auction"));
        let cost = Micros(2_000);
        records.extend([
            Record::Bid(auction, Bid { dims, bid: Micros(3_000), ts }),
            Record::Impression(
                id("impression"),
                Impression { ts, auction, user, dims, cost, viewable: true },
            ),
            Record::Click(id("click"), Click { ts, impression: id("impression") }),
        ]);
    }
    records
}

fn conversion(user: u32) -> Record {
    let ts = EventTime::from_millis(CONVERTED).expect("within range");
    let (id, user) = (Id::new(&format!("conversion{user}")), Id::new(&user.to_string()));
    let (advertiser, kind, value) = (Name::new("shop"), Name::EMPTY, Micros(1_000_000));
    Record::Conversion(id, Conversion { ts, user, advertiser, kind, value })
}

/// Credit and revenue of A, B, C over all hours.
fn totals(tables: &Tables, model: Model) -> [(i64, i64); 3] {
    let mut totals: BTreeMap<Name, (i64, i64)> = BTreeMap::new();
    for (((_, campaign), _), credit) in tables.attribution_hour.iter().filter(|((_, of), _)| *of == model) {
        let total = totals.entry(*campaign).or_default();
        total.0 += credit.credit_micros;
        total.1 += credit.revenue_micros;
    }
    ["A", "B", "C"].map(|campaign| totals.get(&Name::new(campaign)).copied().unwrap_or_default())
}

fn check(tables: &Tables) {
    let exact = [
        (Model::FirstTouch, [4_000_000, 0, 2_000_000]),
        (Model::LastTouch, [2_000_000, 0, 4_000_000]),
        // A third is 333,333 and a third of a millionth, which goes to the earliest.
        (Model::Linear, [2_500_002, 999_999, 2_499_999]),
        (Model::PositionBased, [2_700_000, 600_000, 2_700_000]),
    ];
    for (model, credits) in exact {
        // A conversion is worth one unit here, so revenue is credit.
        assert_eq!(totals(tables, model), credits.map(|credit| (credit, credit)), "{model:?}");
    }
    let decay = totals(tables, Model::TimeDecay);
    for ((credit, _), expected) in decay.into_iter().zip([2_271_520, 1_025_840, 2_702_630]) {
        // The example gives five decimals; each of six conversions may round by a millionth.
        assert!((credit - expected as i64).abs() <= 5 + 6, "{credit} is not {expected}");
    }
    assert_eq!(decay.iter().map(|(credit, _)| credit).sum::<i64>(), 6_000_000);
    let performance = tables.performance_minute.iter();
    let conversions = |name: &str| -> i32 {
        performance.clone().filter(|((_, of), _)| *of == Name::new(name)).map(|(_, m)| m.conversions).sum()
    };
    assert_eq!(["A", "B", "C"].map(conversions), [2, 0, 4], "the default model is last touch");
}

#[test]
fn the_worked_example_of_attribution_holds_to_the_last_digit() {
    let changes = example();
    let mut state = State::default();
    state.apply(&changes);
    let expected = recompute(&state, &mut Coverage::default());
    check(&expected);
    for workers in [1, 2] {
        let history = Arc::new(changes.chunks(7).map(<[_]>::to_vec).collect::<Vec<_>>());
        let actual = run(&history, Plan { processes: 1, workers, closed_at_once: 3, seed: 0 });
        let actual = actual.last().expect("an epoch");
        check(actual);
        let differences = expected.differences(actual);
        assert!(differences.is_empty(), "{workers} workers:\n{differences}");
    }
}

//! A history of a few large epochs: more groups in each than an operator works off in one turn,
//! and more changes than it holds back before it sends them.

use dataflows::model::events::{Bid, Click, Conversion, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::LookupRow;
use dataflows::model::money::Micros;
use dataflows::model::time::EventTime;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::run::History;
use super::{Change, Record};

const START: i64 = 20_000 * 86_400_000;
const IMPRESSIONS: u32 = 40_000;
const USERS: u32 = 9_000;
const CONVERSIONS: u32 = 150;

/// Everything arrives, lookup rows change what all of it is worth, half is retracted, other
/// rows come and go, and the half returns.
pub fn bulk(seed: u64) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut records: Vec<Record> = (0..IMPRESSIONS).flat_map(|n| served(n, &mut rng)).collect();
    records.extend((0..CONVERSIONS).map(|n| converted(n, &mut rng)));
    let campaign = |n: u32| LookupRow::Campaign(campaign(n), Name::new("shop"));
    let (listed, limit) = (LookupRow::ListedSite(site(3)), LookupRow::MaxClicksPerUserMinute(1));
    let diff = |records: &[Record], diff: isize| -> Vec<Change> {
        records.iter().map(|record| (*record, diff)).collect()
    };
    let rows =
        |rows: &[LookupRow], by| diff(&rows.iter().copied().map(Record::Lookup).collect::<Vec<_>>(), by);
    let all = diff(&records, 1);
    records.shuffle(&mut rng);
    let half = &records[..records.len() / 2];
    vec![
        [all, rows(&[campaign(0), campaign(1)], 1)].concat(),
        rows(&[listed, limit, campaign(2)], 1),
        [diff(half, -1), rows(&[limit], -1)].concat(),
        rows(&[listed, campaign(0)], -1),
        [diff(half, 1), rows(&[limit], 1)].concat(),
    ]
}

fn campaign(n: u32) -> Name {
    Name::new(&format!("c{}", n % 5))
}

fn site(n: u32) -> Name {
    Name::new(&format!("s{}", n % 7))
}

fn user(rng: &mut ChaCha8Rng) -> Id {
    Id::new(&format!("user-{}", rng.random_range(0..USERS)))
}

fn moment(rng: &mut ChaCha8Rng) -> EventTime {
    EventTime::from_millis(START + rng.random_range(0..3_600_000)).expect("within range")
}

/// A bid, its impression and a click on it.
fn served(n: u32, rng: &mut ChaCha8Rng) -> [Record; 3] {
    let (impression, auction) = (Id::new(&format!("impression-{n}")), Id::new(&format!("a{}", n / 2)));
    let dims = Dims { campaign: campaign(n), site: site(n), ..Dims::default() };
    let ts = moment(rng);
    let clicked = EventTime::from_millis(ts.millis() + rng.random_range(0..30_000)).expect("within range");
    let cost = Micros(i64::from(n));
    [
        Record::Bid(auction, Bid { dims, bid: Micros(1_000), ts }),
        Record::Impression(
            impression,
            Impression { ts, auction, user: user(rng), dims, cost, viewable: true },
        ),
        Record::Click(Id::new(&format!("click-{}", n / 3 * 2)), Click { ts: clicked, impression }),
    ]
}

fn converted(n: u32, rng: &mut ChaCha8Rng) -> Record {
    let (ts, user) = (moment(rng), user(rng));
    let (advertiser, kind, value) = (Name::new("shop"), Name::EMPTY, Micros(1_000_003));
    Record::Conversion(Id::new(&format!("conversion-{n}")), Conversion { ts, user, advertiser, kind, value })
}

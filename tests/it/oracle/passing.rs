//! A small world in which time passes: auctions are held, won, seen, clicked on and paid off, each
//! in its time, while news of it come late, twice, and in versions that contradict each other
//! within an hour.

use dataflows::model::events::{Bid, Click, Conversion, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::{AttributionRule, LookupRow, Model, Windows};
use dataflows::model::money::Micros;
use dataflows::model::reject::{Feed, Quality, QualityKey};
use dataflows::model::time::{EventTime, Millis};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::generate::START;
use super::{Change, Record};

const HOUR: i64 = 3_600_000;
/// How far news may be behind.
const LATE: i64 = 4 * HOUR;

pub struct Passing {
    rng: ChaCha8Rng,
    now: i64,
    serial: u32,
    windows: Windows,
    impressions: Vec<(Id, Impression)>,
    /// News that come later, with the epoch.
    later: Vec<(u32, Record)>,
    epoch: u32,
    rows: Vec<LookupRow>,
}

impl Passing {
    pub fn new(seed: u64, windows: &Windows) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (impressions, later, rows) = (Vec::new(), Vec::new(), Vec::new());
        Self { rng, now: START, serial: 0, windows: *windows, impressions, later, epoch: 0, rows }
    }

    /// What comes in the next epoch, and how far the world is.
    pub fn epoch(&mut self) -> (Vec<Change>, EventTime) {
        self.epoch += 1;
        self.now += self.rng.random_range(0..3 * HOUR);
        let mut records = Vec::new();
        for _ in 0..self.rng.random_range(0..8) {
            self.auction(&mut records);
        }
        let mut changes = self.lookups();
        for record in records {
            self.spread(record, &mut changes);
        }
        let epoch = self.epoch;
        changes.extend(self.later.extract_if(.., |(due, _)| *due <= epoch).map(|(_, record)| (record, 1)));
        let watermark = self.now - self.rng.random_range(0..LATE);
        (changes, time(watermark))
    }

    /// Now, later, twice, or in another version of the same hour.
    fn spread(&mut self, record: Record, changes: &mut Vec<Change>) {
        let copies = match self.rng.random_range(0..10) {
            0..6 => 1,
            6..8 => 2,
            _ => 3,
        };
        for copy in 0..copies {
            let version = if copy == 2 { self.version(record) } else { record };
            if self.rng.random_bool(0.7) {
                changes.push((version, 1));
            } else {
                let due = self.epoch + self.rng.random_range(1..5);
                self.later.push((due, version));
            }
        }
    }

    fn version(&mut self, record: Record) -> Record {
        let within =
            |rng: &mut ChaCha8Rng, ts: EventTime| time(ts.millis() / HOUR * HOUR + rng.random_range(0..HOUR));
        let rng = &mut self.rng;
        match record {
            Record::Bid(id, bid) => Record::Bid(id, Bid { ts: within(rng, bid.ts), ..bid }),
            Record::Impression(id, seen) => {
                Record::Impression(id, Impression { ts: within(rng, seen.ts), ..seen })
            }
            Record::Click(id, click) => Record::Click(id, Click { ts: within(rng, click.ts), ..click }),
            Record::Conversion(id, conversion) => {
                Record::Conversion(id, Conversion { ts: within(rng, conversion.ts), ..conversion })
            }
            other => other,
        }
    }

    fn auction(&mut self, records: &mut Vec<Record>) {
        let auction = self.id("auction");
        let ts = self.now - self.rng.random_range(0..2 * HOUR);
        for campaign in ["c0", "c1"] {
            let dims = Dims { campaign: Name::new(campaign), site: self.site(), ..Dims::default() };
            records.push(Record::Bid(auction, Bid { dims, bid: Micros(500), ts: time(ts) }));
            if self.rng.random_bool(0.6) {
                let seen = ts + self.rng_below(HOUR);
                self.impression(auction, dims, seen, records);
            }
        }
        if let Some((id, seen)) = self.recent()
            && self.rng.random_bool(0.7)
        {
            let ts = time(seen.ts.millis() + self.rng_below(self.windows.click_join.0 + 1));
            records.push(Record::Click(self.id("click"), Click { ts, impression: id }));
        }
        if let Some((_, seen)) = self.recent()
            && self.rng.random_bool(0.6)
        {
            let ts = time(seen.ts.millis() + self.rng_below(self.windows.click_lookback.0 + HOUR));
            let (advertiser, kind, value) = (Name::new("a0"), Name::EMPTY, Micros(1_000_001));
            let conversion = Conversion { ts, user: seen.user, advertiser, kind, value };
            records.push(Record::Conversion(self.id("conversion"), conversion));
        }
    }

    fn impression(&mut self, auction: Id, dims: Dims, ts: i64, records: &mut Vec<Record>) {
        let (cost, user) = (Micros(700), Id::new(&format!("user-{}", self.rng.random_range(0..3))));
        let seen = Impression { ts: time(ts), auction, user, dims, cost, viewable: true };
        let id = self.id("impression");
        self.impressions.push((id, seen));
        records.push(Record::Impression(id, seen));
        let key = QualityKey { minute: time(ts).minute(), feed: Feed::Impressions, what: Quality::Received };
        records.push(Record::Quality(key));
    }

    /// An impression that nobody has forgotten yet.
    fn recent(&mut self) -> Option<(Id, Impression)> {
        let from = self.impressions.partition_point(|(_, seen)| seen.ts.millis() < self.now - 2 * HOUR);
        self.impressions[from.min(self.impressions.len())..].choose(&mut self.rng).copied()
    }

    /// Rules come and go; none looks back further than the windows say.
    fn lookups(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.epoch == 1 {
            let Windows { click_join, click_lookback, view_lookback } = self.windows;
            let rule = AttributionRule {
                click_lookback: Some(click_lookback),
                view_lookback: Some(view_lookback),
                ..AttributionRule::default()
            };
            let campaign = |name| LookupRow::Campaign(Name::new(name), Name::new("a0"));
            let rows = [
                campaign("c0"),
                campaign("c1"),
                LookupRow::ClickJoinWindow(click_join),
                LookupRow::GlobalRule(rule),
            ];
            changes.extend(rows.map(|row| (Record::Lookup(row), 1)));
        }
        if self.rng.random_bool(0.3) {
            let row = match self.rng.random_range(0..4) {
                0 => LookupRow::ListedSite(self.site()),
                1 => LookupRow::ListedUser(Id::new("user-1")),
                2 => LookupRow::MaxClicksPerUserMinute(self.rng.random_range(1..3)),
                _ => LookupRow::AdvertiserRule(
                    Name::new("a0"),
                    AttributionRule {
                        default_model: Some(Model::ALL[self.rng.random_range(0..Model::COUNT)]),
                        click_lookback: Some(Millis(self.rng_below(self.windows.click_lookback.0))),
                        ..AttributionRule::default()
                    },
                ),
            };
            self.rows.push(row);
            changes.push((Record::Lookup(row), 1));
        }
        if self.rng.random_bool(0.3) && !self.rows.is_empty() {
            let at = self.rng.random_range(0..self.rows.len());
            changes.push((Record::Lookup(self.rows.swap_remove(at)), -1));
        }
        changes
    }

    fn rng_below(&mut self, below: i64) -> i64 {
        self.rng.random_range(0..below.max(1))
    }

    fn site(&mut self) -> Name {
        Name::new(if self.rng.random_bool(0.5) { "s1" } else { "the-news-site.example" })
    }

    fn id(&mut self, kind: &str) -> Id {
        self.serial += 1;
        Id::new(&format!("{kind}-{:06}", self.serial))
    }
}

fn time(millis: i64) -> EventTime {
    EventTime::from_millis(millis).expect("within range")
}

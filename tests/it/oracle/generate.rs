//! Random histories of a small world, in which everything that can go wrong does so often.

use dataflows::model::events::{Bid, Click, Conversion, Country, Device, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::{AttributionRule, LookupRow, Model};
use dataflows::model::money::Micros;
use dataflows::model::reject::{Feed, Quality, QualityKey, Reason};
use dataflows::model::time::{EventTime, Millis};
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::run::History;
use super::{Change, Record, State};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Midnight of the first of the two days.
pub const START: i64 = 20_000 * DAY;
/// Lengths that rules use, and at whose very ends events lie.
const LENGTHS: [i64; 6] = [0, MINUTE, HOUR, 12 * HOUR, DAY, 30 * DAY];

/// A history of so many epochs. Equal seeds give equal histories.
pub fn history(seed: u64, epochs: usize) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let ids = *[8, 16, 32].choose(&mut rng).expect("not empty");
    let state = State::default();
    let mut world = World { rng, ids, state, awaits_campaigns: true, gone: Vec::new(), owed: Vec::new() };
    (0..epochs).map(|_| world.epoch()).collect()
}

struct World {
    rng: ChaCha8Rng,
    /// How many ids there are of a kind.
    ids: u32,
    state: State,
    /// The first rows of `campaigns` may come late.
    awaits_campaigns: bool,
    /// Records that were retracted and may return.
    gone: Vec<Record>,
    /// Records whose retraction came first.
    owed: Vec<Record>,
}

impl World {
    fn epoch(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.owed.drain(..).map(|record| (record, 1)).collect();
        if self.awaits_campaigns && self.perhaps() {
            self.awaits_campaigns = false;
            let row =
                |(campaign, advertiser)| LookupRow::Campaign(Name::new(campaign), Name::new(advertiser));
            let rows = [("c0", "a0"), ("c1", "a0"), ("c2", "the-second-advertiser")].map(row);
            changes.extend(rows.map(|row| (Record::Lookup(row), 1)));
        }
        self.state.apply(&changes);
        let quiet = self.rng.random_bool(0.05);
        for _ in 0..if quiet { 0 } else { self.rng.random_range(1..=40) } {
            let change = self.change();
            self.state.apply(&[change]);
            changes.push(change);
        }
        changes
    }

    fn change(&mut self) -> Change {
        match self.rng.random_range(0..100) {
            0..54 => (self.record(), 1),
            54..60 => (self.live(|_| true).unwrap_or_else(|| self.record()), self.pick([1, 2])),
            60..70 => (self.version(), 1),
            70..89 => self.retraction(|_| true),
            89..92 => self.retraction(|record| matches!(record, Record::Lookup(_))),
            92..97 => {
                let gone = self.gone.choose(&mut self.rng).copied();
                (gone.unwrap_or_else(|| self.record()), 1)
            }
            _ => {
                let record = self.record();
                self.owed.push(record);
                (record, -1)
            }
        }
    }

    /// A record that is present.
    fn live(&mut self, such: impl Fn(&Record) -> bool) -> Option<Record> {
        self.state.present().map(|(record, _)| record).filter(such).choose(&mut self.rng)
    }

    /// A lookup row that is present.
    fn lookup_row(&mut self, such: impl Fn(&LookupRow) -> bool) -> Option<LookupRow> {
        match self.live(|record| matches!(record, Record::Lookup(row) if such(row))) {
            Some(Record::Lookup(row)) => Some(row),
            _ => None,
        }
    }

    fn retraction(&mut self, such: impl Fn(&Record) -> bool) -> Change {
        match self.live(such) {
            Some(record) => {
                self.gone.push(record);
                (record, -1)
            }
            None => (self.record(), 1),
        }
    }

    fn record(&mut self) -> Record {
        match self.rng.random_range(0..100) {
            0..20 => self.bid(),
            20..39 => self.impression(),
            39..66 => self.click(),
            66..85 => self.conversion(),
            85..88 => self.source_count(),
            _ => Record::Lookup(self.lookup()),
        }
    }

    /// Another version of a record that is present: it shares the identity, and often the rank.
    fn version(&mut self) -> Record {
        let Some(old) = self.live(|_| true) else { return self.record() };
        let tie = self.rng.random_bool(0.6);
        match (old, self.bid(), self.impression(), self.click(), self.conversion()) {
            (Record::Bid(auction, old), Record::Bid(_, mut new), ..) => {
                new.dims.campaign = old.dims.campaign;
                new.bid = if tie { old.bid } else { new.bid };
                new.ts = if self.rng.random_bool(0.5) { old.ts } else { new.ts };
                Record::Bid(auction, new)
            }
            (Record::Impression(id, old), _, Record::Impression(_, new), ..) => {
                Record::Impression(id, Impression { ts: if tie { old.ts } else { new.ts }, ..new })
            }
            (Record::Click(id, old), _, _, Record::Click(_, new), _) => {
                Record::Click(id, Click { ts: if tie { old.ts } else { new.ts }, ..new })
            }
            (Record::Conversion(id, old), _, _, _, Record::Conversion(_, new)) => {
                Record::Conversion(id, Conversion { ts: if tie { old.ts } else { new.ts }, ..new })
            }
            _ => self.record(),
        }
    }

    fn bid(&mut self) -> Record {
        let auction = self.id("auction", self.ids / 3);
        let bid = Micros(self.pick([0, 1, 500, 500, 2_000]));
        Record::Bid(auction, Bid { dims: self.dims(), bid, ts: self.moment() })
    }

    fn impression(&mut self) -> Record {
        let bid = self.live(|record| matches!(record, Record::Bid(..)));
        let (mut dims, mut ts) = (self.dims(), self.moment());
        let mut auction = self.id("auction", self.ids / 3);
        if let Some(Record::Bid(of, bid)) = bid.filter(|_| self.rng.random_bool(0.6)) {
            (auction, dims.campaign) = (of, bid.dims.campaign);
            if self.rng.random_bool(0.5) {
                (dims, ts) = (bid.dims, bid.ts);
            }
        }
        let impression = Impression {
            ts,
            auction,
            user: self.id("user", self.ids / 8),
            dims,
            cost: Micros(self.pick([0, 1, 999, 12_345])),
            viewable: self.rng.random_bool(0.5),
        };
        Record::Impression(self.id("impression", self.ids), impression)
    }

    fn click(&mut self) -> Record {
        let (mut impression, mut ts) = (self.id("impression", self.ids), self.moment());
        let of = self.live(|record| matches!(record, Record::Impression(..)));
        if let Some(Record::Impression(id, of)) = of.filter(|_| self.rng.random_bool(0.85)) {
            let length = match self.lookup_row(|row| matches!(row, LookupRow::ClickJoinWindow(_))) {
                Some(LookupRow::ClickJoinWindow(length)) => Some(length),
                _ => None,
            };
            (impression, ts) = (id, self.after(of.ts, length));
        }
        Record::Click(self.id("click", self.ids * 2), Click { ts, impression })
    }

    fn conversion(&mut self) -> Record {
        let mut advertiser = Name::new(self.pick(["a0", "the-second-advertiser", ""]));
        let (mut user, mut ts) = (self.id("user", self.ids / 8), self.moment());
        let of = self.live(|record| matches!(record, Record::Impression(..)));
        if let Some(Record::Impression(id, of)) = of.filter(|_| self.rng.random_bool(0.95)) {
            let row =
                self.lookup_row(|row| matches!(row, LookupRow::Campaign(c, _) if *c == of.dims.campaign));
            if let Some(LookupRow::Campaign(_, owner)) = row.filter(|_| self.rng.random_bool(0.95)) {
                advertiser = owner;
            }
            let rule = match self
                .lookup_row(|row| matches!(row, LookupRow::AdvertiserRule(a, _) if *a == advertiser))
            {
                Some(LookupRow::AdvertiserRule(_, rule)) => rule,
                _ => AttributionRule::default(),
            };
            let click =
                self.live(|record| matches!(record, Record::Click(_, click) if click.impression == id));
            user = of.user;
            ts = match click {
                Some(Record::Click(_, click)) => self.after(click.ts, rule.click_lookback),
                _ => self.after(of.ts, rule.view_lookback),
            };
        }
        let value = Micros(self.pick([0, 1, 2, 1_000_000, 19_990_001, 50_000_000_000_003]));
        let kind = Name::new(self.pick(["", "sale"]));
        let conversion = Conversion { ts, user, advertiser, kind, value };
        Record::Conversion(self.id("conversion", self.ids), conversion)
    }

    fn source_count(&mut self) -> Record {
        let what = self.pick([Quality::Received, Quality::Rejected(Reason::Malformed)]);
        Record::Quality(QualityKey { minute: self.moment().minute(), feed: self.pick(Feed::ALL), what })
    }

    fn lookup(&mut self) -> LookupRow {
        match self.rng.random_range(0..20) {
            0..4 => {
                let advertiser = self.pick(["a0", "a0", "a0", "the-second-advertiser", ""]);
                LookupRow::Campaign(self.campaign(), Name::new(advertiser))
            }
            4 => LookupRow::ListedUser(self.id("user", self.ids / 8)),
            5 => LookupRow::ListedSite(self.site()),
            6..9 => LookupRow::MaxClicksPerUserMinute(self.pick([0, 1, 2, 3, 4, 5])),
            9..11 => LookupRow::ClickJoinWindow(Millis(self.pick(LENGTHS))),
            11..14 => LookupRow::GlobalRule(self.rule()),
            _ => {
                LookupRow::AdvertiserRule(Name::new(self.pick(["a0", "the-second-advertiser"])), self.rule())
            }
        }
    }

    fn rule(&mut self) -> AttributionRule {
        let half_life = self.pick([1, HOUR, DAY, 3 * DAY + 1]);
        AttributionRule {
            click_lookback: self.perhaps().then(|| Millis(self.pick(LENGTHS))),
            view_lookback: self.perhaps().then(|| Millis(self.pick(LENGTHS))),
            half_life: self.perhaps().then_some(Millis(half_life)),
            default_model: self.perhaps().then(|| self.pick(Model::ALL)),
        }
    }

    fn perhaps(&mut self) -> bool {
        self.rng.random_bool(0.5)
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        *from.choose(&mut self.rng).expect("not empty")
    }

    /// One of a few ids; some are short enough to be held inline.
    fn id(&mut self, kind: &str, of: u32) -> Id {
        Id::new(&format!("{kind}-{:05}", self.rng.random_range(0..of.max(2))))
    }

    fn campaign(&mut self) -> Name {
        Name::new(self.pick(["c0", "c0", "c0", "c1", "c1", "c2", "unlisted-at-first"]))
    }

    fn site(&mut self) -> Name {
        Name::new(self.pick(["", "s1", "the-news-site.example"]))
    }

    fn dims(&mut self) -> Dims {
        Dims {
            campaign: self.campaign(),
            creative: Name::new(self.pick(["", "creative-1"])),
            site: self.site(),
            country: Country::parse(self.pick(["", "DE"])).expect("a country"),
            device: self.pick([Device::Unknown, Device::Mobile]),
        }
    }

    /// A time within the two days, mostly at the edge of a window.
    fn moment(&mut self) -> EventTime {
        let edge = self.pick([0, MINUTE, HOUR, 12 * HOUR, DAY - HOUR, DAY, DAY + MINUTE, 2 * DAY - MINUTE]);
        let beside = self.pick([0, 0, 0, 1, -1, 30_000, MINUTE - 1, MINUTE]);
        EventTime::from_millis(START + edge + beside).expect("within range")
    }

    /// A time after another, mostly at the edge of a length that rules use: above all, `length`.
    fn after(&mut self, ts: EventTime, length: Option<Millis>) -> EventTime {
        let length = match (self.rng.random_range(0..10), length) {
            (0..5, Some(length)) => length.0,
            (0..5, None) => self.pick([0, MINUTE, HOUR, DAY]),
            (5, _) => 30 * DAY,
            (6..9, _) => self.rng.random_range(0..2 * MINUTE),
            _ => self.rng.random_range(0..2 * DAY),
        };
        let beside: i64 = self.pick([0, 0, 1, 1, -1]);
        EventTime::from_millis(ts.millis() + length + beside).expect("within range")
    }
}

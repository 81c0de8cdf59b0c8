//! The tables of sums.

use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::ids::Name;
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::time::{Day, Hour, Minute};

use super::{INT, Lead, TEXT, TableRow, columns};
use crate::sinks::cells::{CellSink, Column, ColumnKind, Text};
use crate::sinks::texts::{NameRank, Texts};

const MEASURES: [(&str, ColumnKind); 9] = [
    ("bids", INT),
    ("wins", INT),
    ("impressions", INT),
    ("viewable", INT),
    ("clicks", INT),
    ("conversions", INT),
    ("spend_micros", INT),
    ("revenue_micros", INT),
    ("bid_micros", INT),
];

fn measures(m: &Measures, sink: &mut impl CellSink) {
    let [bids, wins, impressions, viewable, clicks, conversions] =
        [m.bids, m.wins, m.impressions, m.viewable, m.clicks, m.conversions].map(i64::from);
    sink.ints([
        bids,
        wins,
        impressions,
        viewable,
        clicks,
        conversions,
        m.spend_micros,
        m.revenue_micros,
        m.bid_micros,
    ]);
}

/// What orders as a number, a name and another number do. A long name's rank fills the place of
/// the last one, which doesn't count then.
fn in_order(before: u32, (text, rank): NameRank, behind: u32) -> u128 {
    let behind = if rank == 0 { behind } else { rank };
    u128::from(before) << 96 | u128::from(text) << 32 | u128::from(behind)
}

/// What orders as a country and a device do.
fn viewer(country: Country, device: Device) -> u32 {
    u32::from(country.code()) << 8 | device as u32
}

fn name(texts: &Texts, key: Name, sink: &mut impl CellSink) {
    texts.name(key, |text| sink.text(text));
}

/// A row of `performance_minute`.
pub type PerformanceMinute = ((Minute, Name), Measures);

impl TableRow for PerformanceMinute {
    const TABLE: &'static str = "performance_minute";
    type Key = (Minute, NameRank);

    fn columns() -> Vec<Column> {
        columns(&[&[("minute", INT), ("campaign_id", TEXT)][..], &MEASURES].concat())
    }

    fn window(&self) -> u32 {
        self.0.0.0
    }

    fn key(&self, texts: &Texts) -> Self::Key {
        (self.0.0, texts.rank(self.0.1))
    }

    fn lead(&self, texts: &Texts) -> Lead {
        [in_order(self.0.0.0, texts.rank(self.0.1), 0), 0]
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let ((minute, campaign), sums) = self;
        sink.window(minute.start_millis());
        name(texts, *campaign, sink);
        measures(sums, sink);
    }
}

/// A row of `performance_hour`.
pub type PerformanceHour = (Placed<Hour>, Measures);

impl TableRow for PerformanceHour {
    const TABLE: &'static str = "performance_hour";
    // Devices are declared in the order of their texts.
    type Key = (Hour, [NameRank; 3], Country, Device);

    fn columns() -> Vec<Column> {
        let keys = [
            ("hour", INT),
            ("campaign_id", TEXT),
            ("creative_id", TEXT),
            ("site", TEXT),
            ("country", TEXT),
            ("device", TEXT),
        ];
        columns(&[&keys[..], &MEASURES].concat())
    }

    fn window(&self) -> u32 {
        self.0.window.0
    }

    fn key(&self, texts: &Texts) -> Self::Key {
        let place = &self.0;
        let ranks = [texts.rank(place.campaign), texts.rank(place.creative), texts.rank(place.site)];
        (place.window, ranks, place.country, place.device)
    }

    fn lead(&self, texts: &Texts) -> Lead {
        let Placed { window, campaign, creative, site, country, device } = self.0;
        let [campaign, creative, site] = [campaign, creative, site].map(|name| texts.rank(name));
        let first = in_order(window.0, campaign, (creative.0 >> 32) as u32);
        // What the first number could not hold, as far as the second can.
        let second = match (campaign, creative) {
            ((_, 0), (text, 0)) => in_order(text as u32, site, viewer(country, device)),
            ((_, 0), (text, rank)) => {
                u128::from(text as u32) << 96 | u128::from(rank) << 64 | u128::from(site.0)
            }
            _ => in_order(0, creative, (site.0 >> 32) as u32),
        };
        [first, second]
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let (place, sums) = self;
        sink.window(place.window.start_millis());
        name(texts, place.campaign, sink);
        name(texts, place.creative, sink);
        name(texts, place.site, sink);
        sink.text(Text::word(place.country.as_str()));
        sink.text(Text::word(place.device.as_str()));
        measures(sums, sink);
    }
}

/// A row of `attribution_hour`.
pub type AttributionHour = (((Hour, Name), Model), Credit);

impl TableRow for AttributionHour {
    const TABLE: &'static str = "attribution_hour";
    type Key = (Hour, NameRank, Model);

    fn columns() -> Vec<Column> {
        columns(&[
            ("hour", INT),
            ("campaign_id", TEXT),
            ("model", TEXT),
            ("credit_micros", INT),
            ("revenue_micros", INT),
        ])
    }

    fn window(&self) -> u32 {
        self.0.0.0.0
    }

    fn key(&self, texts: &Texts) -> Self::Key {
        let ((hour, campaign), model) = self.0;
        (hour, texts.rank(campaign), model)
    }

    fn lead(&self, texts: &Texts) -> Lead {
        [in_order(self.0.0.0.0, texts.rank(self.0.0.1), self.0.1 as u32), 0]
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let (((hour, campaign), model), credit) = self;
        sink.window(hour.start_millis());
        name(texts, *campaign, sink);
        sink.text(Text::word(model.as_str()));
        sink.ints([credit.credit_micros, credit.revenue_micros]);
    }
}

/// A row of `reach_day`.
pub type ReachDay = ((Day, Name), Reach);

impl TableRow for ReachDay {
    const TABLE: &'static str = "reach_day";
    type Key = (Day, NameRank);

    fn columns() -> Vec<Column> {
        columns(&[("day", INT), ("campaign_id", TEXT), ("users", INT), ("impressions", INT)])
    }

    fn window(&self) -> u32 {
        self.0.0.0
    }

    fn key(&self, texts: &Texts) -> Self::Key {
        (self.0.0, texts.rank(self.0.1))
    }

    fn lead(&self, texts: &Texts) -> Lead {
        [in_order(self.0.0.0, texts.rank(self.0.1), 0), 0]
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let ((day, campaign), reach) = self;
        sink.window(day.start_millis());
        name(texts, *campaign, sink);
        sink.ints([reach.users, reach.impressions]);
    }
}

/// A row of `supply_hour`.
pub type SupplyHour = (SupplyKey, Supply);

impl TableRow for SupplyHour {
    const TABLE: &'static str = "supply_hour";
    type Key = (Hour, NameRank, Country, Device);

    fn columns() -> Vec<Column> {
        columns(&[
            ("hour", INT),
            ("site", TEXT),
            ("country", TEXT),
            ("device", TEXT),
            ("bid_requests", INT),
            ("bids", INT),
            ("wins", INT),
        ])
    }

    fn window(&self) -> u32 {
        self.0.hour.0
    }

    fn key(&self, texts: &Texts) -> Self::Key {
        (self.0.hour, texts.rank(self.0.site), self.0.country, self.0.device)
    }

    fn lead(&self, texts: &Texts) -> Lead {
        let SupplyKey { hour, country, device, site } = self.0;
        [in_order(hour.0, texts.rank(site), viewer(country, device)), 0]
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let (key, supply) = self;
        sink.window(key.hour.start_millis());
        name(texts, key.site, sink);
        sink.text(Text::word(key.country.as_str()));
        sink.text(Text::word(key.device.as_str()));
        sink.ints([supply.bid_requests, supply.bids, supply.wins]);
    }
}

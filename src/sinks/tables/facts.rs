//! The tables of sums.

use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::ids::Name;
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::time::{Day, Hour, Minute};

use super::{INT, TEXT, TableRow, columns};
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
    for count in [m.bids, m.wins, m.impressions, m.viewable, m.clicks, m.conversions] {
        sink.int(i64::from(count));
    }
    for micros in [m.spend_micros, m.revenue_micros, m.bid_micros] {
        sink.int(micros);
    }
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

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let (((hour, campaign), model), credit) = self;
        sink.window(hour.start_millis());
        name(texts, *campaign, sink);
        sink.text(Text::word(model.as_str()));
        sink.int(credit.credit_micros);
        sink.int(credit.revenue_micros);
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

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let ((day, campaign), reach) = self;
        sink.window(day.start_millis());
        name(texts, *campaign, sink);
        sink.int(reach.users);
        sink.int(reach.impressions);
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

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let (key, supply) = self;
        sink.window(key.hour.start_millis());
        name(texts, key.site, sink);
        sink.text(Text::word(key.country.as_str()));
        sink.text(Text::word(key.device.as_str()));
        sink.int(supply.bid_requests);
        sink.int(supply.bids);
        sink.int(supply.wins);
    }
}

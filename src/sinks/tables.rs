//! The published tables: their columns, rows and order.

use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::{Feed, Quality, Reason};
use dataflows::model::time::{Day, Hour, Minute};

use super::cells::{CellSink, Column, ColumnKind, Row, id, name};
use super::order::{NameOrder, NameRank};
use crate::names::Names;

/// A row that has its place in a table.
pub trait TableRow: Row + Send {
    /// The table's name.
    const TABLE: &'static str;
    /// What rows are ordered by; equal for equal keys only.
    type Key: Ord;

    /// The columns, key columns first.
    fn columns() -> Vec<Column>;
    /// The number of the window that the row's key starts with; rows of one window stand together.
    fn window(&self) -> u32;
    /// This row's place in the table.
    fn key(&self, order: &NameOrder, names: &Names) -> Self::Key;
}

fn columns(texts_and_ints: &[(&'static str, ColumnKind)]) -> Vec<Column> {
    texts_and_ints.iter().map(|&(name, kind)| Column { name, kind }).collect()
}

const INT: ColumnKind = ColumnKind::Int;
const TEXT: ColumnKind = ColumnKind::Text;

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

/// A row of `performance_minute`.
pub type PerformanceMinute = ((Minute, Name), Measures);

impl Row for PerformanceMinute {
    fn cells(&self, names: &Names, sink: &mut impl CellSink) {
        let ((minute, campaign), sums) = self;
        sink.int(minute.start_millis());
        name(names, *campaign, sink);
        measures(sums, sink);
    }
}

impl TableRow for PerformanceMinute {
    const TABLE: &'static str = "performance_minute";
    type Key = (Minute, NameRank);

    fn columns() -> Vec<Column> {
        columns(&[&[("minute", INT), ("campaign_id", TEXT)][..], &MEASURES].concat())
    }

    fn window(&self) -> u32 {
        self.0.0.0
    }

    fn key(&self, order: &NameOrder, _: &Names) -> Self::Key {
        (self.0.0, order.of(self.0.1))
    }
}

/// A row of `performance_hour`.
pub type PerformanceHour = (Placed<Hour>, Measures);

impl Row for PerformanceHour {
    fn cells(&self, names: &Names, sink: &mut impl CellSink) {
        let (place, sums) = self;
        sink.int(place.window.start_millis());
        name(names, place.campaign, sink);
        name(names, place.creative, sink);
        name(names, place.site, sink);
        sink.text(place.country.as_str());
        sink.text(place.device.as_str());
        measures(sums, sink);
    }
}

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

    fn key(&self, order: &NameOrder, _: &Names) -> Self::Key {
        let place = &self.0;
        let ranks = [order.of(place.campaign), order.of(place.creative), order.of(place.site)];
        (place.window, ranks, place.country, place.device)
    }
}

/// A row of `attribution_hour`.
pub type AttributionHour = (((Hour, Name), Model), Credit);

impl Row for AttributionHour {
    fn cells(&self, names: &Names, sink: &mut impl CellSink) {
        let (((hour, campaign), model), credit) = self;
        sink.int(hour.start_millis());
        name(names, *campaign, sink);
        sink.text(model.as_str());
        sink.int(credit.credit_micros);
        sink.int(credit.revenue_micros);
    }
}

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

    fn key(&self, order: &NameOrder, _: &Names) -> Self::Key {
        let ((hour, campaign), model) = self.0;
        (hour, order.of(campaign), model)
    }
}

/// A row of `reach_day`.
pub type ReachDay = ((Day, Name), Reach);

impl Row for ReachDay {
    fn cells(&self, names: &Names, sink: &mut impl CellSink) {
        let ((day, campaign), reach) = self;
        sink.int(day.start_millis());
        name(names, *campaign, sink);
        sink.int(reach.users);
        sink.int(reach.impressions);
    }
}

impl TableRow for ReachDay {
    const TABLE: &'static str = "reach_day";
    type Key = (Day, NameRank);

    fn columns() -> Vec<Column> {
        columns(&[("day", INT), ("campaign_id", TEXT), ("users", INT), ("impressions", INT)])
    }

    fn window(&self) -> u32 {
        self.0.0.0
    }

    fn key(&self, order: &NameOrder, _: &Names) -> Self::Key {
        (self.0.0, order.of(self.0.1))
    }
}

/// A row of `supply_hour`.
pub type SupplyHour = (SupplyKey, Supply);

impl Row for SupplyHour {
    fn cells(&self, names: &Names, sink: &mut impl CellSink) {
        let (key, supply) = self;
        sink.int(key.hour.start_millis());
        name(names, key.site, sink);
        sink.text(key.country.as_str());
        sink.text(key.device.as_str());
        sink.int(supply.bid_requests);
        sink.int(supply.bids);
        sink.int(supply.wins);
    }
}

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

    fn key(&self, order: &NameOrder, _: &Names) -> Self::Key {
        (self.0.hour, order.of(self.0.site), self.0.country, self.0.device)
    }
}

/// A row of `quality_minute`: all that is counted of a feed in a minute.
#[derive(Clone, Debug)]
pub struct QualityMinute {
    /// The minute.
    pub minute: Minute,
    /// The feed.
    pub feed: Feed,
    /// The counts, in the order of [`QualityMinute::COUNTS`].
    pub counts: [i64; 14],
}

impl QualityMinute {
    /// The names of the counts.
    pub const COUNTS: [&'static str; 14] = [
        "received",
        "accepted",
        "duplicate",
        "rejected_malformed",
        "rejected_missing_field",
        "rejected_bad_timestamp",
        "rejected_bad_number",
        "rejected_negative_money",
        "rejected_bad_enum",
        "rejected_too_long",
        "rejected_future",
        "rejected_too_late",
        "orphans",
        "invalid",
    ];

    /// Where a count stands.
    pub fn slot(what: Quality) -> usize {
        match what {
            Quality::Received => 0,
            Quality::Accepted => 1,
            Quality::Duplicate => 2,
            Quality::Rejected(reason) => 3 + reason as usize,
            Quality::Orphan => 3 + Reason::ALL.len(),
            Quality::Invalid => 4 + Reason::ALL.len(),
        }
    }

    /// All rejects.
    pub fn rejected(&self) -> i64 {
        self.counts[3..3 + Reason::ALL.len()].iter().sum()
    }

    /// `received = accepted + duplicate + rejected`.
    pub fn adds_up(&self) -> bool {
        self.counts[0] == self.counts[1] + self.counts[2] + self.rejected()
    }
}

impl Row for QualityMinute {
    fn cells(&self, _: &Names, sink: &mut impl CellSink) {
        sink.int(self.minute.start_millis());
        sink.text(self.feed.as_str());
        self.counts.iter().for_each(|count| sink.int(*count));
    }
}

impl TableRow for QualityMinute {
    const TABLE: &'static str = "quality_minute";
    type Key = (Minute, Feed);

    fn columns() -> Vec<Column> {
        let counts = Self::COUNTS.map(|count| (count, INT));
        columns(&[&[("minute", INT), ("feed", TEXT)][..], &counts].concat())
    }

    fn window(&self) -> u32 {
        self.minute.0
    }

    fn key(&self, _: &NameOrder, _: &Names) -> Self::Key {
        (self.minute, self.feed)
    }
}

/// A row of `conversion_paths`: one conversion under one model.
#[derive(Clone, Debug)]
pub struct ConversionPath {
    /// The conversion.
    pub conversion: Id,
    /// The model.
    pub model: Model,
    /// Its path.
    pub steps: std::sync::Arc<[PathStep]>,
}

impl ConversionPath {
    fn joined(&self, each: impl Fn(&PathStep) -> String) -> String {
        self.steps.iter().map(each).collect::<Vec<_>>().join("|")
    }
}

impl Row for ConversionPath {
    fn cells(&self, names: &Names, sink: &mut impl CellSink) {
        let owed = |step: &PathStep| step.owed[self.model as usize];
        id(names, self.conversion, sink);
        sink.text(self.model.as_str());
        sink.text(&self.joined(|step| names.id_text(step.touch)));
        sink.text(&self.joined(|step| owed(step).credit_micros.to_string()));
        sink.text(&self.joined(|step| owed(step).revenue_micros.to_string()));
    }
}

impl TableRow for ConversionPath {
    const TABLE: &'static str = "conversion_paths";
    type Key = (String, Model);

    fn columns() -> Vec<Column> {
        columns(&[
            ("conversion_id", TEXT),
            ("model", TEXT),
            ("path", TEXT),
            ("credit_micros", TEXT),
            ("revenue_micros", TEXT),
        ])
    }

    fn window(&self) -> u32 {
        0
    }

    fn key(&self, _: &NameOrder, names: &Names) -> Self::Key {
        (names.id_text(self.conversion), self.model)
    }
}

//! The tables of sums.

use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::ids::Name;
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::time::{Day, Hour, Minute};

use super::{INT, TEXT, TableRow, columns};
use crate::sinks::cells::{CellSink, Column, ColumnKind, Short, Text};
use crate::sinks::order::{Place, in_order};
use crate::sinks::texts::Texts;

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

/// What orders as a country and a device do: devices are declared in the order of their texts.
fn viewer(country: Country, device: Device) -> u32 {
    u32::from(country.code()) << 3 | device as u32
}

fn name(texts: &Texts, key: Name, sink: &mut impl CellSink) {
    match Short::of_name(key) {
        Some(short) => sink.short(short),
        None => texts.name(key, |text| sink.text(text)),
    }
}

/// The cells of a country and a device.
fn seen_on(texts: &Texts, country: Country, device: Device, sink: &mut impl CellSink) {
    name(texts, Name::new(country.as_str()), sink);
    name(texts, Name::new(device.as_str()), sink);
}

/// A row of `performance_minute`.
pub type PerformanceMinute = ((Minute, Name), Measures);

impl TableRow for PerformanceMinute {
    const TABLE: &'static str = "performance_minute";

    fn columns() -> Vec<Column> {
        columns(&[&[("minute", INT), ("campaign_id", TEXT)][..], &MEASURES].concat())
    }

    fn window(&self) -> u32 {
        self.0.0.0
    }

    fn in_order<'a>(rows: Vec<&'a Self>, texts: &Texts) -> Vec<&'a Self> {
        in_order(rows, texts, |((window, campaign), _)| Place {
            window: window.0,
            names: [*campaign],
            behind: 0,
        })
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

    fn in_order<'a>(rows: Vec<&'a Self>, texts: &Texts) -> Vec<&'a Self> {
        in_order(rows, texts, |(place, _)| {
            let Placed { window, campaign, creative, site, country, device } = *place;
            Place { window: window.0, names: [campaign, creative, site], behind: viewer(country, device) }
        })
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let (place, sums) = self;
        sink.window(place.window.start_millis());
        name(texts, place.campaign, sink);
        name(texts, place.creative, sink);
        name(texts, place.site, sink);
        seen_on(texts, place.country, place.device, sink);
        measures(sums, sink);
    }
}

/// A row of `attribution_hour`.
pub type AttributionHour = (((Hour, Name), Model), Credit);

impl TableRow for AttributionHour {
    const TABLE: &'static str = "attribution_hour";

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

    fn in_order<'a>(rows: Vec<&'a Self>, texts: &Texts) -> Vec<&'a Self> {
        in_order(rows, texts, |(((hour, campaign), model), _)| Place {
            window: hour.0,
            names: [*campaign],
            behind: *model as u32,
        })
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

    fn columns() -> Vec<Column> {
        columns(&[("day", INT), ("campaign_id", TEXT), ("users", INT), ("impressions", INT)])
    }

    fn window(&self) -> u32 {
        self.0.0.0
    }

    fn in_order<'a>(rows: Vec<&'a Self>, texts: &Texts) -> Vec<&'a Self> {
        in_order(rows, texts, |((day, campaign), _)| Place { window: day.0, names: [*campaign], behind: 0 })
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

    fn in_order<'a>(rows: Vec<&'a Self>, texts: &Texts) -> Vec<&'a Self> {
        in_order(rows, texts, |(key, _)| {
            let SupplyKey { hour, country, device, site } = *key;
            Place { window: hour.0, names: [site], behind: viewer(country, device) }
        })
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let (key, supply) = self;
        sink.window(key.hour.start_millis());
        name(texts, key.site, sink);
        seen_on(texts, key.country, key.device, sink);
        sink.ints([supply.bid_requests, supply.bids, supply.wins]);
    }
}

//! What the tables look like to who asks: their windows, key columns, measures and ratios.

use crate::formats::dimension::Dimension;
use crate::sinks::tables::QualityMinute;

/// The values of a row's key columns; what a table doesn't have, or a grouping leaves out, is 0.
pub type Key = [u64; KEYS_MAX];

/// The most key columns that a table has.
pub const KEYS_MAX: usize = 5;
/// The most measures that a table has.
pub const MEASURES_MAX: usize = 14;

/// A length of time that rows are summed over.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Step {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// All of the range.
    All,
}

impl Step {
    /// Every step, the finest first.
    pub const ALL: [Step; 4] = [Step::Minute, Step::Hour, Step::Day, Step::All];

    /// Its name in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Minute => "minute",
            Step::Hour => "hour",
            Step::Day => "day",
            Step::All => "all",
        }
    }

    /// Its length in milliseconds; of all time, none.
    pub fn millis(self) -> Option<i64> {
        match self {
            Step::Minute => Some(60_000),
            Step::Hour => Some(3_600_000),
            Step::Day => Some(86_400_000),
            Step::All => None,
        }
    }

    /// Where the step that holds a moment begins.
    pub fn start(self, millis: i64) -> i64 {
        self.millis().map_or(0, |length| millis - millis.rem_euclid(length))
    }
}

/// What a key column holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The name of something that may have attributes.
    Named(Dimension),
    /// A country.
    Country,
    /// A device.
    Device,
    /// An attribution model.
    Model,
    /// A feed.
    Feed,
}

/// A key column.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct KeyColumn {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// A quotient of sums.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Its name.
    pub name: &'static str,
    /// These measures, added up,
    over: &'static [usize],
    /// divided by this one,
    under: usize,
    /// times this.
    factor: f64,
}

impl Ratio {
    const fn new(name: &'static str, over: &'static [usize], under: usize, factor: f64) -> Self {
        Self { name, over, under, factor }
    }

    /// The ratio of these sums; none where there is nothing to divide by.
    pub fn of(&self, sums: &[Option<i64>]) -> Option<f64> {
        let under = sums[self.under].filter(|under| *under != 0)?;
        let over = self.over.iter().map(|at| sums[*at]).sum::<Option<i64>>()?;
        Some(over as f64 * self.factor / under as f64)
    }
}

/// A table of sums.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum TableId {
    /// `performance_minute`
    PerformanceMinute,
    /// `performance_hour`
    PerformanceHour,
    /// `attribution_hour`
    AttributionHour,
    /// `reach_day`
    ReachDay,
    /// `supply_hour`
    SupplyHour,
    /// `quality_minute`
    QualityMinute,
}

/// How many tables of sums there are.
pub const TABLES: usize = 6;

/// What a table looks like.
#[derive(Debug)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// Its window.
    pub window: Step,
    /// Its key columns, without the window.
    pub keys: &'static [KeyColumn],
    /// Its measures.
    pub measures: &'static [&'static str],
    /// What is made of them.
    pub ratios: &'static [Ratio],
    /// The measure that counts distinct things, which can't be added up.
    pub distinct: Option<usize>,
}

const CAMPAIGN: KeyColumn = KeyColumn { name: "campaign_id", kind: Kind::Named(Dimension::Campaign) };
const CREATIVE: KeyColumn = KeyColumn { name: "creative_id", kind: Kind::Named(Dimension::Creative) };
const SITE: KeyColumn = KeyColumn { name: "site", kind: Kind::Named(Dimension::Site) };
const COUNTRY: KeyColumn = KeyColumn { name: "country", kind: Kind::Country };
const DEVICE: KeyColumn = KeyColumn { name: "device", kind: Kind::Device };
const MODEL: KeyColumn = KeyColumn { name: "model", kind: Kind::Model };
const FEED: KeyColumn = KeyColumn { name: "feed", kind: Kind::Feed };

const PERFORMANCE: [&str; 9] = [
    "bids",
    "wins",
    "impressions",
    "viewable",
    "clicks",
    "conversions",
    "spend_micros",
    "revenue_micros",
    "bid_micros",
];
/// Money in ratios is in units of the currency.
const UNIT: f64 = 1e-6;
const PERFORMANCE_RATIOS: [Ratio; 7] = [
    Ratio::new("ctr", &[4], 2, 1.0),
    Ratio::new("cvr", &[5], 4, 1.0),
    Ratio::new("cpc", &[6], 4, UNIT),
    Ratio::new("cpm", &[6], 2, 1e3 * UNIT),
    Ratio::new("cpa", &[6], 5, UNIT),
    Ratio::new("roas", &[7], 6, 1.0),
    Ratio::new("win_rate", &[1], 0, 1.0),
];

static SHAPES: [Shape; TABLES] = [
    Shape {
        name: "performance_minute",
        window: Step::Minute,
        keys: &[CAMPAIGN],
        measures: &PERFORMANCE,
        ratios: &PERFORMANCE_RATIOS,
        distinct: None,
    },
    Shape {
        name: "performance_hour",
        window: Step::Hour,
        keys: &[CAMPAIGN, CREATIVE, SITE, COUNTRY, DEVICE],
        measures: &PERFORMANCE,
        ratios: &PERFORMANCE_RATIOS,
        distinct: None,
    },
    Shape {
        name: "attribution_hour",
        window: Step::Hour,
        keys: &[CAMPAIGN, MODEL],
        measures: &["credit_micros", "revenue_micros"],
        ratios: &[],
        distinct: None,
    },
    Shape {
        name: "reach_day",
        window: Step::Day,
        keys: &[CAMPAIGN],
        measures: &["users", "impressions"],
        ratios: &[Ratio::new("frequency", &[1], 0, 1.0)],
        distinct: Some(0),
    },
    Shape {
        name: "supply_hour",
        window: Step::Hour,
        keys: &[SITE, COUNTRY, DEVICE],
        measures: &["bid_requests", "bids", "wins"],
        ratios: &[Ratio::new("bid_rate", &[1], 0, 1.0), Ratio::new("win_rate", &[2], 1, 1.0)],
        distinct: None,
    },
    Shape {
        name: "quality_minute",
        window: Step::Minute,
        keys: &[FEED],
        measures: &QualityMinute::COUNTS,
        ratios: &[
            Ratio::new("reject_rate", &[3, 4, 5, 6, 7, 8, 9, 10, 11], 0, 1.0),
            Ratio::new("duplicate_rate", &[2], 0, 1.0),
        ],
        distinct: None,
    },
];

impl TableId {
    /// Every table.
    pub const ALL: [TableId; TABLES] = [
        TableId::PerformanceMinute,
        TableId::PerformanceHour,
        TableId::AttributionHour,
        TableId::ReachDay,
        TableId::SupplyHour,
        TableId::QualityMinute,
    ];

    /// What it looks like.
    pub fn shape(self) -> &'static Shape {
        &SHAPES[self as usize]
    }

    /// The table of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.shape().name == name)
    }

    /// Whether its rows belong to campaigns, and so to advertisers.
    pub fn has_campaigns(self) -> bool {
        self.shape().keys.first() == Some(&CAMPAIGN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tables::Shape as Published;

    #[test]
    fn tables_have_the_columns_that_are_published() {
        for published in Published::all() {
            let Some(table) = TableId::parse(published.table) else {
                assert_eq!(published.table, "conversion_paths");
                continue;
            };
            let Shape { window, keys, measures, .. } = table.shape();
            let names = keys.iter().map(|key| key.name).chain(measures.iter().copied());
            let columns: Vec<_> = std::iter::once(window.as_str()).chain(names).collect();
            assert_eq!(columns, published.columns.iter().map(|column| column.name).collect::<Vec<_>>());
            assert!(keys.len() <= KEYS_MAX && measures.len() <= MEASURES_MAX);
        }
    }

    #[test]
    fn ratios_are_quotients_of_sums_and_nothing_over_nothing_is_nothing() {
        let Shape { ratios, .. } = TableId::PerformanceMinute.shape();
        let sums = [10, 5, 4, 0, 2, 1, 3_000_000, 6_000_000, 0].map(Some);
        let named: Vec<_> = ratios.iter().map(|ratio| (ratio.name, ratio.of(&sums))).collect();
        let expected = [0.5, 0.5, 1.5, 750.0, 3.0, 2.0, 0.5].map(Some);
        assert!(named.iter().map(|(_, value)| *value).eq(expected), "{named:?}");
        assert!(ratios.iter().all(|ratio| ratio.of(&[Some(0); 9]).is_none()));
        let reach = TableId::ReachDay.shape();
        assert_eq!(reach.ratios[0].of(&[None, Some(4)]), None, "users of several days");
    }
}

//! Rows of lookup tables: cells to a [`LookupRow`], whether they stood in a file or in a message.
//!
//! | table | columns |
//! |---|---|
//! | `campaigns` | `campaign_id, advertiser_id`, `name` |
//! | `traffic` | `rule, value`: `user` or `site` with an id; `max_clicks_per_user_minute` with a number; `click_join_window` with a duration |
//! | `attribution_rules` | `advertiser_id` (empty: all), `click_lookback, view_lookback, half_life` (durations, empty: inherited), `default_model` (empty: inherited) |
//! | `advertisers` | `advertiser_id`, `name` |
//! | `creatives` | `creative_id`, `name`, `format` |
//! | `sites` | `site`, `name`, `category` |
//!
//! Names and what follows them may be missing, and more columns are allowed. A duration is a number and a unit: `500ms`, `90s`, `15m`, `24h`, `30d`.

use dataflows::model::ids::Id;
use dataflows::model::lookups::{AttributionRule, LookupRow, Model};
use dataflows::model::time::Millis;
use serde::{Deserialize, Serialize};

use super::dimension::{Dimension, DimensionRow};
use crate::names::{Collision, Names, Text};

/// A lookup table.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Table {
    /// Who owns a campaign.
    Campaigns,
    /// What traffic is invalid.
    Traffic,
    /// How credit is given.
    AttributionRules,
    /// What advertisers are called.
    Advertisers,
    /// What creatives are.
    Creatives,
    /// What sites are.
    Sites,
}

/// What a row of a lookup table says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What numbers depend on.
    pub rule: Option<LookupRow>,
    /// What an id stands for.
    pub dimension: Option<DimensionRow>,
    /// The text of that id, if its key does not hold it: who keeps the row keeps it, too.
    #[serde(default)]
    pub text: Option<Text>,
}

/// How a row is written in a message.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum RowFormat {
    /// One line, the columns in the order of [`Table::columns`]; more may follow.
    Csv,
    /// One object, a member per column. An absent or null member is an empty cell.
    Json,
}

/// Why a row is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BadRow {
    /// A cell makes no sense.
    #[error("{column} is {value:?}, but should be {expected}")]
    Cell {
        /// The column.
        column: &'static str,
        /// What it says.
        value: String,
        /// What it might say.
        expected: &'static str,
    },
    /// It is no row at all.
    #[error("{0}")]
    Shape(String),
    /// Two names share a key: the run must stop.
    #[error(transparent)]
    Collision(#[from] Collision),
}

const DURATION: &str = "a duration such as 24h or 30d";
const MODEL: &str = "first_touch, last_touch, linear, position_based or time_decay";

impl Table {
    /// Every table.
    pub const ALL: [Table; 6] = [
        Table::Campaigns,
        Table::Traffic,
        Table::AttributionRules,
        Table::Advertisers,
        Table::Creatives,
        Table::Sites,
    ];

    /// The table's name in configuration, and of its file.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Campaigns => "campaigns",
            Table::Traffic => "traffic",
            Table::AttributionRules => "attribution_rules",
            Table::Advertisers => "advertisers",
            Table::Creatives => "creatives",
            Table::Sites => "sites",
        }
    }

    /// Its columns.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Table::Campaigns => &["campaign_id", "advertiser_id", "name"],
            Table::Traffic => &["rule", "value"],
            Table::AttributionRules => {
                &["advertiser_id", "click_lookback", "view_lookback", "half_life", "default_model"]
            }
            Table::Advertisers => &["advertiser_id", "name"],
            Table::Creatives => &["creative_id", "name", "format"],
            Table::Sites => &["site", "name", "category"],
        }
    }

    /// How many of its columns, the first ones, must be there.
    pub fn required(self) -> usize {
        match self {
            Table::Campaigns => 2,
            Table::Traffic | Table::AttributionRules => self.columns().len(),
            Table::Advertisers | Table::Creatives | Table::Sites => 1,
        }
    }

    /// What these cells say, which stand in the order of [`Table::columns`].
    ///
    /// # Errors
    /// When a cell makes no sense, or two names share a key.
    pub fn row(self, cells: &[&str], names: &Names) -> Result<Entry, BadRow> {
        let cells = Cells { columns: self.columns(), cells };
        let rule = match self {
            Table::Campaigns => {
                Some(LookupRow::Campaign(names.name(cells.get(0))?, names.name(cells.get(1))?))
            }
            Table::Traffic => Some(traffic(&cells, names)?),
            Table::AttributionRules => Some(attribution_rule(&cells, names)?),
            Table::Advertisers | Table::Creatives | Table::Sites => None,
        };
        let dimension = match self {
            Table::Campaigns => Some(Dimension::Campaign),
            Table::Advertisers => Some(Dimension::Advertiser),
            Table::Creatives => Some(Dimension::Creative),
            Table::Sites => Some(Dimension::Site),
            Table::Traffic | Table::AttributionRules => None,
        };
        let row = |dimension| {
            let attributes = [cells.get(1).into(), cells.get(2).into()];
            names.name(cells.get(0)).map(|id| DimensionRow { dimension, id, attributes })
        };
        let dimension = dimension.map(row).transpose()?;
        let text = dimension.as_ref().and_then(|row| names.known_name(row.id));
        Ok(Entry { rule, dimension, text })
    }

    /// The row that a message holds.
    ///
    /// # Errors
    /// As [`Table::row`], and when the message is no row of this format.
    pub fn message(self, format: RowFormat, message: &[u8], names: &Names) -> Result<Entry, BadRow> {
        let text = std::str::from_utf8(message)
            .map_err(|_| BadRow::Shape("the message is not UTF-8 text".to_owned()))?;
        let cells = match format {
            RowFormat::Csv => self.csv_cells(text)?,
            RowFormat::Json => self.json_cells(text)?,
        };
        self.row(&cells.iter().map(String::as_str).collect::<Vec<_>>(), names)
    }

    fn csv_cells(self, line: &str) -> Result<Vec<String>, BadRow> {
        let shape = |error: csv::Error| BadRow::Shape(error.to_string());
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line.as_bytes());
        let mut record = csv::StringRecord::new();
        if !reader.read_record(&mut record).map_err(shape)? {
            return Err(BadRow::Shape("the message is empty".to_owned()));
        }
        if reader.read_record(&mut csv::StringRecord::new()).map_err(shape)? {
            return Err(BadRow::Shape("the message holds more than one line".to_owned()));
        }
        let columns = self.columns();
        if record.len() < self.required() {
            let (expected, found) = (columns[..self.required()].join(","), record.len());
            return Err(BadRow::Shape(format!("the columns {expected} are expected, {found} were found")));
        }
        Ok(record.iter().take(columns.len()).map(str::to_owned).collect())
    }

    fn json_cells(self, text: &str) -> Result<Vec<String>, BadRow> {
        use serde_json::Value::{Null, Number, String};
        let object: serde_json::Map<_, _> =
            serde_json::from_str(text).map_err(|error| BadRow::Shape(error.to_string()))?;
        // What a rule leaves open is inherited.
        let required = if self == Table::AttributionRules { 0 } else { self.required() };
        let required = &self.columns()[..required];
        let cell = |&column: &&'static str| match object.get(column) {
            None if required.contains(&column) => {
                Err(BadRow::Shape(format!("{column} is required, but absent")))
            }
            None | Some(Null) => Ok("".to_owned()),
            Some(String(text)) => Ok(text.clone()),
            Some(Number(number)) => Ok(number.to_string()),
            Some(other) => {
                let (value, expected) = (other.to_string(), "text or a number");
                Err(BadRow::Cell { column, value, expected })
            }
        };
        self.columns().iter().map(cell).collect()
    }
}

struct Cells<'a> {
    columns: &'a [&'static str],
    cells: &'a [&'a str],
}

impl Cells<'_> {
    fn get(&self, column: usize) -> &str {
        self.cells.get(column).copied().unwrap_or_default().trim()
    }

    fn optional<T>(
        &self,
        column: usize,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, BadRow> {
        match self.get(column) {
            "" => Ok(None),
            text => parse(text).map(Some).ok_or_else(|| self.bad(column, expected)),
        }
    }

    fn bad(&self, column: usize, expected: &'static str) -> BadRow {
        BadRow::Cell { column: self.columns[column], value: self.get(column).to_owned(), expected }
    }
}

fn traffic(cells: &Cells<'_>, names: &Names) -> Result<LookupRow, BadRow> {
    let value = cells.get(1);
    match cells.get(0) {
        "user" => Ok(LookupRow::ListedUser(Id::new(value))),
        "site" => Ok(LookupRow::ListedSite(names.name(value)?)),
        "max_clicks_per_user_minute" => {
            value.parse().map(LookupRow::MaxClicksPerUserMinute).map_err(|_| cells.bad(1, "a whole number"))
        }
        "click_join_window" => {
            duration(value).map(LookupRow::ClickJoinWindow).ok_or_else(|| cells.bad(1, DURATION))
        }
        _ => Err(cells.bad(0, "user, site, max_clicks_per_user_minute or click_join_window")),
    }
}

fn attribution_rule(cells: &Cells<'_>, names: &Names) -> Result<LookupRow, BadRow> {
    let rule = AttributionRule {
        click_lookback: cells.optional(1, DURATION, duration)?,
        view_lookback: cells.optional(2, DURATION, duration)?,
        half_life: cells.optional(3, DURATION, |text| duration(text).filter(|life| life.0 > 0))?,
        default_model: cells.optional(4, MODEL, Model::parse)?,
    };
    Ok(match cells.get(0) {
        "" => LookupRow::GlobalRule(rule),
        advertiser => LookupRow::AdvertiserRule(names.name(advertiser)?, rule),
    })
}

/// Parses a number with a unit.
pub fn duration(text: &str) -> Option<Millis> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    text[..digits].parse::<i64>().ok()?.checked_mul(unit).map(Millis)
}

#[cfg(test)]
mod tests {
    use dataflows::model::ids::Name;

    use super::*;

    fn entry(table: Table, format: RowFormat, message: &str) -> Result<Entry, String> {
        table.message(format, message.as_bytes(), &Names::default()).map_err(|bad| bad.to_string())
    }

    fn row(table: Table, format: RowFormat, message: &str) -> Result<LookupRow, String> {
        entry(table, format, message).map(|entry| entry.rule.expect("a rule"))
    }

    #[test]
    fn what_ids_stand_for_is_read_as_far_as_it_is_said() {
        let read = |table, format, message| {
            let row = entry(table, format, message).expect("a row").dimension.expect("an id");
            (row.dimension, row.id, row.attributes.map(String::from))
        };
        let attributes = |one: &str, other: &str| [one.to_owned(), other.to_owned()];
        let campaign = (Dimension::Campaign, Name::new("c1"), attributes("adv1", "A, name"));
        assert_eq!(read(Table::Campaigns, RowFormat::Csv, "c1,adv1,\"A, name\",2026-01-01"), campaign);
        let creative = (Dimension::Creative, Name::new("k1"), attributes("Spring", "video"));
        let json = r#"{"creative_id":"k1","format":"video","name":"Spring"}"#;
        assert_eq!(read(Table::Creatives, RowFormat::Json, json), creative);
        let site = (Dimension::Site, Name::new("s1"), attributes("", ""));
        assert_eq!(read(Table::Sites, RowFormat::Csv, "s1"), site);
        let advertiser = (Dimension::Advertiser, Name::new("adv1"), attributes("Acme", ""));
        assert_eq!(read(Table::Advertisers, RowFormat::Csv, "adv1,Acme"), advertiser);
        assert_eq!(entry(Table::Sites, RowFormat::Csv, "s1").expect("a row").rule, None);
    }

    #[test]
    fn a_row_means_the_same_in_csv_and_json() {
        let campaign = LookupRow::Campaign(Name::new("c1"), Name::new("adv1"));
        assert_eq!(row(Table::Campaigns, RowFormat::Csv, "c1,adv1,\"A, name\"\n"), Ok(campaign));
        let json = r#"{"name":"A","advertiser_id":"adv1","campaign_id":"c1"}"#;
        assert_eq!(row(Table::Campaigns, RowFormat::Json, json), Ok(campaign));
        let limit = LookupRow::MaxClicksPerUserMinute(5);
        let json = r#"{"rule":"max_clicks_per_user_minute","value":5}"#;
        assert_eq!(row(Table::Traffic, RowFormat::Json, json), Ok(limit));
        assert_eq!(row(Table::Traffic, RowFormat::Csv, "max_clicks_per_user_minute,5"), Ok(limit));
        let rule = AttributionRule { click_lookback: Some(Millis::days(7)), ..AttributionRule::default() };
        assert_eq!(
            row(Table::AttributionRules, RowFormat::Json, r#"{"click_lookback":"7d","half_life":null}"#),
            Ok(LookupRow::GlobalRule(rule))
        );
        assert_eq!(row(Table::AttributionRules, RowFormat::Csv, ",7d,,,"), Ok(LookupRow::GlobalRule(rule)));
    }

    #[test]
    fn what_is_no_row_is_refused_with_a_hint() {
        for (table, format, message, hint) in [
            (Table::Campaigns, RowFormat::Csv, "c1", "1 were found"),
            (Table::Campaigns, RowFormat::Csv, "", "empty"),
            (Table::Campaigns, RowFormat::Csv, "c1,a\nc2,b", "more than one line"),
            (Table::Campaigns, RowFormat::Json, "[]", "invalid type"),
            (Table::Campaigns, RowFormat::Json, r#"{"campaign_id":"c1"}"#, "advertiser_id is required"),
            (Table::Traffic, RowFormat::Json, r#"{"rule":"user","value":[1]}"#, "value is \"[1]\""),
            (Table::Traffic, RowFormat::Csv, "click_join_window,soon", "a duration such as"),
        ] {
            let bad = row(table, format, message).expect_err(message);
            assert!(bad.contains(hint), "{message}: {bad}");
        }
    }
}

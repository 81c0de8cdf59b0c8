//! Lookup tables from CSV files with a header: `campaigns.csv`, `traffic.csv` and
//! `attribution_rules.csv`, of which only the first must exist.
//!
//! | file | columns |
//! |---|---|
//! | `campaigns.csv` | `campaign_id, advertiser_id` (more are allowed) |
//! | `traffic.csv` | `rule, value`: `user` or `site` with an id; `max_clicks_per_user_minute` with a number; `click_join_window` with a duration |
//! | `attribution_rules.csv` | `advertiser_id` (empty: all), `click_lookback, view_lookback, half_life` (durations, empty: inherited), `default_model` (empty: inherited) |
//!
//! A duration is a number and a unit: `500ms`, `90s`, `15m`, `24h`, `30d`.

use std::path::{Path, PathBuf};

use csv::StringRecord;
use dataflows::model::ids::Id;
use dataflows::model::lookups::{AttributionRule, LookupRow, Model};
use dataflows::model::time::Millis;

use crate::names::{Collision, Names};

/// Why a lookup table can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// `campaigns.csv` isn't there.
    #[error("no campaigns.csv in {0}; attribution needs campaign_id and advertiser_id of every campaign")]
    NoCampaigns(PathBuf),
    /// The file can't be read, or isn't CSV.
    #[error("can't read lookup table {path}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// A column is missing.
    #[error("{path} has no column {column}; its columns are: {found}")]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// What is missing.
        column: &'static str,
        /// What there is.
        found: String,
    },
    /// A cell makes no sense.
    #[error("{path}, line {line}: {column} is {value:?}, but should be {expected}")]
    BadCell {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What it says.
        value: String,
        /// What it might say.
        expected: &'static str,
    },
    /// Two names share a key.
    #[error(transparent)]
    Collision(#[from] Collision),
}

/// Reads all lookup tables of a directory.
pub fn load(dir: &Path, names: &Names) -> Result<Vec<LookupRow>, LookupError> {
    let mut rows = Vec::new();
    let campaigns = dir.join("campaigns.csv");
    if !campaigns.is_file() {
        return Err(LookupError::NoCampaigns(dir.to_owned()));
    }
    read(&campaigns, &["campaign_id", "advertiser_id"], |row| {
        let (campaign, advertiser) = (names.name(row.cell(0))?, names.name(row.cell(1))?);
        rows.push(LookupRow::Campaign(campaign, advertiser));
        Ok(())
    })?;
    let traffic = dir.join("traffic.csv");
    if traffic.is_file() {
        read(&traffic, &["rule", "value"], |row| {
            rows.push(traffic_row(row, names)?);
            Ok(())
        })?;
    }
    let rules = dir.join("attribution_rules.csv");
    if rules.is_file() {
        rows.extend(load_rules(&rules, names)?);
    }
    Ok(rows)
}

/// Reads attribution rules from one file.
pub fn load_rules(path: &Path, names: &Names) -> Result<Vec<LookupRow>, LookupError> {
    let mut rows = Vec::new();
    let columns = ["advertiser_id", "click_lookback", "view_lookback", "half_life", "default_model"];
    read(path, &columns, |row| {
        let rule = AttributionRule {
            click_lookback: row.optional(1, DURATION, duration)?,
            view_lookback: row.optional(2, DURATION, duration)?,
            half_life: row.optional(3, DURATION, |text| duration(text).filter(|life| life.0 > 0))?,
            default_model: row.optional(4, MODEL, Model::parse)?,
        };
        rows.push(match row.cell(0) {
            "" => LookupRow::GlobalRule(rule),
            advertiser => LookupRow::AdvertiserRule(names.name(advertiser)?, rule),
        });
        Ok(())
    })?;
    Ok(rows)
}

const DURATION: &str = "a duration such as 24h or 30d";
const MODEL: &str = "first_touch, last_touch, linear, position_based or time_decay";

fn traffic_row(row: &Cells, names: &Names) -> Result<LookupRow, LookupError> {
    let value = row.cell(1);
    match row.cell(0) {
        "user" => Ok(LookupRow::ListedUser(Id::new(value))),
        "site" => Ok(LookupRow::ListedSite(names.name(value)?)),
        "max_clicks_per_user_minute" => {
            value.parse().map(LookupRow::MaxClicksPerUserMinute).map_err(|_| row.bad(1, "a whole number"))
        }
        "click_join_window" => {
            duration(value).map(LookupRow::ClickJoinWindow).ok_or_else(|| row.bad(1, DURATION))
        }
        _ => Err(row.bad(0, "user, site, max_clicks_per_user_minute or click_join_window")),
    }
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

/// The cells of one line, in the order of the columns asked for.
struct Cells<'a> {
    path: &'a Path,
    columns: &'a [&'static str],
    places: &'a [usize],
    record: &'a StringRecord,
}

impl Cells<'_> {
    fn cell(&self, column: usize) -> &str {
        self.record.get(self.places[column]).unwrap_or("").trim()
    }

    fn optional<T>(
        &self,
        column: usize,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, LookupError> {
        match self.cell(column) {
            "" => Ok(None),
            text => parse(text).map(Some).ok_or_else(|| self.bad(column, expected)),
        }
    }

    fn bad(&self, column: usize, expected: &'static str) -> LookupError {
        LookupError::BadCell {
            path: self.path.to_owned(),
            line: self.record.position().map_or(0, csv::Position::line),
            column: self.columns[column],
            value: self.cell(column).to_owned(),
            expected,
        }
    }
}

fn read(
    path: &Path,
    columns: &[&'static str],
    mut each: impl FnMut(&Cells) -> Result<(), LookupError>,
) -> Result<(), LookupError> {
    let csv_error = |source| LookupError::Csv { path: path.to_owned(), source };
    let mut reader = csv::Reader::from_path(path).map_err(csv_error)?;
    let header = reader.headers().map_err(csv_error)?.clone();
    let mut places = Vec::new();
    for &column in columns {
        let place = header.iter().position(|name| name.trim_start_matches('\u{feff}').trim() == column);
        places.push(place.ok_or_else(|| LookupError::NoColumn {
            path: path.to_owned(),
            column,
            found: header.iter().collect::<Vec<_>>().join(", "),
        })?);
    }
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        each(&Cells { path, columns, places: &places, record: &record })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::model::ids::Name;

    fn load_from(files: &[(&str, &str)]) -> Result<Vec<LookupRow>, LookupError> {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("writes");
        }
        load(dir.path(), &Names::default())
    }

    const CAMPAIGNS: (&str, &str) = ("campaigns.csv", "name,campaign_id,advertiser_id\nN,c1,adv1\n");

    #[test]
    fn all_tables_are_read() {
        let traffic = "rule,value\nuser,u1\nsite,s1\nmax_clicks_per_user_minute,5\nclick_join_window,12h\n";
        let rules =
            "advertiser_id,click_lookback,view_lookback,half_life,default_model\n,7d,,,linear\nadv1,,,2d,\n";
        let rows = load_from(&[CAMPAIGNS, ("traffic.csv", traffic), ("attribution_rules.csv", rules)])
            .expect("loads");
        let global = AttributionRule {
            click_lookback: Some(Millis::days(7)),
            default_model: Some(Model::Linear),
            ..AttributionRule::default()
        };
        let own = AttributionRule { half_life: Some(Millis::days(2)), ..AttributionRule::default() };
        let expected = [
            LookupRow::Campaign(Name::new("c1"), Name::new("adv1")),
            LookupRow::ListedUser(Id::new("u1")),
            LookupRow::ListedSite(Name::new("s1")),
            LookupRow::MaxClicksPerUserMinute(5),
            LookupRow::ClickJoinWindow(Millis::hours(12)),
            LookupRow::GlobalRule(global),
            LookupRow::AdvertiserRule(Name::new("adv1"), own),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_bad_cell_is_named_with_its_line() {
        let error = load_from(&[CAMPAIGNS, ("traffic.csv", "rule,value\nuser,u1\nclick_join_window,soon\n")])
            .expect_err("refused");
        let text = error.to_string();
        assert!(text.contains("traffic.csv, line 3: value is \"soon\""), "{text}");
    }

    #[test]
    fn missing_tables_and_columns_are_named() {
        assert!(matches!(load_from(&[]), Err(LookupError::NoCampaigns(_))));
        let error = load_from(&[("campaigns.csv", "campaign_id\nc1\n")]).expect_err("refused");
        assert!(error.to_string().contains("no column advertiser_id"), "{error}");
    }
}

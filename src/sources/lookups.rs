//! Lookup tables from CSV files with a header: `campaigns.csv`, `traffic.csv` and
//! `attribution_rules.csv`, of which only the first must exist.
//!
//! Their columns are those of [`Table`].

use std::path::{Path, PathBuf};

use dataflows::model::lookups::LookupRow;

use crate::formats::dimension::DimensionRow;
use crate::formats::lookup::{BadRow, Entry, Table};
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
    /// A row makes no sense.
    #[error("{path}, line {line}: {bad}")]
    BadRow {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        bad: BadRow,
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
    for table in [Table::Campaigns, Table::Traffic, Table::AttributionRules] {
        rows.extend(read_in(dir, table, names)?.into_iter().filter_map(|entry| entry.rule));
    }
    Ok(rows)
}

/// Reads what ids stand for from `campaigns.csv`, `advertisers.csv`, `creatives.csv` and `sites.csv`, as
/// far as they are there.
///
/// # Errors
/// As [`load`].
pub fn load_dimensions(dir: &Path, names: &Names) -> Result<Vec<DimensionRow>, LookupError> {
    let mut rows = Vec::new();
    for table in [Table::Campaigns, Table::Advertisers, Table::Creatives, Table::Sites] {
        rows.extend(read_in(dir, table, names)?.into_iter().filter_map(|entry| entry.dimension));
    }
    Ok(rows)
}

/// The rows of a table that may not be there.
fn read_in(dir: &Path, table: Table, names: &Names) -> Result<Vec<Entry>, LookupError> {
    let file = dir.join(format!("{}.csv", table.as_str()));
    if file.is_file() { read(&file, table, names) } else { Ok(Vec::new()) }
}

/// Reads attribution rules from one file.
pub fn load_rules(path: &Path, names: &Names) -> Result<Vec<LookupRow>, LookupError> {
    Ok(read(path, Table::AttributionRules, names)?.into_iter().filter_map(|entry| entry.rule).collect())
}

fn read(path: &Path, table: Table, names: &Names) -> Result<Vec<Entry>, LookupError> {
    let csv_error = |source| LookupError::Csv { path: path.to_owned(), source };
    let mut reader = csv::Reader::from_path(path).map_err(csv_error)?;
    let header = reader.headers().map_err(csv_error)?.clone();
    let mut places = Vec::new();
    for (at, &column) in table.columns().iter().enumerate() {
        let place = header.iter().position(|name| name.trim_start_matches('\u{feff}').trim() == column);
        if place.is_none() && at < table.required() {
            let found = header.iter().collect::<Vec<_>>().join(", ");
            return Err(LookupError::NoColumn { path: path.to_owned(), column, found });
        }
        places.push(place);
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        let cells: Vec<&str> = places
            .iter()
            .map(|place| place.and_then(|place| record.get(place)).unwrap_or_default())
            .collect();
        let line = record.position().map_or(0, csv::Position::line);
        rows.push(table.row(&cells, names).map_err(|bad| LookupError::row(path, line, bad))?);
    }
    Ok(rows)
}

impl LookupError {
    fn row(path: &Path, line: u64, bad: BadRow) -> Self {
        match bad {
            BadRow::Collision(collision) => collision.into(),
            bad => LookupError::BadRow { path: path.to_owned(), line, bad },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::model::ids::{Id, Name};
    use dataflows::model::lookups::{AttributionRule, Model};
    use dataflows::model::time::Millis;

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

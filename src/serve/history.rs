//! What ClickHouse holds of older windows.

use std::sync::Arc;

use clickhouse::query::Query as Statement;
use dataflows::model::ids::Name;
use dataflows::model::time::Epoch;

use super::groups::{GroupKey, Groups};
use super::labels::{Labels, value};
use super::query::Query;
use super::shape::{KEYS_MAX, Kind, Shape};
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError};

/// Rows of one answer of ClickHouse, at most.
const ROWS_MAX: usize = 1_000_000;

/// The groups of a query's older windows.
#[derive(Clone, Debug)]
pub struct Past {
    /// They are of windows before this moment.
    pub until: i64,
    /// Up to which epoch ClickHouse had published.
    pub epoch: Epoch,
    /// Whose campaigns were let through: see [`Labels::ownership`].
    pub ownership: u64,
    /// Each group, its sums, and how many rows it has.
    pub groups: Vec<(GroupKey, Vec<i64>, i64)>,
}

impl Past {
    /// Adds its groups.
    pub fn add_to(&self, groups: &mut Groups) {
        for (key, sums, rows) in &self.groups {
            groups.insert_group(*key, sums, *rows);
        }
    }
}

/// Reads older windows.
#[derive(Clone, Debug)]
pub struct History {
    clickhouse: Arc<ClickHouse>,
    job: Arc<str>,
}

/// Why they can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// ClickHouse said no, or nothing.
    #[error("older windows can't be read from ClickHouse")]
    ClickHouse(#[from] ClickHouseError),
    /// It said something else than it was asked.
    #[error("ClickHouse's answer has a row that can't be read: {0}")]
    Row(String),
    /// There are too many.
    #[error(
        "the answer has more than {ROWS_MAX} rows; ask for a shorter range, a longer step or fewer columns"
    )]
    TooMany,
}

impl History {
    /// The history of a job.
    pub fn new(clickhouse: ClickHouse, job: &str) -> Self {
        Self { clickhouse: Arc::new(clickhouse), job: job.into() }
    }

    /// Asks for the windows of a query that begin before `until`.
    pub fn question(&self, query: &Query, until: i64, labels: &Labels) -> Question {
        let allowed = query.asks_for_advertisers().then(|| allowed(query, labels));
        let statement = self.statement(query, until.min(query.until), allowed);
        Question { history: self.clone(), statement, until, ownership: labels.ownership() }
    }

    /// Names of columns and tables come from [`Shape`]; whatever was asked with is bound.
    fn statement(&self, query: &Query, until: i64, allowed: Option<Allowed>) -> Statement {
        let Shape { name, window, measures, .. } = query.table.shape();
        let window = window.as_str();
        let start = match query.step.millis() {
            Some(length) => format!("intDiv(toUnixTimestamp({window}), {0}) * {0} * 1000", length / 1_000),
            None => "0".to_owned(),
        };
        let keys: String = query.columns().map(|(_, name, _)| format!(", {name}")).collect();
        let sums: String = measures.iter().map(|name| format!(", sum({name})")).collect();
        let mut sql = format!(
            "SELECT {start} AS start{keys}{sums}, count() FROM {name}_live \
             WHERE toUnixTimestamp({window}) >= {{since:Int64}} AND toUnixTimestamp({window}) < {{until:Int64}}"
        );
        for (column, _) in &query.filters {
            let name = query.table.shape().keys[*column].name;
            sql += &format!(" AND {name} IN {{{name}:Array(String)}}");
        }
        if let Some(allowed) = &allowed {
            sql += match allowed.unlisted {
                true => {
                    " AND (campaign_id IN {ours:Array(String)} OR campaign_id NOT IN {listed:Array(String)})"
                }
                false => " AND campaign_id IN {ours:Array(String)}",
            };
        }
        sql += &format!(" GROUP BY start{keys} LIMIT {}", ROWS_MAX + 1);
        let seconds = |millis: i64| millis.div_euclid(1_000) + i64::from(millis.rem_euclid(1_000) > 0);
        let mut statement = self
            .clickhouse
            .database()
            .query(&sql)
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .param("since", seconds(query.since.max(0)))
            .param("until", seconds(until.max(0)));
        for (column, values) in &query.filters {
            let texts: Vec<&str> = values.values().map(|text| &**text).collect();
            statement = statement.param(query.table.shape().keys[*column].name, texts);
        }
        if let Some(Allowed { ours, listed, unlisted }) = allowed {
            statement = statement.param("ours", ours);
            if unlisted {
                statement = statement.param("listed", listed);
            }
        }
        statement
    }
}

/// A question to ClickHouse. No lock is held while it is asked.
pub struct Question {
    history: History,
    statement: Statement,
    until: i64,
    ownership: u64,
}

impl Question {
    /// Asks it. Blocks.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn ask(self) -> Result<Answer, HistoryError> {
        let Self { history: History { clickhouse, job }, statement, until, ownership } = self;
        // Asked first: what is read then holds at least that.
        let frontiers = clickhouse.frontiers()?;
        let ours = frontiers.iter().filter(|frontier| *frontier.job == *job);
        let epoch = ours.map(|frontier| frontier.epoch).min().unwrap_or_default();
        let text = clickhouse.call("read older windows", async {
            statement.fetch_bytes("JSONCompactEachRow")?.collect().await
        })?;
        Ok(Answer { until, epoch, ownership, text: text.to_vec() })
    }
}

/// What ClickHouse said.
pub struct Answer {
    until: i64,
    epoch: Epoch,
    ownership: u64,
    text: Vec<u8>,
}

impl Answer {
    /// The groups in it.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn read(&self, query: &Query, labels: &Labels) -> Result<Past, HistoryError> {
        let lines = self.text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let groups = lines.map(|line| group(query, labels, line)).collect::<Result<Vec<_>, _>>()?;
        match groups.len() > ROWS_MAX {
            true => Err(HistoryError::TooMany),
            false => Ok(Past { until: self.until, epoch: self.epoch, ownership: self.ownership, groups }),
        }
    }
}

/// The campaigns that a query lets through.
struct Allowed {
    ours: Vec<String>,
    /// All that belong to an advertiser.
    listed: Vec<String>,
    /// Whether those that belong to nobody are let through.
    unlisted: bool,
}

fn allowed(query: &Query, labels: &Labels) -> Allowed {
    let kind = query.table.shape().keys[0].kind;
    let text = |campaign: u64| labels.text(kind, campaign);
    let listed = labels.campaigns().filter(|(_, advertiser)| *advertiser != Name::EMPTY);
    let ours =
        listed.filter(|(campaign, _)| query.allows(labels, *campaign)).map(|(id, _)| text(id)).collect();
    // The empty name belongs to nobody.
    let unlisted = query.allows(labels, Name::EMPTY.raw());
    let owned = labels.campaigns().filter(|(_, advertiser)| *advertiser != Name::EMPTY);
    let listed = if unlisted { owned.map(|(id, _)| text(id)).collect() } else { Vec::new() };
    Allowed { ours, listed, unlisted }
}

fn group(query: &Query, labels: &Labels, line: &[u8]) -> Result<(GroupKey, Vec<i64>, i64), HistoryError> {
    let strange = || HistoryError::Row(String::from_utf8_lossy(line).into_owned());
    let cells: Vec<serde_json::Value> = serde_json::from_slice(line).map_err(|_| strange())?;
    let mut cells = cells.into_iter();
    let int = |cell: Option<serde_json::Value>| cell.and_then(|cell| cell.as_i64()).ok_or_else(strange);
    let start = int(cells.next())?;
    let mut key = [0; KEYS_MAX];
    for (at, _, kind) in query.columns() {
        let text = cells.next();
        let text = text.as_ref().and_then(|cell| cell.as_str()).ok_or_else(strange)?;
        key[at] = match kind {
            Kind::Named(_) => labels.hear(text),
            kind => value(kind, text).ok_or_else(strange)?,
        };
    }
    let mut sums = cells.map(|cell| int(Some(cell))).collect::<Result<Vec<_>, _>>()?;
    let rows = sums.pop().ok_or_else(strange)?;
    Ok(((start, key), sums, rows))
}

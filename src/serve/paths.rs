//! The paths of the latest conversions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dataflows::graphs::attribution::PathStep;
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::Credit;
use dataflows::model::time::Minute;
use serde::Serialize;

use super::answer::{Cell, CellKind, Rows};
use super::labels::Labels;
use super::query::{Pairs, QueryError, Scope, few_of_each, time};
use crate::sinks::clickhouse::Upsert;

/// Paths of conversions, up to a number of touches: beyond it the oldest go.
#[derive(Debug)]
pub struct Paths {
    minutes: HashMap<Id, Minute>,
    paths: BTreeMap<(Minute, Id), Arc<[PathStep]>>,
    touches: usize,
    edge: Minute,
}

impl Default for Paths {
    fn default() -> Self {
        Self { minutes: HashMap::new(), paths: BTreeMap::new(), touches: 0, edge: Minute(0) }
    }
}

/// Which paths.
#[derive(Clone, Debug, Default)]
pub struct PathQuery {
    /// Of conversions at this millisecond or later,
    pub since: Option<i64>,
    /// and before this one.
    pub until: Option<i64>,
    /// A touch of one of these campaigns is on it.
    pub campaigns: BTreeSet<Name>,
    /// It is of one of these advertisers.
    pub advertisers: BTreeSet<Name>,
    /// Of this conversion.
    pub conversion: Option<Id>,
    /// The newest first.
    pub newest_first: bool,
    /// How many,
    pub limit: usize,
    /// behind how many.
    pub offset: usize,
    /// What the asker may see.
    pub scope: Scope,
}

impl PathQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// A parameter is unknown, or its value.
    pub fn parse(pairs: &Pairs, scope: Scope) -> Result<Self, QueryError> {
        few_of_each(pairs)?;
        let mut query = Self { scope, newest_first: true, ..Self::default() };
        for (name, text) in pairs {
            match name.as_str() {
                "since" => query.since = Some(time(name, text)?),
                "until" => query.until = Some(time(name, text)?),
                "campaign_id" => _ = query.campaigns.insert(Name::new(text)),
                "advertiser_id" => _ = query.advertisers.insert(Name::new(text)),
                "conversion_id" => query.conversion = Some(Id::new(text)),
                "sort" if text == "time" => query.newest_first = false,
                "sort" if text == "-time" => query.newest_first = true,
                "limit" | "offset" | "format" => {}
                _ => {
                    let message = "conversion_paths has since, until, campaign_id, advertiser_id, conversion_id, \
                                   sort=time or -time, limit and offset";
                    return Err(QueryError { parameter: name.clone(), message: message.to_owned() });
                }
            }
        }
        Ok(query)
    }

    fn takes(&self, labels: &Labels, (minute, conversion): &(Minute, Id), path: &[PathStep]) -> bool {
        let start = minute.start_millis();
        let Some(first) = path.first() else { return false };
        // All touches of a path are of one advertiser.
        let advertiser = labels.advertiser(first.campaign.raw());
        self.since.is_none_or(|since| since <= start)
            && self.until.is_none_or(|until| start < until)
            && self.conversion.is_none_or(|asked| asked == *conversion)
            && (self.campaigns.is_empty() || path.iter().any(|step| self.campaigns.contains(&step.campaign)))
            && (self.advertisers.is_empty() || self.advertisers.contains(&advertiser))
            && path.iter().all(|step| self.scope.allows(labels, step.campaign.raw()))
    }
}

/// A path, as JSON shows it.
#[derive(Clone, Debug, Serialize)]
pub struct PathRow {
    time: i64,
    conversion_id: String,
    touches: Vec<TouchRow>,
}

#[derive(Clone, Debug, Serialize)]
struct TouchRow {
    touch_id: String,
    kind: &'static str,
    time: i64,
    campaign_id: String,
    credit_micros: serde_json::Value,
    revenue_micros: serde_json::Value,
}

impl Paths {
    /// Takes changes in.
    pub fn apply(&mut self, changes: &[Upsert<Id, Arc<[PathStep]>>]) {
        for (conversion, path) in changes {
            if let Some(minute) = self.minutes.remove(conversion)
                && let Some(path) = self.paths.remove(&(minute, *conversion))
            {
                self.touches -= path.len();
            }
            let Some(path) = path else { continue };
            let Some(minute) = path.first().map(|step| step.minute) else { continue };
            if minute >= self.edge {
                self.touches += path.len();
                self.minutes.insert(*conversion, minute);
                self.paths.insert((minute, *conversion), Arc::clone(path));
            }
        }
    }

    /// Lets the oldest go until no more than so many touches are left.
    pub fn trim(&mut self, touches_max: usize) {
        while self.touches > touches_max
            && let Some(((minute, conversion), path)) = self.paths.pop_first()
        {
            self.touches -= path.len();
            self.minutes.remove(&conversion);
            // Others of its minute may have gone, too.
            self.edge = Minute(minute.0 + 1);
        }
    }

    /// Says that nothing is known before this moment.
    pub fn begin_at(&mut self, since: i64) {
        let minute = since.div_euclid(60_000) + i64::from(since.rem_euclid(60_000) > 0);
        self.edge = self.edge.max(Minute(u32::try_from(minute).unwrap_or_default()));
    }

    /// From here on every path is held.
    pub fn edge(&self) -> i64 {
        self.edge.start_millis()
    }

    /// The paths asked for, and how many there are before they are cut.
    pub fn rows(&self, query: &PathQuery, labels: &Labels) -> (Vec<PathRow>, usize) {
        let found = self.paths.iter().filter(|(key, path)| query.takes(labels, key, path));
        let mut found: Vec<_> = found.collect();
        if query.newest_first {
            found.reverse();
        }
        let total = found.len();
        let part = found.into_iter().skip(query.offset).take(query.limit);
        (part.map(|((minute, conversion), path)| row(labels, *minute, *conversion, path)).collect(), total)
    }
}

/// Paths as a table, one row for each touch.
pub fn flat(paths: &[PathRow]) -> Rows {
    const CREDIT: [&str; Model::COUNT] = [
        "credit_micros_first_touch",
        "credit_micros_last_touch",
        "credit_micros_linear",
        "credit_micros_position_based",
        "credit_micros_time_decay",
    ];
    const REVENUE: [&str; Model::COUNT] = [
        "revenue_micros_first_touch",
        "revenue_micros_last_touch",
        "revenue_micros_linear",
        "revenue_micros_position_based",
        "revenue_micros_time_decay",
    ];
    let mut columns = vec![
        ("time", CellKind::Time),
        ("conversion_id", CellKind::Text),
        ("position", CellKind::Int),
        ("touch_id", CellKind::Text),
        ("kind", CellKind::Text),
        ("touch_time", CellKind::Time),
        ("campaign_id", CellKind::Text),
    ];
    columns.extend(CREDIT.into_iter().chain(REVENUE).map(|name| (name, CellKind::Int)));
    let touches = paths.iter().flat_map(|path| (0..).zip(&path.touches).map(move |touch| (path, touch)));
    let cells = touches.map(|(path, (position, touch))| {
        let mut cells = vec![
            Cell::Int(path.time),
            Cell::Text(path.conversion_id.clone()),
            Cell::Int(position),
            Cell::Text(touch.touch_id.clone()),
            Cell::Text(touch.kind.to_owned()),
            Cell::Int(touch.time),
            Cell::Text(touch.campaign_id.clone()),
        ];
        for parts in [&touch.credit_micros, &touch.revenue_micros] {
            let by_model = Model::ALL.map(|model| parts[model.as_str()].as_i64());
            cells.extend(by_model.map(|part| part.map_or(Cell::None, Cell::Int)));
        }
        cells
    });
    Rows { columns, cells: cells.collect() }
}

fn row(labels: &Labels, minute: Minute, conversion: Id, path: &[PathStep]) -> PathRow {
    let names = labels.names();
    let by_model = |step: &PathStep, part: fn(&Credit) -> i64| {
        let owed = Model::ALL.iter().zip(&step.owed);
        owed.map(|(model, owed)| (model.as_str().to_owned(), part(owed).into()))
            .collect::<serde_json::Map<_, serde_json::Value>>()
            .into()
    };
    let touches = path.iter().map(|step| TouchRow {
        touch_id: names.id_text(step.touch),
        kind: if step.click { "click" } else { "view" },
        time: step.ts.millis(),
        campaign_id: names.name_text(step.campaign),
        credit_micros: by_model(step, |owed| owed.credit_micros),
        revenue_micros: by_model(step, |owed| owed.revenue_micros),
    });
    let touches = touches.collect();
    PathRow { time: minute.start_millis(), conversion_id: names.id_text(conversion), touches }
}

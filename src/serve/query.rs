//! A question about a table, as it is asked in a URL.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::model::ids::Name;
use dataflows::model::time::EventTime;

use super::labels::{Labels, canonical, value};
use super::shape::{Kind, Shape, Step, TableId};

/// Rows of one JSON answer unless the query says otherwise,
pub const LIMIT: usize = 1_000;
/// and at most.
pub const LIMIT_MAX: usize = 10_000;
/// Values of one filter.
pub const VALUES_MAX: usize = 200;

/// What is wrong with a question.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// Which parameter.
    pub parameter: String,
    /// What would be right.
    pub message: String,
}

impl QueryError {
    fn new(parameter: &str, message: impl Into<String>) -> Self {
        Self { parameter: parameter.to_owned(), message: message.into() }
    }
}

/// Whose rows someone may see.
#[derive(Clone, Debug, Default, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everybody's.
    #[default]
    All,
    /// Those of the campaigns of these advertisers.
    Advertisers(BTreeSet<Name>),
}

impl Scope {
    /// Whether a campaign's rows may be seen.
    pub fn allows(&self, labels: &Labels, campaign: u64) -> bool {
        self.allows_owner(labels.advertiser(campaign))
    }

    /// Whether an advertiser's are.
    pub fn allows_owner(&self, advertiser: Name) -> bool {
        match self {
            Scope::All => true,
            // What belongs to nobody is nobody's to see.
            Scope::Advertisers(ours) => advertiser != Name::EMPTY && ours.contains(&advertiser),
        }
    }
}

/// Which rows, and how they are summed.
#[derive(Clone, Debug, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub struct Query {
    /// Of which table.
    pub table: TableId,
    /// Windows that begin at this millisecond or later,
    pub since: i64,
    /// and before this one.
    pub until: i64,
    /// What each row covers.
    pub step: Step,
    /// The key columns that stay apart, by their place in the table, ascending.
    pub group_by: Vec<usize>,
    /// Key columns and the values that are let through, with their texts.
    pub filters: Vec<(usize, BTreeMap<u64, Box<str>>)>,
    /// The advertisers whose campaigns are let through.
    pub advertisers: Option<BTreeSet<Name>>,
    /// What the asker may see.
    pub scope: Scope,
}

/// Which part of the answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// Columns and whether they descend.
    pub sort: Vec<(String, bool)>,
    /// How many rows; none: not said.
    pub limit: Option<usize>,
    /// How many are left out before them.
    pub offset: usize,
}

/// Parameters as they stand in a URL, decoded.
pub type Pairs = [(String, String)];

impl Query {
    /// All rows of a table, as they are.
    pub fn everything(table: TableId) -> Self {
        let shape = table.shape();
        Self {
            table,
            since: EventTime::MIN.millis(),
            until: EventTime::MAX.millis() + 1,
            step: shape.window,
            group_by: (0..shape.keys.len()).collect(),
            filters: Vec::new(),
            advertisers: None,
            scope: Scope::All,
        }
    }

    /// Reads the parameters; those that say which part of the answer is wanted, and which form, are
    /// read by [`Page::parse`].
    ///
    /// # Errors
    /// A parameter is unknown, or its value.
    pub fn parse(table: TableId, pairs: &Pairs, scope: Scope) -> Result<Self, QueryError> {
        let shape = table.shape();
        few_of_each(pairs)?;
        let mut query = Self { scope, ..Self::everything(table) };
        for (name, text) in pairs {
            match name.as_str() {
                "since" => query.since = time(name, text)?,
                "until" => query.until = time(name, text)?,
                "step" => query.step = step(shape, text)?,
                "group_by" => query.group_by = group_by(shape, text)?,
                "advertiser_id" if table.has_campaigns() => {
                    query.advertisers.get_or_insert_default().insert(Name::new(text));
                }
                "sort" | "limit" | "offset" | "format" => {}
                _ => query.filter(name, text)?,
            }
        }
        // A range that ends before it begins holds nothing, and is as easily answered.
        query.until = query.until.max(query.since);
        Ok(query)
    }

    fn filter(&mut self, name: &str, text: &str) -> Result<(), QueryError> {
        let shape = self.table.shape();
        let Some(at) = shape.keys.iter().position(|key| key.name == name) else {
            let keys: Vec<_> = shape.keys.iter().map(|key| key.name).collect();
            return Err(QueryError::new(
                name,
                format!("{} has no such parameter; it can be filtered by {}", shape.name, keys.join(", ")),
            ));
        };
        let value = value(shape.keys[at].kind, text)
            .ok_or_else(|| QueryError::new(name, format!("{name} has no value {text:?}")))?;
        let known = self.filters.iter().position(|(column, _)| *column == at).unwrap_or_else(|| {
            self.filters.push((at, BTreeMap::new()));
            self.filters.sort_by_key(|(column, _)| *column);
            self.filters.iter().position(|(column, _)| *column == at).unwrap_or_default()
        });
        self.filters[known].1.insert(value, canonical(shape.keys[at].kind, text));
        Ok(())
    }

    /// Whether campaigns are let through or not by whom they belong to.
    pub fn asks_for_advertisers(&self) -> bool {
        self.table.has_campaigns() && (self.advertisers.is_some() || self.scope != Scope::All)
    }

    /// Whether the rows of a campaign are let through, as far as that depends on its advertiser.
    pub fn allows(&self, labels: &Labels, campaign: u64) -> bool {
        self.allows_owner(labels.advertiser(campaign))
    }

    /// Whether the rows of an advertiser's campaigns are.
    pub fn allows_owner(&self, advertiser: Name) -> bool {
        self.advertisers.as_ref().is_none_or(|ours| ours.contains(&advertiser))
            && self.scope.allows_owner(advertiser)
    }

    /// The kinds of the key columns that stay apart, with their names.
    pub fn columns(&self) -> impl Iterator<Item = (usize, &'static str, Kind)> {
        let shape = self.table.shape();
        self.group_by.iter().map(|at| (*at, shape.keys[*at].name, shape.keys[*at].kind))
    }
}

impl Page {
    /// Reads the parameters that say which part of the answer is wanted.
    ///
    /// # Errors
    /// A value makes no sense.
    pub fn parse(pairs: &Pairs, limit_max: usize) -> Result<Self, QueryError> {
        let mut page = Self::default();
        let number = |name: &str, text: &str, max: usize| match text.parse::<usize>() {
            Ok(number) if number <= max => Ok(number),
            _ => Err(QueryError::new(name, format!("a whole number up to {max} is expected"))),
        };
        for (name, text) in pairs {
            match name.as_str() {
                "limit" => page.limit = Some(number(name, text, limit_max)?),
                "offset" => page.offset = number(name, text, u32::MAX as usize)?,
                "sort" => {
                    page.sort = text
                        .split(',')
                        .filter(|column| !column.is_empty())
                        .map(|column| match column.strip_prefix('-') {
                            Some(column) => (column.to_owned(), true),
                            None => (column.to_owned(), false),
                        })
                        .collect();
                }
                _ => {}
            }
        }
        Ok(page)
    }
}

/// # Errors
/// A parameter is said more often than a filter may have values.
pub fn few_of_each(pairs: &Pairs) -> Result<(), QueryError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in pairs {
        let count = counts.entry(name).or_default();
        *count += 1;
        if *count > VALUES_MAX {
            return Err(QueryError::new(name, format!("at most {VALUES_MAX} values of one filter")));
        }
    }
    Ok(())
}

/// A moment: milliseconds since 1970, or RFC 3339.
pub fn time(name: &str, text: &str) -> Result<i64, QueryError> {
    let millis = text
        .parse::<i64>()
        .ok()
        .or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond));
    // No event is of a time beyond these.
    let known = millis.map(|millis| millis.clamp(EventTime::MIN.millis(), EventTime::MAX.millis() + 1));
    known.ok_or_else(|| {
        let expected = "milliseconds since 1970, or a time with a zone, as in 2026-03-01T12:00:00Z";
        QueryError::new(name, format!("{expected}, is expected"))
    })
}

fn step(shape: &Shape, text: &str) -> Result<Step, QueryError> {
    let known = Step::ALL.into_iter().find(|step| step.as_str() == text && *step >= shape.window);
    known.ok_or_else(|| {
        let steps = Step::ALL.into_iter().filter(|step| *step >= shape.window);
        let steps: Vec<_> = steps.map(Step::as_str).collect();
        QueryError::new("step", format!("{} has the steps {}", shape.name, steps.join(", ")))
    })
}

fn group_by(shape: &Shape, text: &str) -> Result<Vec<usize>, QueryError> {
    let mut columns = BTreeSet::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let at = shape.keys.iter().position(|key| key.name == name).ok_or_else(|| {
            let keys: Vec<_> = shape.keys.iter().map(|key| key.name).collect();
            QueryError::new(
                "group_by",
                format!("{} has no key column {name:?}, but {}", shape.name, keys.join(", ")),
            )
        })?;
        columns.insert(at);
    }
    Ok(columns.into_iter().collect())
}

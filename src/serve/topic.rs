//! Queries that are followed. All who ask the same share one topic: what an epoch changes in it is
//! worked out and written once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dataflows::model::ids::Name;
use dataflows::model::time::Epoch;
use serde_json::json;

use super::answer::{Row, Texts, columns, sums};
use super::facts::{Change, Facts};
use super::groups::{Groups, TooMany};
use super::history::Past;
use super::labels::Labels;
use super::query::Query;
use super::shape::{Key, TABLES, TableId};
use super::store::{Frontier, sum_up};

/// Groups of one topic.
pub const GROUPS_MAX: usize = 20_000;
/// Topics at a time.
const TOPICS_MAX: usize = 1_024;
/// Groups of all topics.
const ALL_GROUPS_MAX: usize = 2_000_000;

/// What an epoch changed.
#[derive(Debug)]
pub struct Tick {
    /// How far everything is now.
    pub frontier: Frontier,
    /// What is told of each topic that changed.
    pub news: BTreeMap<u64, News>,
}

/// What is told of a topic: the name of the event, and its data but for the opening brace.
#[derive(Clone, Debug)]
pub enum News {
    /// All of it.
    Snapshot(Arc<str>),
    /// What changed.
    Change(Arc<str>),
    /// It has to be asked for again.
    Over,
}

/// Why a topic can't be followed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum TopicError {
    /// It has too many groups.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// There are too many topics.
    #[error("the server follows as many different questions as it can; ask again later")]
    Full,
}

/// Keeps a topic alive.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The topic's number.
    pub topic: u64,
    _alive: Arc<()>,
}

struct Topic {
    number: u64,
    /// From when on rows were held when it was gathered.
    edge: i64,
    groups: Groups,
    /// Before when windows came from ClickHouse, and of which epoch, if some did.
    past: Option<(i64, Epoch)>,
    alive: Arc<()>,
    /// It rests on rows that are not held, and they have changed.
    missed: bool,
    rebuilt: bool,
}

/// All topics.
#[derive(Default)]
pub struct Topics {
    topics: BTreeMap<Query, Topic>,
    next: u64,
}

impl Topics {
    /// A ticket of a topic that there is.
    pub fn ticket(&self, query: &Query) -> Option<Ticket> {
        let topic = self.topics.get(query)?;
        Some(Ticket { topic: topic.number, _alive: Arc::clone(&topic.alive) })
    }

    /// Starts a topic with what was gathered in the present epoch.
    ///
    /// # Errors
    /// See [`TopicError`].
    pub fn start(&mut self, gathered: Gathered) -> Result<Ticket, TopicError> {
        let Gathered { groups, past, edge } = gathered;
        groups.check()?;
        let held: usize = self.topics.values().map(|topic| topic.groups.len()).sum();
        if self.topics.len() >= TOPICS_MAX || held >= ALL_GROUPS_MAX {
            return Err(TopicError::Full);
        }
        self.next += 1;
        let alive = Arc::new(());
        let ticket = Ticket { topic: self.next, _alive: Arc::clone(&alive) };
        let query = groups.query().clone();
        let topic = Topic { number: self.next, edge, groups, past, alive, missed: false, rebuilt: false };
        self.topics.insert(query, topic);
        Ok(ticket)
    }

    /// All of a topic, if there is one.
    pub fn snapshot(&self, query: &Query, frontier: Frontier, labels: &Labels) -> Option<Arc<str>> {
        self.topics.get(query).map(|topic| snapshot(topic, frontier, labels))
    }

    /// Whether somebody follows a query. Those that nobody does go first, so that who has it keeps it.
    pub fn has(&mut self, query: &Query) -> bool {
        self.forget();
        self.topics.contains_key(query)
    }

    /// A row has changed.
    pub fn change(&mut self, table: TableId, labels: &Labels, change: Change<'_>) {
        let of_table = |query: &Query| query.table == table;
        for (_, topic) in self.topics.iter_mut().filter(|(query, _)| of_table(query)) {
            topic.groups.change(labels, change);
        }
    }

    /// A row has changed that is not held.
    pub fn missed(&mut self, (table, start, key): (TableId, i64, &Key), labels: &Labels) {
        for (query, topic) in &mut self.topics {
            topic.missed |= query.table == table && topic.groups.lets_through(labels, start, key);
        }
    }

    /// Campaigns of these advertisers have changed hands.
    pub fn rebuild(&mut self, moved: &BTreeSet<Name>, tables: &[Box<dyn Facts>; TABLES], labels: &Labels) {
        let concerns = |query: &Query| {
            query.asks_for_advertisers() && moved.iter().any(|advertiser| query.allows_owner(*advertiser))
        };
        for (query, topic) in self.topics.iter_mut().filter(|(query, _)| concerns(query)) {
            // What ClickHouse summed up was chosen by whom campaigns belonged to, and what has gone since
            // can't be summed up again.
            let edge = tables[query.table as usize].edge();
            topic.missed |= topic.past.is_some() || query.since < edge && edge != topic.edge;
            if topic.missed {
                // It ends with this epoch: there is nothing to sum up.
                continue;
            }
            let fresh = gather(query, None, tables, labels);
            // Whose campaigns stay where they are must not hear of others.
            topic.rebuilt |= !fresh.equals(&topic.groups);
            let dirty = topic.groups.take_dirty();
            topic.groups = fresh;
            topic.groups.mark(dirty);
        }
    }

    /// What has changed since the last tick.
    pub fn tick(&mut self, frontier: Frontier, labels: &Labels) -> Tick {
        self.forget();
        let mut news = BTreeMap::new();
        let mut over = Vec::new();
        for (query, topic) in &mut self.topics {
            let dirty = topic.groups.take_dirty();
            if topic.missed || topic.groups.check().is_err() {
                over.push(query.clone());
                news.insert(topic.number, News::Over);
            } else if std::mem::take(&mut topic.rebuilt) {
                news.insert(topic.number, News::Snapshot(snapshot(topic, frontier, labels)));
            } else if !dirty.is_empty() {
                news.insert(topic.number, News::Change(change(&topic.groups, dirty, labels)));
            }
        }
        over.iter().for_each(|query| _ = self.topics.remove(query));
        Tick { frontier, news }
    }

    /// Lets topics go that nobody follows.
    fn forget(&mut self) {
        self.topics.retain(|_, topic| Arc::strong_count(&topic.alive) > 1);
    }
}

/// What a topic begins with.
pub struct Gathered {
    groups: Groups,
    past: Option<(i64, Epoch)>,
    edge: i64,
}

impl Gathered {
    /// All rows of a query that are held, and `past` of it.
    pub fn of(
        query: &Query,
        past: Option<&Past>,
        tables: &[Box<dyn Facts>; TABLES],
        labels: &Labels,
    ) -> Self {
        let groups = gather(query, past, tables, labels);
        let past = past.map(|past| (past.until, past.epoch));
        Self { groups, past, edge: tables[query.table as usize].edge() }
    }

    /// Of which query.
    pub fn query(&self) -> &Query {
        self.groups.query()
    }
}

fn gather(query: &Query, past: Option<&Past>, tables: &[Box<dyn Facts>; TABLES], labels: &Labels) -> Groups {
    let mut groups = Groups::new(query.clone(), GROUPS_MAX);
    past.iter().for_each(|past| past.add_to(&mut groups));
    sum_up(tables, labels, &mut groups);
    groups
}

/// JSON without its opening brace: that of each stream holds the number of its question first.
fn opened(value: &serde_json::Value) -> Arc<str> {
    value.to_string().split_off(1).into()
}

fn snapshot(topic: &Topic, frontier: Frontier, labels: &Labels) -> Arc<str> {
    let (groups, query) = (&topic.groups, topic.groups.query());
    let columns = columns(query);
    let mut texts = Texts::new(labels);
    let mut cells: Vec<_> = groups.iter().collect();
    cells.sort_unstable_by_key(|(key, _)| **key);
    let cells: Vec<_> = cells.into_iter().map(|(key, group)| texts.row(query, key, group)).collect();
    let rows: Vec<_> = cells.iter().map(|cells| Row(&columns, cells)).collect();
    let frontier = topic.past.map_or(frontier, |(until, epoch)| frontier.since(until, epoch));
    opened(&json!({
        "frontier": frontier,
        "table": query.table.shape().name,
        "step": query.step.as_str(),
        "group_by": query.columns().map(|(_, name, _)| name).collect::<Vec<_>>(),
        "total": groups.len(),
        "sums": sums(query, groups.total()),
        "rows": rows,
    }))
}

fn change(groups: &Groups, dirty: Vec<super::groups::GroupKey>, labels: &Labels) -> Arc<str> {
    let query = groups.query();
    let columns = columns(query);
    let mut texts = Texts::new(labels);
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    for key in dirty {
        match groups.get(&key) {
            Some(group) => changed.push(texts.row(query, &key, group)),
            None => gone.push(texts.key(query, &key)),
        }
    }
    let rows: Vec<_> = changed.iter().map(|cells| Row(&columns, cells)).collect();
    let gone: Vec<_> = gone.iter().map(|cells| Row(&columns[..cells.len()], cells)).collect();
    opened(&json!({
        "rows": rows,
        "gone": gone,
        "sums": sums(query, groups.total()),
        "total": groups.len(),
    }))
}

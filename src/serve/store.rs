//! What is served: the newest windows of every table, as of one closed epoch.
//!
//! ```text
//!   changes of closed epochs ─▶ rows of each table ─▶ answers to questions
//!                                      │
//!                                      └─▶ groups of each topic ─▶ what changed ─▶ its streams
//! ```
//!
//! An epoch is taken in whole, behind one lock, so that no reader ever sees a part of it. Rows are kept
//! as they were published: a state replaces the one before, and a key that is gone goes. Of each table
//! the oldest windows go when it has too many rows: from its edge on, all of them are held.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use dataflows::model::time::Epoch;
use serde::Serialize;
use tokio::sync::broadcast;

use super::facts::{Change, Facts, Rows};
use super::groups::{Groups, TooMany};
use super::history::Past;
use super::labels::Labels;
use super::paths::Paths;
use super::query::Query;
use super::shape::{TABLES, TableId};
use super::topic::{Gathered, Tick, Ticket, TopicError, Topics};
use super::update::Update;
use crate::names::Names;

/// Ticks that a stream may be behind before it begins anew.
const TICKS_BEHIND: usize = 64;

/// How far what is served is.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Frontier {
    /// Everything that was read up to this epoch is in it; 0 before anything is.
    pub epoch: Epoch,
    /// How far event time is, in milliseconds since 1970.
    pub watermark: Option<i64>,
    /// What was asked for and begins before this moment came from ClickHouse, or isn't known.
    pub live_since: Option<i64>,
    /// Up to which epoch ClickHouse had published.
    pub history_epoch: Option<Epoch>,
}

impl Frontier {
    /// The same of an answer whose windows before `until` ClickHouse had published up to `epoch`.
    pub fn since(self, until: i64, epoch: Epoch) -> Self {
        Self { live_since: Some(until), history_epoch: Some(epoch), ..self }
    }
}

/// What is served.
pub struct Store {
    state: RwLock<State>,
    /// How far it is, for who must not wait for the rest.
    frontier: Mutex<Frontier>,
    ticks: broadcast::Sender<Arc<Tick>>,
    rows_max: usize,
}

/// Its contents at one epoch.
pub struct State {
    frontier: Frontier,
    tables: [Box<dyn Facts>; TABLES],
    /// In which epoch rows of a table last changed that are not held, or went.
    gone: [Epoch; TABLES],
    /// The paths of conversions.
    pub paths: Paths,
    /// What values are called.
    pub labels: Labels,
    /// What is followed.
    pub topics: Topics,
}

impl Store {
    /// An empty store for the values of a run. Each table keeps at most so many rows.
    pub fn new(names: Arc<Names>, rows_max: usize) -> Self {
        let state = State {
            frontier: Frontier::default(),
            tables: [
                Box::<Rows<9>>::default(),
                Box::<Rows<9>>::default(),
                Box::<Rows<2>>::default(),
                Box::<Rows<2>>::default(),
                Box::<Rows<3>>::default(),
                Box::<Rows<14>>::default(),
            ],
            gone: [0; TABLES],
            paths: Paths::default(),
            labels: Labels::new(names),
            topics: Topics::default(),
        };
        let (state, frontier) = (RwLock::new(state), Mutex::default());
        Self { state, frontier, ticks: broadcast::channel(TICKS_BEHIND).0, rows_max }
    }

    /// Takes in what the processes have told of the same epochs. All of it counts at once.
    pub fn apply(&self, updates: &[Update], watermark: Option<i64>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State { frontier, tables, gone, paths, labels, topics } = &mut *state;
        let mut moved = BTreeSet::new();
        for since in updates.iter().filter_map(Update::edge) {
            tables.iter_mut().zip(TableId::ALL).for_each(|(rows, table)| {
                let window = table.shape().window;
                let start = window.start(since);
                let whole = start == since;
                rows.begin_at(if whole { since } else { start + window.millis().unwrap_or_default() });
            });
            paths.begin_at(since);
        }
        for update in updates {
            frontier.epoch = frontier.epoch.max(update.epoch);
            moved.extend(labels.apply(&update.dimensions));
            paths.apply(&update.paths);
            update.rows(&mut |(table, start, key, sums)| {
                let rows = &mut tables[table as usize];
                let is_held = rows.set(start, &key, sums, &mut |change: Change<'_>| {
                    topics.change(table, labels, change);
                });
                if !is_held {
                    topics.missed((table, start, &key), labels);
                    gone[table as usize] = update.epoch;
                }
            });
        }
        // After a start there is no watermark before anything new is read.
        let known = watermark.or(frontier.watermark).or_else(|| Update::reached(updates));
        frontier.watermark = known.max(frontier.watermark);
        for (table, gone) in tables.iter_mut().zip(&mut *gone) {
            let edge = table.edge();
            table.trim(self.rows_max);
            if table.edge() != edge {
                *gone = frontier.epoch;
            }
        }
        paths.trim(self.rows_max);
        if !moved.is_empty() {
            topics.rebuild(&moved, tables, labels);
        }
        let tick = topics.tick(*frontier, labels);
        *self.frontier.lock().unwrap_or_else(PoisonError::into_inner) = *frontier;
        // Nobody may be listening.
        let _ = self.ticks.send(Arc::new(tick));
    }

    /// How far it is; answers at once, whatever goes on.
    pub fn frontier(&self) -> Frontier {
        *self.frontier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, at one epoch.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows topics: `each` subscribes to what it wants, and hears of every epoch behind that one.
    pub fn follow<T>(&self, each: impl FnOnce(&mut State) -> T) -> (T, broadcast::Receiver<Arc<Tick>>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let ticks = self.ticks.subscribe();
        (each(&mut state), ticks)
    }

    /// Starts a topic with what was gathered, if no epoch has passed since `epoch`.
    ///
    /// # Errors
    /// See [`TopicError`].
    pub fn start(&self, epoch: Epoch, gathered: Gathered) -> Result<Option<Ticket>, TopicError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.frontier.epoch != epoch {
            return Ok(None);
        }
        let query = gathered.query().clone();
        match state.topics.has(&query) {
            true => Ok(state.topics.ticket(&query)),
            false => state.topics.start(gathered).map(Some),
        }
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.ticks.receiver_count()
    }
}

impl State {
    /// How far everything is.
    pub fn frontier(&self) -> Frontier {
        self.frontier
    }

    /// From which millisecond on every row of a table is held.
    pub fn edge(&self, table: TableId) -> i64 {
        self.tables[table as usize].edge()
    }

    /// Up to which epoch ClickHouse must have published if it is to know what is not held of a table.
    pub fn gone(&self, table: TableId) -> Epoch {
        self.gone[table as usize]
    }

    /// How many rows of a table are held.
    pub fn rows(&self, table: TableId) -> usize {
        self.tables[table as usize].rows()
    }

    /// Adds all rows that are held to the groups of a query.
    ///
    /// # Errors
    /// There are more groups than wanted.
    pub fn sum_up(&self, groups: &mut Groups) -> Result<(), TooMany> {
        sum_up(&self.tables, &self.labels, groups);
        groups.check()
    }

    /// What a query's answer is true at, when it is answered from here alone.
    pub fn frontier_of(&self, query: &Query) -> Frontier {
        let edge = self.edge(query.table);
        Frontier { live_since: (query.since < edge).then_some(edge), ..self.frontier }
    }

    /// Gathers what a topic begins with.
    pub fn gather(&self, query: &Query, past: Option<&Past>) -> Gathered {
        Gathered::of(query, past, &self.tables, &self.labels)
    }

    /// All of a topic, if there is one.
    pub fn snapshot(&self, query: &Query) -> Option<Arc<str>> {
        self.topics.snapshot(query, self.frontier, &self.labels)
    }
}

/// Adds all rows of a query's table to its groups.
pub fn sum_up(tables: &[Box<dyn Facts>; TABLES], labels: &Labels, groups: &mut Groups) {
    let Query { table, since, until, .. } = *groups.query();
    tables[table as usize].scan(since, until, &mut |start, key, sums| {
        groups.insert(labels, start, key, sums);
    });
}

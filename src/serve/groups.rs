//! Rows summed as a query asks, kept true as rows change: a change costs what it touches.

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::Xxh3Builder;

use super::facts::{Change, Sums};
use super::labels::Labels;
use super::query::Query;
use super::shape::{KEYS_MAX, Key, MEASURES_MAX};

/// The first millisecond of the step, and the values of the columns that stay apart.
pub type GroupKey = (i64, Key);

/// Some rows' sums.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Group {
    /// How many rows of the table.
    pub rows: i64,
    /// Their sums, as many as the table has measures.
    pub sums: Sums,
}

impl Group {
    fn add(&mut self, sums: &[i64], times: i64) {
        self.rows += times;
        for (sum, more) in self.sums.iter_mut().zip(sums) {
            *sum = sum.wrapping_add(more.wrapping_mul(times));
        }
    }

    /// The measures; none for what can't be added up.
    pub fn measures(&self, query: &Query) -> Vec<Option<i64>> {
        let shape = query.table.shape();
        let known = |at: usize| shape.distinct != Some(at) || self.rows <= 1;
        (0..shape.measures.len()).map(|at| known(at).then_some(self.sums[at])).collect()
    }
}

/// More groups than someone wants to see.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer has more than {max} rows; ask for a shorter range, a longer step or fewer columns")]
pub struct TooMany {
    max: usize,
}

/// The groups of a query.
#[derive(Clone, Debug)]
pub struct Groups {
    query: Query,
    groups: HashMap<GroupKey, Group, Xxh3Builder>,
    total: Group,
    /// What has changed since it was asked last.
    dirty: HashSet<GroupKey, Xxh3Builder>,
    groups_max: usize,
    overflown: bool,
}

impl Groups {
    /// No rows yet, and never more than so many groups.
    pub fn new(query: Query, groups_max: usize) -> Self {
        Self {
            query,
            groups: HashMap::default(),
            total: Group::default(),
            dirty: HashSet::default(),
            groups_max,
            overflown: false,
        }
    }

    /// What is asked.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// All groups.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupKey, &Group)> {
        self.groups.iter()
    }

    /// A group, if it has rows.
    pub fn get(&self, key: &GroupKey) -> Option<&Group> {
        self.groups.get(key)
    }

    /// All rows together.
    pub fn total(&self) -> &Group {
        &self.total
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether no row is let through.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// # Errors
    /// There were more groups than wanted, so that they are not complete.
    pub fn check(&self) -> Result<(), TooMany> {
        match self.overflown {
            true => Err(TooMany { max: self.groups_max }),
            false => Ok(()),
        }
    }

    /// Which groups have changed since the last call.
    pub fn take_dirty(&mut self) -> Vec<GroupKey> {
        self.dirty.drain().collect()
    }

    /// Says that groups have changed.
    pub fn mark(&mut self, dirty: Vec<GroupKey>) {
        self.dirty.extend(dirty);
    }

    /// Whether these are the same groups of the same rows.
    pub fn equals(&self, other: &Self) -> bool {
        self.total == other.total && self.groups == other.groups
    }

    /// Takes a change of a row in.
    pub fn change(&mut self, labels: &Labels, change: Change<'_>) {
        let Some(key) = self.place(labels, change.start, change.key) else { return };
        if let Some(was) = change.was {
            self.add(key, was, -1);
        }
        if let Some(is) = change.is {
            self.add(key, is, 1);
        }
        self.dirty.insert(key);
    }

    /// Adds a row that is there.
    pub fn insert(&mut self, labels: &Labels, start: i64, key: &Key, sums: &[i64]) {
        if let Some(key) = self.place(labels, start, key) {
            self.add(key, sums, 1);
        }
    }

    /// Adds a group of so many rows that somebody else has summed up.
    pub fn insert_group(&mut self, key: GroupKey, sums: &[i64], rows: i64) {
        let mut group = Group { rows: 0, sums: [0; MEASURES_MAX] };
        group.add(sums, 1);
        group.rows = rows;
        if self.has_room(&key) {
            let known = self.groups.entry(key).or_default();
            known.rows += rows;
            known.sums.iter_mut().zip(group.sums).for_each(|(sum, more)| *sum += more);
            self.total.rows += rows;
            self.total.sums.iter_mut().zip(group.sums).for_each(|(sum, more)| *sum += more);
        }
    }

    fn has_room(&mut self, key: &GroupKey) -> bool {
        let room = self.groups.len() < self.groups_max || self.groups.contains_key(key);
        self.overflown |= !room;
        room
    }

    fn add(&mut self, key: GroupKey, sums: &[i64], times: i64) {
        if !self.has_room(&key) {
            return;
        }
        let group = self.groups.entry(key).or_default();
        group.add(sums, times);
        if group.rows == 0 {
            self.groups.remove(&key);
        }
        self.total.add(sums, times);
    }

    /// Whether a row is let through, by whom its campaign belongs to now.
    pub fn lets_through(&self, labels: &Labels, start: i64, key: &Key) -> bool {
        self.place(labels, start, key).is_some()
    }

    /// The group that a row belongs to, if it is let through.
    fn place(&self, labels: &Labels, start: i64, key: &Key) -> Option<GroupKey> {
        let Query { since, until, filters, group_by, step, .. } = &self.query;
        let is_in = *since <= start && start < *until;
        let passes = filters.iter().all(|(column, values)| values.contains_key(&key[*column]));
        if !is_in || !passes || self.query.asks_for_advertisers() && !self.query.allows(labels, key[0]) {
            return None;
        }
        let mut apart = [0; KEYS_MAX];
        group_by.iter().for_each(|column| apart[*column] = key[*column]);
        Some((step.start(start), apart))
    }
}

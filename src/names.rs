//! The text of hashed keys, kept at the edge of the system.
//!
//! A key that holds its own text needs nothing here. Of the others the text is kept once, shared
//! by all workers of a process, and a second text under one key stops the run: the numbers could
//! no longer be told apart.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::model::ids::{Id, Name, Packed, Route};
use xxhash_rust::xxh3::Xxh3Builder;

const SHARDS: usize = 64;

type Table<K> = HashMap<K, Box<str>, Xxh3Builder>;

/// A map from names that is read once for each row of a table.
pub type NameMap<T> = HashMap<Name, T, BuildHasherDefault<NameHasher>>;

/// Hashes a name, which is one number, by one multiplication.
#[derive(Clone, Debug, Default)]
pub struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number ^ 0xe703_7ed1_a0b4_28db) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Two texts were found to share a key.
#[derive(Debug, thiserror::Error)]
#[error("the names {first:?} and {second:?} have the same key; rename one of them at its source")]
pub struct Collision {
    first: String,
    second: String,
}

/// The text of a hashed key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Text {
    /// Of a name.
    Name(Box<str>),
    /// Of an id.
    Id(Box<str>),
}

/// The dictionary of one process.
#[derive(Debug)]
pub struct Names {
    names: Vec<Mutex<Table<Name>>>,
    ids: Vec<Mutex<Table<Id>>>,
    /// What was added since it was last taken; kept only for who asked for it.
    added: Option<Mutex<Vec<Text>>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { names: shards(), ids: shards(), added: None }
    }
}

fn shards<K>() -> Vec<Mutex<Table<K>>> {
    (0..SHARDS).map(|_| Mutex::new(Table::default())).collect()
}

impl Names {
    /// A dictionary whose additions can be taken, to be kept elsewhere too.
    pub fn recording() -> Self {
        Self { added: Some(Mutex::default()), ..Self::default() }
    }

    /// The key of a name that may be published.
    pub fn name(&self, text: &str) -> Result<Name, Collision> {
        let key = Name::new(text);
        if key.packed() == Packed::Hashed && keep(&self.names, key, text)? {
            self.record(|| Text::Name(text.into()));
        }
        Ok(key)
    }

    /// The key of an id that may be published.
    pub fn id(&self, text: &str) -> Result<Id, Collision> {
        let key = Id::new(text);
        if key.packed() == Packed::Hashed && keep(&self.ids, key, text)? {
            self.record(|| Text::Id(text.into()));
        }
        Ok(key)
    }

    /// Adds a text that is kept elsewhere already.
    pub fn restore(&self, text: &Text) -> Result<(), Collision> {
        match text {
            Text::Name(text) => keep(&self.names, Name::new(text), text).map(|_| ()),
            Text::Id(text) => keep(&self.ids, Id::new(text), text).map(|_| ()),
        }
    }

    fn record(&self, text: impl FnOnce() -> Text) {
        if let Some(added) = &self.added {
            added.lock().unwrap_or_else(PoisonError::into_inner).push(text());
        }
    }

    /// Takes what was added since the last time, if this dictionary records it.
    pub fn take_added(&self) -> Vec<Text> {
        let added = self.added.as_ref().map(|added| added.lock().unwrap_or_else(PoisonError::into_inner));
        added.map(|mut added| std::mem::take(&mut *added)).unwrap_or_default()
    }

    /// All names that don't hold their own text.
    pub fn hashed_names(&self) -> Vec<(String, Name)> {
        let tables = self.names.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        tables
            .flat_map(|table| table.iter().map(|(key, text)| (text.to_string(), *key)).collect::<Vec<_>>())
            .collect()
    }

    /// Reads the text of a name.
    pub fn with_name<T>(&self, key: Name, read: impl FnOnce(&str) -> T) -> T {
        with_text(&self.names, key, key.packed(), read)
    }

    /// Reads the text of an id.
    pub fn with_id<T>(&self, key: Id, read: impl FnOnce(&str) -> T) -> T {
        with_text(&self.ids, key, key.packed(), read)
    }

    /// The text of a name.
    pub fn name_text(&self, key: Name) -> String {
        self.with_name(key, str::to_owned)
    }

    /// The text of an id.
    pub fn id_text(&self, key: Id) -> String {
        self.with_id(key, str::to_owned)
    }
}

fn shard<K: Route>(key: &K) -> usize {
    (key.route() >> 32) as usize % SHARDS
}

/// Whether it was not there before.
fn keep<K>(shards: &[Mutex<Table<K>>], key: K, text: &str) -> Result<bool, Collision>
where
    K: Route + Eq + std::hash::Hash,
{
    let mut table = shards[shard(&key)].lock().unwrap_or_else(PoisonError::into_inner);
    match table.get(&key) {
        Some(kept) if **kept == *text => Ok(false),
        Some(kept) => Err(Collision { first: kept.to_string(), second: text.to_owned() }),
        None => {
            table.insert(key, text.into());
            Ok(true)
        }
    }
}

fn with_text<K, T>(shards: &[Mutex<Table<K>>], key: K, packed: Packed, read: impl FnOnce(&str) -> T) -> T
where
    K: Route + Eq + std::hash::Hash,
{
    match packed {
        Packed::Inline(text) => read(text.as_str()),
        Packed::Hashed => {
            let table = shards[shard(&key)].lock().unwrap_or_else(PoisonError::into_inner);
            // Every hashed key that is published was made by `name` or `id`, so its text is here.
            read(table.get(&key).map_or("", |text| text))
        }
    }
}

/// The dictionary, shared by the workers of a process.
pub type SharedNames = Arc<Names>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out() {
        let names = Names::default();
        for text in ["", "c1", "a-long-campaign-name", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(names.name_text(names.name(text).expect("no collision")), text);
            assert_eq!(names.id_text(names.id(text).expect("no collision")), text);
        }
    }
}

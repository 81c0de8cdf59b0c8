//! The text of hashed keys, kept at the edge of the system.
//!
//! A key that holds its own text needs nothing here. Of the others the text is kept once, shared
//! by all workers of a process, and a second text under one key stops the run: the numbers could
//! no longer be told apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::model::ids::{Id, Name, Packed};
use xxhash_rust::xxh3::Xxh3Builder;

const SHARDS: usize = 64;

type Table<K> = HashMap<K, Box<str>, Xxh3Builder>;

/// Two texts were found to share a key.
#[derive(Debug, thiserror::Error)]
#[error("the names {first:?} and {second:?} have the same key; rename one of them at its source")]
pub struct Collision {
    first: String,
    second: String,
}

/// The dictionary of one process.
#[derive(Debug)]
pub struct Names {
    names: Vec<Mutex<Table<Name>>>,
    ids: Vec<Mutex<Table<Id>>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { names: shards(), ids: shards() }
    }
}

fn shards<K>() -> Vec<Mutex<Table<K>>> {
    (0..SHARDS).map(|_| Mutex::new(Table::default())).collect()
}

impl Names {
    /// The key of a name that may be published.
    pub fn name(&self, text: &str) -> Result<Name, Collision> {
        let key = Name::new(text);
        match key.packed() {
            Packed::Inline(_) => Ok(key),
            Packed::Hashed => keep(&self.names, key, text).map(|()| key),
        }
    }

    /// The key of an id that may be published.
    pub fn id(&self, text: &str) -> Result<Id, Collision> {
        let key = Id::new(text);
        match key.packed() {
            Packed::Inline(_) => Ok(key),
            Packed::Hashed => keep(&self.ids, key, text).map(|()| key),
        }
    }

    /// The text of a name.
    pub fn name_text(&self, key: Name) -> String {
        text(&self.names, key, key.packed())
    }

    /// The text of an id.
    pub fn id_text(&self, key: Id) -> String {
        text(&self.ids, key, key.packed())
    }
}

fn shard<K: dataflows::model::ids::Route>(key: &K) -> usize {
    (key.route() >> 32) as usize % SHARDS
}

fn keep<K>(shards: &[Mutex<Table<K>>], key: K, text: &str) -> Result<(), Collision>
where
    K: dataflows::model::ids::Route + Eq + std::hash::Hash,
{
    let mut table = shards[shard(&key)].lock().unwrap_or_else(PoisonError::into_inner);
    match table.get(&key) {
        Some(kept) if **kept == *text => Ok(()),
        Some(kept) => Err(Collision { first: kept.to_string(), second: text.to_owned() }),
        None => {
            table.insert(key, text.into());
            Ok(())
        }
    }
}

fn text<K>(shards: &[Mutex<Table<K>>], key: K, packed: Packed) -> String
where
    K: dataflows::model::ids::Route + Eq + std::hash::Hash,
{
    match packed {
        Packed::Inline(text) => text.as_str().to_owned(),
        Packed::Hashed => {
            let table = shards[shard(&key)].lock().unwrap_or_else(PoisonError::into_inner);
            // Every hashed key was made by `name` or `id`, so its text is here.
            table.get(&key).map_or_else(String::new, |text| text.to_string())
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

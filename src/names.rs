//! The text of hashed keys, kept at the edge of the system.
//!
//! A key that holds its own text needs nothing here. Of the others the text is kept once, shared
//! by all workers of a process, and a second text under one key stops the run: the numbers could
//! no longer be told apart.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::model::ids::{Id, Name, Packed, Route};
use dataflows::model::time::Epoch;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Builder;

mod news;

use self::news::News;

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
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Text {
    /// Of a name.
    Name(Box<str>),
    /// Of an id.
    Id(Box<str>),
}

/// The dictionary of one process.
#[derive(Debug, Default)]
pub struct Names {
    /// Of what this process has read itself.
    own: Tables,
    /// With several processes: what those have read, and what they have to be told.
    others: Option<Others>,
}

#[derive(Debug, Default)]
struct Others {
    /// Apart from our own: a text that was only heard must be told when it is read here, as it may
    /// belong to an earlier epoch here than where it came from.
    heard: Tables,
    untold: News,
}

#[derive(Debug)]
struct Tables {
    names: Vec<Mutex<Table<Name>>>,
    ids: Vec<Mutex<Table<Id>>>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { names: shards(), ids: shards() }
    }
}

fn shards<K>() -> Vec<Mutex<Table<K>>> {
    (0..SHARDS).map(|_| Mutex::new(Table::default())).collect()
}

impl Tables {
    fn keep(&self, text: &Text) -> Result<(), Collision> {
        match text {
            Text::Name(text) => keep(&self.names, Name::new(text), text, || {}),
            Text::Id(text) => keep(&self.ids, Id::new(text), text, || {}),
        }
    }
}

impl Names {
    /// That of one process among several, of so many workers.
    pub fn shared(self, workers: usize) -> Self {
        Self { others: Some(Others { untold: News::new(workers), ..Others::default() }), ..self }
    }

    /// The key of a name that may be published.
    pub fn name(&self, text: &str) -> Result<Name, Collision> {
        let key = Name::new(text);
        if key.packed() == Packed::Hashed {
            keep(&self.own.names, key, text, || self.tell(|| Text::Name(text.into())))?;
        }
        Ok(key)
    }

    /// The key of an id that may be published.
    pub fn id(&self, text: &str) -> Result<Id, Collision> {
        let key = Id::new(text);
        if key.packed() == Packed::Hashed {
            keep(&self.own.ids, key, text, || self.tell(|| Text::Id(text.into())))?;
        }
        Ok(key)
    }

    /// Adds a text that is kept elsewhere already, but that other processes may not know.
    pub fn restore(&self, text: &Text) -> Result<(), Collision> {
        let tell = || self.tell(|| text.clone());
        match text {
            Text::Name(text) => keep(&self.own.names, Name::new(text), text, tell),
            Text::Id(text) => keep(&self.own.ids, Id::new(text), text, tell),
        }
    }

    /// Notes a text that other processes have to be told, if there are any.
    fn tell(&self, text: impl FnOnce() -> Text) {
        if let Some(others) = &self.others {
            others.untold.add(text());
        }
    }

    /// What this worker has to tell the other processes in its present epoch: every text that this
    /// process has read since this worker last asked, unless another worker told it in an epoch that
    /// is not later.
    pub fn untold(&self, worker: usize, epoch: Epoch) -> Vec<Text> {
        self.others.as_ref().map(|others| others.untold.take(worker, epoch)).unwrap_or_default()
    }

    /// The last question of a worker, which has read everything it will read.
    pub fn untold_at_last(&self, worker: usize, epoch: Epoch) -> Vec<Text> {
        let last = |others: &Others| {
            let texts = others.untold.take(worker, epoch);
            others.untold.leave(worker);
            texts
        };
        self.others.as_ref().map(last).unwrap_or_default()
    }

    /// All processes have what was read by now.
    pub fn all_know(&self) {
        if let Some(others) = &self.others {
            others.untold.forget();
        }
    }

    /// Adds a text that another process has read.
    pub fn hear(&self, text: &Text) -> Result<(), Collision> {
        let Some(others) = &self.others else { return self.restore(text) };
        match text {
            Text::Name(text) => agree(&self.own.names, Name::new(text), text)?,
            Text::Id(text) => agree(&self.own.ids, Id::new(text), text)?,
        }
        others.heard.keep(text)
    }

    /// All names that don't hold their own text.
    pub fn hashed_names(&self) -> Vec<(String, Name)> {
        let heard = self.others.iter().map(|others| &others.heard);
        let tables = std::iter::once(&self.own).chain(heard).flat_map(|tables| &tables.names);
        let tables = tables.map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        let mut names: Vec<_> = tables
            .flat_map(|table| table.iter().map(|(key, text)| (text.to_string(), *key)).collect::<Vec<_>>())
            .collect();
        if self.others.is_some() {
            names.sort_unstable();
            names.dedup();
        }
        names
    }

    /// Reads the text of a name.
    pub fn with_name<T>(&self, key: Name, read: impl FnOnce(&str) -> T) -> T {
        let heard = self.others.as_ref().map(|others| &*others.heard.names);
        with_text(&self.own.names, heard, key, key.packed(), read)
    }

    /// Reads the text of an id.
    pub fn with_id<T>(&self, key: Id, read: impl FnOnce(&str) -> T) -> T {
        let heard = self.others.as_ref().map(|others| &*others.heard.ids);
        with_text(&self.own.ids, heard, key, key.packed(), read)
    }

    /// The text of a name that does not hold it itself, if it is known.
    pub fn known_name(&self, key: Name) -> Option<Text> {
        known(key.packed(), || self.with_name(key, |text| Text::Name(text.into())))
    }

    /// The text of an id that does not hold it itself, if it is known.
    pub fn known_id(&self, key: Id) -> Option<Text> {
        known(key.packed(), || self.with_id(key, |text| Text::Id(text.into())))
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

fn known(packed: Packed, find: impl FnOnce() -> Text) -> Option<Text> {
    // No hashed text is empty.
    let is_known = |text: &Text| !matches!(text, Text::Name(text) | Text::Id(text) if text.is_empty());
    (packed == Packed::Hashed).then(find).filter(is_known)
}

fn shard<K: Route>(key: &K) -> usize {
    (key.route() >> 32) as usize % SHARDS
}

/// Adds a text; what is `fresh` is noted before anybody else can find it there.
fn keep<K>(shards: &[Mutex<Table<K>>], key: K, text: &str, fresh: impl FnOnce()) -> Result<(), Collision>
where
    K: Route + Eq + std::hash::Hash,
{
    let mut table = shards[shard(&key)].lock().unwrap_or_else(PoisonError::into_inner);
    match table.get(&key) {
        Some(kept) if **kept == *text => Ok(()),
        Some(kept) => Err(Collision { first: kept.to_string(), second: text.to_owned() }),
        None => {
            table.insert(key, text.into());
            fresh();
            Ok(())
        }
    }
}

/// Whether a table has no other text under this key.
fn agree<K>(shards: &[Mutex<Table<K>>], key: K, text: &str) -> Result<(), Collision>
where
    K: Route + Eq + std::hash::Hash,
{
    let table = shards[shard(&key)].lock().unwrap_or_else(PoisonError::into_inner);
    match table.get(&key) {
        Some(kept) if **kept != *text => Err(Collision { first: kept.to_string(), second: text.to_owned() }),
        _ => Ok(()),
    }
}

fn with_text<K, T>(
    own: &[Mutex<Table<K>>],
    heard: Option<&[Mutex<Table<K>>]>,
    key: K,
    packed: Packed,
    read: impl FnOnce(&str) -> T,
) -> T
where
    K: Route + Eq + std::hash::Hash,
{
    match packed {
        Packed::Inline(text) => read(text.as_str()),
        Packed::Hashed => {
            for shards in std::iter::once(own).chain(heard) {
                let table = shards[shard(&key)].lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(text) = table.get(&key) {
                    return read(text);
                }
            }
            // Every hashed key that is published was made by `name` or `id`, here or in a process that
            // told us, so its text was found.
            read("")
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

    #[test]
    fn what_others_have_read_is_found_and_told_only_when_read_here_too() {
        let [ours, theirs] = [(); 2].map(|()| Names::default().shared(1));
        let name = theirs.name("a-long-campaign-name").expect("no collision");
        let id = theirs.id("conversion-0123456789").expect("no collision");
        for text in theirs.untold(0, 5) {
            ours.hear(&text).expect("no collision");
        }
        assert_eq!(ours.name_text(name), "a-long-campaign-name");
        assert_eq!(ours.id_text(id), "conversion-0123456789");
        assert!(ours.untold(0, 3).is_empty(), "they know it");
        ours.name("a-long-campaign-name").expect("no collision");
        let told = ours.untold(0, 3);
        assert_eq!(told, [Text::Name("a-long-campaign-name".into())], "a third may need it in epoch 3");
        assert_eq!(ours.hashed_names().len(), 1);
    }
}

//! The text of hashed keys, kept at the edge of the system.
//!
//! A key that holds its own text needs nothing here. Of the others the text is kept once, shared
//! by all workers of a process, and a second text under one key stops the run: the numbers could
//! no longer be told apart.
//!
//! Names (campaigns, sites, …) have few values and stay. Ids come and go with their records: each is
//! kept with the last minute in which it is needed, and goes when that is behind the horizon.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dataflows::model::horizon::Freezes;
use dataflows::model::ids::{Id, Name, Packed, Route};
use dataflows::model::time::{Epoch, EventTime, Minute};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Builder;

mod news;

use self::news::News;

const SHARDS: usize = 64;

type Table<K> = HashMap<K, Held, Xxh3Builder>;

/// Until when the text of a name is needed.
const ALWAYS: Minute = Minute(u32::MAX);

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

/// A text, and until when it is needed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Dated {
    /// The text.
    pub text: Text,
    /// The last minute of event time of a record that has it.
    pub until: Minute,
}

impl Dated {
    /// A text that is needed for ever.
    pub fn always(text: Text) -> Self {
        Self { text, until: ALWAYS }
    }
}

#[derive(Debug)]
struct Held {
    text: Box<str>,
    until: Minute,
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
    /// Keeps a text; of what is new, or needed for longer, `fresh` is told.
    fn keep(&self, Dated { text, until }: &Dated, fresh: impl FnOnce()) -> Result<(), Collision> {
        match text {
            Text::Name(text) => keep(&self.names, Name::new(text), (text, ALWAYS), fresh),
            Text::Id(text) => keep(&self.ids, Id::new(text), (text, *until), fresh),
        }
    }

    /// Forgets the ids that are not needed at `edge` or later.
    fn forget_before(&self, edge: EventTime) {
        for shard in &self.ids {
            lock(shard).retain(|_, held| !held.until.is_frozen(edge));
        }
    }

    fn ids(&self) -> usize {
        self.ids.iter().map(|shard| lock(shard).len()).sum()
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
            let text = (text, ALWAYS);
            keep(&self.own.names, key, text, || self.tell(Text::Name, text))?;
        }
        Ok(key)
    }

    /// The key of an id that may be published, of a record of this time or an earlier one.
    pub fn id(&self, text: &str, ts: EventTime) -> Result<Id, Collision> {
        let key = Id::new(text);
        if key.packed() == Packed::Hashed {
            let text = (text, ts.minute());
            keep(&self.own.ids, key, text, || self.tell(Text::Id, text))?;
        }
        Ok(key)
    }

    /// Adds a text that is kept elsewhere already, but that other processes may not know.
    pub fn restore(&self, dated: &Dated) -> Result<(), Collision> {
        self.own.keep(dated, || self.others.iter().for_each(|others| others.untold.add(dated.clone())))
    }

    /// Keeps the text of an id, if it is known and no key holds it, for a record of a later time.
    pub fn hold(&self, key: Id, ts: EventTime) -> Result<(), Collision> {
        self.known_id(key).map_or(Ok(()), |text| self.restore(&Dated { text, until: ts.minute() }))
    }

    /// Forgets the ids whose records are all of before this time, wherever they were read.
    pub fn forget_before(&self, edge: EventTime) {
        let heard = self.others.iter().map(|others| &others.heard);
        std::iter::once(&self.own).chain(heard).for_each(|tables| tables.forget_before(edge));
    }

    /// How many texts of ids are kept.
    pub fn ids(&self) -> usize {
        self.own.ids() + self.others.as_ref().map_or(0, |others| others.heard.ids())
    }

    /// Notes a text that other processes have to be told, if there are any.
    fn tell(&self, kind: impl FnOnce(Box<str>) -> Text, (text, until): (&str, Minute)) {
        if let Some(others) = &self.others {
            others.untold.add(Dated { text: kind(text.into()), until });
        }
    }

    /// What this worker has to tell the other processes in its present epoch: every text that this
    /// process has read since this worker last asked, unless another worker told it in an epoch that
    /// is not later.
    pub fn untold(&self, worker: usize, epoch: Epoch) -> Vec<Dated> {
        self.others.as_ref().map(|others| others.untold.take(worker, epoch)).unwrap_or_default()
    }

    /// The last question of a worker, which has read everything it will read.
    pub fn untold_at_last(&self, worker: usize, epoch: Epoch) -> Vec<Dated> {
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
    pub fn hear(&self, dated: &Dated) -> Result<(), Collision> {
        let Some(others) = &self.others else { return self.restore(dated) };
        match &dated.text {
            Text::Name(text) => agree(&self.own.names, Name::new(text), text)?,
            Text::Id(text) => agree(&self.own.ids, Id::new(text), text)?,
        }
        others.heard.keep(dated, || {})
    }

    /// All names that don't hold their own text.
    pub fn hashed_names(&self) -> Vec<(String, Name)> {
        let heard = self.others.iter().map(|others| &others.heard);
        let tables = std::iter::once(&self.own).chain(heard).flat_map(|tables| &tables.names);
        let mut names: Vec<_> = tables
            .map(lock)
            .flat_map(|table| {
                table.iter().map(|(key, held)| (held.text.to_string(), *key)).collect::<Vec<_>>()
            })
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

fn lock<K>(shard: &Mutex<Table<K>>) -> MutexGuard<'_, Table<K>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a text, or has it kept for longer; what is `fresh` is noted before anybody else can find it
/// there.
fn keep<K>(
    shards: &[Mutex<Table<K>>],
    key: K,
    (text, until): (&str, Minute),
    fresh: impl FnOnce(),
) -> Result<(), Collision>
where
    K: Route + Eq + std::hash::Hash,
{
    let mut table = lock(&shards[shard(&key)]);
    match table.get_mut(&key) {
        Some(held) if *held.text != *text => Err(collision(held, text)),
        Some(held) if held.until >= until => Ok(()),
        Some(held) => {
            held.until = until;
            fresh();
            Ok(())
        }
        None => {
            table.insert(key, Held { text: text.into(), until });
            fresh();
            Ok(())
        }
    }
}

fn collision(held: &Held, text: &str) -> Collision {
    Collision { first: held.text.to_string(), second: text.to_owned() }
}

/// Whether a table has no other text under this key.
fn agree<K>(shards: &[Mutex<Table<K>>], key: K, text: &str) -> Result<(), Collision>
where
    K: Route + Eq + std::hash::Hash,
{
    match lock(&shards[shard(&key)]).get(&key) {
        Some(held) if *held.text != *text => Err(collision(held, text)),
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
                if let Some(held) = lock(&shards[shard(&key)]).get(&key) {
                    return read(&held.text);
                }
            }
            // Every hashed key that is published was made by `name` or `id`, here or in a process that
            // told us, and is forgotten only when nothing of its time can be published any more.
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
            assert_eq!(names.id_text(names.id(text, EventTime::MIN).expect("no collision")), text);
        }
    }

    #[test]
    fn what_others_have_read_is_found_and_told_only_when_read_here_too() {
        let [ours, theirs] = [(); 2].map(|()| Names::default().shared(1));
        let name = theirs.name("a-long-campaign-name").expect("no collision");
        let id = theirs.id("conversion-0123456789", EventTime::MIN).expect("no collision");
        for text in theirs.untold(0, 5) {
            ours.hear(&text).expect("no collision");
        }
        assert_eq!(ours.name_text(name), "a-long-campaign-name");
        assert_eq!(ours.id_text(id), "conversion-0123456789");
        assert!(ours.untold(0, 3).is_empty(), "they know it");
        ours.name("a-long-campaign-name").expect("no collision");
        let told: Vec<_> = ours.untold(0, 3).into_iter().map(|dated| dated.text).collect();
        assert_eq!(told, [Text::Name("a-long-campaign-name".into())], "a third may need it in epoch 3");
        assert_eq!(ours.hashed_names().len(), 1);
    }

    #[test]
    fn ids_go_when_the_last_of_their_records_is_behind_and_others_hear_that_they_stay() {
        let at = |minute: i64| EventTime::from_millis(minute * 60_000 + 1).expect("in range");
        let [ours, theirs] = [(); 2].map(|()| Names::default().shared(1));
        let listen = |epoch| {
            let told = theirs.untold(0, epoch);
            told.iter().for_each(|text| ours.hear(text).expect("no collision"));
            told.len()
        };
        let text = |n: usize| format!("an id that is hashed {n}");
        let ids = [5, 7, 6].map(|minute| theirs.id(&text(minute), at(minute as i64)).expect("no collision"));
        theirs.id(&text(5), at(3)).expect("no collision");
        theirs.name("a-long-campaign-name").expect("no collision");
        assert_eq!(listen(1), 4, "an earlier time is no news");
        theirs.hold(ids[0], at(7)).expect("no collision");
        theirs.hold(Id::new("not known, and too long for a key"), at(7)).expect("no collision");
        assert_eq!(listen(2), 1);
        for names in [&ours, &theirs] {
            assert_eq!(names.ids(), 3);
            names.forget_before(at(6));
            assert_eq!(names.ids(), 3, "minute 6 is not over");
            names.forget_before(at(7));
            assert_eq!(ids.map(|id| names.id_text(id)), [text(5), text(7), String::new()]);
            names.forget_before(EventTime::MAX);
            assert_eq!((names.ids(), names.hashed_names().len()), (0, 1));
        }
    }
}

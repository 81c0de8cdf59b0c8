//! Which texts a segment holds: those of its own records, so that it can be read, merged and dropped
//! by itself.

use std::collections::HashSet;

use dataflows::model::ids::{Id, Name, Packed};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::names::{Names, Text};

/// Keys that don't hold their own text, each once.
#[derive(Debug, Default)]
pub struct Keys {
    names: HashSet<Name, Xxh3Builder>,
    ids: HashSet<Id, Xxh3Builder>,
}

impl Keys {
    /// Adds a name.
    pub fn name(&mut self, raw: u64) {
        let key = Name::from_raw(raw);
        if key.packed() == Packed::Hashed {
            self.names.insert(key);
        }
    }

    /// Adds an id.
    pub fn id(&mut self, words: [u64; 2]) {
        let key = Id::from_words(words);
        if key.packed() == Packed::Hashed {
            self.ids.insert(key);
        }
    }

    /// Their texts, as far as they are known; the others are never published.
    pub fn texts(&self, names: &Names) -> Vec<Text> {
        let ids = self.ids.iter().filter_map(|key| names.known_id(*key));
        self.names.iter().filter_map(|key| names.known_name(*key)).chain(ids).collect()
    }
}

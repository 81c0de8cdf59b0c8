//! The order of published rows: names compare as their text does.

use std::collections::HashMap;

use dataflows::model::ids::{Name, Packed};

use xxhash_rust::xxh3::Xxh3Builder;

use crate::names::Names;

/// What a name is ordered by: the first eight bytes of its text, then its rank among the names
/// that are longer than that.
pub type NameRank = (u64, u32);

/// Ranks names by their text.
#[derive(Debug)]
pub struct NameOrder {
    hashed: HashMap<Name, NameRank, Xxh3Builder>,
}

impl NameOrder {
    /// The order of all names known by now.
    pub fn new(names: &Names) -> Self {
        let mut texts = names.hashed_names();
        texts.sort_unstable();
        let rank = |(rank, (text, name)): (u32, (String, Name))| (name, (prefix(text.as_bytes()), rank));
        Self { hashed: (0..).zip(texts).map(rank).collect() }
    }

    /// What orders as the name's text does.
    pub fn of(&self, name: Name) -> NameRank {
        match name.packed() {
            // At most seven bytes, so no longer name has the same prefix.
            Packed::Inline(text) => (prefix(text.as_bytes()), 0),
            Packed::Hashed => self.hashed.get(&name).copied().unwrap_or((u64::MAX, u32::MAX)),
        }
    }
}

fn prefix(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = text.len().min(8);
    bytes[..len].copy_from_slice(&text[..len]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_as_their_text_whatever_their_length() {
        let mut texts = ["", "a", "c1", "c10", "c2", "campaign", "campaign-a", "campaign-b", "campaig", "zz"];
        texts.sort_unstable();
        let names = Names::default();
        let keys = texts.map(|text| names.name(text).expect("no collision"));
        let order = NameOrder::new(&names);
        assert!(keys.is_sorted_by_key(|key| order.of(*key)));
    }
}

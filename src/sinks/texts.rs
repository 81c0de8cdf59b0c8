//! The texts of the keys in published rows, and the order of these rows: names compare as their
//! text does.

use std::sync::Arc;

use dataflows::model::ids::{Id, Name, Packed};

use super::cells::Text;
use crate::names::{NameMap, Names};

/// What orders as the name's text does: its first seven bytes, and the rank, from 1, among the
/// names that are longer than that; 0 for one that is not.
pub type NameRank = (u64, u32);

/// The texts of all keys known by now, for reading only.
///
/// A short name is its own text and its own rank, so it costs no lookup.
#[derive(Debug)]
pub struct Texts {
    names: Arc<Names>,
    ranks: NameMap<NameRank>,
    /// Names that don't hold their own text, by rank.
    hashed: Vec<Hashed>,
}

#[derive(Debug)]
struct Hashed {
    text: String,
    plain: bool,
}

impl Texts {
    /// Ranks the names known by now.
    pub fn new(names: &Arc<Names>) -> Self {
        let mut texts = names.hashed_names();
        texts.sort_unstable();
        let rank = |(rank, (text, name)): (u32, &(String, Name))| (*name, (prefix(text.as_bytes()), rank));
        let ranks = (1..).zip(&texts).map(rank).collect();
        let hashed = texts.into_iter().map(|(text, _)| Hashed { plain: Text::from(&*text).plain, text });
        Self { names: Arc::clone(names), ranks, hashed: hashed.collect() }
    }

    /// The rank of a name.
    pub fn rank(&self, name: Name) -> NameRank {
        match name.packed() {
            Packed::Inline(_) => (name.raw(), 0),
            // Every hashed name in a row was made by `Names::name`, so it is here.
            Packed::Hashed => self.ranks.get(&name).copied().unwrap_or((u64::MAX, u32::MAX)),
        }
    }

    /// Reads the text of a name.
    pub fn name<T>(&self, name: Name, read: impl FnOnce(Text<'_>) -> T) -> T {
        match name.packed() {
            Packed::Inline(text) => read(Text::new(text.as_bytes())),
            Packed::Hashed => {
                let known = self.ranks.get(&name).and_then(|(_, rank)| self.hashed.get(*rank as usize - 1));
                read(known.map_or(Text::word(""), |known| Text {
                    bytes: known.text.as_bytes(),
                    plain: known.plain,
                }))
            }
        }
    }

    /// The names whose texts these are.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Reads the text of an id.
    pub fn id<T>(&self, id: Id, read: impl FnOnce(&str) -> T) -> T {
        self.names.with_id(id, read)
    }
}

/// The first seven bytes, as a name of up to seven bytes holds them, and a length that none has.
fn prefix(text: &[u8]) -> u64 {
    let mut bytes = [8; 8];
    bytes[..7].copy_from_slice(&text[..7]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_as_their_text_whatever_their_length() {
        let mut texts = [
            "",
            "a",
            "a\0",
            "c1",
            "c10",
            "c2",
            "campaig",
            "campaign",
            "campaign-a",
            "campaign-b",
            "campaih",
            "ünïcödé",
            "zz",
        ];
        texts.sort_unstable();
        let names = Arc::new(Names::default());
        let keys = texts.map(|text| names.name(text).expect("no collision"));
        let known = Texts::new(&names);
        assert!(keys.is_sorted_by(|a, b| known.rank(*a) < known.rank(*b)));
        for (key, text) in keys.iter().zip(texts) {
            known.name(*key, |read| assert_eq!(read.bytes, text.as_bytes()));
        }
    }
}

//! Where the mapped fields stand in a nested record: a small trie of names.

use std::cell::Cell;

use super::layout::Field;

/// A node of the trie: the names looked for at one level of a record.
#[derive(Debug, Default)]
pub struct Paths {
    entries: Vec<Entry>,
    /// Where the next name is expected: records of one source repeat their order of fields.
    next: Cell<usize>,
}

/// A name that is looked for.
#[derive(Debug)]
pub struct Entry {
    name: Box<str>,
    /// The fields that are this value, as a set of [`Field::bit`].
    pub fields: u32,
    /// What is looked for inside this value.
    pub inner: Option<Box<Paths>>,
}

impl Paths {
    /// The trie of a mapping; dots descend into nested records.
    pub fn new<'m>(mapping: impl IntoIterator<Item = (Field, &'m str)>) -> Self {
        let mut root = Self::default();
        for (field, path) in mapping {
            let mut names = path.split('.').peekable();
            let mut node = &mut root;
            while let Some(name) = names.next() {
                let entry = node.entry(name);
                if names.peek().is_none() {
                    entry.fields |= field.bit();
                    break;
                }
                node = entry.inner.get_or_insert_default();
            }
        }
        root
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        let at = self.entries.iter().position(|entry| *entry.name == *name).unwrap_or_else(|| {
            self.entries.push(Entry { name: name.into(), fields: 0, inner: None });
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }

    /// The entry of a name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let next = self.next.get();
        if let Some(entry) = self.entries.get(next)
            && *entry.name == *name
        {
            self.next.set(next + 1);
            return Some(entry);
        }
        let at = self.entries.iter().position(|entry| *entry.name == *name)?;
        self.next.set(at + 1);
        Some(&self.entries[at])
    }
}

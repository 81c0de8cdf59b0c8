//! What stays published of erased records, as an object beside the segments.

use dataflows::graphs::residue::Residue;
use dataflows::model::time::EventTime;
use serde::{Deserialize, Serialize};

use super::manifest::seal_listed;
use super::segment::Listed;
use super::texts::Keys;
use crate::names::{Collision, Dated, Names, Text};

/// Residues, and the texts of the names in their keys.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct HeldResidues {
    /// The residues.
    pub residues: Vec<Residue>,
    texts: Vec<Text>,
}

impl HeldResidues {
    /// Residues whose names `names` knows.
    pub fn new(residues: Vec<Residue>, names: &Names) -> Self {
        let mut keys = Keys::default();
        residues.iter().flat_map(Residue::names).for_each(|name| keys.name(name.raw()));
        Self { residues, texts: keys.texts(names) }
    }

    /// Makes the names known that are in their keys.
    ///
    /// # Errors
    /// Two names share a key.
    pub fn restore(&self, names: &Names) -> Result<(), Collision> {
        self.texts.iter().try_for_each(|text| names.restore(&Dated::always(text.clone())))
    }

    /// Those of windows that can still change.
    pub fn open(&self, freeze: EventTime) -> impl Iterator<Item = Residue> {
        self.residues.iter().filter(move |residue| !residue.is_frozen(freeze)).copied()
    }

    /// Creates them as an object, and says what a manifest names of it; nothing where there are none.
    ///
    /// # Errors
    /// That of `create`.
    pub fn write<E>(
        &self,
        name: String,
        create: impl FnOnce(&str, Vec<u8>) -> Result<(), E>,
    ) -> Result<Option<Listed>, E> {
        if self.residues.is_empty() {
            return Ok(None);
        }
        let (bytes, listed) = seal_listed(self, name);
        create(&listed.name, bytes)?;
        Ok(Some(listed))
    }
}

//! What stays published of erased records, as an object beside the segments.

use dataflows::graphs::residue::Residue;
use dataflows::model::time::EventTime;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::manifest::{seal, unseal};
use super::segment::{Damage, Listed};
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

    /// As an object.
    pub fn write(&self, name: String) -> (Vec<u8>, Listed) {
        let bytes = seal(self);
        let (length, checksum) = (bytes.len() as u64, xxh3_64(&bytes));
        (bytes, Listed::other(name, length, checksum))
    }

    /// From the bytes of such an object.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8], listed: &Listed) -> Result<Self, Damage> {
        if xxh3_64(bytes) != listed.checksum {
            return Err(Damage { at: 0, what: "its checksum is not the one in the manifest" });
        }
        unseal(bytes)
    }
}

//! Writes the manifests of an archive that this run has taken over.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::ArchiveError;
use super::kind::{Kind, file_name};
use super::manifest::{self, Entry, Manifest, failed};
use super::state::{Archive, Shard, sort};
use crate::bindings::Positions;
use crate::checkpoint::{HeldResidues, HeldRows, Listed, write_rows};
use crate::store::{Created, Store};

/// Writes manifest after manifest. What one names stays until two have followed that don't name it,
/// so that who reads by the last one finds everything.
pub struct Keeper {
    /// Where files are written.
    pub store: Arc<Store>,
    /// Where old files are moved to.
    pub cold: Option<Arc<Store>>,
    /// The last manifest.
    pub current: Manifest,
    /// The one before it.
    pub(super) before: Option<Manifest>,
    pub(super) shard: Shard,
    pub(super) run: String,
    /// Objects named by this run.
    pub(super) objects: u64,
}

impl Keeper {
    /// Looks at an archive without taking it over.
    pub fn look(store: Arc<Store>, cold: Option<Arc<Store>>, archive: Archive, run: &str) -> Self {
        let Archive { manifest: current, shard, .. } = archive;
        Self { store, cold, current, before: None, shard, run: run.to_owned(), objects: 0 }
    }

    /// What stays published of records that were erased.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn residues(&self) -> Result<HeldResidues, ArchiveError> {
        manifest::residues(&self.store, std::slice::from_ref(&self.current))
    }

    /// The next name of a file.
    pub fn name(&mut self, kind: Kind, entry_hour: dataflows::model::time::Hour) -> String {
        self.objects += 1;
        file_name(kind, entry_hour, self.shard.number, &self.run, self.objects)
    }

    /// The lookup rows of the partitions that `positions` name, as an object; none where there are none.
    pub fn lookups(&mut self, rows: &HeldRows, positions: &Positions) -> Option<(String, Vec<u8>, Listed)> {
        let own = rows.iter().filter(|((place, _), _)| positions.contains_key(place));
        let own: HeldRows = own.map(|(key, row)| (key.clone(), row.clone())).collect();
        if own.is_empty() {
            return None;
        }
        let name = self.object("lookups");
        let (bytes, listed) = write_rows(&own, name.clone());
        Some((name, bytes, listed))
    }

    /// The next name of an object that is no file of events.
    pub fn object(&mut self, what: &str) -> String {
        self.objects += 1;
        format!("{what}-{}-{}-{:06}.json", self.shard.number, self.run, self.objects)
    }

    /// Writes an object whose name nobody else uses.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn write(&self, name: &str, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        // Only this run uses this name, so what is there is what is to be there.
        self.store.create(name, bytes).map(|_| ()).map_err(|source| failed(&self.store, source))
    }

    /// Makes a manifest the last one, and removes what is not needed any more. When this fails, it
    /// can be tried again.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn commit(&mut self, mut next: Manifest) -> Result<(), ArchiveError> {
        next.number = self.current.number + 1;
        sort(&mut next.files);
        publish(&self.store, &next)?;
        let oldest = self.before.replace(std::mem::replace(&mut self.current, next));
        oldest.map_or(Ok(()), |oldest| self.remove(&oldest))
    }

    /// The last two manifests.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Manifest> {
        self.before.iter().chain([&self.current])
    }

    /// Removes a manifest, and what only it needed.
    fn remove(&self, oldest: &Manifest) -> Result<(), ArchiveError> {
        let remove = |store: &Store, name: &str| store.remove(name).map_err(|source| failed(store, source));
        let needed: HashSet<&str> = self.kept().flat_map(Manifest::objects).collect();
        remove(&self.store, &manifest::name(oldest.shard, oldest.number))?;
        for name in oldest.objects().filter(|name| !needed.contains(name)) {
            remove(&self.store, name)?;
        }
        let needed: HashSet<&str> = self.kept().flat_map(Manifest::cold_objects).collect();
        let Some(cold) = &self.cold else { return Ok(()) };
        oldest.cold_objects().filter(|name| !needed.contains(name)).try_for_each(|name| remove(cold, name))
    }

    /// The file of an entry, from where it lies.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
        let store = if entry.cold { self.cold.as_ref().unwrap_or(&self.store) } else { &self.store };
        store.read(&entry.name).map_err(|source| failed(store, source))
    }
}

/// Writes a manifest, unless another run was faster.
pub(super) fn publish(store: &Store, manifest: &Manifest) -> Result<(), ArchiveError> {
    let fail = |source| failed(store, source);
    let name = manifest::name(manifest.shard, manifest.number);
    let fenced = |number| ArchiveError::Fenced { place: store.place().to_owned(), number };
    // A request that seemed to fail may have been carried out.
    let taken = store.create(&name, manifest.bytes()).map_err(fail)? == Created::Taken;
    if taken && store.read(&name).map_err(fail)? != manifest.bytes() {
        return Err(fenced(manifest.number));
    }
    // Who took this number may have removed it since, but then has written greater ones.
    let names = store.names().map_err(fail)?;
    let numbers = names.iter().filter_map(|name| manifest::parse(name));
    let newest = numbers.filter(|(shard, _)| *shard == manifest.shard).map(|(_, number)| number).max();
    match newest {
        Some(newest) if newest > manifest.number => {
            if !taken {
                // It counts for nothing, and whoever starts next removes it if this can't.
                let _ = store.remove(&name);
            }
            Err(fenced(newest))
        }
        _ => Ok(()),
    }
}

//! Who has taken an archive over, and writes its manifests.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::ArchiveError;
use super::kind::{Kind, file_name, shard_of};
use super::manifest::{self, Entry, Manifest, failed};
use super::state::{Archive, Shard, sort};
use crate::checkpoint::{HeldRows, write_rows};
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
    before: Manifest,
    shard: Shard,
    run: String,
    /// Objects named by this run.
    objects: u64,
}

impl Keeper {
    /// Takes an archive over for `run`: the next manifest is this run's, and what no manifest names
    /// is removed, in the colder place too.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn claim(
        store: Arc<Store>,
        cold: Option<Arc<Store>>,
        archive: Archive,
        run: &str,
    ) -> Result<Self, ArchiveError> {
        let Archive { mut manifest, positions, rows, shard, latest, found } = archive;
        let asked = store.check_create(&format!("{run}-{}", shard.number));
        asked.map_err(|source| failed(&store, source))?;
        let cold_place = cold.as_ref().map(|cold| cold.place().to_owned());
        if let (Some(known), true) = (&manifest.cold, manifest.files.iter().any(|file| file.cold))
            && cold_place.as_ref() != Some(known)
        {
            let (place, cold) = (store.place().to_owned(), known.clone());
            return Err(ArchiveError::OtherCold { place, cold });
        }
        manifest.cold = cold_place;
        manifest.number = latest + 1;
        manifest.set_positions(&positions);
        let (before, current) = (manifest.clone(), manifest);
        let mut keeper = Self { store, cold, current, before, shard, run: run.to_owned(), objects: 0 };
        keeper.current.run = run.to_owned();
        keeper.current.lookups = None;
        if !rows.is_empty() {
            let (name, bytes, listed) = keeper.lookups(&rows);
            keeper.write(&name, bytes)?;
            keeper.current.lookups = Some(listed);
        }
        publish(&keeper.store, &keeper.current)?;
        let (own, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| found.shard == shard.number);
        // What a shard that is no more has left is in this manifest now.
        for gone in others.iter().filter(|found| shard.keeps(found.shard)) {
            keeper.remove_manifests(gone.shard)?;
        }
        if let Some(own) = own.into_iter().next() {
            keeper.before = own;
        }
        keeper.remove_garbage()?;
        Ok(keeper)
    }

    /// The next name of a file.
    pub fn name(&mut self, kind: Kind, entry_hour: dataflows::model::time::Hour) -> String {
        self.objects += 1;
        file_name(kind, entry_hour, self.shard.number, &self.run, self.objects)
    }

    /// Lookup rows as an object.
    pub fn lookups(&mut self, rows: &HeldRows) -> (String, Vec<u8>, crate::checkpoint::Listed) {
        self.objects += 1;
        let name = format!("lookups-{}-{}-{:06}.json", self.shard.number, self.run, self.objects);
        let (bytes, listed) = write_rows(rows, name.clone());
        (name, bytes, listed)
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
        sort(&mut next);
        publish(&self.store, &next)?;
        let oldest = std::mem::replace(&mut self.before, std::mem::replace(&mut self.current, next));
        self.remove(&oldest)
    }

    /// Removes a manifest, and what only it needed.
    fn remove(&self, oldest: &Manifest) -> Result<(), ArchiveError> {
        let remove = |store: &Store, name: &str| store.remove(name).map_err(|source| failed(store, source));
        let kept = [&self.before, &self.current];
        let needed: HashSet<&str> = kept.iter().flat_map(|kept| kept.objects()).collect();
        remove(&self.store, &manifest::name(oldest.shard, oldest.number))?;
        for name in oldest.objects().filter(|name| !needed.contains(name)) {
            remove(&self.store, name)?;
        }
        let needed: HashSet<&str> = kept.iter().flat_map(|kept| kept.cold_objects()).collect();
        let Some(cold) = &self.cold else { return Ok(()) };
        oldest.cold_objects().filter(|name| !needed.contains(name)).try_for_each(|name| remove(cold, name))
    }

    fn remove_manifests(&self, shard: u32) -> Result<(), ArchiveError> {
        let fail = |source| failed(&self.store, source);
        let names = self.store.names().map_err(fail)?;
        let of = |name: &&String| manifest::parse(name).is_some_and(|(of, _)| of == shard);
        names.iter().filter(of).try_for_each(|name| self.store.remove(name).map_err(fail))
    }

    /// Removes what neither manifest names: what earlier runs of this shard had begun. What no
    /// archive wrote is left alone.
    fn remove_garbage(&self) -> Result<(), ArchiveError> {
        let kept = [&self.before, &self.current];
        let mut named: HashSet<String> =
            kept.iter().flat_map(|kept| kept.objects()).map(str::to_owned).collect();
        named.extend(kept.iter().map(|kept| manifest::name(kept.shard, kept.number)));
        let writer = |name: &str| match manifest::parse(name) {
            Some((shard, _)) => Some(shard),
            None => shard_of(name).or_else(|| lookups_shard(name)),
        };
        sweep(&self.store, |name| {
            !named.contains(name) && writer(name).is_some_and(|shard| self.shard.keeps(shard))
        })?;
        let Some(cold) = &self.cold else { return Ok(()) };
        let named: HashSet<&str> = kept.iter().flat_map(|kept| kept.cold_objects()).collect();
        sweep(cold, |name| {
            !named.contains(name) && shard_of(name).is_some_and(|shard| self.shard.keeps(shard))
        })
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

fn sweep(store: &Store, is_garbage: impl Fn(&str) -> bool) -> Result<(), ArchiveError> {
    let fail = |source| failed(store, source);
    let names = store.list("").map_err(fail)?.into_iter().map(|object| object.name).collect::<Vec<_>>();
    names.iter().filter(|name| is_garbage(name)).try_for_each(|name| store.remove(name).map_err(fail))
}

fn lookups_shard(name: &str) -> Option<u32> {
    name.strip_prefix("lookups-")?.strip_suffix(".json")?.split('-').next()?.parse().ok()
}

/// Writes a manifest, unless another run was faster.
fn publish(store: &Store, manifest: &Manifest) -> Result<(), ArchiveError> {
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
        Some(newest) if newest > manifest.number => Err(fenced(newest)),
        _ => Ok(()),
    }
}

//! How a run takes an archive over from the run before, whatever became of that.
//!
//! ```text
//!   process 0 of 2, after a cluster of 3:
//!
//!   shard 1   … 7 │ 8: as 7                          each number can be taken once: who still lives
//!   shard 2   … 4 │ 5: as 4                6: left   of the old run writes no manifest any more
//!   shard 0   … 9 │          10, 11: with           and only then what shard 2 has left can't change
//!                 │          what 2 left
//!   process 1:    │ finds 8 to be of its run, and goes on with 9
//! ```
//!
//! Killed in between, what shard 2 has left is named by itself, or by both; the next start begins
//! anew with either.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::error::ArchiveError;
use super::keeper::{Keeper, publish};
use super::kind::shard_of;
use super::manifest::{self, Manifest, failed};
use super::state::{Archive, Shard};
use crate::store::Store;

impl Keeper {
    /// Takes an archive over for `run`. The first process takes that of all others, too, who may claim
    /// theirs only then. The next manifest is this run's, and what no manifest names is removed, in
    /// the colder place too.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn claim(
        store: Arc<Store>,
        cold: Option<Arc<Store>>,
        archive: Archive,
        run: &str,
    ) -> Result<Self, ArchiveError> {
        let Archive { mut manifest, rows, shard, mut latest, found, .. } = archive;
        let asked = store.check_create(&format!("{run}-{}", shard.number));
        asked.map_err(|source| failed(&store, source))?;
        let cold_place = cold.as_ref().map(|cold| cold.place().to_owned());
        if let (Some(known), true) = (&manifest.cold, manifest.files.iter().any(|file| file.cold))
            && cold_place.as_ref() != Some(known)
        {
            let (place, cold) = (store.place().to_owned(), known.clone());
            return Err(ArchiveError::OtherCold { place, cold });
        }
        manifest.run = run.to_owned();
        let own = found.iter().find(|found| found.shard == shard.number);
        if shard.number == 0 {
            fence(&store, &manifest, &found, shard, &mut latest)?;
        } else if own.is_none_or(|own| own.run != run) {
            return Err(ArchiveError::NotShared { place: store.place().to_owned() });
        }
        manifest.cold = cold_place;
        manifest.number = next(&mut latest, shard.number);
        let positions = manifest.positions();
        let (run, before) = (run.to_owned(), own.cloned());
        let mut keeper = Self { store, cold, current: manifest, before, shard, run, objects: 0 };
        keeper.current.lookups = None;
        if let Some((name, bytes, listed)) = keeper.lookups(&rows, &positions) {
            keeper.write(&name, bytes)?;
            keeper.current.lookups = Some(listed);
        }
        publish(&keeper.store, &keeper.current)?;
        keeper.retire(&found, &mut latest)?;
        keeper.remove_garbage(&found, &latest)?;
        Ok(keeper)
    }

    /// Says of the shards that there are no more that this one has what they left.
    fn retire(&mut self, found: &[Manifest], latest: &mut BTreeMap<u32, u64>) -> Result<(), ArchiveError> {
        let number = self.shard.number;
        let is_gone = |shard: &u32| *shard != number && self.shard.keeps(*shard);
        let gone: Vec<u32> = found.iter().map(|found| found.shard).filter(is_gone).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // Should the last manifest be damaged, the one before it names what they left, too.
        self.commit(self.current.clone())?;
        latest.insert(number, self.current.number);
        for shard in gone {
            let mut last = Manifest::new(&self.current.job, shard, &self.run);
            (last.number, last.left) = (next(latest, shard), true);
            publish(&self.store, &last)?;
        }
        Ok(())
    }

    /// Removes what nobody names: what earlier runs of this shard, or of those that are no more, had
    /// begun. What no archive wrote is left alone.
    fn remove_garbage(&self, found: &[Manifest], latest: &BTreeMap<u32, u64>) -> Result<(), ArchiveError> {
        // What this shard wrote may be another's by now.
        let kept = || found.iter().chain(self.kept());
        let named: HashSet<&str> = kept().flat_map(Manifest::objects).collect();
        let manifests: HashSet<String> =
            self.kept().map(|kept| manifest::name(kept.shard, kept.number)).collect();
        sweep(&self.store, |name| match manifest::parse(name) {
            Some((shard, number)) => {
                let is_last = latest.get(&shard) == Some(&number);
                self.shard.keeps(shard) && !is_last && !manifests.contains(name)
            }
            None => {
                let writer = shard_of(name).or_else(|| object_shard(name));
                !named.contains(name) && writer.is_some_and(|shard| self.shard.keeps(shard))
            }
        })?;
        let Some(cold) = &self.cold else { return Ok(()) };
        let named: HashSet<&str> = kept().flat_map(Manifest::cold_objects).collect();
        sweep(cold, |name| {
            !named.contains(name) && shard_of(name).is_some_and(|shard| self.shard.keeps(shard))
        })
    }
}

/// Gives every other shard, as it was found, a manifest of the first one's run.
fn fence(
    store: &Store,
    first: &Manifest,
    found: &[Manifest],
    shard: Shard,
    latest: &mut BTreeMap<u32, u64>,
) -> Result<(), ArchiveError> {
    let known = found.iter().map(|found| found.shard);
    let others: BTreeSet<u32> = known.chain(0..shard.of).filter(|number| *number != shard.number).collect();
    for number in others {
        let found = found.iter().find(|found| found.shard == number).cloned();
        let mut manifest = found.unwrap_or_else(|| Manifest::new(&first.job, number, &first.run));
        (manifest.epoch, manifest.begins) = (first.epoch, first.begins);
        (manifest.number, manifest.run) = (next(latest, number), first.run.clone());
        publish(store, &manifest)?;
    }
    Ok(())
}

/// The number behind the greatest of a shard, which is the greatest from now on.
fn next(latest: &mut BTreeMap<u32, u64>, shard: u32) -> u64 {
    let number = latest.entry(shard).or_insert(0);
    *number += 1;
    *number
}

fn sweep(store: &Store, is_garbage: impl Fn(&str) -> bool) -> Result<(), ArchiveError> {
    let fail = |source| failed(store, source);
    let names = store.list("").map_err(fail)?.into_iter().map(|object| object.name).collect::<Vec<_>>();
    names.iter().filter(|name| is_garbage(name)).try_for_each(|name| store.remove(name).map_err(fail))
}

/// The shard that wrote an object of this name that is no file of events.
fn object_shard(name: &str) -> Option<u32> {
    let named = ["lookups-", "residues-"].iter().find_map(|what| name.strip_prefix(what))?;
    named.strip_suffix(".json")?.split('-').next()?.parse().ok()
}

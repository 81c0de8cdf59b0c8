//! Makes checkpoints of the processes' parts. There is one keeper for all processes, in the first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::model::time::Epoch;

use super::error::CheckpointError;
use super::fed::Records;
use super::manifest::{self, HeldRows, Manifest, write_rows};
use super::part::{Part, Save};
use super::records::Kind;
use super::recovery::{self, Recovery};
use super::segment::Listed;
use crate::bindings::{Positions, TopicPartition};
use crate::formats::{Batch, RowChange};
use crate::names::Names;
use crate::store::{Created, Store, StoreError};

/// Segments of one level that are merged into one of the next.
const FAN: usize = 8;

pub(super) struct Keeper {
    store: Arc<Store>,
    processes: usize,
    interval: Duration,
    segment_bytes_max: u64,
    /// As of the last checkpoint that was begun.
    positions: Positions,
    rows: HeldRows,
    rows_changed: bool,
    /// The last two manifests.
    before: Manifest,
    current: Manifest,
    /// The checkpoint whose parts are awaited.
    round: Option<Round>,
    rounds: u64,
    /// A checkpoint that could not be written yet.
    draft: Option<Draft>,
    /// Objects named by this run.
    objects: u64,
    last: Instant,
}

struct Round {
    save: Save,
    parts: BTreeMap<usize, Part>,
}

struct Draft {
    objects: Vec<(String, Vec<u8>)>,
    manifest: Manifest,
    /// Segments that it does without, among them some that no manifest ever named.
    gone: Vec<String>,
}

/// A checkpoint that is done.
#[derive(Copy, Clone, Debug)]
pub(super) struct Kept {
    /// All up to this epoch is in it.
    pub epoch: Epoch,
    /// All up to this epoch is in the last two.
    pub safe: Epoch,
}

impl Keeper {
    /// Goes on behind `recovery`: claims the store for `run`, and removes what no checkpoint needs.
    pub fn claim(
        store: Arc<Store>,
        recovery: &Recovery,
        run: &str,
        (processes, interval, segment_bytes_max): (usize, Duration, usize),
    ) -> Result<Self, CheckpointError> {
        let before = recovery.manifest.clone();
        let mut claim = before.clone();
        (claim.run, claim.number) = (run.to_owned(), recovery.latest + 1);
        publish(&store, &claim)?;
        remove_garbage(&store, &[&before, &claim])?;
        Ok(Self {
            store,
            processes,
            interval,
            segment_bytes_max: segment_bytes_max as u64,
            positions: claim.positions(),
            rows: recovery.rows.clone(),
            rows_changed: false,
            before,
            current: claim,
            round: None,
            rounds: 0,
            draft: None,
            objects: 0,
            last: Instant::now(),
        })
    }

    /// The manifest that this run has claimed the store with, or has written last.
    pub fn manifest(&self) -> &Manifest {
        &self.current
    }

    /// Begins a checkpoint of everything up to `published`, if one is due and none is in the works.
    pub fn begin(&mut self, published: Epoch, at_once: bool) -> Option<Save> {
        let due = at_once || self.last.elapsed() >= self.interval;
        if !due || self.round.is_some() || self.draft.is_some() {
            return None;
        }
        self.last = Instant::now();
        if published <= self.current.epoch {
            return None;
        }
        self.rounds += 1;
        let save = Save { round: self.rounds, epoch: published };
        self.round = Some(Round { save, parts: BTreeMap::new() });
        Some(save)
    }

    /// Takes a process's part in.
    pub fn add(&mut self, part: Part) {
        if let Some(round) = self.round.as_mut().filter(|round| round.save.round == part.round) {
            round.parts.insert(part.process, part);
        }
    }

    /// Writes the checkpoint once all parts are there. To be called again when the store failed.
    pub fn write(&mut self) -> Result<Option<Kept>, CheckpointError> {
        if let Some(round) = self.round.take_if(|round| round.parts.len() == self.processes) {
            if round.parts.values().all(Part::is_empty) {
                return Ok(Some(Kept { epoch: round.save.epoch, safe: self.before.epoch }));
            }
            self.draft = Some(self.draft(round));
        }
        let Some(draft) = &self.draft else { return Ok(None) };
        let began = Instant::now();
        for (name, bytes) in &draft.objects {
            // Only this run uses this name, so what is there is what is to be there.
            self.store.create(name, bytes.clone())?;
        }
        publish(&self.store, &draft.manifest)?;
        let Some(Draft { objects, manifest, gone }) = self.draft.take() else { return Ok(None) };
        tracing::debug!(
            number = manifest.number,
            epoch = manifest.epoch,
            segments = manifest.segments.len(),
            bytes = objects.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
            millis = began.elapsed().as_millis() as u64,
            "a checkpoint was written"
        );
        self.succeed(manifest, &gone)?;
        Ok(Some(Kept { epoch: self.current.epoch, safe: self.before.epoch }))
    }

    /// Makes a manifest, whose objects are there, the last one.
    pub fn commit(&mut self, mut next: Manifest) -> Result<(), CheckpointError> {
        next.number = self.current.number + 1;
        publish(&self.store, &next)?;
        self.succeed(next, &[])
    }

    fn succeed(&mut self, manifest: Manifest, gone: &[String]) -> Result<(), CheckpointError> {
        let oldest = std::mem::replace(&mut self.before, std::mem::replace(&mut self.current, manifest));
        self.remove(&oldest, gone)
    }

    fn draft(&mut self, round: Round) -> Draft {
        let mut draft = Draft { objects: Vec::new(), manifest: self.current.clone(), gone: Vec::new() };
        for Part { segments, positions, rows, expired, .. } in round.parts.into_values() {
            if let Some((horizon, kept)) = expired {
                // Of each process; a later horizon says anew what is kept.
                if horizon != std::mem::replace(&mut draft.manifest.horizon, horizon) {
                    draft.manifest.kept.clear();
                }
                draft.manifest.kept.extend(kept);
            }
            draft.manifest.segments.extend(segments);
            self.positions.extend(positions);
            self.rows_changed |= !rows.is_empty();
            for RowChange { topic, partition, key, row } in rows {
                let place = TopicPartition { topic, partition };
                match row {
                    Some(row) => self.rows.insert((place, key), row),
                    None => self.rows.remove(&(place, key)),
                };
            }
        }
        if std::mem::take(&mut self.rows_changed) {
            let name = self.object("lookups", "json");
            let (bytes, listed) = write_rows(&self.rows, name);
            draft.objects.push((listed.name.clone(), bytes));
            draft.manifest.lookups = Some(listed);
        }
        draft.manifest.number += 1;
        draft.manifest.epoch = round.save.epoch;
        draft.manifest.set_positions(&self.positions);
        // What can't be done now can be later.
        if let Err(error) = self.compact(&mut draft) {
            tracing::warn!("segments could not be merged: {error}");
        }
        draft
    }

    /// The next name of an object.
    pub fn object(&mut self, what: &str, kind: &str) -> String {
        self.objects += 1;
        format!("{what}-{}-{:08}.{kind}", self.current.run, self.objects)
    }

    /// Drops what has expired where that is most of a segment, and merges segments once there are
    /// many of one level, so that their number grows with the logarithm of their records, and each
    /// record is written as often.
    fn compact(&mut self, draft: &mut Draft) -> Result<(), CheckpointError> {
        let horizon = draft.manifest.horizon;
        let is_dead = |listed: &Listed| {
            // Counts of rejects may be of no time, and these don't expire.
            listed.records[Kind::Rejects as usize] == 0 && listed.expired_and_live(&horizon).1 == 0
        };
        let dead = draft.manifest.segments.extract_if(.., |listed| is_dead(listed));
        draft.gone.extend(dead.map(|listed| listed.name));

        let mostly_dead = |listed: &&Listed| {
            let (expired, live) = listed.expired_and_live(&horizon);
            expired > live
        };
        let (mut chosen, mut bytes) = (Vec::new(), 0);
        for listed in draft.manifest.segments.iter().filter(mostly_dead) {
            bytes += listed.bytes;
            if bytes > self.segment_bytes_max && !chosen.is_empty() {
                break;
            }
            chosen.push(listed.clone());
        }
        if !chosen.is_empty() {
            self.rewrite(draft, chosen, 0)?;
        }

        for level in 0..u8::MAX {
            let small =
                |listed: &&Listed| listed.level == level && listed.bytes <= self.segment_bytes_max / 2;
            let chosen: Vec<Listed> = draft.manifest.segments.iter().filter(small).cloned().collect();
            if chosen.len() < FAN {
                break;
            }
            self.rewrite(draft, chosen, level + 1)?;
        }
        Ok(())
    }

    /// Writes the records of some segments anew, but for what has expired.
    fn rewrite(&mut self, draft: &mut Draft, chosen: Vec<Listed>, level: u8) -> Result<(), CheckpointError> {
        // All is read before anything is changed: what can't be read leaves everything as it was.
        let (mut all, mut names) = (Records::default(), Names::default());
        let (mut batch, mut written) = (Batch::default(), Vec::new());
        for listed in &chosen {
            if all.bytes() as u64 + listed.bytes > self.segment_bytes_max {
                written
                    .push(std::mem::take(&mut all).segment(&self.current.job, &std::mem::take(&mut names)));
            }
            let fresh = draft.objects.iter().find(|(name, _)| *name == listed.name);
            let mut segment = match fresh {
                Some((_, bytes)) => recovery::verify(&self.store, &self.current.job, listed, bytes)?,
                None => recovery::open(&self.store, &self.current.job, listed)?,
            };
            let read = (&*self.store, listed, &draft.manifest.horizon);
            while let Some(rejects) = recovery::next(read, &mut segment, &mut batch, &names)? {
                all.add(&batch);
                rejects.into_iter().for_each(|count| all.count(count));
            }
        }
        written.push(all.segment(&self.current.job, &names));
        for segment in written.into_iter().filter(|segment| !segment.is_empty()) {
            let (bytes, listed) = segment.finish(self.object("segment", "seg"), level);
            draft.objects.push((listed.name.clone(), bytes));
            draft.manifest.segments.push(listed);
        }
        let is_rewritten = |name: &str| chosen.iter().any(|listed| listed.name == name);
        draft.manifest.segments.retain(|listed| !is_rewritten(&listed.name));
        draft.objects.retain(|(name, _)| !is_rewritten(name));
        draft.gone.extend(chosen.into_iter().map(|listed| listed.name));
        Ok(())
    }

    /// Removes a manifest, and what only it needed or no manifest ever named.
    fn remove(&self, oldest: &Manifest, gone: &[String]) -> Result<(), CheckpointError> {
        let needed = |name: &&str| {
            [&self.before, &self.current].iter().any(|kept| kept.objects().any(|kept| kept == *name))
        };
        self.store.remove(&manifest::name(oldest.number))?;
        let gone = gone.iter().map(|name| &**name);
        oldest
            .objects()
            .chain(gone)
            .filter(|name| !needed(name))
            .try_for_each(|name| self.store.remove(name))?;
        Ok(())
    }
}

/// Writes a manifest, unless another run was faster.
fn publish(store: &Store, manifest: &Manifest) -> Result<(), CheckpointError> {
    let name = manifest::name(manifest.number);
    let mut gone = None;
    if store.create(&name, manifest.bytes())? == Created::Taken {
        match store.read(&name) {
            // A request that seemed to fail may have been carried out.
            Ok(found) if found == manifest.bytes() => {}
            Ok(_) => return Err(fenced(store, manifest.number)),
            Err(error @ StoreError::Missing { .. }) => gone = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    // Who took this number may have removed it since, but then has written greater ones.
    let newest = manifest::numbers(store)?.last().copied().unwrap_or(0);
    if newest > manifest.number {
        Err(fenced(store, newest))
    } else {
        gone.map_or(Ok(()), |error| Err(error.into()))
    }
}

pub(super) fn fenced(store: &Store, number: u64) -> CheckpointError {
    CheckpointError::Fenced { place: store.place().to_owned(), number }
}

/// Removes what none of these manifests needs: what earlier runs had begun.
fn remove_garbage(store: &Store, kept: &[&Manifest]) -> Result<(), CheckpointError> {
    let is_kept = |name: &str| {
        let listed = kept.iter().flat_map(|manifest| manifest.objects()).any(|kept| kept == name);
        listed || kept.iter().any(|kept| manifest::name(kept.number) == name)
    };
    store.names()?.iter().filter(|name| !is_kept(name)).try_for_each(|name| store.remove(name))?;
    Ok(())
}

//! One process's part of a checkpoint: what its workers read, and what it is saved as.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::model::horizon::Horizon;
use dataflows::model::time::Epoch;
use serde::{Deserialize, Serialize};

use super::error::CheckpointError;
use super::fed::{Fed, Records};
use super::segment::{Listed, SegmentWriter};
use crate::bindings::TopicPartition;
use crate::formats::RowChange;
use crate::names::SharedNames;
use crate::store::Store;

/// What the writers of the processes tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Errand {
    /// To all other processes: save all that was read up to this epoch, which is published.
    Save(Save),
    /// To the first process: it is saved.
    Saved(Part),
    /// To the first process: as much waits here as a segment holds, so a checkpoint is due.
    Full,
}

/// What is to be saved.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Save {
    /// Which checkpoint of this run it is for.
    pub round: u64,
    /// The last epoch of it.
    pub epoch: Epoch,
}

/// What a process has saved.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Part {
    /// The round it was asked for in.
    pub round: u64,
    /// The process.
    pub process: usize,
    /// Where its records are, which lie in the store already.
    pub segments: Vec<Listed>,
    /// Where reading goes on.
    pub positions: Vec<(TopicPartition, i64)>,
    /// What changed in lookup topics, in order.
    pub rows: Vec<RowChange>,
    /// The last horizon that took effect, and where the records are that are kept beyond their time.
    pub expired: Option<(Horizon, Vec<Listed>)>,
}

impl Part {
    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.segments.is_empty() && self.expired.is_none()
    }
}

/// What one process has read and not saved yet.
pub(super) struct Pending {
    pub store: Arc<Store>,
    pub names: SharedNames,
    pub job: String,
    /// Tells this process's objects from all others'.
    pub run: String,
    pub process: usize,
    fed: BTreeMap<Epoch, Vec<Fed>>,
    /// A part that could not be written yet.
    draft: Option<Draft>,
    objects: u64,
}

struct Draft {
    part: Part,
    objects: Vec<(String, Vec<u8>)>,
    /// How much waits less once it is written.
    bytes: usize,
}

impl Pending {
    pub fn new(store: Arc<Store>, names: SharedNames, job: &str, run: &str, process: usize) -> Self {
        let (job, run) = (job.to_owned(), format!("{run}-{process}"));
        Self { store, names, job, run, process, fed: BTreeMap::new(), draft: None, objects: 0 }
    }

    pub fn add(&mut self, fed: Fed) {
        self.fed.entry(fed.epoch).or_default().push(fed);
    }

    /// Saves what is asked for. Returns it, and how much memory waits less. To be asked again for the
    /// same when the store failed.
    pub fn save(&mut self, save: Save) -> Result<(Part, usize), CheckpointError> {
        let draft = match self.draft.take() {
            Some(draft) if draft.part.round == save.round => draft,
            _ => self.draft(save),
        };
        let draft = self.draft.insert(draft);
        for (name, bytes) in &draft.objects {
            // Only this process uses this name, so what is there is what is to be there.
            self.store.create(name, bytes.clone())?;
        }
        let (part, bytes) = (std::mem::take(&mut draft.part), draft.bytes);
        self.draft = None;
        if let Some((horizon, _)) = &part.expired {
            // It is published that these went: nothing of their time changes any more. What is kept
            // all the same holds its texts for longer.
            self.names.forget_before(horizon.ids());
        }
        Ok((part, bytes))
    }

    fn draft(&mut self, Save { round, epoch }: Save) -> Draft {
        let rest = self.fed.split_off(&(epoch + 1));
        let fed = std::mem::replace(&mut self.fed, rest);
        let part = Part { round, process: self.process, ..Part::default() };
        let mut draft = Draft { part, objects: Vec::new(), bytes: 0 };
        if fed.is_empty() {
            return draft;
        }
        let (mut records, mut positions) = (Records::default(), BTreeMap::new());
        let mut kept: Option<(Horizon, Records)> = None;
        for Fed { ranges, records: read, rows, expired, .. } in fed.into_values().flatten() {
            match (expired, &mut kept) {
                // Another worker of the same.
                (Some((horizon, records)), Some((last, all))) if horizon == *last => all.append(records),
                (Some(later), _) => kept = Some(later),
                (None, _) => {}
            }
            draft.bytes += read.bytes();
            records.append(read);
            positions.extend(ranges.into_iter().map(|range| (range.place, range.to)));
            draft.part.rows.extend(rows);
        }
        draft.part.positions = positions.into_iter().collect();
        let segment = records.segment(&self.job, &self.names);
        draft.part.segments = self.add_segment(&mut draft.objects, segment, "segment");
        draft.part.expired = kept.map(|(horizon, records)| {
            let segment = records.segment(&self.job, &self.names);
            (horizon, self.add_segment(&mut draft.objects, segment, "kept"))
        });
        draft
    }

    fn add_segment(
        &mut self,
        objects: &mut Vec<(String, Vec<u8>)>,
        segment: SegmentWriter,
        what: &str,
    ) -> Vec<Listed> {
        if segment.is_empty() {
            return Vec::new();
        }
        self.objects += 1;
        let (bytes, listed) = segment.finish(format!("{what}-{}-{:08}.seg", self.run, self.objects), 0);
        objects.push((listed.name.clone(), bytes));
        vec![listed]
    }
}

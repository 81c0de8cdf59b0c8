//! A worker's side of the archive: what of all that it reads is to be archived.
//!
//! ```text
//!   archived up to      x          │ both are offsets of one partition
//!   in the checkpoint         c    │
//!   start A:  ──────────x═════c────▶   x..c is read for the archive alone
//!   start B:  ──────────c─────x════▶   c..x is read again for the job alone
//! ```

use std::collections::BTreeSet;

use dataflows::model::time::Epoch;

use crate::archive::{Archiver, Fed, Rows};
use crate::bindings::{Positions, Range, TopicPartition};
use crate::checkpoint::HeldRows;
use crate::formats::{Batch, RowChange};

/// What one worker hands to the archive. Does nothing when there is none.
pub(super) struct Archiving<'a> {
    archiver: Option<&'a Archiver>,
    rows: Rows,
    changes: Vec<RowChange>,
    /// What is read now is archived already.
    archived: bool,
}

impl<'a> Archiving<'a> {
    /// Sees to it that the texts of what is decoded into `batch` are kept.
    pub(super) fn new(archiver: Option<&'a Archiver>, batch: &mut Batch) -> Self {
        if archiver.is_some() {
            batch.kept.start();
        }
        Self { archiver, rows: Rows::default(), changes: Vec::new(), archived: false }
    }

    /// What the checkpoint holds and the archive doesn't.
    pub(super) fn missed(&self, checkpoint: &Positions) -> Vec<Range> {
        let Some(archiver) = self.archiver else { return Vec::new() };
        let range = |(place, &from)| {
            let to = *checkpoint.get(place)?;
            (from < to).then(|| Range { place: place.clone(), from, to })
        };
        archiver.positions().iter().filter_map(range).collect()
    }

    /// Cuts ranges into what is archived already, and the rest.
    pub(super) fn cut(&self, ranges: Vec<Range>) -> [Vec<Range>; 2] {
        let Some(archiver) = self.archiver else { return [Vec::new(), ranges] };
        let end = |range: &Range| archiver.positions().get(&range.place).copied().unwrap_or(range.from);
        let part = |range: &Range, from: i64, to: i64| Range { place: range.place.clone(), from, to };
        let before = ranges.iter().map(|range| part(range, range.from, range.to.min(end(range))));
        let behind = ranges.iter().map(|range| part(range, range.from.max(end(range)), range.to));
        let before = before.filter(|range| range.from < range.to).collect();
        [before, behind.filter(|range| range.from < range.to).collect()]
    }

    /// Says whether what is read from now on is archived already.
    pub(super) fn set_archived(&mut self, archived: bool) {
        self.archived = archived;
    }

    /// Takes what was read.
    pub(super) fn add(&mut self, batch: &Batch) {
        if self.archiver.is_some() && !self.archived {
            self.rows.add(batch);
            self.changes.extend_from_slice(&batch.rows);
        }
    }

    /// Takes the rows of lookup topics over from the checkpoint, of what was read for the archive
    /// alone: to the job, which has the checkpoint's rows already, their messages were no change.
    pub(super) fn catch_up(&mut self, missed: &[Range], checkpoint: &HeldRows) {
        if let Some(archiver) = self.archiver {
            self.changes = between(archiver.rows(), checkpoint, missed);
        }
    }

    /// Hands over what was read into an epoch, from these ranges.
    pub(super) fn hand_on(&mut self, epoch: Epoch, ranges: &[Range]) {
        let Some(archiver) = self.archiver else { return };
        let fresh = |range: &&Range| archiver.positions().get(&range.place).is_none_or(|end| range.to > *end);
        let ranges: Vec<_> = ranges.iter().filter(fresh).cloned().collect();
        let (rows, changes) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.changes));
        if !ranges.is_empty() {
            archiver.feed(Fed { epoch, ranges, rows, changes });
        }
    }

    /// All that was read before this start is handed over.
    pub(super) fn ready(&self) {
        if let Some(archiver) = self.archiver {
            archiver.ready();
        }
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.archiver.is_none_or(Archiver::has_room)
    }
}

/// What makes the rows held later of those held earlier, in the partitions of `ranges`.
fn between(earlier: &HeldRows, later: &HeldRows, ranges: &[Range]) -> Vec<RowChange> {
    let is_among = |place: &TopicPartition| ranges.iter().any(|range| range.place == *place);
    let keys: BTreeSet<_> = earlier.keys().chain(later.keys()).filter(|(place, _)| is_among(place)).collect();
    let changed = keys.into_iter().filter(|key| earlier.get(*key) != later.get(*key));
    let change = |at: &(TopicPartition, Box<[u8]>)| {
        let (TopicPartition { topic, partition }, key) = at.clone();
        RowChange { topic, partition, key, row: later.get(at).cloned() }
    };
    changed.map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::lookup::Entry;
    use dataflows::model::ids::Name;
    use dataflows::model::lookups::LookupRow;

    fn held(rows: &[(i32, &str, &str)]) -> HeldRows {
        let row = |&(partition, key, site): &(i32, &str, &str)| {
            let rule = Some(LookupRow::ListedSite(Name::new(site)));
            let at = (TopicPartition { topic: "traffic".into(), partition }, key.as_bytes().into());
            (at, Entry { rule, dimension: None, text: None })
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn what_was_added_changed_and_withdrawn_is_told_of_the_partitions_that_were_missed() {
        let earlier = held(&[(0, "same", "a"), (0, "changed", "b"), (0, "gone", "c"), (1, "other", "d")]);
        let later = held(&[(0, "same", "a"), (0, "changed", "e"), (0, "new", "f")]);
        let range = |partition| Range {
            place: TopicPartition { topic: "traffic".into(), partition },
            from: 0,
            to: 1,
        };
        let told = between(&earlier, &later, &[range(0)]);
        let told: Vec<_> = told.iter().map(|change| (&*change.key, change.row.is_some())).collect();
        assert_eq!(told, [(&b"changed"[..], true), (b"gone", false), (b"new", true)]);
        assert_eq!(between(&earlier, &later, &[range(1)]).len(), 1);
    }
}

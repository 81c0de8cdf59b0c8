//! One feed of a replay, read in order and only so far.

use std::collections::VecDeque;
use std::sync::Arc;

use dataflows::model::horizon::Gate;
use dataflows::model::time::EventTime;

use crate::config::SourcesConfig;
use crate::formats::{Batch, Mark};
use crate::names::SharedNames;
use crate::runtime::replay::ReplayError;
use crate::sources::files::{Contents, Split, SplitReader};

/// Events decoded at a time: a lane ends a round so many behind its end at most, but for Parquet, of
/// which a page or so is read at a time. Sparse feeds would be days ahead of others with more.
const BATCH_EVENTS: usize = 64;

/// What a lane reads with.
#[derive(Clone, Debug)]
pub struct Desk {
    /// How files are read.
    pub sources: SourcesConfig,
    /// Whom texts are told.
    pub names: SharedNames,
}

/// A piece of a file.
#[derive(Debug)]
pub struct Dated {
    /// When the hour begins that the file is of, if an archive tells.
    pub hour: Option<EventTime>,
    /// The piece.
    pub split: Split,
}

/// The files of one kind, one after another.
#[derive(Debug)]
pub struct Lane {
    kind: Contents,
    /// What is still to be read.
    rest: VecDeque<Dated>,
    /// What is being read, if anything is left.
    reader: Option<SplitReader>,
    hour: Option<EventTime>,
    file: Arc<str>,
    /// How many files have been begun.
    files: usize,
    /// How far the present file has come.
    seen: Option<EventTime>,
    batch: Batch,
}

impl Lane {
    /// Deals splits out to lanes, in the order of their hours and names.
    pub fn all(mut splits: Vec<Dated>, desk: &Desk) -> Vec<Self> {
        splits.sort_by(|a, b| (a.hour, &a.split.file.name).cmp(&(b.hour, &b.split.file.name)));
        let mut lanes: Vec<Lane> = Vec::new();
        for dated in splits {
            let kind = dated.split.file.contents;
            match lanes.iter_mut().find(|lane| lane.kind == kind) {
                Some(lane) => lane.rest.push_back(dated),
                None => lanes.push(Self::new(kind, dated)),
            }
        }
        lanes.iter_mut().for_each(|lane| lane.turn(desk));
        lanes
    }

    fn new(kind: Contents, first: Dated) -> Self {
        Self {
            kind,
            rest: VecDeque::from([first]),
            reader: None,
            hour: None,
            file: Arc::from(""),
            files: 0,
            seen: None,
            batch: Batch::default(),
        }
    }

    /// Whether all of it has been read.
    pub fn is_over(&self) -> bool {
        self.reader.is_none()
    }

    /// How many files have been begun; each is a partition of its own.
    pub fn files(&self) -> usize {
        self.files
    }

    /// How far the present file has come: an archive's to the beginning of its hour, of which
    /// other files may hold more; another's to its latest event.
    pub fn seen(&self) -> Option<EventTime> {
        self.seen
    }

    /// Reads on until the present file has come to `until`, or nothing is left.
    pub fn read(
        &mut self,
        until: EventTime,
        gate: Gate,
        desk: &Desk,
        mut each: impl FnMut(&mut Batch) -> Result<bool, ReplayError>,
    ) -> Result<(), ReplayError> {
        while self.seen.is_none_or(|seen| seen < until)
            && let Some(reader) = &mut self.reader
        {
            self.batch.clear();
            self.batch.gate = gate;
            let more = reader.read(&mut self.batch, BATCH_EVENTS)?;
            let goes_on = each(&mut self.batch)?;
            if self.hour.is_none() {
                self.seen = self.seen.max(self.batch.times_since(Mark::default()).max());
            }
            if !more {
                self.turn(desk);
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Turns to the next split.
    fn turn(&mut self, desk: &Desk) {
        let Some(Dated { hour, split }) = self.rest.pop_front() else {
            self.reader = None;
            return;
        };
        if split.file.name != self.file {
            (self.file, self.seen) = (Arc::clone(&split.file.name), None);
            self.files += 1;
        }
        (self.hour, self.seen) = (hour, hour.or(self.seen));
        self.reader = Some(SplitReader::open(split, &desk.sources, Arc::clone(&desk.names)));
    }
}

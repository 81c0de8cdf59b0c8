//! Reading bound ranges again, after a restart.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::error::KafkaSourceError;
use super::open::REQUEST;
use super::partition::{Pause, Quota};
use super::source::{Budget, KafkaSource};
use crate::bindings::{Range, TopicPartition};
use crate::formats::Batch;

/// How long the end of a partition may lie before what was read once: after a change of leaders it
/// does, for a moment.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// The ranges of one epoch, read piece by piece.
#[derive(Debug)]
pub struct RangesLeft(Vec<Left>);

#[derive(Debug)]
struct Left {
    range: Range,
    /// The end of the partition was met when it was known to hold all of the range.
    confirmed: bool,
    /// When the partition first ended before the range.
    short_since: Option<Instant>,
}

impl RangesLeft {
    /// All of these ranges.
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Self {
        let left = |range| Left { range, confirmed: false, short_since: None };
        Self(ranges.into_iter().map(left).collect())
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl KafkaSource {
    /// Reads a part of what is left of the ranges, up to the budget, and returns whether all is
    /// read. Exactly the messages of the ranges go to the batch, however often it is called; those
    /// behind stay for later. The ranges of consecutive epochs continue each other, so nothing is
    /// fetched twice.
    ///
    /// # Errors
    /// As [`KafkaSource::poll`]; and when a range is not of this source, or its end is no longer
    /// there.
    pub fn read_ranges(
        &mut self,
        left: &mut RangesLeft,
        budget: Budget,
        batch: &mut Batch,
    ) -> Result<bool, KafkaSourceError> {
        self.serve()?;
        let places = self.stand_at(left)?;
        self.assign()?;
        let deadline = Instant::now() + budget.wait;
        let (mut messages, mut any) = (budget.messages, false);
        loop {
            for (left, &at) in left.0.iter_mut().zip(&places) {
                let quota = Quota { messages, bytes: budget.bytes, to: left.range.to };
                let (taken, pause) = self.take_from(at, quota, batch)?;
                (messages, any) = (messages - taken, any || taken > 0);
                left.range.from = self.partitions[at].next;
                match pause {
                    Pause::AtEnd => self.ended_before(left, at)?,
                    Pause::Failed(code) => self.examine(at, code)?,
                    Pause::Reached => left.range.from = left.range.to,
                    Pause::Full | Pause::Empty => {}
                }
                self.partitions[at].next = left.range.from;
            }
            let over = left.0.iter().all(|left| left.range.from >= left.range.to);
            if over || any || Instant::now() >= deadline {
                break;
            }
            self.wait(deadline);
            self.serve()?;
        }
        left.0.retain(|left| left.range.from < left.range.to);
        Ok(left.is_empty())
    }

    /// Finds the partitions of the ranges, and makes each stand where its range goes on.
    fn stand_at(&mut self, left: &RangesLeft) -> Result<Vec<usize>, KafkaSourceError> {
        let mut places = Vec::new();
        for Left { range, .. } in &left.0 {
            let found = self.partitions.iter().position(|partition| partition.place == range.place);
            let Some(at) = found else {
                let TopicPartition { topic, partition } = range.place.clone();
                return Err(KafkaSourceError::NotOwned { topic, partition });
            };
            let partition = &mut self.partitions[at];
            partition.announced = true;
            if partition.next != range.from {
                match partition.assigned {
                    true => self.fetch_anew(at, range.from)?,
                    false => partition.next = range.from,
                }
            }
            places.push(at);
        }
        Ok(places)
    }

    /// The partition has no more messages, and the range is not over. Either its last offsets hold
    /// none (compaction, transactions), or they are lost.
    fn ended_before(&mut self, left: &mut Left, at: usize) -> Result<(), KafkaSourceError> {
        if left.confirmed {
            left.range.from = left.range.to;
            return Ok(());
        }
        let TopicPartition { topic, partition } = left.range.place.clone();
        // No answer means nothing; the next end will ask again.
        let latest = self.client.fetch_watermarks(&topic, partition, REQUEST).map_or(-1, |(_, high)| high);
        left.confirmed = latest >= left.range.to;
        let since = *left.short_since.get_or_insert_with(Instant::now);
        if latest >= 0 && !left.confirmed && since.elapsed() > PATIENCE {
            let wanted = left.range.to;
            return Err(KafkaSourceError::Lost { topic, partition, wanted, latest });
        }
        // What came between that end and this answer is still to be read: up to the next end.
        self.fetch_anew(at, left.range.from)
    }
}

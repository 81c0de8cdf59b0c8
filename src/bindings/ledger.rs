//! What the log says so far, and what may come next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dataflows::model::horizon::Horizon;
use dataflows::model::time::Epoch;

use super::error::Invalid;
use super::{Binding, Positions, Range, TopicPartition};

/// The state of a log after its last record.
#[derive(Debug, Default)]
pub struct Ledger {
    /// A topic's place in this list stands for it in the records.
    topics: Vec<Arc<str>>,
    ends: BTreeMap<TopicPartition, i64>,
    last: Option<Epoch>,
    horizon: Horizon,
}

impl Ledger {
    /// Whether `binding` continues the log.
    pub fn check(&self, binding: &Binding) -> Result<(), Invalid> {
        if let Some(last) = self.last.filter(|&last| binding.epoch <= last) {
            return Err(Invalid::Epoch { epoch: binding.epoch, last });
        }
        if binding.horizon.is_behind(&self.horizon) {
            return Err(Invalid::Horizon { epoch: binding.epoch });
        }
        let mut seen = BTreeSet::new();
        for range in &binding.ranges {
            self.check_range(range)?;
            if !seen.insert(&range.place) {
                let TopicPartition { topic, partition } = range.place.clone();
                return Err(Invalid::Twice { topic, partition });
            }
        }
        Ok(())
    }

    fn check_range(&self, range: &Range) -> Result<(), Invalid> {
        let &Range { ref place, from, to } = range;
        let TopicPartition { topic, partition } = place.clone();
        let expected = self.ends.get(place).copied();
        if let Some(expected) = expected.filter(|&expected| expected != from) {
            return Err(Invalid::Gap { topic, partition, from, expected });
        }
        let sound = from < to || (from == to && expected.is_none());
        if partition < 0 || from < 0 || !sound {
            return Err(Invalid::Range { topic, partition, from, to });
        }
        Ok(())
    }

    /// Takes a checked binding in.
    pub fn apply(&mut self, binding: &Binding) {
        self.last = Some(binding.epoch);
        self.horizon = binding.horizon;
        for range in &binding.ranges {
            self.ends.insert(range.place.clone(), range.to);
        }
    }

    /// The number of a topic.
    pub fn topic_number(&self, topic: &str) -> Option<usize> {
        self.topics.iter().position(|known| **known == *topic)
    }

    /// The topic of a number.
    pub fn topic(&self, number: usize) -> Option<Arc<str>> {
        self.topics.get(number).cloned()
    }

    /// How many topics are known.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Gives the next number to a topic.
    pub fn add_topic(&mut self, topic: Arc<str>) {
        self.topics.push(topic);
    }

    /// The offset each partition was read up to.
    pub fn positions(&self) -> Positions {
        self.ends.clone()
    }

    /// What was frozen in the last epoch bound.
    pub fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// The last epoch bound.
    pub fn last_epoch(&self) -> Option<Epoch> {
        self.last
    }
}

//! Which partitions the client fetches, and from where; and what it means when it can't.

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::error::KafkaSourceError;
use super::open::REQUEST;
use super::partition::Partition;
use super::source::KafkaSource;
use crate::bindings::TopicPartition;

impl KafkaSource {
    /// Makes the client fetch the partitions that it does not fetch yet.
    pub(super) fn assign(&mut self) -> Result<(), KafkaSourceError> {
        let fail = |error: KafkaError| KafkaSourceError::Fatal(error.to_string());
        let mut list = TopicPartitionList::new();
        for Partition { place, next, .. } in self.partitions.iter().filter(|partition| !partition.assigned) {
            list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*next)).map_err(fail)?;
        }
        if list.count() > 0 {
            self.client.incremental_assign(&list).map_err(fail)?;
            self.partitions.iter_mut().for_each(|partition| partition.assigned = true);
        }
        Ok(())
    }

    /// Makes the client fetch a partition from `next` on, whatever it did before.
    pub(super) fn fetch_anew(&mut self, at: usize, next: i64) -> Result<(), KafkaSourceError> {
        let fail = |error: KafkaError| KafkaSourceError::Fatal(error.to_string());
        let partition = &mut self.partitions[at];
        if partition.assigned {
            let mut list = TopicPartitionList::new();
            list.add_partition(&partition.place.topic, partition.place.partition);
            self.client.incremental_unassign(&list).map_err(fail)?;
        }
        (partition.next, partition.assigned, partition.held, partition.waits) = (next, false, None, false);
        self.assign()
    }

    /// Finds out what an error of a partition means: an end of the run, or trouble that passes.
    pub(super) fn examine(&mut self, at: usize, code: RDKafkaErrorCode) -> Result<(), KafkaSourceError> {
        let (TopicPartition { topic, partition }, wanted) =
            (self.partitions[at].place.clone(), self.partitions[at].next);
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {}
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                return Err(KafkaSourceError::Denied { topic, what: code.to_string() });
            }
            _ => {
                self.status.trouble(format!("{topic}/{partition}: {code}"));
                return Ok(());
            }
        }
        match self.client.fetch_watermarks(&topic, partition, REQUEST) {
            Ok((earliest, _)) if wanted < earliest => {
                Err(KafkaSourceError::Gone { topic, partition, wanted, earliest })
            }
            Ok((_, latest)) if wanted > latest => {
                Err(KafkaSourceError::Lost { topic, partition, wanted, latest })
            }
            // A new leader that did not know yet how far it may read out, or no answer: try again.
            _ => self.fetch_anew(at, wanted),
        }
    }
}

//! What happens to a stage's topics in the course of time: they grow, and they forget.

use rdkafka::admin::NewPartitions;
use rdkafka::{Offset, TopicPartitionList};

use super::{Stage, TOPICS};

impl Stage {
    /// Gives a topic more partitions.
    pub fn add_partitions(&self, topic: &str, count: usize) {
        let topic = self.topic(topic);
        self.administer(async |admin, options| {
            let more = [NewPartitions::new(&topic, count)];
            let made = admin.create_partitions(&more, options).await.expect("an answer");
            made.into_iter().for_each(|topic| _ = topic.expect("partitions"));
        });
    }

    /// Deletes what a partition holds before an offset, as retention does.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        self.delete(topic, partition, Offset::Offset(offset));
    }

    fn delete(&self, topic: &str, partition: i32, before: Offset) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic(topic), partition, before).expect("an offset");
        self.administer(async |admin, options| {
            admin.delete_records(&list, options).await.expect("an answer");
        });
    }

    /// Deletes all that is in the topics, as retention does in the end.
    pub fn delete_everything(&self) {
        let topics =
            TOPICS.iter().flat_map(|(topic, partitions)| (0..*partitions).map(move |at| (*topic, at)));
        for (topic, partition) in topics {
            self.delete(topic, partition, Offset::End);
        }
    }
}

//! One partition: its queue, and how far it was read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::model::time::EventTime;
use rdkafka::Message;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;

use super::client::{Client, Reporter, Signal};
use super::decode::{MessageDecoder, Outcome};
use super::error::KafkaSourceError;
use crate::bindings::TopicPartition;
use crate::formats::Batch;

/// One partition that this worker owns.
pub struct Partition {
    /// Which one.
    pub place: TopicPartition,
    /// The place of its topic's decoder in the source.
    pub decoder: usize,
    /// The offset of the next message to read.
    pub next: i64,
    /// Whether the client fetches it.
    pub assigned: bool,
    /// Whether a range was given out, and with it where reading started.
    pub announced: bool,
    /// A message that was taken from the queue too early: it lies behind the range that is read, or
    /// waits for its schema. It comes before all that is still in the queue.
    pub held: Option<OwnedMessage>,
    /// Whether `held` waits for its schema.
    pub waits: bool,
    /// The greatest time of an event that was taken.
    pub greatest: Option<EventTime>,
    /// Since when it has had no more messages.
    pub at_end: Option<Instant>,
    queue: PartitionQueue<Reporter>,
}

/// Why reading a partition paused.
#[derive(Debug, PartialEq)]
pub enum Pause {
    /// As many messages as were wanted.
    Full,
    /// Nothing is buffered, or the next message waits for its schema.
    Empty,
    /// All before the wanted end was read.
    Reached,
    /// The partition has no more messages, for now.
    AtEnd,
    /// The client can't read on.
    Failed(RDKafkaErrorCode),
}

/// How much is taken from one partition before the next has its turn.
#[derive(Copy, Clone, Debug)]
pub struct Quota {
    /// Messages.
    pub messages: usize,
    /// Bytes of the batch, altogether.
    pub bytes: u64,
    /// The first offset that may not be taken.
    pub to: i64,
}

impl Partition {
    /// Takes a partition's queue out of the client's common one. Must come before the partition is
    /// assigned, so that no message can go the other way.
    pub fn new(
        client: &Arc<Client>,
        place: TopicPartition,
        decoder: usize,
        next: i64,
        signal: &Arc<Signal>,
    ) -> Result<Self, KafkaSourceError> {
        let queue = client.split_partition_queue(&place.topic, place.partition);
        let mut queue = queue.ok_or_else(|| KafkaSourceError::Client(format!("no queue for {place:?}")))?;
        let signal = Arc::clone(signal);
        queue.set_nonempty_callback(move || signal.ring());
        let (assigned, announced, held, waits) = (false, false, None, false);
        let (greatest, at_end) = (None, None);
        Ok(Self { place, decoder, next, assigned, announced, held, waits, greatest, at_end, queue })
    }

    /// Takes messages, and notes how far the partition is.
    pub fn take(
        &mut self,
        decoder: &mut MessageDecoder,
        quota: Quota,
        batch: &mut Batch,
    ) -> Result<(usize, Pause), KafkaSourceError> {
        let mark = batch.mark();
        let (taken, pause) = self.take_messages(decoder, quota, batch)?;
        self.greatest = self.greatest.max(batch.times_since(mark).max());
        if taken > 0 {
            self.at_end = None;
        }
        if pause == Pause::AtEnd {
            self.at_end.get_or_insert_with(Instant::now);
        }
        Ok((taken, pause))
    }

    /// Decodes buffered messages until the quota is met; returns how many, and why no more.
    fn take_messages(
        &mut self,
        decoder: &mut MessageDecoder,
        quota: Quota,
        batch: &mut Batch,
    ) -> Result<(usize, Pause), KafkaSourceError> {
        let mut taken = 0;
        loop {
            if self.next >= quota.to {
                return Ok((taken, Pause::Reached));
            }
            if taken >= quota.messages || batch.bytes >= quota.bytes {
                return Ok((taken, Pause::Full));
            }
            if let Some(held) = self.held.take() {
                let offset = held.offset();
                let waits = offset < quota.to && decoder.message(&held, batch)? == Outcome::Waits;
                self.waits = waits;
                if waits || offset >= quota.to {
                    self.held = Some(held);
                    // Between here and the held message there is nothing.
                    self.next = self.next.max(offset.min(quota.to));
                    return Ok((taken, if waits { Pause::Empty } else { Pause::Reached }));
                }
                (self.next, taken) = (offset + 1, taken + 1);
                continue;
            }
            match self.queue.poll(Duration::ZERO) {
                None => return Ok((taken, Pause::Empty)),
                // Fetched before a seek.
                Some(Ok(message)) if message.offset() < self.next => {}
                Some(Ok(message)) if message.offset() >= quota.to => self.held = Some(message.detach()),
                Some(Ok(message)) => match decoder.message(&message, batch)? {
                    Outcome::Waits => self.held = Some(message.detach()),
                    Outcome::Decoded => (self.next, taken) = (message.offset() + 1, taken + 1),
                },
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok((taken, Pause::AtEnd)),
                Some(Err(KafkaError::MessageConsumption(code))) => return Ok((taken, Pause::Failed(code))),
                Some(Err(error)) => return Err(KafkaSourceError::Fatal(error.to_string())),
            }
        }
    }
}

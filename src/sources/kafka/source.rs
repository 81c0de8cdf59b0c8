//! The source of one worker.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use dataflows::rules::horizon::Seen;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{Client, Signal, start};
use super::decode::MessageDecoder;
use super::discover::{Discovery, KnownTopic};
use super::error::KafkaSourceError;
use super::open::{Share, partition_count, starts};
use super::partition::{Partition, Pause, Quota};
use super::registry::Registry;
use super::status::{SourceState, Status};
use crate::bindings::{Positions, Range, TopicPartition};
use crate::config::KafkaConfig;
use crate::formats::Batch;
use crate::formats::lookup::Entry;
use crate::names::SharedNames;

/// How many messages of one partition are taken before another has its turn.
const TURN: usize = 256;

/// A source that was not polled for so long knows nothing of who is idle.
const STALL: Duration = Duration::from_secs(1);

/// How often a message that waits for its schema is offered again.
const SCHEMA_POLL: Duration = Duration::from_millis(20);

/// How long a source that is closed waits for brokers that are away.
const CLOSE: Duration = Duration::from_secs(3);

/// How much one call may take.
#[derive(Copy, Clone, Debug)]
pub struct Budget {
    /// At most this many messages.
    pub messages: usize,
    /// No further message once the batch stands for this many bytes.
    pub bytes: u64,
    /// How long to wait for the first message when none is buffered.
    pub wait: Duration,
}

/// The source of one worker: its partitions of every topic.
///
/// The caller makes the ranges that [`KafkaSource::poll`] returns durable with the epoch it puts
/// the batch in, before any output of that epoch leaves. After a restart it opens the source at the
/// bound positions and reads the bound ranges again, epoch by epoch, with
/// [`KafkaSource::read_ranges`]. Only what is polled is fetched on: a caller that stops polling
/// holds up the brokers' sending once the buffers are full.
pub struct KafkaSource {
    // Dropped before the client they belong to.
    pub(super) partitions: Vec<Partition>,
    pub(super) client: Arc<Client>,
    pub(super) decoders: Vec<MessageDecoder>,
    discovery: Discovery,
    registry: Option<Arc<Registry>>,
    pub(super) status: Arc<Status>,
    pub(super) signal: Arc<Signal>,
    /// Which partition has the next turn.
    turn: usize,
    /// When it was polled last, and since when it has been without a longer pause.
    polled: Instant,
    awake: Instant,
}

impl KafkaSource {
    /// Opens this worker's share of every configured topic. `positions` say where reading goes on;
    /// of a partition they don't name, see `kafka.start`. The registry is shared by the workers of
    /// a process, and must be there when a feed needs one. Blocks until brokers have answered, at
    /// most half a minute.
    ///
    /// # Errors
    /// When a topic is missing or denied, no broker answers, or the client refuses its settings.
    pub fn open(
        config: &KafkaConfig,
        share: Share,
        positions: &Positions,
        names: &SharedNames,
        registry: Option<&Arc<Registry>>,
    ) -> Result<Self, KafkaSourceError> {
        let decoders = decoders(config, names, registry)?;
        let servers = &config.bootstrap_servers;
        // The buffers of the client that reads depend on the number of its partitions.
        let (places, topics, starts) = {
            let client = start(config, 1, Arc::default())?;
            let (mut places, mut topics) = (Vec::new(), Vec::new());
            for decoder in &decoders {
                let topic = decoder.topic();
                let partitions = partition_count(&client, topic, servers)?;
                let ours = (0..partitions).filter(|&partition| share.owns(partition));
                places.extend(ours.map(|partition| {
                    (TopicPartition { topic: Arc::clone(topic), partition }, decoder.is_lookup())
                }));
                let beyond = |place: &&TopicPartition| place.topic == *topic && place.partition >= partitions;
                if let Some(place) = positions.keys().find(beyond) {
                    let TopicPartition { topic, partition } = place.clone();
                    return Err(KafkaSourceError::NoPartition { topic, partition });
                }
                topics.push(KnownTopic { topic: Arc::clone(topic), partitions });
            }
            let starts = starts(&client, &places, positions, config.start, servers)?;
            (places, topics, starts)
        };
        let (status, signal) = (Arc::<Status>::default(), Arc::<Signal>::default());
        let client = Arc::new(start(config, places.len(), Arc::clone(&status))?);
        let mut partitions = Vec::new();
        for ((place, _), next) in places.into_iter().zip(starts) {
            let decoder =
                decoders.iter().position(|decoder| *decoder.topic() == place.topic).unwrap_or_default();
            let mut partition = Partition::new(&client, place, decoder, next, &signal)?;
            partition.announced = positions.contains_key(&partition.place);
            partitions.push(partition);
        }
        let discovery =
            Discovery::start(&client, Arc::clone(&status), share, topics, config.discovery_interval);
        let registry = registry.cloned();
        let now = Instant::now();
        let (turn, polled, awake) = (0, now, now);
        Ok(Self { partitions, client, decoders, discovery, registry, status, signal, turn, polled, awake })
    }

    /// Ends it. The client waits for the brokers' last answers, for ever if they are away; this
    /// does so for a moment, and leaves the rest to a thread that ends with the process.
    pub fn close(self) {
        let (closed, is_closed) = mpsc::channel();
        let close = move || {
            drop(self);
            // Nobody may be waiting any more.
            let _ = closed.send(());
        };
        // Without a thread it is closed right here.
        if std::thread::Builder::new().name("kafka-close".to_owned()).spawn(close).is_ok() {
            let _ = is_closed.recv_timeout(CLOSE);
        }
    }

    /// Takes a row of a lookup topic in that was read before this start.
    pub fn restore(&mut self, topic: &str, key: &[u8], row: Entry) {
        let decoder = self.decoders.iter_mut().find(|decoder| **decoder.topic() == *topic);
        if let Some(decoder) = decoder {
            decoder.restore(key, row);
        }
    }

    /// Takes what is buffered, up to the budget, and returns what was taken: a range per partition,
    /// and for a partition that is read for the first time at least an empty one, which says where
    /// it starts. Waits only while nothing at all is buffered, and then no longer than
    /// `budget.wait`.
    ///
    /// # Errors
    /// When Kafka no longer holds what comes next, names collide, or the registry refuses its
    /// login. Lost brokers and an unreachable registry are no errors: see [`KafkaSource::state`].
    pub fn poll(&mut self, budget: Budget, batch: &mut Batch) -> Result<Vec<Range>, KafkaSourceError> {
        self.serve()?;
        self.assign()?;
        // While nobody reads, every partition seems to be at its end.
        if self.polled.elapsed() > STALL {
            self.awake = Instant::now();
        }
        let before: Vec<i64> = self.partitions.iter().map(|partition| partition.next).collect();
        let deadline = Instant::now() + budget.wait;
        while !self.take(budget, batch)? && Instant::now() < deadline {
            self.wait(deadline);
            self.serve()?;
        }
        self.polled = Instant::now();
        let mut ranges = Vec::new();
        for (partition, from) in self.partitions.iter_mut().zip(before) {
            if partition.next > from || !partition.announced {
                partition.announced = true;
                ranges.push(Range { place: partition.place.clone(), from, to: partition.next });
            }
        }
        Ok(ranges)
    }

    /// One round: turn by turn until the budget is used up or nothing is buffered. True if anything
    /// was taken.
    fn take(&mut self, budget: Budget, batch: &mut Batch) -> Result<bool, KafkaSourceError> {
        let (mut left, mut any, mut idle) = (budget.messages, false, 0);
        let count = self.partitions.len();
        while left > 0 && batch.bytes < budget.bytes && idle < count {
            self.turn = (self.turn + 1) % count;
            let quota = Quota { messages: left.min(TURN), bytes: budget.bytes, to: i64::MAX };
            let (taken, pause) = self.take_from(self.turn, quota, batch)?;
            left -= taken;
            any |= taken > 0;
            idle = if taken > 0 { 0 } else { idle + 1 };
            if let Pause::Failed(code) = pause {
                self.examine(self.turn, code)?;
            }
        }
        Ok(any)
    }

    pub(super) fn take_from(
        &mut self,
        at: usize,
        quota: Quota,
        batch: &mut Batch,
    ) -> Result<(usize, Pause), KafkaSourceError> {
        let partition = &mut self.partitions[at];
        let (taken, pause) = partition.take(&mut self.decoders[partition.decoder], quota, batch)?;
        if taken > 0 || pause == Pause::AtEnd {
            self.status.up();
        }
        Ok((taken, pause))
    }

    pub(super) fn wait(&self, deadline: Instant) {
        let waits = self.partitions.iter().any(|partition| partition.waits);
        let soon = Instant::now() + SCHEMA_POLL;
        self.signal.wait(if waits { deadline.min(soon) } else { deadline });
    }

    /// Serves the client's events; its messages all go to the partitions' own queues.
    pub(super) fn serve(&mut self) -> Result<(), KafkaSourceError> {
        while let Some(event) = self.client.poll(Duration::ZERO) {
            match event {
                Err(KafkaError::MessageConsumptionFatal(code)) => {
                    return Err(KafkaSourceError::Fatal(code.to_string()));
                }
                Err(error) => tracing::debug!("the Kafka client reports: {error}"),
                Ok(_) => return Err(KafkaSourceError::Fatal("a message came by the wrong queue".to_owned())),
            }
        }
        Ok(())
    }

    /// Takes in the partitions that were found since the last call; returns how many. They are
    /// looked for in the background; this does not block.
    pub fn discover(&mut self) -> Result<usize, KafkaSourceError> {
        let before = self.partitions.len();
        let found: Vec<_> = self.discovery.found().collect();
        for found in found {
            self.partitions.push(Partition::new(
                &self.client,
                found.place,
                found.decoder,
                found.first,
                &self.signal,
            )?);
        }
        Ok(self.partitions.len() - before)
    }

    /// Commits offsets to the configured group, in the background, for tools that show lag. Nothing
    /// is ever read from there, and a failure means nothing.
    pub fn commit(&self, positions: &Positions) {
        let mut list = TopicPartitionList::new();
        for (place, &next) in positions.iter().filter(|(place, _)| self.owns(place)) {
            // An offset is always representable.
            let _ = list.add_partition_offset(&place.topic, place.partition, Offset::Offset(next));
        }
        if list.count() > 0
            && let Err(error) = self.client.commit(&list, CommitMode::Async)
        {
            tracing::debug!("the group's offsets were not committed: {error}");
        }
    }

    /// How far the events of each partition of a feed are in their own time. A partition is idle
    /// when it has been at its end for `idle`, and was asked all that time.
    pub fn seen(&self, idle: Duration) -> Vec<(TopicPartition, Seen)> {
        let feeds = self.partitions.iter().filter(|partition| !self.decoders[partition.decoder].is_lookup());
        let seen = |partition: &Partition| {
            let waited = partition.at_end.map(|since| since.max(self.awake).elapsed());
            let idle = waited.is_some_and(|waited| waited >= idle);
            (partition.place.clone(), Seen { greatest: partition.greatest, idle })
        };
        feeds.map(seen).collect()
    }

    /// How many records of a partition wait in the broker, by what that told last; nothing before it has.
    pub fn behind(&self, place: &TopicPartition) -> Option<i64> {
        let next = self.partitions.iter().find(|partition| partition.place == *place)?.next;
        self.status.end(&place.topic, place.partition).map(|end| (end - next).max(0))
    }

    /// Whether this source reads a partition.
    pub fn owns(&self, place: &TopicPartition) -> bool {
        self.partitions.iter().any(|partition| partition.place == *place)
    }

    /// For each partition the offset of the next message.
    pub fn positions(&self) -> Positions {
        self.partitions.iter().map(|partition| (partition.place.clone(), partition.next)).collect()
    }

    /// How the source stands, for metrics.
    pub fn state(&self) -> SourceState {
        let mut state = self.status.state();
        state.waiting_for_registry = self.partitions.iter().filter(|partition| partition.waits).count();
        if let Some(trouble) = self.registry.as_ref().and_then(|registry| registry.trouble()) {
            state.last_error = Some(trouble);
        }
        state
    }
}

fn decoders(
    config: &KafkaConfig,
    names: &SharedNames,
    registry: Option<&Arc<Registry>>,
) -> Result<Vec<MessageDecoder>, KafkaSourceError> {
    let bytes_max = config.message_bytes_max;
    let lookups =
        config.lookups.iter().map(|lookup| Ok(MessageDecoder::lookup(lookup, bytes_max, Arc::clone(names))));
    let feeds =
        config.feeds.iter().map(|feed| MessageDecoder::feed(feed, bytes_max, Arc::clone(names), registry));
    lookups.chain(feeds).collect()
}

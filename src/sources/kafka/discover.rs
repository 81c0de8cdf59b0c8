//! New partitions, looked for in a thread of its own: asking for metadata blocks, and for seconds
//! when brokers are down.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::client::Client;
use super::open::{REQUEST, Share};
use super::status::Status;
use crate::bindings::TopicPartition;

/// Looks for new partitions until it is dropped.
#[derive(Debug)]
pub struct Discovery {
    found: Receiver<Found>,
    /// Dropped to end the thread.
    _stop: Sender<()>,
}

/// A partition that was not there before.
#[derive(Debug)]
pub struct Found {
    /// Which one.
    pub place: TopicPartition,
    /// The place of its topic in the source.
    pub decoder: usize,
    /// Its first offset.
    pub first: i64,
}

/// What is known so far of a topic.
#[derive(Debug)]
pub struct KnownTopic {
    /// Its name.
    pub topic: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
}

impl Discovery {
    /// Starts looking, every `interval`, for partitions of this share beyond those known. Without a
    /// thread nothing is found; the error is logged.
    pub fn start(
        client: &Arc<Client>,
        status: Arc<Status>,
        share: Share,
        mut topics: Vec<KnownTopic>,
        interval: Duration,
    ) -> Self {
        let ((found_to, found), (stop, stopped)) = (channel(), channel());
        let client = Arc::downgrade(client);
        let look = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let Some(client) = Weak::upgrade(&client) else { return };
                for (decoder, topic) in topics.iter_mut().enumerate() {
                    look_at(&client, &status, share, decoder, topic, &found_to);
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("kafka-discovery".to_owned()).spawn(look) {
            tracing::error!("new partitions won't be found: the thread can't be started: {error}");
        }
        Self { found, _stop: stop }
    }

    /// What was found since the last call.
    pub fn found(&self) -> impl Iterator<Item = Found> {
        self.found.try_iter()
    }
}

fn look_at(
    client: &Client,
    status: &Status,
    share: Share,
    decoder: usize,
    known: &mut KnownTopic,
    found: &Sender<Found>,
) {
    // What fails now is asked again the next time.
    let Ok(metadata) = client.fetch_metadata(Some(&known.topic), REQUEST) else { return };
    status.up();
    let topic = metadata.topics().iter().find(|topic| topic.name() == &*known.topic);
    let count = topic.map_or(0, |topic| topic.partitions().len() as i32);
    while known.partitions < count {
        let place = TopicPartition { topic: Arc::clone(&known.topic), partition: known.partitions };
        if share.owns(place.partition) {
            let Ok((first, _)) = client.fetch_watermarks(&place.topic, place.partition, REQUEST) else {
                return;
            };
            tracing::info!(topic = &*place.topic, partition = place.partition, "a new partition is read");
            if found.send(Found { place, decoder, first }).is_err() {
                return;
            }
        }
        known.partitions += 1;
    }
}

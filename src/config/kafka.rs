//! The Kafka section: topics, formats, limits, the schema registry.

use std::collections::BTreeMap;
use std::time::Duration;

use dataflows::model::reject::Feed;

use super::client::{Secret, client, expand};
use super::raw::{self, LookupFormat, MessageFormat};
use super::validate::{Wrong, source, split, wrong};
use crate::formats::avro::WriterSchema;
use crate::formats::layout::{Kinds, Layout};
use crate::formats::lookup::{RowFormat, Table};

/// Where the live feeds come from.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// Addresses of some brokers, separated by commas.
    pub bootstrap_servers: String,
    /// The group whose offsets are committed, for tools that show lag.
    pub group: String,
    /// Where reading starts when nothing was read before.
    pub start: Start,
    /// Settings handed to the client library as they are: TLS, SASL and the like.
    pub client: BTreeMap<String, Secret>,
    /// Where schemas come from, when a feed needs one.
    pub registry: Option<RegistryConfig>,
    /// The feeds that are read.
    pub feeds: Vec<FeedTopic>,
    /// The lookup tables that are read.
    pub lookups: Vec<LookupTopic>,
    /// A longer message is rejected.
    pub message_bytes_max: usize,
    /// Messages that each worker fetches ahead.
    pub buffer_messages: usize,
    /// Bytes that each worker fetches ahead.
    pub buffer_bytes: usize,
    /// How often new partitions are looked for.
    pub discovery_interval: Duration,
    /// Where rejects are written, if anywhere.
    pub rejects_topic: Option<String>,
}

/// Where reading starts.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Start {
    /// At the first message that is still there.
    Earliest,
    /// Behind the last message there is.
    Latest,
    /// At the first message that is not older than this many milliseconds since 1970.
    TimestampMs(i64),
}

/// A schema registry.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Its address.
    pub url: String,
    /// Name and password, if it wants them.
    pub login: Option<(String, Secret)>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// The topic of a feed.
#[derive(Clone, Debug)]
pub struct FeedTopic {
    /// Its name.
    pub topic: String,
    /// How its records are written.
    pub layout: Layout,
    /// How a message holds a record.
    pub encoding: Encoding,
}

/// How a message holds a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// As one JSON object.
    Json,
    /// As one line.
    Csv,
    /// As a bare Avro datum of this schema.
    Avro(String),
    /// As an Avro datum behind a zero byte and the four bytes of its schema's id.
    AvroRegistry,
}

/// The compacted topic of a lookup table.
#[derive(Clone, Debug)]
pub struct LookupTopic {
    /// Its name.
    pub topic: String,
    /// The table.
    pub table: Table,
    /// How a message holds a row.
    pub format: RowFormat,
}

const SCHEMA: &str = include_str!("../../config/schemas/bid_request.avsc");

/// Validates the section; `sources` say how the records themselves are written.
pub fn config(raw: raw::Kafka, sources: &raw::Sources) -> Result<Option<KafkaConfig>, Wrong> {
    if raw.bootstrap_servers.is_empty() {
        return Ok(None);
    }
    for (key, value) in [
        ("max_message_bytes", raw.max_message_bytes),
        ("buffer_messages", raw.buffer_messages),
        ("buffer_bytes", raw.buffer_bytes),
        ("discovery_interval_ms", raw.discovery_interval_ms as usize),
        ("registry.timeout_ms", raw.registry.timeout_ms as usize),
    ] {
        if value == 0 {
            return wrong(format!("kafka.{key}"), "a number above 0 is expected");
        }
    }
    if raw.group.is_empty() {
        return wrong("kafka.group", "a name is expected");
    }
    let registry = registry(raw.registry)?;
    let (events, kinds) = split(sources.events.clone());
    let impressions = (Feed::Impressions, raw.impressions, sources.impressions.clone());
    let bids = (Feed::BidRequests, raw.bid_requests, sources.bid_requests.clone());
    let feeds = [
        feed(impressions, raw::ImpressionFields::pairs, Kinds::AllClicks)?,
        feed((Feed::Events, raw.events, events), raw::EventFields::pairs, kinds)?,
        feed(bids, raw::BidFields::pairs, Kinds::AllClicks)?,
    ];
    let feeds: Vec<FeedTopic> = feeds.into_iter().flatten().collect();
    let lookups: Vec<LookupTopic> = Table::ALL
        .into_iter()
        .zip([raw.campaigns, raw.traffic, raw.attribution_rules, raw.advertisers, raw.creatives, raw.sites])
        .filter(|(_, raw)| !raw.topic.is_empty())
        .map(|(table, raw)| LookupTopic { topic: raw.topic, table, format: row_format(raw.format) })
        .collect();
    one_topic_each(&feeds, &lookups)?;
    if let Some(feed) = feeds.iter().find(|feed| feed.encoding == Encoding::AvroRegistry)
        && registry.is_none()
    {
        let key = format!("kafka.{}.format", feed.layout.feed.as_str());
        return wrong(key, "avro_registry needs kafka.registry.url");
    }
    Ok(Some(KafkaConfig {
        bootstrap_servers: expand("kafka.bootstrap_servers", &raw.bootstrap_servers)?,
        group: raw.group,
        start: match raw.start {
            raw::Start::Earliest => Start::Earliest,
            raw::Start::Latest => Start::Latest,
            raw::Start::TimestampMs(millis) => Start::TimestampMs(millis),
        },
        client: client(raw.client)?,
        registry,
        feeds,
        lookups,
        message_bytes_max: raw.max_message_bytes,
        buffer_messages: raw.buffer_messages,
        buffer_bytes: raw.buffer_bytes,
        discovery_interval: Duration::from_millis(raw.discovery_interval_ms),
        rejects_topic: Some(raw.rejects_topic).filter(|topic| !topic.is_empty()),
    }))
}

fn feed<F: Default>(
    (feed, raw, mut written): (Feed, raw::FeedTopic, raw::Source<F>),
    pairs: fn(F) -> Vec<(&'static str, String)>,
    kinds: Kinds,
) -> Result<Option<FeedTopic>, Wrong> {
    let key = |name: &str| format!("kafka.{}.{name}", feed.as_str());
    if raw.topic.is_empty() {
        return Ok(None);
    }
    written.format = match raw.format {
        MessageFormat::Json => raw::Format::Json,
        MessageFormat::Csv => raw::Format::Csv,
        MessageFormat::Avro | MessageFormat::AvroRegistry => raw::Format::Avro,
    };
    if !raw.columns.is_empty() {
        written.columns = raw.columns;
    }
    // A message has no header.
    written.header = false;
    let columns = format!("sources.{}.columns", feed.as_str());
    let layout = source(feed, written, pairs, kinds).map_err(|wrong| match wrong {
        Wrong { key: wrong, expected } if wrong == columns => Wrong { key: key("columns"), expected },
        other => other,
    })?;
    let layout = layout.layout;
    let encoding = match raw.format {
        MessageFormat::Json => Encoding::Json,
        MessageFormat::Csv => Encoding::Csv,
        MessageFormat::Avro => Encoding::Avro(schema(key("schema_file"), &raw.schema_file, &layout)?),
        MessageFormat::AvroRegistry => Encoding::AvroRegistry,
    };
    Ok(Some(FeedTopic { topic: raw.topic, layout, encoding }))
}

fn schema(key: String, file: &str, layout: &Layout) -> Result<String, Wrong> {
    let text = match file {
        "" if layout.feed == Feed::BidRequests => SCHEMA.to_owned(),
        "" => return wrong(key, "the file of the schema that messages are written with is expected"),
        file => match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return wrong(key, format!("{file} can't be read: {error}")),
        },
    };
    match WriterSchema::compile(&text, layout) {
        Ok(_) => Ok(text),
        Err(error) => wrong(key, format!("{file} is no schema of a record: {error}")),
    }
}

fn row_format(raw: LookupFormat) -> RowFormat {
    match raw {
        LookupFormat::Csv => RowFormat::Csv,
        LookupFormat::Json => RowFormat::Json,
    }
}

fn one_topic_each(feeds: &[FeedTopic], lookups: &[LookupTopic]) -> Result<(), Wrong> {
    let feeds = feeds.iter().map(|feed| (&feed.topic, feed.layout.feed.as_str()));
    let lookups = lookups.iter().map(|lookup| (&lookup.topic, lookup.table.as_str()));
    let mut seen = BTreeMap::new();
    for (topic, name) in feeds.chain(lookups) {
        if let Some(other) = seen.insert(topic, name) {
            let expected = format!("a topic of its own is expected; {topic:?} is that of {other}");
            return wrong(format!("kafka.{name}.topic"), expected);
        }
    }
    if seen.is_empty() {
        return wrong("kafka.bootstrap_servers", "at least one feed or lookup table needs a topic");
    }
    Ok(())
}

fn registry(raw: raw::Registry) -> Result<Option<RegistryConfig>, Wrong> {
    if raw.url.is_empty() {
        return Ok(None);
    }
    let url = expand("kafka.registry.url", &raw.url)?;
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        return wrong("kafka.registry.url", "an address such as http://registry:8081 is expected");
    }
    if url.starts_with("https://") && !cfg!(feature = "tls") {
        return wrong("kafka.registry.url", "https needs a program that was built with the feature tls");
    }
    let user = expand("kafka.registry.user", &raw.user)?;
    let password = Secret::from(expand("kafka.registry.password", &raw.password)?);
    let login = (!user.is_empty()).then_some((user, password));
    let timeout = Duration::from_millis(raw.timeout_ms);
    Ok(Some(RegistryConfig { url: url.trim_end_matches('/').to_owned(), login, timeout }))
}

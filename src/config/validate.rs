//! From what was typed to what the program needs.

use std::time::Duration;

use dataflows::model::reject::Feed;
use jiff::tz::Offset;

use super::archive::ArchiveConfig;
use super::raw::{self, MoneyUnit, TimeUnit};
use super::{
    CheckpointConfig, ClusterConfig, Config, HistoryConfig, ReplayConfig, SourceConfig, SourcesConfig,
    SupervisorConfig, kafka,
};
use crate::formats::layout::{CsvShape, Field, Format, Kinds, Layout, fields_of, required};
use crate::formats::timestamp::{TimeFormat, Unit};
use crate::store::{OBJECT_BYTES_MAX, Place};

/// A setting that can't be used.
pub struct Wrong {
    /// Its key.
    pub key: String,
    /// What would be right.
    pub expected: String,
}

/// Refuses a setting.
pub fn wrong<T>(key: impl Into<String>, expected: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { key: key.into(), expected: expected.into() })
}

type Pairs = Vec<(&'static str, String)>;

/// Validates everything.
pub fn config(raw: raw::Config) -> Result<Config, Wrong> {
    let kafka = kafka::config(raw.kafka, &raw.sources)?;
    let raw::Sources { impressions, events, bid_requests, history } = raw.sources;
    let (events, kinds) = split(events);
    if let Kinds::Words { click, conversion } = &kinds
        && click.iter().any(|word| conversion.contains(word))
    {
        return wrong("sources.events.click_words", "a word must not stand in conversion_words too");
    }
    let raw::History { bids, impressions: shown, clicks, conversions } = history;
    for (key, value) in [
        ("limits.max_line_bytes", raw.limits.max_line_bytes),
        ("replay.epoch_events", raw.replay.epoch_events),
    ] {
        if value == 0 {
            return wrong(key, "a number above 0 is expected");
        }
    }
    let (checkpoint, archive) = (checkpoint(&raw.checkpoint)?, super::archive::validate(&raw.archive)?);
    apart(&checkpoint, &archive)?;
    Ok(Config {
        sources: SourcesConfig {
            impressions: source(
                Feed::Impressions,
                impressions,
                raw::ImpressionFields::pairs,
                Kinds::AllClicks,
            )?,
            events: source(Feed::Events, events, raw::EventFields::pairs, kinds)?,
            bid_requests: source(Feed::BidRequests, bid_requests, raw::BidFields::pairs, Kinds::AllClicks)?,
            history: HistoryConfig { bids, impressions: shown, clicks, conversions },
            line_bytes_max: raw.limits.max_line_bytes,
        },
        replay: ReplayConfig { workers: raw.replay.workers, epoch_events: raw.replay.epoch_events },
        kafka,
        clickhouse: super::clickhouse::validate(raw.clickhouse)?,
        checkpoint,
        s3: super::s3::validate(&raw.s3)?,
        time: super::time::validate(&raw.time)?,
        metrics: super::metrics::validate(&raw.metrics)?,
        serve: super::serve::validate(&raw.serve)?,
        archive,
        cluster: cluster(&raw.cluster)?,
        supervisor: supervisor(&raw.cluster)?,
    })
}

fn checkpoint(raw: &raw::Checkpoint) -> Result<CheckpointConfig, Wrong> {
    if raw.interval_ms == 0 {
        return wrong("checkpoint.interval_ms", "a number above 0 is expected");
    }
    let bytes = 1 << 16..=OBJECT_BYTES_MAX / 2;
    if !bytes.contains(&(raw.segment_bytes_max as u64)) {
        let expected = format!("{} to {} bytes are expected", bytes.start(), bytes.end());
        return wrong("checkpoint.segment_bytes_max", expected);
    }
    Ok(CheckpointConfig {
        place: place(("checkpoint.directory", &raw.directory), ("checkpoint.url", &raw.url))?,
        interval: Duration::from_millis(raw.interval_ms),
        segment_bytes_max: raw.segment_bytes_max,
    })
}

/// The place that one of two settings names, a directory or a part of a bucket, if one of them does.
/// Each is a key and its value.
pub fn place(directory: (&str, &str), url: (&str, &str)) -> Result<Option<Place>, Wrong> {
    match (directory.1, url.1) {
        ("", "") => Ok(None),
        (path, "") => Ok(Some(Place::Directory(path.into()))),
        ("", text) => match Place::parse(text) {
            Ok(Place::Directory(_)) => wrong(url.0, "s3://bucket/prefix is expected"),
            Ok(bucket) => Ok(Some(bucket)),
            Err(error) => wrong(url.0, error.to_string()),
        },
        _ => wrong(directory.0, "either a directory or a url is expected, not both"),
    }
}

/// A checkpoint removes what it doesn't know where it lies, and so does an archive.
fn apart(checkpoint: &CheckpointConfig, archive: &ArchiveConfig) -> Result<(), Wrong> {
    match &archive.place {
        Some(place) if checkpoint.place.as_ref() == Some(place) => {
            wrong(archive.key(), "another place than that of the checkpoint is expected")
        }
        _ => Ok(()),
    }
}

fn cluster(raw: &raw::Cluster) -> Result<ClusterConfig, Wrong> {
    if raw.connect_timeout_ms == 0 {
        return wrong("cluster.connect_timeout_ms", "a number above 0 is expected");
    }
    if raw.silence_timeout_ms < 1_000 {
        return wrong("cluster.silence_timeout_ms", "at least 1000 is expected");
    }
    Ok(ClusterConfig {
        connect: Duration::from_millis(raw.connect_timeout_ms),
        silence: Duration::from_millis(raw.silence_timeout_ms),
    })
}

fn supervisor(raw: &raw::Cluster) -> Result<SupervisorConfig, Wrong> {
    for (key, value) in [
        ("cluster.stop_timeout_ms", raw.stop_timeout_ms),
        ("cluster.restart_window_ms", raw.restart_window_ms),
        ("cluster.restart_min_ms", raw.restart_min_ms),
    ] {
        if value == 0 {
            return wrong(key, "a number above 0 is expected");
        }
    }
    if raw.restart_max_ms < raw.restart_min_ms {
        return wrong("cluster.restart_max_ms", "at least restart_min_ms is expected");
    }
    Ok(SupervisorConfig {
        stop_timeout: Duration::from_millis(raw.stop_timeout_ms),
        restarts_max: raw.restarts_max,
        restart_window: Duration::from_millis(raw.restart_window_ms),
        restart_min: Duration::from_millis(raw.restart_min_ms),
        restart_max: Duration::from_millis(raw.restart_max_ms),
    })
}

/// The part of the events' settings that every source has, and how their kinds are told apart.
pub fn split(events: raw::Events) -> (raw::Source<raw::EventFields>, Kinds) {
    let (events, kind, click, conversion) = events.split();
    let kinds = match kind {
        raw::Kind::AllClicks => Kinds::AllClicks,
        raw::Kind::AllConversions => Kinds::AllConversions,
        raw::Kind::ByEventType => Kinds::Words { click, conversion },
    };
    (events, kinds)
}

/// Validates one feed.
pub fn source<F: Default>(
    feed: Feed,
    raw: raw::Source<F>,
    pairs: fn(F) -> Pairs,
    kinds: Kinds,
) -> Result<SourceConfig, Wrong> {
    let at = |key: &str| format!("sources.{}.{key}", feed.as_str());
    let time = time(&raw, &at)?;
    let format = match raw.format {
        raw::Format::Json => Format::Json,
        raw::Format::Avro => Format::Avro,
        raw::Format::Csv => Format::Csv(CsvShape {
            delimiter: character(&raw.delimiter, at("delimiter"))?,
            quote: if raw.quote.is_empty() { None } else { Some(character(&raw.quote, at("quote"))?) },
            header: raw.header,
            columns: if raw.header { Vec::new() } else { raw.columns },
        }),
    };
    let money_scale = match raw.money_unit {
        MoneyUnit::Units => 6,
        MoneyUnit::Cents => 4,
        MoneyUnit::Micros => 0,
        MoneyUnit::CpmUnits => 3,
        MoneyUnit::CpmCents => 1,
        MoneyUnit::CpmMicros => -3,
    };
    let fields = fields(feed, pairs(raw.fields), &format, &kinds, &at)?;
    Ok(SourceConfig { files: raw.files, layout: Layout { feed, format, fields, time, money_scale, kinds } })
}

fn fields(
    feed: Feed,
    pairs: Pairs,
    format: &Format,
    kinds: &Kinds,
    at: &dyn Fn(&str) -> String,
) -> Result<Vec<(Field, String)>, Wrong> {
    let known = fields_of(feed);
    let field = |name: &str| known.iter().find(|(own, _)| *own == name).map(|(_, field)| *field);
    let columns = match format {
        Format::Csv(CsvShape { header: false, columns, .. }) if columns.is_empty() => {
            return wrong(at("columns"), "without a header the columns must be named here, in order");
        }
        Format::Csv(CsvShape { header: false, columns, .. }) => Some(columns),
        _ => None,
    };
    let mut fields = Vec::new();
    for (name, source) in pairs {
        let Some(field) = field(name) else { continue };
        // Only Avro nests bids in their request.
        let unused = field == Field::Bids && *format != Format::Avro;
        if source.is_empty() && required(feed, kinds).contains(&field) {
            return wrong(
                at(&format!("fields.{name}")),
                "this field is required; name its place in the source",
            );
        }
        if source.is_empty() || unused {
            continue;
        }
        if let Some(columns) = columns.filter(|columns| !columns.contains(&source)) {
            // A default name the source doesn't have is fine, unless the field is needed.
            if !required(feed, kinds).contains(&field) {
                continue;
            }
            let message = format!("{source:?} is not in columns ({})", columns.join(", "));
            return wrong(at(&format!("fields.{name}")), message);
        }
        fields.push((field, source));
    }
    Ok(fields)
}

fn time<F: Default>(raw: &raw::Source<F>, at: &dyn Fn(&str) -> String) -> Result<TimeFormat, Wrong> {
    let unit = match raw.time_unit {
        TimeUnit::S => Unit::Seconds,
        TimeUnit::Ms => Unit::Millis,
        TimeUnit::Us => Unit::Micros,
        TimeUnit::Ns => Unit::Nanos,
    };
    Ok(match raw.time_format {
        raw::TimeFormat::Rfc3339OrEpoch => TimeFormat::Rfc3339OrEpoch(unit),
        raw::TimeFormat::Epoch => TimeFormat::Epoch(unit),
        raw::TimeFormat::Pattern if raw.time_pattern.is_empty() => {
            return wrong(at("time_pattern"), "a pattern such as %Y-%m-%d %H:%M:%S is expected");
        }
        raw::TimeFormat::Pattern => match offset(&raw.time_utc_offset) {
            Some(offset) => TimeFormat::Pattern(raw.time_pattern.clone(), offset),
            None => return wrong(at("time_utc_offset"), "an offset such as +08:00 is expected"),
        },
    })
}

fn offset(text: &str) -> Option<Offset> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let seconds = hours.parse::<u8>().ok().filter(|&h| h < 24)? as i32 * 3600
        + minutes.parse::<u8>().ok().filter(|&m| m < 60)? as i32 * 60;
    match text.as_bytes().first()? {
        b'+' => Offset::from_seconds(seconds).ok(),
        b'-' => Offset::from_seconds(-seconds).ok(),
        _ => None,
    }
}

fn character(text: &str, key: String) -> Result<u8, Wrong> {
    match *text.as_bytes() {
        [character] if character.is_ascii() && !matches!(character, b'\n' | b'\r') => Ok(character),
        _ => wrong(key, format!("one ASCII character is expected, not {text:?}")),
    }
}

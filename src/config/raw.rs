//! The configuration as typed. Everything is optional here, as a file holds only what differs;
//! the embedded defaults fill in the rest.

use std::collections::BTreeMap;

use serde::Deserialize;

macro_rules! raw {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),+ $(,)? })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $(pub $field: $kind),+ })+
    };
}

raw! {
    /// The file.
    Config {
        sources: Sources, limits: Limits, replay: Replay, kafka: Kafka, clickhouse: ClickHouse,
        checkpoint: Checkpoint, time: Time, metrics: Metrics, archive: Archive, cluster: Cluster, s3: S3,
        serve: Serve,
    }

    /// `[sources]`
    Sources { impressions: Source<ImpressionFields>, events: Events, bid_requests: Source<BidFields>, history: History }

    /// `[limits]`
    Limits { max_line_bytes: usize }

    /// `[replay]`
    Replay { workers: usize, epoch_events: usize }

    /// `[kafka]`
    Kafka {
        bootstrap_servers: String, group: String, start: Start, client: BTreeMap<String, toml::Value>,
        registry: Registry, impressions: FeedTopic, events: FeedTopic, bid_requests: FeedTopic,
        campaigns: LookupTopic, traffic: LookupTopic, attribution_rules: LookupTopic,
        advertisers: LookupTopic, creatives: LookupTopic, sites: LookupTopic,
        max_message_bytes: usize, buffer_messages: usize, buffer_bytes: usize,
        discovery_interval_ms: u64, rejects_topic: String,
    }

    /// `[kafka.registry]`
    Registry { url: String, user: String, password: String, timeout_ms: u64 }

    /// `[kafka.impressions]` and the other feeds
    FeedTopic { topic: String, format: MessageFormat, columns: Vec<String>, schema_file: String }

    /// `[kafka.campaigns]` and the other lookup tables
    LookupTopic { topic: String, format: LookupFormat }

    /// `[clickhouse]`
    ClickHouse {
        url: String, database: String, user: String, password: String, lz4: bool,
        emission_interval_ms: u64, insert_rows_max: usize, insert_bytes_max: usize,
        queue_bytes_max: usize, connect_timeout_ms: u64, request_timeout_ms: u64, retry_min_ms: u64,
        retry_max_ms: u64,
    }

    /// `[checkpoint]`
    Checkpoint { directory: String, url: String, interval_ms: u64, segment_bytes_max: usize }

    /// `[s3]`
    S3 {
        endpoint: String, region: String, access_key_id: String, secret_access_key: String, allow_http: bool,
        connect_timeout_ms: u64, request_timeout_ms: u64, retry_within_ms: u64,
    }

    /// `[cluster]`
    Cluster {
        connect_timeout_ms: u64, silence_timeout_ms: u64, stop_timeout_ms: u64, restarts_max: usize,
        restart_window_ms: u64, restart_min_ms: u64, restart_max_ms: u64,
    }

    /// `[time]`
    Time {
        allowed_disorder_ms: u64, idle_timeout_ms: u64, correction_horizon_hours: u64, bucket_minutes: u64,
        bid_lifetime_hours: u64, boundary_interval_ms: u64,
    }

    /// `[metrics]`
    Metrics {
        listen: String, otlp_url: String, otlp_interval_ms: u64, otlp_timeout_ms: u64,
        otlp_headers: BTreeMap<String, String>,
    }

    /// `[serve]`
    Serve {
        listen: String, plain: bool, tls_certificate: String, tls_key: String, currency: String,
        rows_max: usize, requests_per_second: u32, streams_max: usize,
        streams_each_max: usize, connections_max: usize,
        tokens: BTreeMap<String, Token>, jwt: Jwt,
    }

    /// `[serve.jwt]`
    Jwt {
        issuer: String, audience: String, role_claim: String, advertisers_claim: String, keys_file: String,
        keys_url: String,
    }

    /// `[serve.tokens.…]`
    Token { sha256: String, role: String, advertisers: Vec<String> }

    /// `[archive]`
    Archive {
        directory: String, url: String, interval_ms: u64, row_group_rows: usize, file_bytes_max: usize,
        pending_bytes_max: usize, merge_after_ms: u64, cold_directory: String, cold_url: String,
        cold_after_days: u32, delete_after_days: u32,
    }

    /// `[sources.history]`
    History { bids: Vec<String>, impressions: Vec<String>, clicks: Vec<String>, conversions: Vec<String> }

    /// `[sources.impressions.fields]`
    ImpressionFields {
        impression_id: String, auction_id: String, timestamp: String, user_id: String, campaign_id: String,
        creative_id: String, site: String, country: String, device: String, win_price_cpm: String,
        viewable: String,
    }

    /// `[sources.events.fields]`
    EventFields {
        event_type: String, event_id: String, timestamp: String, user_id: String, impression_id: String,
        advertiser_id: String, conversion_type: String, value: String,
    }

    /// `[sources.bid_requests.fields]`
    BidFields {
        auction_id: String, timestamp: String, user_id: String, site: String, country: String, device: String,
        bids: String, campaign_id: String, creative_id: String, price_cpm: String,
    }

    /// `[sources.events]`
    Events {
        files: Vec<String>, format: Format, delimiter: String, quote: String, header: bool,
        columns: Vec<String>, time_format: TimeFormat, time_unit: TimeUnit, time_pattern: String,
        time_utc_offset: String, money_unit: MoneyUnit, fields: EventFields, kind: Kind,
        click_words: Vec<String>, conversion_words: Vec<String>,
    }
}

/// `[sources.impressions]`, `[sources.bid_requests]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source<F: Default> {
    pub files: Vec<String>,
    pub format: Format,
    pub delimiter: String,
    pub quote: String,
    pub header: bool,
    pub columns: Vec<String>,
    pub time_format: TimeFormat,
    pub time_unit: TimeUnit,
    pub time_pattern: String,
    pub time_utc_offset: String,
    pub money_unit: MoneyUnit,
    pub fields: F,
}

macro_rules! words {
    ($($name:ident { $first:ident $(, $word:ident)+ })+) => {
        $(#[derive(Copy, Clone, Debug, Default, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { #[default] $first $(, $word)+ })+
    };
}

/// `kafka.start`
#[derive(Copy, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    #[default]
    Earliest,
    Latest,
    TimestampMs(i64),
}

words! {
    MessageFormat { Json, Csv, Avro, AvroRegistry }
    LookupFormat { Csv, Json }
    Format { Json, Csv, Avro }
    TimeFormat { Rfc3339OrEpoch, Epoch, Pattern }
    TimeUnit { Ms, S, Us, Ns }
    MoneyUnit { Units, Cents, Micros, CpmUnits, CpmCents, CpmMicros }
    Kind { ByEventType, AllClicks, AllConversions }
}

macro_rules! mapping {
    ($name:ident: $($field:ident)+) => {
        impl $name {
            /// Each of our fields with its name in the source.
            pub fn pairs(self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($field), self.$field)),+]
            }
        }
    };
}

mapping!(ImpressionFields: impression_id auction_id timestamp user_id campaign_id creative_id site country device win_price_cpm viewable);
mapping!(EventFields: event_type event_id timestamp user_id impression_id advertiser_id conversion_type value);
mapping!(BidFields: auction_id timestamp user_id site country device bids campaign_id creative_id price_cpm);

impl Events {
    /// The part that every source has, and the rest.
    pub fn split(self) -> (Source<EventFields>, Kind, Vec<String>, Vec<String>) {
        let source = Source {
            files: self.files,
            format: self.format,
            delimiter: self.delimiter,
            quote: self.quote,
            header: self.header,
            columns: self.columns,
            time_format: self.time_format,
            time_unit: self.time_unit,
            time_pattern: self.time_pattern,
            time_utc_offset: self.time_utc_offset,
            money_unit: self.money_unit,
            fields: self.fields,
        };
        (source, self.kind, self.click_words, self.conversion_words)
    }
}

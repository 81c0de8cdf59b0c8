//! Rows as ClickHouse has them: names and types match the columns of the schema. Windows are
//! seconds since 1970 UTC; `version` is the epoch as of which the row holds.

use clickhouse::Row;
use serde::{Deserialize, Serialize, Serializer};

/// Declares the rows of a table with their upsert columns.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),+ $(,)? })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Row, Serialize)]
        #[allow(missing_docs, reason = "the columns are explained in docs/tables.md")]
        pub struct $name { $(pub $field: $kind,)+ pub version: u64, pub is_deleted: u8 })+
    };
}

rows! {
    /// A row of `performance_minute`.
    PerformanceMinuteRow {
        minute: i64, campaign_id: String, bids: i64, wins: i64, impressions: i64, viewable: i64,
        clicks: i64, conversions: i64, spend_micros: i64, revenue_micros: i64, bid_micros: i64,
    }

    /// A row of `performance_hour`.
    PerformanceHourRow {
        hour: i64, campaign_id: String, creative_id: String, site: String, country: String,
        device: &'static str, bids: i64, wins: i64, impressions: i64, viewable: i64, clicks: i64,
        conversions: i64, spend_micros: i64, revenue_micros: i64, bid_micros: i64,
    }

    /// A row of `attribution_hour`.
    AttributionHourRow {
        hour: i64, campaign_id: String, model: &'static str, credit_micros: i64, revenue_micros: i64,
    }

    /// A row of `reach_day`.
    ReachDayRow { day: i64, campaign_id: String, users: i64, impressions: i64 }

    /// A row of `supply_hour`.
    SupplyHourRow {
        hour: i64, site: String, country: String, device: &'static str, bid_requests: i64, bids: i64,
        wins: i64,
    }

    /// A row of `quality_minute`.
    QualityMinuteRow {
        minute: i64, feed: &'static str, received: i64, accepted: i64, duplicate: i64,
        rejected_malformed: i64, rejected_missing_field: i64, rejected_bad_timestamp: i64,
        rejected_bad_number: i64, rejected_negative_money: i64, rejected_bad_enum: i64,
        rejected_too_long: i64, rejected_future: i64, rejected_too_late: i64, orphans: i64,
        invalid: i64,
    }

    /// A row of `conversion_paths`.
    ConversionPathRow {
        conversion_id: String, model: &'static str, path: String, credit_micros: String,
        revenue_micros: String,
    }

    /// A row of `dim_campaign`.
    CampaignRow { campaign_id: String, advertiser_id: String, name: String }

    /// A row of `dim_advertiser`.
    AdvertiserRow { advertiser_id: String, name: String }

    /// A row of `dim_creative`.
    CreativeRow { creative_id: String, name: String, format: String }

    /// A row of `dim_site`.
    SiteRow { site: String, name: String, category: String }
}

/// A row of `rejects`; never deleted by the program.
#[derive(Clone, Debug, PartialEq, Row, Serialize)]
#[allow(missing_docs, reason = "the columns are explained in docs/clickhouse.md")]
pub struct RejectRow {
    pub feed: &'static str,
    pub reason: &'static str,
    pub origin: String,
    pub place: i32,
    pub position: u64,
    pub record: u64,
    pub time: Option<i64>,
    pub payload: Bytes,
    pub hint: String,
    pub version: u64,
}

/// A row of `frontier`.
#[derive(Clone, Debug, PartialEq, Row, Serialize)]
#[allow(missing_docs, reason = "the columns are explained in docs/clickhouse.md")]
pub struct FrontierRow {
    pub job: String,
    pub shard: u32,
    pub epoch: u64,
    pub written_at: i64,
}

/// A row of `generation`.
#[derive(Clone, Debug, PartialEq, Row, Deserialize, Serialize)]
#[allow(missing_docs, reason = "the columns are explained in docs/clickhouse.md")]
pub struct GenerationRow {
    pub number: u64,
    pub table_name: String,
    pub next_name: String,
    pub uuid: String,
    pub row_count: u64,
    pub job: String,
    pub epoch: u64,
    pub is_swapped: u8,
    pub written_at: i64,
}

/// Bytes that need not be UTF-8; a `String` to ClickHouse.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

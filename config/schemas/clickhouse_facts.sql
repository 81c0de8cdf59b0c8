-- Facts: one table for each published table. A row is the state of its key as of epoch `version`:
-- the greatest version holds, and is_deleted = 1 says that the key is gone. Rows are unique by
-- ORDER BY, so that is the whole key. The month of a row follows from its key: equal keys meet in
-- one partition, and partitions can be read and merged apart.
-- Don't chain materialized views behind these tables: they see inserts, not corrections.
-- Codecs are measured (docs/decisions.md).
-- Windows are DateTime64(0), as DateTime ends in 2106 and a record may claim the year 9999.

CREATE TABLE IF NOT EXISTS performance_minute
(
    minute         DateTime64(0, 'UTC')   CODEC(Delta, ZSTD(1)),
    campaign_id    LowCardinality(String) CODEC(ZSTD(1)),
    bids           Int64                  CODEC(T64, ZSTD(1)),
    wins           Int64                  CODEC(T64, ZSTD(1)),
    impressions    Int64                  CODEC(T64, ZSTD(1)),
    viewable       Int64                  CODEC(T64, ZSTD(1)),
    clicks         Int64                  CODEC(T64, ZSTD(1)),
    conversions    Int64                  CODEC(T64, ZSTD(1)),
    spend_micros   Int64                  CODEC(T64, ZSTD(1)),
    revenue_micros Int64                  CODEC(T64, ZSTD(1)),
    bid_micros     Int64                  CODEC(T64, ZSTD(1)),
    version        UInt64                 CODEC(Delta, ZSTD(3)),
    is_deleted     UInt8                  CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(minute)
ORDER BY (campaign_id, minute)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS performance_hour
(
    hour           DateTime64(0, 'UTC')   CODEC(Delta, ZSTD(1)),
    campaign_id    LowCardinality(String) CODEC(ZSTD(1)),
    creative_id    LowCardinality(String) CODEC(ZSTD(1)),
    site           LowCardinality(String) CODEC(ZSTD(1)),
    country        LowCardinality(String) CODEC(ZSTD(1)),
    device         LowCardinality(String) CODEC(ZSTD(1)),
    bids           Int64                  CODEC(T64, ZSTD(1)),
    wins           Int64                  CODEC(T64, ZSTD(1)),
    impressions    Int64                  CODEC(T64, ZSTD(1)),
    viewable       Int64                  CODEC(T64, ZSTD(1)),
    clicks         Int64                  CODEC(T64, ZSTD(1)),
    conversions    Int64                  CODEC(T64, ZSTD(1)),
    spend_micros   Int64                  CODEC(T64, ZSTD(1)),
    revenue_micros Int64                  CODEC(T64, ZSTD(1)),
    bid_micros     Int64                  CODEC(T64, ZSTD(1)),
    version        UInt64                 CODEC(Delta, ZSTD(3)),
    is_deleted     UInt8                  CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, creative_id, site, country, device)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS attribution_hour
(
    hour           DateTime64(0, 'UTC')   CODEC(Delta, ZSTD(1)),
    campaign_id    LowCardinality(String) CODEC(ZSTD(1)),
    model          LowCardinality(String) CODEC(ZSTD(1)),
    credit_micros  Int64                  CODEC(T64, ZSTD(1)),
    revenue_micros Int64                  CODEC(T64, ZSTD(1)),
    version        UInt64                 CODEC(Delta, ZSTD(3)),
    is_deleted     UInt8                  CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, model, hour)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS reach_day
(
    day            DateTime64(0, 'UTC')   CODEC(Delta, ZSTD(1)),
    campaign_id    LowCardinality(String) CODEC(ZSTD(1)),
    users          Int64                  CODEC(T64, ZSTD(1)),
    impressions    Int64                  CODEC(T64, ZSTD(1)),
    version        UInt64                 CODEC(Delta, ZSTD(3)),
    is_deleted     UInt8                  CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(day)
ORDER BY (campaign_id, day)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS supply_hour
(
    hour           DateTime64(0, 'UTC')   CODEC(Delta, ZSTD(1)),
    site           LowCardinality(String) CODEC(ZSTD(1)),
    country        LowCardinality(String) CODEC(ZSTD(1)),
    device         LowCardinality(String) CODEC(ZSTD(1)),
    bid_requests   Int64                  CODEC(T64, ZSTD(1)),
    bids           Int64                  CODEC(T64, ZSTD(1)),
    wins           Int64                  CODEC(T64, ZSTD(1)),
    version        UInt64                 CODEC(Delta, ZSTD(3)),
    is_deleted     UInt8                  CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(hour)
ORDER BY (site, hour, country, device)
SETTINGS non_replicated_deduplication_window = 1000;

-- Rejects are counted at whatever time they claim: the months that they can make up are bounded.
CREATE TABLE IF NOT EXISTS quality_minute
(
    minute                  DateTime64(0, 'UTC')   CODEC(DoubleDelta, ZSTD(1)),
    feed                    LowCardinality(String) CODEC(ZSTD(1)),
    received                Int64                  CODEC(T64, ZSTD(1)),
    accepted                Int64                  CODEC(T64, ZSTD(1)),
    duplicate               Int64                  CODEC(T64, ZSTD(1)),
    rejected_malformed      Int64                  CODEC(T64, ZSTD(1)),
    rejected_missing_field  Int64                  CODEC(T64, ZSTD(1)),
    rejected_bad_timestamp  Int64                  CODEC(T64, ZSTD(1)),
    rejected_bad_number     Int64                  CODEC(T64, ZSTD(1)),
    rejected_negative_money Int64                  CODEC(T64, ZSTD(1)),
    rejected_bad_enum       Int64                  CODEC(T64, ZSTD(1)),
    rejected_too_long       Int64                  CODEC(T64, ZSTD(1)),
    rejected_future         Int64                  CODEC(T64, ZSTD(1)),
    rejected_too_late       Int64                  CODEC(T64, ZSTD(1)),
    orphans                 Int64                  CODEC(T64, ZSTD(1)),
    invalid                 Int64                  CODEC(T64, ZSTD(1)),
    version                 UInt64                 CODEC(Delta, ZSTD(3)),
    is_deleted              UInt8                  CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(least(greatest(minute, toDateTime64('2000-01-01 00:00:00', 0, 'UTC')), toDateTime64('2100-01-01 00:00:00', 0, 'UTC')))
ORDER BY (feed, minute)
SETTINGS non_replicated_deduplication_window = 1000;

-- The key says nothing of the time, and the time of a conversion may be corrected: months would
-- part the versions of a key, so this table has one partition.
CREATE TABLE IF NOT EXISTS conversion_paths
(
    conversion_id  String                 CODEC(ZSTD(1)),
    model          LowCardinality(String) CODEC(ZSTD(1)),
    path           String                 CODEC(ZSTD(1)),
    credit_micros  String                 CODEC(ZSTD(1)),
    revenue_micros String                 CODEC(ZSTD(1)),
    version        UInt64                 CODEC(Delta, ZSTD(3)),
    is_deleted     UInt8                  CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (conversion_id, model)
SETTINGS non_replicated_deduplication_window = 1000;

-- Dimensions: the attributes of what the facts name. A row is upserted when the lookup changes.

CREATE TABLE IF NOT EXISTS dim_campaign
(
    campaign_id   String,
    advertiser_id String,
    name          String,
    version       UInt64,
    is_deleted    UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY campaign_id
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS dim_advertiser
(
    advertiser_id String,
    name          String,
    version       UInt64,
    is_deleted    UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY advertiser_id
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS dim_creative
(
    creative_id   String,
    name          String,
    format        LowCardinality(String),
    version       UInt64,
    is_deleted    UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY creative_id
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS dim_site
(
    site          String,
    name          String,
    category      LowCardinality(String),
    version       UInt64,
    is_deleted    UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY site
SETTINGS non_replicated_deduplication_window = 1000;

-- How far each shard of each job is: every table holds all its rows up to and including `epoch`.
CREATE TABLE IF NOT EXISTS frontier
(
    job           String,
    shard         UInt32,
    epoch         UInt64,
    written_at    DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(epoch)
ORDER BY (job, shard)
SETTINGS non_replicated_deduplication_window = 1000;

-- Records that broke a rule. `origin` is a topic or a file; `place` is its partition, 0 in a file;
-- `position` is the offset there, and `record` counts the records inside one message or block. The
-- same record read again after a crash is the same row.
CREATE TABLE IF NOT EXISTS rejects
(
    feed          LowCardinality(String),
    reason        LowCardinality(String),
    origin        LowCardinality(String),
    place         Int32                       CODEC(T64, ZSTD(1)),
    position      UInt64                      CODEC(Delta, ZSTD(1)),
    record        UInt64                      CODEC(T64, ZSTD(1)),
    time          Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    payload       String                      CODEC(ZSTD(3)),
    hint          String                      CODEC(ZSTD(1)),
    version       UInt64                      CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (feed, origin, place, position, record)
SETTINGS non_replicated_deduplication_window = 1000;

-- Generations of the facts, which `replay --into clickhouse` computes beside the published ones and
-- then exchanges with them: a row for each table. `uuid` is the new table's own and stays with it
-- under any name: `next_name` until it is exchanged, `table_name` from then on. is_swapped = 1 says
-- that all tables of the generation are exchanged. `epoch` is the version of its rows.
CREATE TABLE IF NOT EXISTS generation
(
    number        UInt64,
    table_name    String,
    next_name     String,
    uuid          String,
    row_count     UInt64,
    job           String,
    epoch         UInt64,
    is_swapped    UInt8,
    written_at    DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(is_swapped)
ORDER BY (number, table_name)
SETTINGS non_replicated_deduplication_window = 1000;

-- Which version of this schema the database has; the greatest holds.
CREATE TABLE IF NOT EXISTS schema_version
(
    name          String,
    version       UInt32,
    created_at    DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY name;

-- Views that are right at any instant: FINAL takes the greatest version of each key and leaves out
-- what is deleted, whether or not the parts have been merged. There is no `WHERE is_deleted = 0`
-- on purpose: a filter that is moved before FINAL would let an older version of a deleted row
-- show through. Money in ratios is in currency units; a ratio of nothing is NULL. Ratios don't
-- add up: over several rows, divide the sums.

CREATE OR REPLACE VIEW performance_minute_live AS
SELECT
    minute, campaign_id, bids, wins, impressions, viewable, clicks, conversions,
    spend_micros, revenue_micros, bid_micros,
    clicks / nullIf(impressions, 0) AS ctr,
    conversions / nullIf(clicks, 0) AS cvr,
    spend_micros / 1e6 / nullIf(clicks, 0) AS cpc,
    spend_micros / 1e3 / nullIf(impressions, 0) AS cpm,
    spend_micros / 1e6 / nullIf(conversions, 0) AS cpa,
    revenue_micros / nullIf(spend_micros, 0) AS roas,
    wins / nullIf(bids, 0) AS win_rate,
    version
FROM performance_minute FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW performance_hour_live AS
SELECT
    hour, campaign_id, creative_id, site, country, device, bids, wins, impressions, viewable,
    clicks, conversions, spend_micros, revenue_micros, bid_micros,
    clicks / nullIf(impressions, 0) AS ctr,
    conversions / nullIf(clicks, 0) AS cvr,
    spend_micros / 1e6 / nullIf(clicks, 0) AS cpc,
    spend_micros / 1e3 / nullIf(impressions, 0) AS cpm,
    spend_micros / 1e6 / nullIf(conversions, 0) AS cpa,
    revenue_micros / nullIf(spend_micros, 0) AS roas,
    wins / nullIf(bids, 0) AS win_rate,
    version
FROM performance_hour FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Credit and revenue by model; a conversion is 1,000,000 of credit.
CREATE OR REPLACE VIEW attribution_hour_live AS
SELECT
    hour, campaign_id, model, credit_micros, revenue_micros,
    credit_micros / 1e6 AS conversions,
    version
FROM attribution_hour FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- `users` doesn't add up over days or campaigns: one user may be in several.
CREATE OR REPLACE VIEW reach_day_live AS
SELECT
    day, campaign_id, users, impressions,
    impressions / nullIf(users, 0) AS frequency,
    version
FROM reach_day FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW supply_hour_live AS
SELECT
    hour, site, country, device, bid_requests, bids, wins,
    bids / nullIf(bid_requests, 0) AS bid_rate,
    wins / nullIf(bids, 0) AS win_rate,
    version
FROM supply_hour FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW quality_minute_live AS
SELECT
    minute, feed, received, accepted, duplicate, rejected_malformed, rejected_missing_field,
    rejected_bad_timestamp, rejected_bad_number, rejected_negative_money, rejected_bad_enum,
    rejected_too_long, rejected_future, rejected_too_late, orphans, invalid,
    rejected_malformed + rejected_missing_field + rejected_bad_timestamp + rejected_bad_number
        + rejected_negative_money + rejected_bad_enum + rejected_too_long + rejected_future
        + rejected_too_late AS rejected,
    rejected / nullIf(received, 0) AS reject_rate,
    duplicate / nullIf(received, 0) AS duplicate_rate,
    version
FROM quality_minute FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The joined texts as arrays of equal length: touch i earns credits[i] and revenues[i].
CREATE OR REPLACE VIEW conversion_paths_live AS
SELECT
    conversion_id, model, path, credit_micros, revenue_micros,
    splitByChar('|', path) AS touches,
    arrayMap(part -> toInt64OrZero(part), splitByChar('|', credit_micros)) AS credits,
    arrayMap(part -> toInt64OrZero(part), splitByChar('|', revenue_micros)) AS revenues,
    version
FROM conversion_paths FINAL;

CREATE OR REPLACE VIEW rejects_live AS
SELECT feed, reason, origin, place, position, record, time, payload, hint, version
FROM rejects FINAL;

CREATE OR REPLACE VIEW dim_campaign_live AS
SELECT campaign_id, advertiser_id, name, version
FROM dim_campaign FINAL;

CREATE OR REPLACE VIEW dim_advertiser_live AS
SELECT advertiser_id, name, version
FROM dim_advertiser FINAL;

CREATE OR REPLACE VIEW dim_creative_live AS
SELECT creative_id, name, format, version
FROM dim_creative FINAL;

CREATE OR REPLACE VIEW dim_site_live AS
SELECT site, name, category, version
FROM dim_site FINAL;

-- How far a job is as a whole: as far as the shard that is least far.
CREATE OR REPLACE VIEW frontier_live AS
SELECT job, min(epoch) AS epoch, count() AS shards, max(written_at) AS written_at
FROM frontier FINAL
GROUP BY job;

-- Generations of the facts: while is_swapped is 0, some tables are of the new one and others are not.
CREATE OR REPLACE VIEW generation_live AS
SELECT
    number, any(job) AS job, any(epoch) AS epoch, count() AS tables, sum(row_count) AS row_count,
    min(is_swapped) AS is_swapped, max(written_at) AS written_at
FROM generation FINAL
GROUP BY number;

-- A campaign's day, with its advertiser and its reach.
CREATE OR REPLACE VIEW campaign_day_live AS
WITH days AS
(
    SELECT
        toStartOfDay(minute) AS day, campaign_id,
        sum(bids) AS bids, sum(wins) AS wins, sum(impressions) AS impressions,
        sum(viewable) AS viewable, sum(clicks) AS clicks, sum(conversions) AS conversions,
        sum(spend_micros) AS spend_micros, sum(revenue_micros) AS revenue_micros,
        sum(bid_micros) AS bid_micros
    FROM performance_minute_live
    GROUP BY day, campaign_id
)
SELECT
    days.day AS day, days.campaign_id AS campaign_id,
    campaigns.advertiser_id AS advertiser_id, campaigns.name AS campaign_name,
    bids, wins, days.impressions AS impressions, viewable, clicks, conversions,
    spend_micros, revenue_micros, bid_micros, reach.users AS users,
    clicks / nullIf(days.impressions, 0) AS ctr,
    conversions / nullIf(clicks, 0) AS cvr,
    spend_micros / 1e6 / nullIf(clicks, 0) AS cpc,
    spend_micros / 1e3 / nullIf(days.impressions, 0) AS cpm,
    spend_micros / 1e6 / nullIf(conversions, 0) AS cpa,
    revenue_micros / nullIf(spend_micros, 0) AS roas,
    wins / nullIf(bids, 0) AS win_rate,
    reach.impressions / nullIf(reach.users, 0) AS frequency
FROM days
LEFT JOIN reach_day_live AS reach ON reach.day = days.day AND reach.campaign_id = days.campaign_id
LEFT JOIN dim_campaign_live AS campaigns ON campaigns.campaign_id = days.campaign_id;

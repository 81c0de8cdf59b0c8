"""Every published table, recomputed from canonical Parquet by DuckDB.

By default as fast as we could make it; with --plain in the SQL that the rules suggest at first sight.
"""

import duckdb

from common import *

DIMS = ", ".join(DIMENSIONS)


def source(args, kind):
    return f"read_parquet('{args.input}/{kind}*.parquet')"


def load(db, args):
    return load_plain(db, args) if args.plain else load_tuned(db, args)


def load_plain(db, args):
    """Strings as they are, and records of one identity ranked by one window over all."""
    for kind, (identity, preference) in KINDS.items():
        db.execute(f"""
            CREATE TEMP TABLE {kind}_read AS
            SELECT *, row_number() OVER (PARTITION BY {", ".join(identity)} ORDER BY {", ".join(preference)}) AS copy
            FROM {source(args, kind)}""")
        db.execute(f"CREATE TEMP VIEW {kind} AS SELECT * EXCLUDE (copy) FROM {kind}_read WHERE copy = 1")
        db.execute(f"CREATE TEMP VIEW {kind}_lost AS SELECT ts FROM {kind}_read WHERE copy > 1")
    db.execute(f"CREATE TEMP TABLE campaigns AS {campaigns(args, 'campaign_id')}")
    return sum(db.execute(f"SELECT count(*) FROM {kind}_read").fetchall()[0][0] for kind in KINDS)


def campaigns(args, campaign_id):
    return f"""
        SELECT {campaign_id} AS campaign_id, advertiser_id
        FROM read_csv('{args.lookups}/campaigns.csv', header = true, all_varchar = true)
        WHERE campaign_id IS NOT NULL"""


def load_tuned(db, args):
    # Sorted enums hash and compare as small integers, and in the bytewise order of their strings.
    for name in DIMENSIONS:
        both = " UNION ALL ".join(f"SELECT {name} FROM {source(args, kind)}" for kind in SERVED)
        db.execute(f"CREATE TYPE {name}_t AS ENUM (SELECT {name} FROM ({both}) GROUP BY ALL ORDER BY ALL)")
    encode = ", ".join(f"{name}::{name}_t AS {name}" for name in DIMENSIONS)
    for kind in KINDS:
        replace = f"REPLACE ({encode})" if kind in SERVED else ""
        db.execute(f"CREATE TEMP TABLE {kind} AS SELECT * {replace} FROM {source(args, kind)}")
    # A campaign without traffic has no touches: it falls out as NULL.
    db.execute(f"CREATE TEMP TABLE campaigns AS {campaigns(args, 'TRY_CAST(campaign_id AS campaign_id_t)')}")
    return sum(db.execute(f"SELECT count(*) FROM {kind}").fetchall()[0][0] for kind in KINDS)


def deduplicate(db):
    # Few records are redelivered: a cheap pass over hashes finds the suspects, only they are ordered.
    # Two identities with one hash are told apart by the window.
    for kind, (identity, preference) in KINDS.items():
        key = ", ".join(identity)
        db.execute(f"""
            CREATE TEMP TABLE {kind}_lost AS
            SELECT rowid AS row, ts FROM {kind}
            WHERE hash({key}) IN (SELECT hash({key}) AS h FROM {kind} GROUP BY h HAVING count(*) > 1)
            QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {", ".join(preference)}) > 1""")
        db.execute(f"DELETE FROM {kind} WHERE rowid IN (SELECT row FROM {kind}_lost)")


def join(db):
    # At most one accepted bid can match, so the outer join keeps one row an impression.
    db.execute("""
        CREATE TEMP TABLE shown AS
        SELECT i.*, b.auction_id IS NOT NULL AS won
        FROM impressions i LEFT JOIN bids b USING (auction_id, campaign_id)""")
    db.execute(f"""
        CREATE TEMP TABLE joined_clicks AS
        WITH timed AS (
            SELECT c.click_id, c.ts, c.impression_id, i.user_id, {DIMS},
                   i.ts IS NULL AS orphan, coalesce(c.ts - i.ts BETWEEN 0 AND {CLICK_JOIN_WINDOW}, false) AS timely
            FROM clicks c LEFT JOIN impressions i USING (impression_id))
        SELECT *, sum(timely::INT) OVER (PARTITION BY user_id, ts // {MINUTE}) AS in_minute,
               timely AND in_minute > {MAX_CLICKS_PER_USER_MINUTE} AS flooded, timely AND NOT flooded AS valid
        FROM timed""")


def attribute(db):
    db.execute(f"""
        CREATE TEMP TABLE touches AS
        WITH sought AS (
            SELECT v.conversion_id, v.ts AS converted, v.value_micros, v.user_id, campaign_id
            FROM conversions v JOIN campaigns USING (advertiser_id)),
        by_click AS (
            SELECT conversion_id, converted, value_micros, click_id AS touch_id, ts, {DIMS}
            FROM joined_clicks JOIN sought USING (user_id, campaign_id)
            WHERE valid AND converted - ts BETWEEN 0 AND {CLICK_LOOKBACK}),
        by_view AS (
            SELECT conversion_id, converted, value_micros, impression_id AS touch_id, ts, {DIMS}
            FROM impressions JOIN (FROM sought ANTI JOIN by_click USING (conversion_id)) USING (user_id, campaign_id)
            WHERE converted - ts BETWEEN 0 AND {VIEW_LOOKBACK})
        FROM by_click
        UNION ALL
        FROM by_view ANTI JOIN (FROM joined_clicks WHERE valid) ON touch_id = impression_id""")
    # Largest remainder twice, for credit and for revenue. Only decay needs it for credit: in the other models all
    # touches with a remainder have the same one, and the earlier ones win.
    db.execute(f"""
        CREATE TEMP TABLE credits AS
        WITH placed AS (
            SELECT *, row_number() OVER (PARTITION BY conversion_id ORDER BY ts, touch_id) AS i,
                   count(*) OVER path AS n,
                   pow(2, (ts - converted) / {HALF_LIFE}) AS weight,
                   weight / sum(weight) OVER path * {WHOLE} AS share
            FROM touches WINDOW path AS (PARTITION BY conversion_id)),
        decayed AS (
            SELECT *, floor(share)::BIGINT AS sure,
                   sure + (row_number() OVER (PARTITION BY conversion_id ORDER BY share - sure DESC, i)
                           <= {WHOLE} - sum(sure) OVER (PARTITION BY conversion_id))::BIGINT AS decay
            FROM placed),
        credited AS (
            SELECT conversion_id, converted AS ts, {DIMS}, value_micros, touch_id, i,
                   unnest(['first_touch', 'last_touch', 'linear', 'position_based', 'time_decay']) AS model,
                   unnest([
                       CASE WHEN i = 1 THEN {WHOLE} ELSE 0 END,
                       CASE WHEN i = n THEN {WHOLE} ELSE 0 END,
                       {WHOLE} // n + (i <= {WHOLE} % n)::BIGINT,
                       CASE WHEN n <= 2 THEN {WHOLE} // n
                            WHEN i IN (1, n) THEN {WHOLE} * 2 // 5
                            ELSE {WHOLE} // 5 // (n - 2) + (i - 1 <= {WHOLE} // 5 % (n - 2))::BIGINT END,
                       decay]) AS credit_micros
            FROM decayed),
        parted AS (
            -- value * credit / WHOLE in two steps: the product may not fit 64 bits
            SELECT *, value_micros % {WHOLE} * credit_micros AS minor,
                   value_micros // {WHOLE} * credit_micros + minor // {WHOLE} AS sure
            FROM credited)
        SELECT * EXCLUDE (minor, sure),
               sure + (row_number() OVER (PARTITION BY conversion_id, model ORDER BY minor % {WHOLE} DESC, i)
                       <= value_micros - sum(sure) OVER (PARTITION BY conversion_id, model))::BIGINT AS revenue_micros
        FROM parted""")


def total(*names):
    return ", ".join(f"coalesce(sum({name}), 0)::BIGINT AS {name}" for name in names)


def floor(unit):
    return f"ts // {unit} * {unit}"


SERVED_COUNTS = "wins", "impressions", "viewable", "clicks", "conversions", "spend_micros", "revenue_micros"
SERVED_RECORDS = f"""
    SELECT ts, {DIMS}, won::INT AS wins, 1 AS impressions, viewable::INT AS viewable, cost_micros AS spend_micros
    FROM shown
    UNION ALL BY NAME
    SELECT ts, {DIMS}, 1 AS clicks FROM joined_clicks WHERE valid
    UNION ALL BY NAME
    SELECT ts, {DIMS}, 1 AS conversions, revenue_micros
    FROM credits WHERE model = 'last_touch' AND credit_micros = {WHOLE}"""


def performance_plain(time, unit, dims):
    return f"""
        SELECT {floor(unit)} AS {time}, {dims}, {total("bids", *SERVED_COUNTS, "bid_micros")}
        FROM (SELECT ts, {DIMS}, 1 AS bids, bid_micros FROM bids UNION ALL BY NAME {SERVED_RECORDS})
        GROUP BY ALL"""


def performance_tuned(time, unit, dims):
    """Bids are most of the rows and have two measures: apart, they do not carry the other seven through the grouping."""
    key = f"{floor(unit)} AS {time}, {dims}"
    return f"""
        SELECT {time}, {dims}, {", ".join(f"coalesce({name}, 0) AS {name}" for name in ("bids", *SERVED_COUNTS, "bid_micros"))}
        FROM (SELECT {key}, count(*) AS bids, {total("bid_micros")} FROM bids GROUP BY ALL)
        FULL JOIN (SELECT {key}, {total(*SERVED_COUNTS)} FROM ({SERVED_RECORDS}) GROUP BY ALL)
        USING ({time}, {dims})"""


RECORDS = " UNION ALL BY NAME ".join(
    ["SELECT ts, 'events' AS feed, orphan::INT AS orphans, flooded::INT AS invalid FROM joined_clicks"]
    + [f"SELECT ts, '{feed}' AS feed, 1 AS received, 1 AS accepted FROM {kind}" for kind, feed in FEEDS.items()]
    + [f"SELECT ts, '{feed}' AS feed, 1 AS received, 1 AS duplicate FROM {kind}_lost" for kind, feed in FEEDS.items()]
)
# Every branch holds only rows that add something to their key, so no key is all zero.
TABLES = {
    "attribution_hour": (3, f"""
        SELECT {floor(HOUR)} AS hour, campaign_id, model, {total("credit_micros", "revenue_micros")}
        FROM credits WHERE credit_micros > 0 GROUP BY ALL"""),
    "reach_day": (2, f"""
        SELECT day, campaign_id, count(*) AS users, {total("impressions")}
        FROM (SELECT {floor(DAY)} AS day, campaign_id, user_id, count(*) AS impressions FROM impressions GROUP BY ALL)
        GROUP BY ALL"""),
    "supply_hour": (4, f"""
        SELECT hour, site, country, device, {total("bid_requests", "bids", "wins")}
        FROM (
            SELECT {floor(HOUR)} AS hour, site, country, device, auction_id, 1 AS bid_requests, count(*) AS bids
            FROM bids GROUP BY ALL
            UNION ALL BY NAME
            SELECT {floor(HOUR)} AS hour, site, country, device, 1 AS wins FROM shown WHERE won)
        GROUP BY ALL"""),
    "quality_minute": (2, f"""
        SELECT {floor(MINUTE)} AS minute, feed, {total("received", "accepted", "duplicate")}, 0::BIGINT AS rejected,
               {total("orphans", "invalid")}
        FROM ({RECORDS}) GROUP BY ALL"""),
    "conversion_paths": (2, """
        SELECT conversion_id, model, string_agg(touch_id, '|' ORDER BY i) AS path,
               string_agg(credit_micros, '|' ORDER BY i) AS credit_micros,
               string_agg(revenue_micros, '|' ORDER BY i) AS revenue_micros
        FROM credits GROUP BY ALL"""),
}


def publish(db, args):
    performance = performance_plain if args.plain else performance_tuned
    tables = {
        "performance_minute": (2, performance("minute", MINUTE, "campaign_id")),
        "performance_hour": (6, performance("hour", HOUR, DIMS)),
        **TABLES,
    }
    options = "FORMAT csv, HEADER" if args.format == "csv" else f"FORMAT parquet, COMPRESSION {args.compression}"
    for name, (keys, query) in tables.items():
        order = ", ".join(str(i + 1) for i in range(keys))
        # Grouping, sorting and writing in one pipeline: a table in between measured up to a tenth slower.
        db.execute(f"COPY ({query} ORDER BY {order}) TO '{args.output}/{name}.{args.format}' ({options})")


def main():
    args = arguments(__doc__, plain="SQL as first written, without the tuning")
    phases = Phases()
    # Only what is written has an order, and that is asked for.
    db = duckdb.connect(config={"threads": args.threads, "preserve_insertion_order": False})
    events = load(db, args)
    phases.end("read")
    if not args.plain:
        deduplicate(db)
    join(db)
    attribute(db)
    phases.end("compute")
    publish(db, args)
    phases.end("write")
    phases.report("duckdb-plain" if args.plain else "duckdb", duckdb.__version__, events)


if __name__ == "__main__":
    main()

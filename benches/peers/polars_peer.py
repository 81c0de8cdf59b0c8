"""Every published table, recomputed from canonical Parquet by Polars (lazy, streaming engine)."""

import os

from common import *

# Polars fixes its thread pool when it is imported.
args = arguments(__doc__)
os.environ["POLARS_MAX_THREADS"] = str(args.threads)

import polars as pl
from polars import col


def load():
    scans = {kind: pl.scan_parquet(args.input / f"{kind}*.parquet") for kind in KINDS}
    found = pl.collect_all(
        [pl.concat([scans[kind].select(name) for kind in SERVED]).unique().sort(name) for name in DIMENSIONS]
    )
    # Sorted enums hash and compare as small integers, and in the bytewise order of their strings.
    enums = {name: pl.Enum(values[name]) for name, values in zip(DIMENSIONS, found)}
    frames = {kind: (scan.cast(enums) if kind in SERVED else scan).collect() for kind, scan in scans.items()}
    campaigns = pl.read_csv(args.lookups / "campaigns.csv", columns=["campaign_id", "advertiser_id"], infer_schema=False)
    # A campaign without traffic has no touches: it is no member of the enum and falls out.
    campaigns = campaigns.with_columns(col("campaign_id").cast(enums["campaign_id"], strict=False)).drop_nulls()
    return frames, campaigns


def deduplicate(frame, identity, preference):
    """The records that count, and the others."""
    # Few records are redelivered: a cheap pass over hashes finds the suspects, only they are ordered.
    # Two identities with one hash are told apart by is_first_distinct.
    key = pl.struct(identity)
    repeated = frame.lazy().group_by(key.hash().alias("h")).len().filter(col("len") > 1).select("h").collect()
    suspect = frame.select(key.hash().is_in(repeated["h"].implode())).to_series()
    names = [name.removesuffix(" DESC") for name in preference]
    suspects = frame.filter(suspect).sort(names, descending=[name.endswith(" DESC") for name in preference])
    first = suspects.select(key.is_first_distinct()).to_series()
    return pl.concat([frame.filter(~suspect), suspects.filter(first)]), suspects.filter(~first)


def join(accepted):
    # At most one accepted bid can match, so the outer join keeps one row an impression.
    bids = accepted["bids"].lazy().select("auction_id", "campaign_id", won=True)
    shown = accepted["impressions"].lazy().join(bids, on=["auction_id", "campaign_id"], how="left")
    shown = shown.with_columns(col("won").fill_null(False)).collect()
    impressions = shown.lazy().select("impression_id", "user_id", *DIMENSIONS, shown="ts")
    clicks = accepted["clicks"].lazy().join(impressions, on="impression_id", how="left", build_side="force_left")
    age = col("ts") - col("shown")
    in_minute = col("timely").sum().over("user_id", col("ts") // MINUTE)
    clicks = (
        clicks.with_columns(orphan=age.is_null(), timely=age.is_between(0, CLICK_JOIN_WINDOW).fill_null(False))
        .with_columns(flooded=col("timely") & (in_minute > MAX_CLICKS_PER_USER_MINUTE))
        .with_columns(valid=col("timely") & ~col("flooded"))
    )
    return shown, clicks.collect()


def touches(conversions, campaigns, shown, clicks):
    sought = (
        conversions.lazy()
        .select("conversion_id", "value_micros", "user_id", "advertiser_id", converted="ts")
        .join(campaigns.lazy(), on="advertiser_id")
    )
    columns = ["conversion_id", "converted", "value_micros", "touch_id", "ts", *DIMENSIONS]
    age = col("converted") - col("ts")
    valid = clicks.lazy().filter("valid")
    by_click = (
        valid.join(sought, on=["user_id", "campaign_id"])
        .filter(age.is_between(0, CLICK_LOOKBACK))
        .rename({"click_id": "touch_id"})
        .select(columns)
        .collect()
    )
    by_view = (
        shown.lazy()
        .join(sought.join(by_click.lazy(), on="conversion_id", how="anti"), on=["user_id", "campaign_id"])
        .filter(age.is_between(0, VIEW_LOOKBACK))
        .join(valid, on="impression_id", how="anti")
        .rename({"impression_id": "touch_id"})
        .select(columns)
    )
    return pl.concat([by_click.lazy(), by_view])


def place(*order, within):
    """A row's place from 1 in the order, among the rows with the same values within."""
    return pl.int_range(1, pl.len() + 1).over(within, order_by=order)


def attribute(touches):
    """Largest remainder twice, for credit and for revenue. Only decay needs it for credit: in the other models all
    touches with a remainder have the same one, and the earlier ones win."""
    path, part = ["conversion_id"], ["conversion_id", "model"]
    i, n = col("i"), col("n")
    weight = 2.0 ** ((col("ts") - col("converted")) / HALF_LIFE)
    middle = WHOLE // 5 // (n - 2) + (i - 1 <= WHOLE // 5 % (n - 2))
    models = {
        "first_touch": pl.when(i == 1).then(WHOLE).otherwise(0),
        "last_touch": pl.when(i == n).then(WHOLE).otherwise(0),
        "linear": WHOLE // n + (i <= WHOLE % n),
        "position_based": pl.when(n <= 2).then(WHOLE // n).when((i == 1) | (i == n)).then(WHOLE * 2 // 5).otherwise(middle),
        "time_decay": col("sure") + (place(col("sure") - col("share"), "i", within=path) <= WHOLE - col("sure").sum().over(path)),
    }
    # value * credit / WHOLE in two steps: the product may not fit 64 bits.
    minor = col("value_micros") % WHOLE * col("credit_micros")
    left = col("value_micros") - col("whole").sum().over(part)
    return (
        touches.with_columns(i=place("ts", "touch_id", within=path), n=pl.len().over(path).cast(pl.Int64))
        .with_columns(share=weight / weight.sum().over(path) * WHOLE)
        .with_columns(sure=col("share").floor().cast(pl.Int64))
        .with_columns(**{model: credit.cast(pl.Int64) for model, credit in models.items()})
        .unpivot(
            on=list(models),
            index=["conversion_id", "converted", *DIMENSIONS, "value_micros", "touch_id", "i"],
            variable_name="model",
            value_name="credit_micros",
        )
        .rename({"converted": "ts"})
        .with_columns(minor=minor % WHOLE, whole=col("value_micros") // WHOLE * col("credit_micros") + minor // WHOLE)
        .with_columns(revenue_micros=col("whole") + (place(-col("minor"), "i", within=part) <= left))
        .collect()
    )


def floor(unit):
    return col("ts") // unit * unit


def total(*names):
    return [col(name).sum().cast(pl.Int64) for name in names]


def tables(accepted, lost, shown, clicks, credits):
    """Name, number of key columns and query. Every branch holds only rows that add something to their key, so no key
    is all zero."""
    bids, shown, clicks, credits = accepted["bids"].lazy(), shown.lazy(), clicks.lazy(), credits.lazy()
    one = pl.lit(1, pl.UInt32)
    last = (col("model") == "last_touch") & (col("credit_micros") == WHOLE)
    facts = pl.concat(
        [
            bids.select("ts", *DIMENSIONS, "bid_micros", bids=one),
            shown.select("ts", *DIMENSIONS, "viewable", wins="won", impressions=one, spend_micros="cost_micros"),
            clicks.filter("valid").select("ts", *DIMENSIONS, clicks=one),
            credits.filter(last).select("ts", *DIMENSIONS, "revenue_micros", conversions=one),
        ],
        how="diagonal",
    )
    measures = total(
        "bids", "wins", "impressions", "viewable", "clicks", "conversions", "spend_micros", "revenue_micros", "bid_micros"
    )
    yield "performance_minute", 2, facts.group_by(floor(MINUTE).alias("minute"), "campaign_id").agg(measures)
    yield "performance_hour", 6, facts.group_by(floor(HOUR).alias("hour"), *DIMENSIONS).agg(measures)

    hour = floor(HOUR).alias("hour")
    yield "attribution_hour", 3, (
        credits.filter(col("credit_micros") > 0)
        .group_by(hour, "campaign_id", "model")
        .agg(total("credit_micros", "revenue_micros"))
    )
    day = floor(DAY).alias("day")
    yield "reach_day", 2, shown.group_by(day, "campaign_id").agg(
        users=col("user_id").n_unique().cast(pl.Int64), impressions=pl.len().cast(pl.Int64)
    )

    where = ["site", "country", "device"]
    requests = bids.group_by(hour, *where).agg(bid_requests=col("auction_id").n_unique(), bids=pl.len())
    wins = shown.filter("won").group_by(hour, *where).agg(wins=pl.len())
    supply = pl.concat([requests, wins], how="diagonal").group_by("hour", *where)
    yield "supply_hour", 4, supply.agg(total("bid_requests", "bids", "wins"))

    records = [clicks.select("ts", feed=pl.lit("events"), orphans="orphan", invalid="flooded")]
    for kind, feed in FEEDS.items():
        records.append(accepted[kind].lazy().select("ts", feed=pl.lit(feed), accepted=one))
        records.append(lost[kind].lazy().select("ts", feed=pl.lit(feed), duplicate=one))
    quality = pl.concat(records, how="diagonal").with_columns(received=col("accepted").fill_null(col("duplicate")), rejected=0)
    yield "quality_minute", 2, (
        quality.group_by(floor(MINUTE).alias("minute"), "feed")
        .agg(total("received", "accepted", "duplicate", "rejected", "orphans", "invalid"))
    )
    path = [col(name).sort_by("i").str.join("|") for name in ("touch_id", "credit_micros", "revenue_micros")]
    yield "conversion_paths", 2, (
        credits.with_columns(col("credit_micros", "revenue_micros").cast(pl.String))
        .group_by("conversion_id", "model")
        .agg(path)
        .rename({"touch_id": "path"})
    )


def write(name, keys, table):
    path = args.output / f"{name}.{args.format}"
    table = table.sort(table.columns[:keys])
    if args.format == "csv":
        table.write_csv(path)
    else:
        table.write_parquet(path, compression=args.compression)


def main():
    phases = Phases()
    frames, campaigns = load()
    events = sum(frame.height for frame in frames.values())
    phases.end("read")
    accepted, lost = {}, {}
    for kind, (identity, preference) in KINDS.items():
        accepted[kind], lost[kind] = deduplicate(frames.pop(kind), identity, preference)
    shown, clicks = join(accepted)
    credits = attribute(touches(accepted["conversions"], campaigns, shown, clicks))
    for name, keys, query in tables(accepted, lost, shown, clicks, credits):
        table = query.collect()
        phases.end("compute")
        write(name, keys, table)
        phases.end("write")
    phases.report("polars", pl.__version__, events)


if __name__ == "__main__":
    main()

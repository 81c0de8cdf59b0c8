"""What the peers share: the command line, the rules' constants and the report."""

import argparse
import json
import resource
import time
from pathlib import Path

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CLICK_JOIN_WINDOW = DAY
MAX_CLICKS_PER_USER_MINUTE = 10
CLICK_LOOKBACK, VIEW_LOOKBACK = 30 * DAY, DAY
HALF_LIFE = 7 * DAY
WHOLE = 1_000_000  # the credit of one conversion

# Few values each, and in every key: both peers give them a dictionary.
DIMENSIONS = ["campaign_id", "creative_id", "site", "country", "device"]
# The kinds that have the dimensions.
SERVED = ["bids", "impressions"]

# Per kind: its identity, and the order in which records of one identity are preferred. After the rule's own columns
# come the rest as they stand in the record, so that exactly one choice is left.
KINDS = {
    "bids": (["auction_id", "campaign_id"], ["bid_micros DESC", "ts", "user_id", "creative_id", "site", "country", "device"]),
    "impressions": (["impression_id"], ["ts", "auction_id", "user_id", *DIMENSIONS, "cost_micros", "viewable"]),
    "clicks": (["click_id"], ["ts", "impression_id"]),
    "conversions": (["conversion_id"], ["ts", "user_id", "advertiser_id", "conversion_type", "value_micros"]),
}

# The feed each kind arrives in.
FEEDS = {"impressions": "impressions", "clicks": "events", "conversions": "events", "bids": "bid_requests"}


def arguments(description, plain=None):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--input", type=Path, required=True, help="directory of <kind>*.parquet")
    parser.add_argument("--lookups", type=Path, required=True, help="directory of campaigns.csv")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--compression", choices=["zstd", "snappy"], default="zstd", help="of Parquet output")
    parser.add_argument("--threads", type=int, default=2)
    if plain:
        parser.add_argument("--plain", action="store_true", help=plain)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    return args


class Phases:
    """Wall time by phase; a phase may come again."""

    def __init__(self):
        self.start = self.last = time.perf_counter()
        self.seconds = {}

    def end(self, phase):
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0) + now - self.last
        self.last = now

    def report(self, peer, version, events):
        line = {
            "peer": peer,
            "version": version,
            "events": events,
            "seconds": round(self.last - self.start, 3),
            "read_compute_write": {phase: round(seconds, 3) for phase, seconds in self.seconds.items()},
            # Linux counts ru_maxrss in KiB.
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        print(json.dumps(line))

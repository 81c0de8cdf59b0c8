#!/usr/bin/env bash
# Measures how replay scales on this machine: workers in one process and in several, what is exchanged
# between processes, and what small epochs cost.
#
#   benches/scaling.sh OUT_DIR
#
# writes OUT_DIR/results.json and OUT_DIR/table.md. Environment: ROUNDS (3), AUCTIONS (300000),
# BINARY (target/release/advertisex, built first). All else it leaves is in target/scaling.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: $0 OUT_DIR" >&2
    exit 2
fi
ROUNDS=${ROUNDS:-3}
AUCTIONS=${AUCTIONS:-300000}
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
if [ -z "${BINARY:-}" ]; then
    BINARY=target/release/advertisex
    cargo build --release --locked --bin advertisex
fi
work=$PWD/target/scaling
rm -rf "$work"
mkdir -p "$work/runs"
"$BINARY" generate --quiet --output "$work/parquet" --format parquet --auctions "$AUCTIONS" \
    --bids-per-auction 2.95 --seed 1

TIMEFORMAT='%R %U %S'
replay() { # replay ROUND PROCESSES WORKERS EPOCH_EVENTS
    local name=$2x$3-$4
    echo "== $1: $2 x $3, epochs of $4" >&2
    { time "$BINARY" cluster -n "$2" -w "$3" -- replay --quiet --force --epoch-events "$4" \
        --input "$work/parquet" --lookups "$work/parquet" --output "$work/tables" 2>"$work/log"; } \
        2>"$work/runs/$name.$1.time" || { cat "$work/log" >&2; exit 1; }
    cp "$work/tables/run.json" "$work/runs/$name.$1.json"
}
# In turn, so that what else happens on the machine falls on all alike.
for round in $(seq "$ROUNDS"); do
    replay "$round" 1 1 0
    replay "$round" 1 2 0
    replay "$round" 2 1 0
    replay "$round" 2 2 0
    replay "$round" 3 1 0
done
for epoch in 20000 5000; do
    replay 1 1 2 "$epoch"
    replay 1 2 1 "$epoch"
done

python3 - "$work/runs" "$out" <<'PYTHON'
import json, pathlib, statistics, sys

runs, out = map(pathlib.Path, sys.argv[1:])
found, digests = {}, set()
for file in sorted(runs.glob("*.json")):
    name = file.stem.rsplit(".", 1)[0]
    report = json.loads(file.read_text())
    real, user, system = map(float, file.with_suffix(".time").read_text().split())
    digests.add(tuple((table["table"], table["rows"], table["digest"]) for table in report["tables"]))
    found.setdefault(name, []).append({
        "events": report["events"], "seconds": report["seconds"],
        "events_per_second": report["events_per_second"], "cpu_seconds": user + system,
        "exchanged_bytes": report["exchanged_bytes"], "peak_memory_bytes": report["peak_memory_bytes"],
    })
assert len(digests) == 1, "digests differ"
lines = ["| processes x workers, events an epoch | events/s | CPU, µs an event | exchanged, bytes an event | memory of the largest process, MB |",
         "|---|---|---|---|---|"]
medians = {}
for name, rounds in found.items():
    middle = lambda value: statistics.median(value(run) for run in rounds)
    row = medians[name] = {
        "events_per_second": middle(lambda run: run["events_per_second"]),
        "cpu_us_per_event": middle(lambda run: run["cpu_seconds"] / run["events"] * 1e6),
        "exchanged_bytes_per_event": middle(lambda run: run["exchanged_bytes"] / run["events"]),
        "peak_memory_mb": middle(lambda run: run["peak_memory_bytes"] / 1e6),
    }
    processes, epoch = name.split("-")
    lines.append(f"| {processes}, {'all' if epoch == '0' else epoch} | {row['events_per_second']:,.0f} | "
                 f"{row['cpu_us_per_event']:.2f} | {row['exchanged_bytes_per_event']:.1f} | {row['peak_memory_mb']:,.0f} |")
(out / "results.json").write_text(json.dumps({"rounds": found, "medians": medians}, indent=2) + "\n")
(out / "table.md").write_text("\n".join(lines) + "\n")
print("\n".join(lines))
PYTHON

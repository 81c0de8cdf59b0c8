#!/usr/bin/env bash
# Measures this machine: replay in turn with the peers, then latency and decoding.
#
#   benches/run.sh OUT_DIR
#
# writes OUT_DIR/results.json and OUT_DIR/README.md. Ours come from run.json, the peers' from the last
# line they print. Environment: ROUNDS (3), AUCTIONS (1000000), THREADS (2), PYTHON (python3).
# All else it leaves is in target/: data and tables in target/bench, the peers' venv in target/peers.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: $0 OUT_DIR" >&2
    exit 2
fi
ROUNDS=${ROUNDS:-3}
AUCTIONS=${AUCTIONS:-1000000}
THREADS=${THREADS:-2}
PYTHON=${PYTHON:-python3}
command_line="ROUNDS=$ROUNDS AUCTIONS=$AUCTIONS THREADS=$THREADS benches/run.sh $1"
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

say() { echo "== $*" >&2; }

work=$PWD/target/bench
runs=$work/runs
ours=target/release/advertisex
peer=target/peers/bin/python
rm -rf "$work"
mkdir -p "$runs"

say "build"
cargo build --release --locked --bin advertisex
[ -x "$peer" ] || "$PYTHON" -m venv target/peers
"$peer" -m pip install --quiet --disable-pip-version-check -r benches/peers/requirements.txt

say "generate $AUCTIONS auctions, twice"
for format in parquet raw; do
    "$ours" generate --quiet --output "$work/$format" --format "$format" \
        --auctions "$AUCTIONS" --bids-per-auction 2.95 --seed 1
done

replay() { # replay INPUT TABLE_FORMAT NAME
    say "$3: ours, $1 to $2"
    "$ours" replay --quiet --force --workers "$THREADS" --format "$2" \
        --input "$work/$1" --lookups "$work/$1" --output "$work/tables-$1-$2"
    cp "$work/tables-$1-$2/run.json" "$runs/$3.json"
}
recompute() { # recompute PEER TABLE_FORMAT NAME [OPTION]
    say "$3: $1, parquet to $2"
    local tables=$work/tables-$1${4:-}-$2
    rm -rf "$tables"
    "$peer" "benches/peers/${1}_peer.py" --input "$work/parquet" --lookups "$work/parquet" \
        --output "$tables" --format "$2" --threads "$THREADS" ${4:+"$4"} >"$work/peer.out"
    tail -n 1 "$work/peer.out" >"$runs/$3.json"
}

# In turn, so that what else happens on the machine falls on all alike.
for round in $(seq "$ROUNDS"); do
    for format in csv parquet; do
        replay parquet "$format" "ours-$format.$round"
        recompute duckdb "$format" "duckdb-$format.$round"
        recompute duckdb "$format" "duckdb-plain-$format.$round" --plain
    done
    replay raw csv "raw-csv.$round"
    if [ "$round" -eq 1 ]; then
        recompute polars csv "polars-csv.1"
    fi
done

say "compare every cell with DuckDB's"
# The peers have one column for all rejects; canonical history has none.
"$peer" - "$work/tables-parquet-csv" "$work/compared" <<'PYTHON'
import csv, pathlib, sys

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir()
for table in source.glob("*.csv"):
    if table.stem != "quality_minute":
        (target / table.name).symlink_to(table)
        continue
    with table.open(newline="") as rows, (target / table.name).open("w", newline="") as folded:
        rows, folded = csv.reader(rows), csv.writer(folded)
        header = next(rows)
        first = header.index("rejected_malformed")
        last = first + sum(name.startswith("rejected_") for name in header)
        folded.writerow(header[:first] + ["rejected"] + header[last:])
        for row in rows:
            folded.writerow(row[:first] + [sum(map(int, row[first:last]))] + row[last:])
PYTHON
"$peer" benches/peers/compare.py "$work/compared" "$work/tables-duckdb-csv" | tee "$out/compare.txt"
"$peer" benches/peers/compare.py "$work/tables-duckdb--plain-csv" "$work/tables-duckdb-csv"
if [ "$(grep -c ': equal, ' "$out/compare.txt")" -ne 7 ]; then
    echo "seven tables should have been compared" >&2
    exit 1
fi

say "latency"
cargo bench --locked --bench latency -- --out "$out/latency.json"
say "decoding"
cargo bench --locked --bench decode -- --quick | tee "$out/decode.txt"

say "results"
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
if [ -n "$(git status --porcelain --untracked-files=no 2>/dev/null)" ]; then
    commit="$commit, with local changes"
fi
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1 || true)
memory=$(sed -n 's/^MemTotal: *//p' /proc/meminfo 2>/dev/null || true)
COMMIT=$commit CPU=${cpu:-$(uname -m)} MEMORY=${memory:-unknown} CORES=$(getconf _NPROCESSORS_ONLN) \
    DATE=$(date -u +%Y-%m-%dT%H:%MZ) COMMAND=$command_line "$peer" - "$runs" "$out" <<'PYTHON'
import json, os, pathlib, re, statistics, sys

runs, out = map(pathlib.Path, sys.argv[1:])


def rounds(name):
    files = sorted(runs.glob(f"{name}.*.json"), key=lambda path: int(path.suffixes[-2][1:]))
    return [json.loads(path.read_text()) for path in files]


def accepted(run):
    return sum(feed["accepted"] for feed in run["feeds"].values())


def figures(name, memory):
    all_rounds = rounds(name)
    seconds = statistics.median(run["seconds"] for run in all_rounds)
    last = all_rounds[-1]
    return {
        "rounds": len(all_rounds),
        "events": last["events"],
        "seconds": round(seconds, 3),
        "seconds_by_round": [round(run["seconds"], 3) for run in all_rounds],
        "events_per_second": round(last["events"] / seconds),
        "peak_memory_bytes": statistics.median(run[memory] or 0 for run in all_rounds),
    }


def ours(name):
    found, last = figures(name, "peak_memory_bytes"), rounds(name)[-1]
    # From run.json itself, not recomputed.
    found["events_per_second"] = round(statistics.median(run["events_per_second"] for run in rounds(name)))
    found["accepted_events"] = accepted(last)
    found["memory_bytes_per_accepted_event"] = round(found["peak_memory_bytes"] / accepted(last), 1)
    return found


labels = {
    "ours-csv": "ours, Parquet to CSV",
    "ours-parquet": "ours, Parquet to Parquet",
    "raw-csv": "ours, raw feeds to CSV",
    "duckdb-csv": "DuckDB tuned, Parquet to CSV",
    "duckdb-parquet": "DuckDB tuned, Parquet to Parquet",
    "duckdb-plain-csv": "DuckDB plain, Parquet to CSV",
    "duckdb-plain-parquet": "DuckDB plain, Parquet to Parquet",
    "polars-csv": "Polars, Parquet to CSV",
}
measured = {
    name: ours(name) if name.startswith(("ours", "raw")) else figures(name, "peak_rss_bytes") for name in labels
}
peers = {rounds(name)[-1]["peer"]: rounds(name)[-1]["version"] for name in ("duckdb-csv", "polars-csv")}
ratios = {
    "duckdb_seconds_over_ours_csv": measured["duckdb-csv"]["seconds"] / measured["ours-csv"]["seconds"],
    "duckdb_seconds_over_ours_parquet": measured["duckdb-parquet"]["seconds"] / measured["ours-parquet"]["seconds"],
    "duckdb_plain_seconds_over_ours_csv": measured["duckdb-plain-csv"]["seconds"] / measured["ours-csv"]["seconds"],
    "duckdb_plain_seconds_over_ours_parquet":
        measured["duckdb-plain-parquet"]["seconds"] / measured["ours-parquet"]["seconds"],
    "polars_seconds_over_ours_csv": measured["polars-csv"]["seconds"] / measured["ours-csv"]["seconds"],
    "raw_rate_over_parquet_rate": measured["raw-csv"]["events_per_second"] / measured["ours-csv"]["events_per_second"],
    "memory_bytes_per_accepted_event": measured["ours-csv"]["memory_bytes_per_accepted_event"],
}
machine = {key: os.environ[key.upper()] for key in ("cores", "cpu", "memory", "date", "commit", "command")}
latency = json.loads((out / "latency.json").read_text())
results = {
    "machine": machine,
    "peers": peers,
    "measured": measured,
    "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
    "latency": latency,
    "cells": (out / "compare.txt").read_text().splitlines(),
}
(out / "results.json").write_text(json.dumps(results, indent=2) + "\n")


def table(header, rows):
    rows = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    pad = lambda row: "| " + " | ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]) + " |"
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([pad(rows[0]), rule, *map(pad, rows[1:])])


def gib(value):
    return f"{value / 2**30:.2f}"


def decoded():
    """Criterion's middle estimate of each group and unit."""
    name = None
    for line in (out / "decode.txt").read_text().splitlines():
        start = re.match(r"(\S.*)/(bytes|records)\s*(time:.*)?$", line)
        name = start.group(1, 2) if start else name
        middle = re.search(r"thrpt:\s*\[\S+ \S+ (\S+ \S+) \S+ \S+\]", line)
        if middle and name:
            yield name, middle.group(1)
            name = None


speeds = {}
for (group, unit), speed in decoded():
    speeds.setdefault(group, {})[unit] = speed
text = [
    f"# Benchmark of {machine['date']}\n",
    f"- machine: {machine['cores']} cores, {machine['cpu']}, {machine['memory']} of memory",
    f"- commit: {machine['commit']}",
    f"- command: `{machine['command']}`",
    f"- peers: {', '.join(f'{name} {version}' for name, version in sorted(peers.items()))}\n",
    "Seconds and memory are medians over the rounds; all figures are in `results.json`.\n",
    table(
        ["run", "rounds", "events", "seconds", "least", "most", "events/s", "peak GiB"],
        [
            [labels[name], run["rounds"], f"{run['events']:,}", f"{run['seconds']:.2f}",
             f"{min(run['seconds_by_round']):.2f}", f"{max(run['seconds_by_round']):.2f}",
             f"{run['events_per_second']:,}", gib(run["peak_memory_bytes"])]
            for name, run in measured.items()
        ],
    ),
    "",
    table(
        ["ratio", "value"],
        [
            ["DuckDB tuned, seconds / ours, to CSV", f"{ratios['duckdb_seconds_over_ours_csv']:.2f}"],
            ["DuckDB tuned, seconds / ours, to Parquet", f"{ratios['duckdb_seconds_over_ours_parquet']:.2f}"],
            ["DuckDB plain, seconds / ours, to CSV", f"{ratios['duckdb_plain_seconds_over_ours_csv']:.2f}"],
            ["DuckDB plain, seconds / ours, to Parquet", f"{ratios['duckdb_plain_seconds_over_ours_parquet']:.2f}"],
            ["Polars seconds / ours, to CSV", f"{ratios['polars_seconds_over_ours_csv']:.2f}"],
            ["our events/s from raw feeds / from Parquet", f"{ratios['raw_rate_over_parquet_rate']:.2f}"],
            ["our peak memory bytes / accepted event", f"{ratios['memory_bytes_per_accepted_event']:.0f}"],
        ],
    ),
    "",
    f"Latency of epochs of {latency['events_per_epoch']:,} events on one worker that holds {latency['warm_events']:,}: "
    f"p50 {latency['p50_ms']:.1f} ms, p99 {latency['p99_ms']:.1f} ms, max {latency['max_ms']:.1f} ms; "
    f"{latency['events_per_second']:,.0f} events/s (`latency.json`).\n",
    "Decoding on one thread (`decode.txt`):\n",
    table(
        ["file", "bytes as stored", "records"],
        [[group, units.get("bytes", ""), units.get("records", "")] for group, units in speeds.items()],
    ),
    "",
    "Every cell was compared with DuckDB's (`compare.txt`):\n",
    *(f"- {line}" for line in results["cells"]),
]
(out / "README.md").write_text("\n".join(text) + "\n")
PYTHON
say "written to $out"

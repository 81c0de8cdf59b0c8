#!/usr/bin/env bash
# Bytes per column of the ClickHouse tables under several codecs, on tables that a replay wrote.
#   benches/clickhouse_codecs.sh http://USER:PASSWORD@HOST:PORT TABLES_DIR
# Makes and drops the databases codecs_*. A sixteenth of all keys is written four times over, as
# live corrections would; then every table is merged (FINAL), so that bytes don't depend on luck.
set -euo pipefail
url=${1:?URL} dir=${2:?directory of CSV tables} root=$(cd "$(dirname "$0")/.." && pwd)

ask() { # ask DATABASE [SETTINGS]: runs the SQL on stdin
    curl -sS --fail-with-body --data-binary @- "$url/?database=$1${2:-}"
}

# Variant -> a sed script over the schema.
variant() {
    case $1 in
        shipped) ;;
        lz4) echo 's/ *CODEC(.*)\(,\{0,1\}\)$/\1/' ;;
        zstd) echo 's/CODEC(.*ZSTD([13]))/CODEC(ZSTD(1))/' ;;
        zstd3) echo 's/ZSTD(1)/ZSTD(3)/' ;;
        t64) echo 's/\(Int64 *\|UInt64 *\|DateTime64.*) *\)CODEC(.*)/\1CODEC(T64, ZSTD(1))/' ;;
        delta) echo 's/\(Int64 *\|UInt64 *\|DateTime64.*) *\)CODEC(.*)/\1CODEC(Delta, ZSTD(1))/' ;;
        doubledelta) echo 's/\(Int64 *\|UInt64 *\|DateTime64.*) *\)CODEC(.*)/\1CODEC(DoubleDelta, ZSTD(1))/' ;;
        string) echo 's/LowCardinality(String) CODEC/String CODEC/' ;;
    esac
}

variants="shipped lz4 zstd zstd3 t64 delta doubledelta string"
for name in $variants; do
    echo "DROP DATABASE IF EXISTS codecs_$name" | ask default
    echo "CREATE DATABASE codecs_$name" | ask default
    sed -e '/^--/d' -e "$(variant "$name")" -e 's/_window = 1000/&, min_bytes_for_wide_part = 0/' "$root/config/schemas/clickhouse_facts.sql" |
        while IFS= read -r -d ';' statement; do
            [ -z "${statement//[[:space:]]/}" ] || printf '%s' "$statement" | ask "codecs_$name"
        done
    for csv in "$dir"/*.csv; do
        table=$(basename "$csv" .csv)
        header=$(head -1 "$csv")
        window=${header%%,*}
        case $window in minute | hour | day) values="fromUnixTimestamp64Milli($window, 'UTC') AS ${window}, * EXCEPT $window" ;; *) values='*' ;; esac
        # An epoch is the second of a write, in milliseconds, some days after the window began.
        query="INSERT INTO $table ($header, version, is_deleted) SELECT *, 1775000000000 + 1000 * intDiv(rowNumberInAllBlocks(), 500), 0 FROM (SELECT $values FROM input('$(echo "$header" | sed -e 's/\(campaign_id\|creative_id\|site\|country\|device\|model\|feed\|conversion_id\|path\)/\1 String/g' -e 's/,/ Int64,/g' -e 's/String Int64/String/g' -e 's/\([a-z_]*\)$/\1 Int64/')')) FORMAT CSVWithNames"
        [ "$table" = conversion_paths ] && query="INSERT INTO $table ($header, version, is_deleted) SELECT *, 1775000000000 + 1000 * intDiv(rowNumberInAllBlocks(), 500), 0 FROM input('conversion_id String, model String, path String, credit_micros String, revenue_micros String') FORMAT CSVWithNames"
        encoded=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1]))' "$query")
        curl -sS --fail-with-body --data-binary @"$csv" "$url/?database=codecs_$name&max_partitions_per_insert_block=0&async_insert=0&query=$encoded"
        # Corrections: later epochs for keys all over the table, once the first rows are there.
        for round in 1 2 3; do
            echo "INSERT INTO $table SELECT * REPLACE (version + 3600000 * $round AS version) FROM $table WHERE cityHash64(*) % 16 = $round SETTINGS max_partitions_per_insert_block = 0" | ask "codecs_$name"
        done
        echo "OPTIMIZE TABLE $table FINAL" | ask "codecs_$name"
    done
done

columns=$(for name in $variants; do printf ", sumIf(bytes, database = 'codecs_%s') AS %s" "$name" "$name"; done)
parts="SELECT database, table, column, sum(column_data_compressed_bytes) AS bytes, sum(rows) AS n
    FROM system.parts_columns WHERE active AND database LIKE 'codecs_%' GROUP BY database, table, column"
echo "SELECT table, column $columns FROM ($parts) GROUP BY table, column ORDER BY table, shipped DESC FORMAT PrettyCompactNoEscapesMonoBlock" | ask default
echo "SELECT table, anyIf(n, database = 'codecs_shipped') AS rows $columns FROM ($parts) GROUP BY table ORDER BY table FORMAT PrettyCompactNoEscapesMonoBlock" | ask default
for name in $variants; do echo "DROP DATABASE codecs_$name" | ask default; done

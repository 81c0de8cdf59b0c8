"""Compares the tables two directories share, cell by cell. Prints a line a table; exits with 1 on a difference."""

import csv
import sys
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet


def rows(path):
    """Header and rows as text, so that CSV and Parquet compare with each other."""
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            yield from csv.reader(file)
        return
    file = parquet.ParquetFile(path)
    yield file.schema_arrow.names
    for batch in file.iter_batches():
        yield from map(list, zip(*(column.cast(pa.string()).to_pylist() for column in batch.columns)))


def tables(directory):
    files = [path for path in sorted(Path(directory).iterdir()) if path.suffix in (".csv", ".parquet")]
    return {path.stem: path for path in files}


def compare(left, right):
    """None, or what differs first."""
    header = None
    count = 0
    for count, (a, b) in enumerate(zip_longest(rows(left), rows(right))):
        if a != b:
            if header is None or a is None or b is None:
                return f"row {count}: {a} is not {b}"
            cells = [f"{name} {x} is not {y}" for name, x, y in zip_longest(header, a, b) if x != y]
            return f"row {count} {a}: {', '.join(cells)}"
        header = header or a
    return None, count


def main(left, right):
    left, right = tables(left), tables(right)
    shared = sorted(left.keys() & right.keys())
    if not shared:
        sys.exit("no table in both")
    different = False
    for name in shared:
        result = compare(left[name], right[name])
        if isinstance(result, str):
            different = True
            print(f"{name}: DIFFERENT at {result}")
        else:
            print(f"{name}: equal, {result[1]} rows")
    sys.exit(different)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Compares the tables two directories share, cell by cell. Prints a line a table; exits with 1 on a difference."""

import csv
import sys
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet


def rows(path):
    """The header, then the rows, all as text: CSV and Parquet compare with each other."""
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            yield from csv.reader(file)
        return
    file = parquet.ParquetFile(path)
    yield file.schema_arrow.names
    for batch in file.iter_batches():
        yield from map(list, zip(*(column.cast(pa.string()).to_pylist() for column in batch.columns)))


def compare(left, right):
    """Whether the tables are equal, and what to say of them."""
    count, header = -1, None
    for count, (a, b) in enumerate(zip_longest(rows(left), rows(right))):
        if a != b:
            if header is None or a is None or b is None:
                return False, f"DIFFERENT at row {count}: {a} and {b}"
            cells = (f"{name} {x} and {y}" for name, x, y in zip_longest(header, a, b) if x != y)
            return False, f"DIFFERENT at row {count} {a}: {', '.join(cells)}"
        header = header or a
    return True, f"equal, {count} rows"


def tables(directory):
    return {path.stem: path for path in Path(directory).iterdir() if path.suffix in (".csv", ".parquet")}


def main(left, right):
    left, right = tables(left), tables(right)
    shared = sorted(left.keys() & right.keys())
    if not shared:
        sys.exit("no table in both")
    all_equal = True
    for name in shared:
        equal, words = compare(left[name], right[name])
        all_equal &= equal
        print(f"{name}: {words}")
    sys.exit(not all_equal)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} A_DIR B_DIR")
    main(*sys.argv[1:])

"""Are the tables of two engines equal, cell by cell, whatever the order of their rows and files?"""

from pathlib import Path

import polars as pl

from benchmarks.analytics.task import Table


def difference(ours: Path, theirs: Path, table: Table) -> str:
    """What differs between two folders of Parquet files, '' when nothing does."""
    left, right = read(ours, table), read(theirs, table)
    if left.height != right.height:
        return f"{left.height} rows and {right.height}"
    unequal = pl.DataFrame([left[name].ne_missing(right[name]) for name in left.columns])
    rows = unequal.select(pl.any_horizontal(pl.all())).to_series().arg_true()
    return f"{len(rows)} rows, first {left.row(rows[0])} and {right.row(rows[0])}" if len(rows) else ""


def read(folder: Path, table: Table) -> pl.DataFrame:
    """The columns of a table, numbers as Float64 (exact below 2^53), its rows in one order."""
    rows = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=False)
    typed = rows.select(pl.col(table.keys).cast(pl.String), pl.col(table.numbers).cast(pl.Float64))
    return typed.sort(table.keys).collect()

"""From frames to sorted rows for `writer.write_period`, without a loop over cells.

Frames have the columns `subject` and `platform`, which name the row; packed rows have `head` (the key up to the
aggregation), `packed` and `cells`. A row is packed once for all periods that hold the same values.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from pinflow.hbase_schema.keys import escape, period_suffix, subject_prefix
from pinflow.hbase_schema.tables import AUDIENCES, METRICS, OTHER, TOP_ITEMS, Row, Section

NAMES = ("subject", "platform")


def metric_rows(frame: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Packed rows from a column of whole numbers for each metric; zero and null leave the cell out."""
    cells = [
        pl.when(pl.col(name) != 0).then(_cell(METRICS, pl.lit(name), pl.col(name).cast(pl.String))) for name in metrics
    ]
    count = pl.sum_horizontal((pl.col(name) != 0) for name in metrics)
    return _sorted(frame.select(*NAMES, packed=pl.concat_str(cells, ignore_nulls=True), cells=count))


def audience_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Packed rows from one entry for each `dimension` (country, …) and `value`, with its `users`."""
    qualifier = pl.col("dimension") + "/" + pl.col("value")
    entries = frame.select(*NAMES, qualifier=qualifier, text=pl.col("users").cast(pl.String))
    return _joined(AUDIENCES, entries)


def top_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Packed rows from one entry for each `items`, `by`, `rank` (null: the remainder), `id` and `value`."""
    rank = pl.col("rank").cast(pl.String).str.zfill(3).fill_null(OTHER)
    value = pl.col("value")
    is_whole = (value == value.floor()) & (value.abs() < 2**53)
    number = pl.when(is_whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))
    quoted = pl.struct(i="id").struct.json_encode().str.slice(5).str.strip_suffix("}")
    entries = frame.select(
        *NAMES,
        qualifier=pl.col("items") + "/" + pl.col("by") + "/" + rank,
        text="[" + quoted + "," + number + "]",
    )
    return _joined(TOP_ITEMS, entries)


def joined(rows: pl.DataFrame) -> pl.DataFrame:
    """Packed rows that were made in parts, in the order of their keys: the cells of equal heads together."""
    ordered = rows.select("head", "packed", "cells").sort("head", "packed")
    if not ordered["head"].is_duplicated().any():
        return ordered
    parts = ordered.group_by("head", maintain_order=True)
    return parts.agg(pl.col("packed").str.join(""), pl.col("cells").sum())


def heads(rows: pl.DataFrame) -> list[tuple[bytes, bytes]]:
    """Head (the key without aggregation and date) and packed cells of each row, sorted."""
    return list(zip(_bytes(rows["head"]), _bytes(rows["packed"]), strict=True))


def period_rows(rows: pl.DataFrame, aggregation: str, start: date) -> Iterator[Row]:
    """The rows with their keys, for one period."""
    keys = _bytes(rows["head"] + period_suffix(aggregation, start).decode())
    return map(Row, keys, _bytes(rows["packed"]), rows["cells"].to_list())


def _bytes(texts: pl.Series) -> list[bytes]:
    return texts.cast(pl.Binary).to_list()


def _cell(section: Section, qualifier: pl.Expr, value: pl.Expr) -> pl.Expr:
    column = pl.lit(section.family.decode()) + qualifier
    return pl.concat_str(_sized(column), _sized(value))


def _sized(text: pl.Expr) -> pl.Expr:
    return text.str.len_bytes().cast(pl.String) + ":" + text


def _joined(section: Section, entries: pl.DataFrame) -> pl.DataFrame:
    """The cells of each row together, in the order of the entries."""
    cells = entries.select(*NAMES, cell=_cell(section, pl.col("qualifier"), pl.col("text")))
    return _sorted(cells.group_by(NAMES, maintain_order=True).agg(packed=pl.col("cell").str.join(""), cells=pl.len()))


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    """The packed rows in the order of their keys, whose part before the aggregation is `head`."""
    subjects = rows["subject"].unique()
    prefixes = pl.DataFrame({"subject": subjects, "prefix": [subject_prefix(s).decode() for s in subjects]})
    platforms = rows["platform"].unique()
    escaped = [escape(platform).decode() for platform in platforms]
    platform = pl.col("platform").replace_strict(platforms, escaped, return_dtype=pl.String)
    return (
        rows.join(prefixes, on="subject", how="left")
        .select("packed", "cells", head=pl.col("prefix") + platform)
        .sort("head")
    )

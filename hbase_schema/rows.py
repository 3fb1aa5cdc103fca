"""From frames to sorted rows for `writer.write_period`, without a loop over cells.

Frames have the columns `subject` and `platform`, which name the row; packed rows have `head` (the key up to where the
aggregation starts), `packed` and `cells`. A row is packed once for all periods that hold the same values.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pinflow.hbase_schema.blocks import BLOCK_BYTES, Block
from pinflow.hbase_schema.keys import escape, period_suffix, subject_prefix
from pinflow.hbase_schema.tables import AUDIENCES, METRICS, OTHER, TOP_ITEMS, Row, Section

NAMES = ("subject", "platform")
_SLICE_BYTES = 8 << 20


def metric_rows(frame: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Packed rows from a column of whole numbers for each metric; zero and null leave the cell out."""
    cells = [
        pl.when(pl.col(name) != 0).then(_cell(METRICS, pl.lit(name), pl.col(name).cast(pl.String))) for name in metrics
    ]
    count = pl.sum_horizontal((pl.col(name) != 0) for name in metrics)
    return joined(_headed(frame.select(*NAMES, packed=pl.concat_str(cells, ignore_nulls=True), cells=count)))


def audience_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Packed rows from one entry for each `dimension` (country, …) and `value`, with its `users`."""
    qualifier = pl.format("{}/{}", "dimension", "value")
    return _joined(AUDIENCES, frame.select(*NAMES, qualifier=qualifier, text=pl.col("users").cast(pl.String)))


def top_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Packed rows from one entry for each `items`, `by`, `rank` (null: the remainder), `id` and `value`."""
    rank = pl.col("rank").cast(pl.String).str.zfill(3).fill_null(OTHER)
    value = pl.col("value")
    is_whole = (value == value.floor()) & (value.abs() < 2**53)
    number = pl.when(is_whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))
    quoted = pl.struct(i="id").struct.json_encode().str.slice(5).str.strip_suffix("}")
    entries = frame.select(
        *NAMES, qualifier=pl.format("{}/{}/{}", "items", "by", rank), text=pl.format("[{},{}]", quoted, number)
    )
    return _joined(TOP_ITEMS, entries)


def joined(rows: pl.DataFrame) -> pl.DataFrame:
    """Packed rows in the order of their keys; the cells of equal heads, which were made in parts, together."""
    ordered = rows.select("head", "packed", "cells").sort("head")
    heads = ordered["head"]
    if (heads != heads.shift()).all():
        return ordered
    parts = ordered.sort("head", "packed").group_by("head", maintain_order=True)
    return parts.agg(pl.col("packed").str.join(""), pl.col("cells").sum())


def blocks(rows: pl.DataFrame) -> Iterator[Block]:
    """The rows, sorted by head, as blocks for `Store.bulk_load`."""
    if rows.is_empty():
        return
    for part in rows.iter_slices(max(1, rows.height * _SLICE_BYTES // max(1, int(rows.estimated_size())))):
        heads, cells = (_Texts.of(part.select(_sized(pl.col(name))).to_series()) for name in ("head", "packed"))
        firsts = np.flatnonzero(np.diff(cells.offsets[:-1] // BLOCK_BYTES, prepend=-1))
        for first, end in pairwise([*firsts.tolist(), part.height]):
            head = part["head"][first].encode()
            yield Block.compressed(head, end - first, heads.between(first, end), cells.between(first, end))


def period_rows(rows: pl.DataFrame, aggregation: str, start: date) -> Iterator[Row]:
    """The rows with their keys, for one period."""
    keys = _bytes(rows["head"] + period_suffix(aggregation, start)[1:].decode())
    return map(Row, keys, _bytes(rows["packed"]), rows["cells"].to_list())


class _Texts(NamedTuple):
    """A column of texts as it lies in memory: one after the other, the bounds of each in `offsets`."""

    offsets: npt.NDArray[np.int64]
    data: memoryview

    @classmethod
    def of(cls, column: pl.Series) -> "_Texts":
        array = column.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, data = array.buffers()
        bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        return cls(bounds, memoryview(data))

    def joined(self, bounds: npt.NDArray[np.int64]) -> pl.Series:
        """A text for each pair of neighbours in `bounds`: those from the one to before the other, in one."""
        offsets = pa.py_buffer(self.offsets[bounds])
        texts = pa.LargeStringArray.from_buffers(len(bounds) - 1, offsets, pa.py_buffer(self.data))
        return pl.Series(texts)

    def between(self, first: int, end: int) -> memoryview:
        return self.data[self.offsets[first] : self.offsets[end]]


def _bytes(texts: pl.Series) -> list[bytes]:
    return texts.cast(pl.Binary).to_list()


def _cell(section: Section, qualifier: pl.Expr, value: pl.Expr) -> pl.Expr:
    family = section.family.decode()
    column_bytes = qualifier.str.len_bytes() + len(section.family)
    return pl.format(f"{{}}:{family}{{}}{{}}:{{}}", column_bytes, qualifier, value.str.len_bytes(), value)


def _sized(text: pl.Expr) -> pl.Expr:
    return pl.format("{}:{}", text.str.len_bytes(), text)


def _joined(section: Section, entries: pl.DataFrame) -> pl.DataFrame:
    """The cells of each row together, in the order of the entries."""
    if entries.is_empty():
        return _headed(entries.select(*NAMES, packed="text", cells=pl.lit(0, pl.UInt32)))
    cells = _Texts.of(entries.select(_cell(section, pl.col("qualifier"), pl.col("text"))).to_series())
    is_first = entries.select(pl.struct(NAMES).rle_id().diff().fill_null(1) != 0).to_series()
    bounds = np.append(is_first.arg_true().to_numpy(), entries.height)
    rows = entries.filter(is_first).select(*NAMES)
    packed = rows.with_columns(packed=cells.joined(bounds), cells=pl.Series(np.diff(bounds), dtype=pl.UInt32))
    return joined(_headed(packed))


def _headed(rows: pl.DataFrame) -> pl.DataFrame:
    """The packed rows with their `head`, the part of their keys up to the aggregation."""
    subjects = rows["subject"].unique()
    prefixes = pl.DataFrame({"subject": subjects, "prefix": [subject_prefix(s).decode() for s in subjects]})
    platforms = rows["platform"].unique()
    escaped = [f"{escape(platform).decode()}_" for platform in platforms]
    platform = pl.col("platform").replace_strict(platforms, escaped, return_dtype=pl.String)
    return rows.join(prefixes, on="subject", how="left").select("packed", "cells", head=pl.col("prefix") + platform)

"""From frames to sorted rows for `writer.write_period`, without a loop over cells.

Frames have the columns `subject` and `platform`, which name the row; packed rows have `head` (the key up to where the
aggregation starts), `packed` and `cells`. A row is packed once for all periods that hold the same values.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pinflow.hbase_schema.blocks import BLOCK_BYTES, Block
from pinflow.hbase_schema.keys import escape, period_suffix, subject_prefix
from pinflow.hbase_schema.tables import AUDIENCES, METRICS, OTHER, TOP_ITEMS, Row, Section

NAMES = ("subject", "platform")
_SLICE_BYTES = 8 << 20

Places = npt.NDArray[np.integer[Any]]


def metric_rows(frame: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Packed rows from a column of whole numbers for each metric; zero and null leave the cell out."""
    values = frame.select(pl.col(*metrics).cast(pl.Int64).fill_null(0)).to_numpy()
    rows, columns = np.nonzero(values)
    cells = _cells(METRICS, pl.Series(metrics), columns, pl.Series(values[rows, columns]).cast(pl.String))
    return _packed(frame, cells, np.bincount(rows, minlength=frame.height))


def audience_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Packed rows from one entry for each `dimension` (country, …) and `value`, with its `users`."""
    which, distinct = _distinct(frame, "dimension", "value")
    qualifiers = distinct.select(pl.format("{}/{}", "dimension", "value")).to_series()
    return _joined(frame, _cells(AUDIENCES, qualifiers, which, frame["users"].cast(pl.String)))


def top_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Packed rows from one entry for each `items`, `by`, `rank` (null: the remainder), `id` and `value`."""
    which, distinct = _distinct(frame, "items", "by", "rank")
    rank = pl.col("rank").cast(pl.String).str.zfill(3).fill_null(OTHER)
    qualifiers = distinct.select(pl.format("{}/{}/{}", "items", "by", rank)).to_series()
    ids, named = _distinct(frame, "id")
    quoted = pl.struct(i=pl.col("id").cast(pl.String)).struct.json_encode().str.slice(5).str.strip_suffix("}")
    opened = named.select(pl.format("[{},", quoted)).to_series().gather(ids)
    return _joined(frame, _cells(TOP_ITEMS, qualifiers, which, opened, _numbers(frame), pl.Series(["]"])))


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


def _numbers(frame: pl.DataFrame) -> pl.Series:
    """The texts of the column `value`: whole numbers without a fraction."""
    value = pl.col("value")
    is_whole = (value == value.floor()) & (value.abs() < 2**53)
    whole = value.cast(pl.Int64, strict=False).cast(pl.String)
    if frame.select(is_whole.all()).item():
        return frame.select(whole).to_series()
    return frame.select(pl.when(is_whole).then(whole).otherwise(value.cast(pl.String))).to_series()


def _cells(section: Section, qualifiers: pl.Series, which: Places, *texts: pl.Series) -> pl.Series:
    """Cells as they are packed: of each the place of its qualifier in `qualifiers`, and the texts that make its value.

    A text that is there once goes for all cells.
    """
    family = section.family.decode()
    columns = pl.select(pl.format(f"{{}}:{family}{{}}", qualifiers.str.len_bytes() + len(family), qualifiers))
    size = np.sum(np.broadcast_arrays(*(text.str.len_bytes().fill_null(0).to_numpy() for text in texts)), axis=0)
    sizes = pl.Series([f"{number}:" for number in range(int(size.max(initial=0)) + 1)])
    return pl.select(pl.concat_str(columns.to_series().gather(which), sizes.gather(size), *texts)).to_series()


def _distinct(frame: pl.DataFrame, *names: str) -> tuple[Places, pl.DataFrame]:
    """A number from 0 for each row, equal for rows that are equal in some columns; and a row of each number.

    It takes memory for each combination of the columns' values, whether a row has it or not.
    """
    numbers = np.zeros(frame.height, np.int64)
    for name in names:
        codes = _codes(frame[name])
        numbers = numbers * (int(codes.max(initial=0)) + 1) + codes
    row_of = np.full(int(numbers.max(initial=-1)) + 1, -1, np.int64)
    row_of[numbers] = np.arange(len(numbers))
    used = np.flatnonzero(row_of >= 0)
    place = np.zeros(len(row_of), np.uint32)
    place[used] = np.arange(len(used), dtype=np.uint32)
    return place[numbers], frame.select(names)[row_of[used]]


def _codes(column: pl.Series) -> npt.NDArray[np.int64]:
    """Whole numbers from 1, equal for equal values; 0 for null."""
    if not column.dtype.is_integer():
        column = column.cast(column.dtype if isinstance(column.dtype, pl.Categorical) else pl.Categorical())
        column = column.to_physical()
    numbers = column.cast(pl.Int64)
    lowest = numbers.min()
    return (numbers + (1 - lowest if isinstance(lowest, int) else 0)).fill_null(0).to_numpy()


def _sized(text: pl.Expr) -> pl.Expr:
    return pl.format("{}:{}", text.str.len_bytes(), text)


def _joined(frame: pl.DataFrame, cells: pl.Series) -> pl.DataFrame:
    """The cells of each row together, one for each entry, in the order of these."""
    subjects, platforms = (_codes(frame[name]) for name in NAMES)
    is_first = np.ones(frame.height, np.bool_)
    is_first[1:] = (subjects[1:] != subjects[:-1]) | (platforms[1:] != platforms[:-1])
    firsts = np.flatnonzero(is_first)
    return _packed(frame[firsts], cells, np.diff(firsts, append=frame.height))


def _packed(names: pl.DataFrame, cells: pl.Series, counts: Places) -> pl.DataFrame:
    """Packed rows: so many of the cells for each of `names`."""
    texts = _Texts.of(cells).joined(np.append(0, np.cumsum(counts)))
    return joined(pl.DataFrame({"head": _heads(names), "packed": texts, "cells": counts}))


def _heads(names: pl.DataFrame) -> pl.Series:
    """The part of the keys up to the aggregation."""
    subjects, distinct = _distinct(names, "subject")
    prefixes = [subject_prefix(subject).decode() for subject in distinct["subject"]]
    platforms, distinct = _distinct(names, "platform")
    escaped = [f"{escape(platform).decode()}_" for platform in distinct["platform"]]
    first, second = pl.Series(prefixes, dtype=pl.String), pl.Series(escaped, dtype=pl.String)
    return first.gather(subjects) + second.gather(platforms)

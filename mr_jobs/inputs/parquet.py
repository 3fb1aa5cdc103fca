"""Reads Parquet files into columns of text, some row groups at a time; a line is a row there."""

import json
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pyarrow.types as arrow_types
from pyarrow.lib import ArrowException, DataType

from pinflow.errors import InputError
from pinflow.mr_jobs.inputs.parsed import Rows
from pinflow.mr_jobs.inputs.splits import Split, open_input
from pinflow.mr_jobs.inputs.timestamps import UTC
from pinflow.storage import is_remote

_BYTES_A_ROW = 128  # a guess: blocks of text are cut by bytes, batches of rows by number


def row_group_sizes(path: str) -> list[int]:
    """Compressed bytes of each row group of a file."""
    metadata = _open(path).metadata
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    return [sum(group.column(i).total_compressed_size for i in range(group.num_columns)) for group in groups]


def number_columns(path: str) -> tuple[set[str], set[str]]:
    """The names of a file's columns that hold numbers, and of all its columns."""
    schema = _open(path).schema_arrow
    numeric = {field.name for field in schema if _is_number(field.type)}
    return numeric, set(schema.names)


def read_row_groups(split: Split, fields: Mapping[str, str], block_bytes: int) -> Iterator[Rows]:
    """Read the row groups of a split in batches; `fields` is column = the name in the file.

    Numbers become their decimal text (whole ones without a fraction) and dates and times of `timestamp` stay what
    they are; without time zone they are UTC. Raises `InputError` when the file or a column cannot be read.
    """
    file = _open(split.path)
    names = sorted(set(fields.values()).intersection(file.schema_arrow.names))
    first = sum(file.metadata.row_group(i).num_rows for i in range(split.start))
    groups = list(range(split.start, split.start + split.length))
    size = max(1, block_bytes // _BYTES_A_ROW)
    try:
        for batch in file.iter_batches(size, row_groups=groups, columns=names):
            frame = pl.DataFrame(pl.from_arrow(batch)) if names else pl.DataFrame()
            yield _rows(frame, batch.num_rows, fields, first, split.path)
            first += batch.num_rows
    except (ArrowException, OSError) as error:
        raise _unreadable(split.path, error) from error


def _open(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(open_input(path) if is_remote(path) else path)
    except (ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"the Parquet file {path} cannot be read: {str(error).splitlines()[0]}. Write it again, then repeat the run"
    )


def _is_number(kind: DataType) -> bool:
    return bool(arrow_types.is_integer(kind) or arrow_types.is_floating(kind) or arrow_types.is_decimal(kind))


def _rows(frame: pl.DataFrame, height: int, fields: Mapping[str, str], first: int, path: str) -> Rows:
    columns = {}
    for column, name in fields.items():
        values = frame[name] if name in frame.columns else pl.Series([None] * height, dtype=pl.String)
        columns[column] = _as_text(values, path, keep_times=column == "timestamp")
    text = frame if frame.width else pl.DataFrame({"row": [None] * height})
    return Rows(
        pl.DataFrame(columns),
        lambda: np.arange(first, first + height, dtype=np.int64),
        lambda row: json.dumps(text.row(row, named=True), ensure_ascii=False, default=str).encode(),
    )


def _as_text(values: pl.Series, path: str, *, keep_times: bool) -> pl.Series:
    kind = values.dtype
    if kind.is_nested() or kind == pl.Object:
        raise InputError(f"column {values.name!r} of {path} holds {kind}; valid: text, numbers, dates and times")
    if keep_times and isinstance(kind, pl.Datetime):
        zoned = values if kind.time_zone else values.dt.replace_time_zone("UTC")
        return zoned.dt.convert_time_zone("UTC").cast(UTC)
    if keep_times and kind == pl.Date:
        return values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if kind.is_float():
        values = values.fill_nan(None)
        whole = values.cast(pl.Int64, strict=False)
        return values.cast(pl.String).zip_with((whole.cast(kind) != values).fill_null(True), whole.cast(pl.String))
    if isinstance(kind, pl.Decimal) and kind.scale:
        return values.cast(pl.String).str.replace(r"\.?0+$", "")
    return values.cast(pl.String, strict=False)

"""Parquet and Arrow of texts as codes: what Parquet keeps as codes of a dictionary is read and written as such."""

from collections.abc import Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pinflow.mr_jobs.codes import Coded, code
from pinflow.storage import open_storage

COMPRESSION_LEVEL = 1
ROWS_A_GROUP = 1 << 22
"""A group of rows has a dictionary of its own: in large ones fewer texts are read and matched again."""
DICTIONARY_BYTES = 1 << 26
"""Above it Parquet keeps texts instead of codes, which are then hashed row by row."""


def is_coded(frame: pl.DataFrame) -> bool:
    """Whether a column of the frame is Categorical."""
    return any(isinstance(dtype, pl.Categorical) for dtype in frame.dtypes)


def to_table(frame: pl.DataFrame) -> pa.Table:
    """The frame's rows in one batch; of categories only those that the rows have."""
    schema = frame.clear().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return pa.table([_to_array(column.rechunk()) for column in frame], schema=schema)


def _to_array(column: pl.Series) -> pa.Array:
    """The column as Arrow has it; a Categorical without looking up its texts, as Polars does."""
    if not isinstance(column.dtype, pl.Categorical):
        return column.to_arrow(compat_level=pl.CompatLevel.oldest())
    return to_dictionary(code(column))


def to_dictionary(column: Coded) -> pa.DictionaryArray:
    """The column as Arrow has it, with all of its texts as the dictionary."""
    texts = column.values.drop_nulls().to_arrow(compat_level=pl.CompatLevel.oldest())
    if not column.values.null_count():
        return _dictionary(pa.array(column.codes.astype(np.uint32, copy=False)), texts)
    is_text = column.values.is_not_null().to_numpy()  # null is none of the dictionary's texts
    place = np.where(is_text, np.cumsum(is_text, dtype=np.uint32) - np.uint32(1), np.uint32(0))  # Arrow reads all codes
    return _dictionary(pa.array(column.by_row(place), mask=column.is_null()), texts)


def _dictionary(codes: pa.Array, texts: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(codes, texts, safe=False)  # not checked once more: they are codes of texts


def as_parquet(table: pa.Table, statistics: Sequence[str]) -> bytes:
    """The table as a Parquet file, dictionaries as plain texts, with minima and maxima of the columns `statistics`."""
    sink = pa.BufferOutputStream()
    # without nulls nothing has to tell, row by row, that there is a value
    fields = [field.with_nullable(_may_be_null(field, table[field.name])) for field in table.schema]
    pq.write_table(
        pa.table(table.columns, schema=pa.schema(fields)),
        sink,
        row_group_size=ROWS_A_GROUP,
        use_dictionary=[field.name for field in table.schema if not _is_text(field.type)],
        dictionary_pagesize_limit=DICTIONARY_BYTES,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        store_schema=False,  # by it readers would take texts for categories
        write_statistics=[name for name in statistics if name in table.column_names],
    )
    return bytes(sink.getvalue())


def _may_be_null(field: pa.Field, column: pa.ChunkedArray) -> bool:
    return bool(column.null_count or pa.types.is_null(field.type))


def read_table(path: str, columns: Sequence[str], plain: Sequence[str] = ()) -> pa.Table:
    """Columns of a Parquet file of any storage, texts as dictionaries but for those of the columns `plain`.

    `name_*` stands for all columns that begin so.
    """
    with ExitStack() as stack:
        is_remote = "://" in path
        source: str | BinaryIO = stack.enter_context(open_storage(path).open_input(path)) if is_remote else path
        metadata = pq.read_metadata(source)
        fields = [field for field in metadata.schema.to_arrow_schema() if is_wanted(field.name, columns)]
        texts = [field.name for field in fields if field.name not in plain and _is_text(field.type)]
        file = pq.ParquetFile(source, metadata=metadata, memory_map=not is_remote, read_dictionary=texts)
        return stack.enter_context(file).read([field.name for field in fields], use_threads=False)


def is_wanted(name: str, columns: Sequence[str]) -> bool:
    """Whether a column is among `columns`, where `name_*` stands for all that begin so."""
    return any(fnmatchcase(name, column) for column in columns)


def _is_text(dtype: pa.DataType) -> bool:
    types = pa.types
    return any(test(dtype) for test in (types.is_string, types.is_large_string, types.is_string_view))

"""Texts of datasets as the codes by which Parquet keeps them: no text is looked at row by row.

In the frames that tasks send each other such texts are Polars' Categorical: they are hashed, compared and copied once a
value in place of once a row. Each column has categories of its own, by its name, so that a task holds no more of them
than its frames need.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.clustering import bucket_by, order_of, runs
from pinflow.mr_jobs.coded_files import is_wanted, read_table, to_dictionary
from pinflow.mr_jobs.codes import Coded, Integers
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit


def dtype_of(name: str) -> pl.Categorical:
    """The type of the coded column `name`: equal wherever it is read, so that frames can be joined."""
    return pl.Categorical(pl.Categories(name, "pinflow"))


@dataclass(frozen=True)
class CodedRows:
    """Rows of a dataset: columns of texts as codes, and columns as they are; `date` is among the texts."""

    dataset: str
    height: int
    texts: dict[str, Coded]
    others: dict[str, pl.Series]

    def having(self, name: str) -> "CodedRows":
        """The rows that have a text in the column `name`."""
        column = self.texts[name]
        if not column.values.null_count():
            return self
        return self.chosen(np.flatnonzero(~column.is_null()))

    def keys(self, names: Sequence[str]) -> list[Coded | pl.Series]:
        """Some columns, as codes where they are."""
        return [self.texts[name] if name in self.texts else self.others[name] for name in names]

    def chosen(self, rows: Integers) -> "CodedRows":
        """The rows at some places."""
        texts = {name: column.chosen(rows) for name, column in self.texts.items()}
        others = {name: column[rows] for name, column in self.others.items()}
        return replace(self, height=len(rows), texts=texts, others=others)


def frame_of(columns: Mapping[str, Coded]) -> pl.DataFrame:
    """Columns of texts as a frame of Categorical."""
    coded = {name: categorical(name, column) for name, column in columns.items()}
    return pl.DataFrame([column.decode(column.codes).alias(name) for name, column in coded.items()])


def categorical(name: str, column: Coded) -> Coded:
    """The column `name` with values that decode to Categorical."""
    if column.values.dtype == dtype_of(name):
        return column  # a cast would look up each value
    return replace(column, values=column.values.cast(dtype_of(name)))


def read_rows(split: DatasetSplit, columns: Sequence[str], plain: Sequence[str] = ()) -> CodedRows:
    """The columns of all rows of a split, and the day of each as `date`; texts of the columns `plain` are not coded.

    It does not pay for a column whose texts are nearly all different. `name_*` stands for all columns that begin so;
    those that a file of another day lacks are null.
    """
    whole = pa.concat_tables([_table(split, file, columns, plain) for file in split.files], promote_options="default")
    return _rows(split.dataset, whole, plain)


def joined(tables: Sequence[pa.Table]) -> CodedRows:
    """The rows of tables with the same columns, one after the other; their dictionaries become one."""
    return _rows("", pa.concat_tables(tables, promote_options="default"), ())


def _rows(dataset: str, whole: pa.Table, plain: Sequence[str]) -> CodedRows:
    texts, others = {}, {}
    for name, column in zip(whole.column_names, whole.columns, strict=True):
        if pa.types.is_dictionary(column.type) and name not in plain:
            texts[name] = _coded(column)
        else:
            others[name] = pl.Series(name, column).rechunk()
    return CodedRows(dataset, len(whole), texts, others)


def table_of(columns: Mapping[str, Coded], **others: pl.Series) -> pa.Table:
    """Columns of texts, then others, as they are written to datasets."""
    arrays = {name: to_dictionary(column) for name, column in columns.items()}
    plain = {name: column.to_arrow(compat_level=pl.CompatLevel.oldest()) for name, column in others.items()}
    return pa.table(arrays | plain)


def split_table(table: pa.Table, cluster_by: Sequence[str], buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each bucket that has any, as `clustering.split` gives those of a frame."""
    if buckets == 1:
        yield from [(0, table)] if len(table) else []
        return
    rows = joined([table])
    numbers = bucket_by(rows.keys(cluster_by), buckets)
    ordered = rows.chosen(order_of(numbers))
    for number, start, end in runs(numbers):
        texts = {name: column.chosen(slice(start, end)).used() for name, column in ordered.texts.items()}
        others = {name: column[start:end] for name, column in ordered.others.items()}
        yield number, table_of(texts, **others).select(table.column_names)


def _table(split: DatasetSplit, file: DatasetFile, columns: Sequence[str], plain: Sequence[str]) -> pa.Table:
    keys = () if file.exact else split.clustered_by
    table = read_table(file.path, list(dict.fromkeys([*columns, *keys])), plain)
    if keys:
        named = _rows("", table.select(keys), plain)
        numbers = bucket_by(named.keys(keys), split.buckets)
        table = table.filter(pa.array(numbers == split.bucket))
    day = pa.DictionaryArray.from_arrays(np.zeros(len(table), np.int32), [file.date])
    chosen = [name for name in table.column_names if is_wanted(name, columns)]
    return table.select(chosen).append_column("date", day)


def _coded(column: pa.ChunkedArray) -> Coded:
    """The column as it is kept, its dictionaries as one."""
    if column.type.index_type.bit_width < 32:  # together they may have more texts than such codes can name
        column = column.cast(pa.dictionary(pa.int32(), column.type.value_type))
    array = column.unify_dictionaries().combine_chunks()
    values, indices = pl.Series(array.dictionary, dtype=pl.String), array.indices
    if indices.null_count:
        indices = indices.fill_null(len(values))
        values = values.append(pl.Series([None], dtype=pl.String))
    return Coded(indices.cast(pa.int32()).to_numpy().view(np.uint32), values)

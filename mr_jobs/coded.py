"""Texts of datasets as the codes by which Parquet keeps them: no text is looked at row by row.

Tasks send each other tables of such codes, with the texts that they stand for: these are hashed, compared and copied
once a value in place of once a row.
"""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.clustering import bucket_by, order_of, runs
from pinflow.mr_jobs.coded_files import is_wanted, read_table, to_dictionary
from pinflow.mr_jobs.codes import Coded, Field, Integers, Places, SortedRows, total
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit


def dtype_of(name: str) -> pl.Categorical:
    """The type of the coded column `name`: equal wherever it is read, so that frames can be joined."""
    return pl.Categorical(pl.Categories(name, "pinflow"))


@dataclass(frozen=True)
class CodedRows:
    """Rows of a dataset: columns of texts as codes, and columns as they are; `date` is among the texts."""

    texts: dict[str, Coded]
    others: dict[str, pl.Series]
    dataset: str = ""

    @property
    def height(self) -> int:
        """How many rows there are."""
        columns: Iterator[Sized] = chain((column.codes for column in self.texts.values()), self.others.values())
        return len(next(columns, ()))

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
        return replace(self, texts=texts, others=others)

    def used(self) -> "CodedRows":
        """The same rows, with no texts but theirs."""
        return replace(self, texts={name: column.used() for name, column in self.texts.items()})

    def in_order(self) -> "CodedRows":
        """The same rows, with codes in the order of the texts."""
        return replace(self, texts={name: column.in_order() for name, column in self.texts.items()})

    def table(self) -> pa.Table:
        """The rows as they are sent and written."""
        return table_of(self.texts, **self.others)


def stacked(parts: Sequence[CodedRows]) -> CodedRows:
    """Rows one after the other whose columns have the same values."""
    first = parts[0]
    texts = {
        name: replace(column, codes=np.concatenate([part.texts[name].codes for part in parts]))
        for name, column in first.texts.items()
    }
    others = {name: pl.concat([part.others[name] for part in parts]) for name in first.others}
    return replace(first, texts=texts, others=others)


def sums_by_texts(rows: CodedRows) -> CodedRows:
    """Columns of integers summed by all of the texts, in the order of the codes of these; null counts as 0.

    The sums are exact below 2^53.
    """
    row = np.arange(rows.height, dtype=np.uint32), rows.height.bit_length()
    ordered = SortedRows([*_fields(rows), row])
    depth = len(rows.texts)
    starts = ordered.starts(depth)
    group_of = np.empty(rows.height, np.int64)
    group_of[ordered.field(depth)] = np.repeat(np.arange(len(starts)), np.diff(starts, append=rows.height))
    totals = {name: pl.Series(total(group_of, summed, len(starts))) for name, summed in rows.others.items()}
    return CodedRows(_firsts(rows, ordered, starts), totals)


def sum_by_texts(rows: CodedRows) -> CodedRows:
    """As `sums_by_texts` for one column, of integers from 0: sorted together with its keys."""
    ((name, summed),) = rows.others.items()
    width = int(summed.to_numpy().max(initial=0)).bit_length()
    ordered = SortedRows([*_fields(rows), (summed.to_numpy(), width)])
    depth = len(rows.texts)
    starts = ordered.starts(depth)
    sums = np.add.reduceat(ordered.field(depth), starts, dtype=np.int64)
    return CodedRows(_firsts(rows, ordered, starts), {name: pl.Series(sums)})


def _fields(rows: CodedRows) -> list[Field]:
    return [(column.codes, column.bits) for column in rows.texts.values()]


def _firsts(rows: CodedRows, ordered: SortedRows, starts: Places) -> dict[str, Coded]:
    firsts = ordered.chosen(starts)
    return {name: replace(c, codes=firsts.field(i)) for i, (name, c) in enumerate(rows.texts.items())}


def frame_of(columns: Mapping[str, Coded]) -> pl.DataFrame:
    """Columns of texts as a frame of Categorical."""
    values = {name: column.values.cast(dtype_of(name)) for name, column in columns.items()}
    return pl.DataFrame({name: values[name].gather(pl.Series(column.codes)) for name, column in columns.items()})


def read_rows(split: DatasetSplit, columns: Sequence[str], plain: Sequence[str] = ()) -> CodedRows:
    """The columns of all rows of a split, and the day of each as `date`; texts of the columns `plain` are not coded.

    It does not pay for a column whose texts are nearly all different. `name_*` stands for all columns that begin so;
    those that a file of another day lacks are null.
    """
    whole = pa.concat_tables([_table(split, file, columns, plain) for file in split.files], promote_options="default")
    return _rows(split.dataset, whole, plain)


def joined(tables: Sequence[pa.Table]) -> CodedRows:
    """The rows of tables, one after the other; their dictionaries become one. What a table lacks is null."""
    return _rows("", pa.concat_tables(tables, promote_options="default"), ()) if tables else CodedRows({}, {})


def _rows(dataset: str, whole: pa.Table, plain: Sequence[str]) -> CodedRows:
    texts, others = {}, {}
    for name, column in zip(whole.column_names, whole.columns, strict=True):
        if pa.types.is_dictionary(column.type) and name not in plain:
            texts[name] = _coded(column)
        else:
            others[name] = pl.Series(name, column).rechunk()
    return CodedRows(texts, others, dataset)


def table_of(columns: Mapping[str, Coded], /, **others: pl.Series) -> pa.Table:
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
    if column.type.index_type.bit_width != 32:  # together they may have more texts than narrow codes can name
        column = column.cast(pa.dictionary(pa.int32(), column.type.value_type))
    array = column.unify_dictionaries().combine_chunks()
    values, indices = pl.Series(array.dictionary, dtype=pl.String), array.indices
    if indices.null_count:
        indices = indices.fill_null(len(values))
        values = values.append(pl.Series([None], dtype=pl.String))
    return Coded(indices.to_numpy().view(np.uint32), values)

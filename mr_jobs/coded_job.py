"""Jobs whose map tasks get the texts of datasets as codes."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.errors import InputError
from pinflow.mr_jobs.batch_job import BatchJob, Parts
from pinflow.mr_jobs.coded import CodedRows, joined, read_rows
from pinflow.mr_jobs.codes import code
from pinflow.mr_jobs.lookups import Lookup, size_of
from pinflow.mr_jobs.output import Rows
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit, together


class CodedJob(BatchJob):
    """A BatchJob over datasets: a batch is the `CodedRows` of the columns that `wanted` names.

    Texts of the columns `plain` are not coded. Where `map` gives tables, `reduce_rows` gets those of a bucket.
    """

    plain: ClassVar[Sequence[str]] = ()

    def wanted(self, dataset: str) -> Sequence[str]:
        """The columns that are read of a dataset; `name_*` stands for all that begin so."""
        raise NotImplementedError

    def rows_together(self, dataset: str) -> int:
        """How many rows small splits of a dataset may have to come as one batch."""
        return 1 << 19

    def batches(self, lines: Iterator[bytes]) -> Iterator[CodedRows]:
        """The batches of a map task's input lines; small splits of a dataset come together."""
        for line in together(lines, self.rows_together):
            yield from self.read(line)

    def read(self, split_line: bytes) -> Iterator[CodedRows]:
        """The rows of a split of a dataset, or of a Parquet file."""
        text = split_line.decode().strip()
        if text.endswith(".parquet"):
            split = DatasetSplit("", (DatasetFile(text, "", 0, 0),))
        elif text.startswith("["):
            split = DatasetSplit.from_line(text)
        else:
            raise InputError(f"{type(self).__name__} reads paths of Parquet files, one a line; got {text[:80]!r}")
        yield read_rows(split, self.wanted(split.dataset), self.plain)

    def looked_up_codes(
        self, name: str, keys: pl.Series, columns: Sequence[str]
    ) -> tuple[CodedRows, npt.NDArray[np.bool_]]:
        """As `looked_up` for columns of texts, as codes; and apart which keys were found.

        A dataset that fits a fifth of the task's memory is read once a process, others a bucket after the other.
        """
        folder, description = self._table(name)
        (key,) = description.clustered_by
        paths = tuple(f"{folder}/{part.name}" for part in description.parts)
        if paths and (lookup := _lookup(paths, key, tuple(columns), self.memory // 5)):
            return lookup.find(keys)
        found = self.looked_up(name, keys, columns)
        return CodedRows({column: code(found[column]) for column in columns}, {}), found["found"].to_numpy()

    def reduce_bucket(self, parts: Parts) -> Rows:
        """What `reduce_rows` makes of all tables that came to the bucket, none of none; else as any BatchJob."""
        if type(self).reduce_rows is CodedJob.reduce_rows:  # its map gives frames
            return super().reduce_bucket(parts)
        rows = joined(parts.tables())
        return self.reduce_rows(rows) if rows.height else pl.DataFrame()

    def reduce_rows(self, rows: CodedRows) -> Rows:
        """Rows of the output from all rows of bucket `self.bucket`, where `map` gives tables."""
        raise NotImplementedError

    def rows_of(self, batch: CodedRows) -> int:
        """How many rows a batch has."""
        return batch.height


@lru_cache(maxsize=1)
def _lookup(paths: tuple[str, ...], key: str, columns: tuple[str, ...], most_bytes: int) -> Lookup | None:
    """The files' rows, if they take no more than so many bytes."""
    if size_of(paths, [key, *columns]) > most_bytes:
        return None
    return Lookup.of_files(paths, key, columns)

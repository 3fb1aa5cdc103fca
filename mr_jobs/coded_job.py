"""Jobs whose map tasks get the texts of datasets as codes."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import ClassVar

import polars as pl

from pinflow.errors import InputError
from pinflow.mr_jobs.batch_job import BatchJob, Parts
from pinflow.mr_jobs.clustering import split
from pinflow.mr_jobs.coded import CodedRows, joined, read_rows
from pinflow.mr_jobs.lookups import Lookup, size_of
from pinflow.mr_jobs.output import Rows
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit, read_parquet, together


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
        split = self.split_of(split_line)
        yield read_rows(split, self.wanted(split.dataset), self.plain)

    def split_of(self, line: bytes) -> DatasetSplit:
        """What an input line names: a split of a dataset, or a Parquet file of which no more is known."""
        text = line.decode().strip()
        if text.endswith(".parquet"):
            return DatasetSplit("", (DatasetFile(text, "", 0, 0),))
        if text.startswith("["):
            return DatasetSplit.from_line(text)
        raise InputError(f"{type(self).__name__} reads paths of Parquet files, one a line; got {text[:80]!r}")

    def lookup(self, name: str, columns: Sequence[str], keys: Callable[[], pl.Series]) -> Lookup:
        """To find the rows of many keys in a dataset with one row a key: columns of texts, as codes.

        A dataset that fits a fifth of the task's memory is read once a process; of others only the rows of `keys` are
        held, read one bucket at a time. So those of several batches are best looked up together.
        """
        folder, description = self._table(name)
        (key,) = description.clustered_by
        paths = tuple(f"{folder}/{part.name}" for part in description.parts)
        if whole := _whole(paths, key, tuple(columns), self.memory // 5):
            return whole
        wanted = dict(split(keys().alias(key).to_frame(), [key], description.buckets))
        parts = (
            read_parquet(path, [key, *columns]).join(wanted[part.bucket], on=key, how="semi")
            for path, part in zip(paths, description.parts, strict=True)
            if part.bucket in wanted
        )
        return Lookup.of_rows(parts, key, columns)

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
def _whole(paths: tuple[str, ...], key: str, columns: tuple[str, ...], most_bytes: int) -> Lookup | None:
    """The files' rows, if they take no more than so many bytes."""
    if size_of(paths, [key, *columns]) > most_bytes:
        return None
    return Lookup.of_rows((read_parquet(path, [key, *columns]) for path in paths), key, columns)

"""What one map task reads of datasets: files of one bucket, over one or more days (AN-18)."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from pinflow.mr_jobs.clustering import bucket_count, bucket_of
from pinflow.mr_jobs.datasets import Part, Published, Warehouse
from pinflow.storage import open_storage

MOST_ROWS = 1 << 22


@dataclass(frozen=True)
class DatasetFile:
    """One Parquet file, the day it belongs to, and whether it holds only the split's bucket.

    `rows` and `bytes` are those of the split, about.
    """

    path: str
    date: str
    rows: int
    bytes: int
    exact: bool = True


@dataclass(frozen=True)
class DatasetSplit:
    """Files of one dataset that belong together: those of bucket `bucket` of `buckets` of each day."""

    dataset: str
    files: tuple[DatasetFile, ...]
    bucket: int = 0
    buckets: int = 1
    clustered_by: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    def goes_with(self, other: "DatasetSplit", rows: int) -> bool:
        """Whether both are of one dataset, whole files, and have no more than so many rows together."""
        is_whole = all(file.exact for file in self.files + other.files)
        return is_whole and self.dataset == other.dataset and self.rows + other.rows <= rows

    def to_line(self) -> str:
        """The split as an input line of a map task."""
        files = [[f.path, f.date, f.rows, f.bytes, f.exact] for f in self.files]
        return json.dumps([self.dataset, files, self.bucket, self.buckets, list(self.clustered_by)])

    @classmethod
    def from_line(cls, line: bytes | str) -> "DatasetSplit":
        """Read what `to_line` wrote."""
        dataset, files, bucket, buckets, clustered_by = json.loads(line)
        return cls(dataset, tuple(DatasetFile(*f) for f in files), bucket, buckets, tuple(clustered_by))


def together(lines: Iterable[bytes], rows: Callable[[str], int]) -> Iterator[bytes]:
    """Input lines, with neighbours that name up to so many `rows` of one dataset as one.

    A small batch costs its time, too.
    """
    held: DatasetSplit | None = None
    for line in lines:
        split = DatasetSplit.from_line(line) if line.startswith(b"[") else None
        if held is not None and split is not None and held.goes_with(split, rows(split.dataset)):
            held = DatasetSplit(held.dataset, held.files + split.files)
            continue
        if held is not None:
            yield held.to_line().encode()
        held = split
        if split is None:
            yield line
    if held is not None:
        yield held.to_line().encode()


def shares(lines: Iterable[bytes], rows: Callable[[bytes], int], most: int) -> Iterator[list[bytes]]:
    """Neighbouring input lines that have up to `most` rows together; one of unknown size, 0, is alone."""
    held: list[bytes] = []
    left = most
    for line in lines:
        count = rows(line) or most
        if held and count > left:
            yield held
            held, left = [], most
        held.append(line)
        left -= count
    if held:
        yield held


def read_parquet(path: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """One Parquet file of any storage."""
    if "://" not in path:
        return pl.read_parquet(path, columns=list(columns) if columns else None, hive_partitioning=False)
    with open_storage(path).open_input(path) as file:
        return pl.read_parquet(file, columns=list(columns) if columns else None)


def read_split(split: DatasetSplit, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows of a split, with the day of each as column `date` (String, YYYY-MM-DD).

    Columns that a file of another day lacks are null.
    """
    frames = []
    for file in split.files:
        frame = read_parquet(file.path, columns)
        if not file.exact:
            frame = frame.filter(pl.Series(bucket_of(frame, split.clustered_by, split.buckets) == split.bucket))
        frames.append(frame.with_columns(date=pl.lit(file.date)))
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def part_splits(warehouse: Warehouse, published: Published, below: str = "") -> list[DatasetSplit]:
    """A split for each file of one day of a dataset, below a folder such as `event_type=like/` if one is named."""
    return [
        DatasetSplit(published.dataset, (_file(warehouse, published, part),))
        for part in published.parts
        if part.name.startswith(below)
    ]


def bucket_splits(warehouse: Warehouse, days: Sequence[Published]) -> list[DatasetSplit]:
    """A split for each bucket over all given days of one dataset.

    Days can differ in their number of buckets, all powers of two: the finest counts, and a coarser file is read
    by each of its finer buckets, which keep only their own rows. So are all files of many days whose buckets are too
    large together: a split has about `MOST_ROWS` rows at most.
    """
    if not days:
        return []
    buckets = max(day.buckets for day in days)
    if all(day.clustered_by for day in days):
        buckets = max(buckets, bucket_count(sum(day.rows for day in days), MOST_ROWS))
    parts: dict[tuple[str, int], list[Part]] = {}
    for day in days:
        for part in day.parts:
            parts.setdefault((day.date, part.bucket), []).append(part)
    splits = []
    for bucket in range(buckets):
        files = tuple(
            _file(warehouse, day, part, buckets // day.buckets)
            for day in days
            for part in parts.get((day.date, bucket % day.buckets), ())
        )
        if files:
            splits.append(DatasetSplit(days[0].dataset, files, bucket, buckets, days[0].clustered_by))
    return splits


def _file(warehouse: Warehouse, published: Published, part: Part, splits: int = 1) -> DatasetFile:
    path = f"{warehouse.path(published)}/{part.name}"
    return DatasetFile(path, published.date, part.rows // splits, part.bytes // splits, exact=splits == 1)

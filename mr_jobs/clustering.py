"""Which bucket a row belongs to, by a hash that stays the same (AN-16, AN-18)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log2

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.codes import Coded, code
from pinflow.mr_jobs.hashing import Hashes, mix, text_hashes

BUCKET_SHARE = 16
"""A bucket may weigh a sixteenth of a task's memory: work on it takes copies, each with a dictionary of its own."""


def hashes(column: pl.Series | Coded) -> Hashes:
    """A 64-bit hash of every value of a column, by its text as UTF-8; null has a hash of its own."""
    if isinstance(column, Coded):
        return column.by_row(text_hashes(column.values))
    if isinstance(column.dtype, pl.Categorical):
        return hashes(code(column))
    return text_hashes(column.cast(pl.String))


def bucket_of(frame: pl.DataFrame, cluster_by: Sequence[str], buckets: int) -> npt.NDArray[np.uint32]:
    """The bucket of every row, `0 … buckets - 1`, from the hash of its `cluster_by` columns.

    With a power of two a bucket of few buckets is exactly the union of its buckets of more.
    """
    return bucket_by([frame[name] for name in cluster_by], buckets)


def bucket_by(columns: Sequence[pl.Series | Coded], buckets: int) -> npt.NDArray[np.uint32]:
    """As `bucket_of`, given the columns themselves."""
    combined = np.zeros(1, dtype=np.uint64)
    for column in columns:
        combined = mix(combined * np.uint64(31) + hashes(column))
    return (combined % np.uint64(buckets)).astype(np.uint32)


def split(frame: pl.DataFrame, cluster_by: Sequence[str], buckets: int) -> list[tuple[int, pl.DataFrame]]:
    """The rows of each bucket that has any, in the order of the buckets; the order of rows in a bucket stays."""
    if buckets == 1 or frame.is_empty():
        return [(0, frame)] if frame.height else []
    numbers = bucket_of(frame, cluster_by, buckets)
    sorted_frame = frame[order_of(numbers)]
    return [(n, sorted_frame.slice(start, end - start)) for n, start, end in runs(numbers)]


def order_of(numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
    """The places of rows in the order of their buckets, and of their places in a bucket."""
    highest = int(numbers.max(initial=0))
    return np.argsort(numbers.astype(np.min_scalar_type(highest)), kind="stable")


def runs(numbers: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int, int]]:
    """Of rows in the order of their buckets: each bucket that has any, its first and the one after its last."""
    ends = np.cumsum(np.bincount(numbers)).tolist()
    return ((n, start, end) for n, (start, end) in enumerate(pairwise([0, *ends])) if end > start)


def bucket_count(data_bytes: int, bucket_bytes: int, least: int = 1) -> int:
    """The power of two that keeps a bucket of `data_bytes` below `bucket_bytes`.

    >>> bucket_count(900, 250), bucket_count(10, 250), bucket_count(10, 250, least=3)
    (4, 1, 4)
    """
    wanted = max(least, -(-data_bytes // bucket_bytes), 1)
    return 1 << (wanted - 1).bit_length()


def finer(data_bytes: int, buckets: int, each: int | None) -> int:
    """The power of two by which `buckets` are divided so that about `each` of `data_bytes` come to one of them.

    >>> finer(900, 2, 100), finer(900, 2, 1000), finer(900, 2, None)
    (4, 1, 1)
    """
    return 1 << max(0, round(log2(max(1, data_bytes / (buckets * each))))) if each else 1

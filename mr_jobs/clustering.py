"""Which bucket a row belongs to, by a hash that stays the same (AN-16, AN-18)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.codes import code
from pinflow.mr_jobs.hashing import Hashes, mix, text_hashes


def hashes(column: pl.Series) -> Hashes:
    """A 64-bit hash of every value of a column, by its text as UTF-8; null has a hash of its own."""
    if isinstance(column.dtype, pl.Categorical):
        coded = code(column)
        return text_hashes(coded.values.cast(pl.String))[coded.codes]
    return text_hashes(column.cast(pl.String))


def bucket_of(frame: pl.DataFrame, cluster_by: Sequence[str], buckets: int) -> npt.NDArray[np.uint32]:
    """The bucket of every row, `0 … buckets - 1`, from the hash of its `cluster_by` columns.

    With a power of two a bucket of few buckets is exactly the union of its buckets of more.
    """
    combined = np.zeros(frame.height, dtype=np.uint64)
    for name in cluster_by:
        combined = mix(combined * np.uint64(31) + hashes(frame[name]))
    return (combined % np.uint64(buckets)).astype(np.uint32)


def split(frame: pl.DataFrame, cluster_by: Sequence[str], buckets: int) -> list[tuple[int, pl.DataFrame]]:
    """The rows of each bucket that has any, in the order of the buckets; the order of rows in a bucket stays."""
    if buckets == 1 or frame.is_empty():
        return [(0, frame)] if frame.height else []
    numbers = bucket_of(frame, cluster_by, buckets)
    order = np.argsort(numbers.astype(np.uint16 if buckets <= 1 << 16 else np.uint32), kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=buckets))
    sorted_frame = frame[order]
    parts = ((n, int(ends[n - 1]) if n else 0, int(end)) for n, end in enumerate(ends))
    return [(n, sorted_frame.slice(start, end - start)) for n, start, end in parts if end > start]


def bucket_count(data_bytes: int, bucket_bytes: int, least: int = 1) -> int:
    """The power of two that keeps a bucket of `data_bytes` below `bucket_bytes`.

    >>> bucket_count(900, 250), bucket_count(10, 250), bucket_count(10, 250, least=3)
    (4, 1, 4)
    """
    wanted = max(least, -(-data_bytes // bucket_bytes), 1)
    return 1 << (wanted - 1).bit_length()

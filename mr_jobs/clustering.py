"""Which bucket a row belongs to: a hash that is the same in every process, version and machine (AN-16, AN-18).

Datasets are kept in buckets for months and joined bucket by bucket, so the hash cannot be Polars' own, which
may change with its version.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.codes import code

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_PRIME), -1, 2**64))
_CHUNK_BYTES = 1 << 17
_NULL = np.uint64(0x2545F4914F6CDD1D)

Hashes = npt.NDArray[np.uint64]


def _powers(base: np.uint64, count: int) -> Hashes:
    """`base ** 0 … base ** (count - 1)` modulo 2 ** 64."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


class _Powers:
    """Tables of powers, made at the first use and grown for a text longer than a chunk."""

    def __init__(self) -> None:
        self.up = self.down = np.ones(1, dtype=np.uint64)

    def reserve(self, count: int) -> None:
        if len(self.up) < count:
            self.up, self.down = _powers(_PRIME, count), _powers(_INVERSE, count)


_tables = _Powers()


def _mix(values: Hashes) -> Hashes:
    """Spread every bit over all (the finalizer of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def _hash_bytes(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> Hashes:
    """Polynomial hash of each text: differences of one running sum, so that no loop goes over rows or bytes."""
    result = np.empty(len(offsets) - 1, dtype=np.uint64)
    row = 0
    while row < len(result):
        end = int(np.searchsorted(offsets, offsets[row] + _CHUNK_BYTES, side="right")) - 1
        end = min(max(end, row + 1), len(result))
        first, last = int(offsets[row]), int(offsets[end])
        _tables.reserve(last - first + 1)
        sums = np.zeros(last - first + 1, dtype=np.uint64)
        np.cumsum((data[first:last].astype(np.uint64) + np.uint64(1)) * _tables.up[: last - first], out=sums[1:])
        starts, ends = offsets[row:end] - first, offsets[row + 1 : end + 1] - first
        result[row:end] = (sums[ends] - sums[starts]) * _tables.down[starts]
        row = end
    return result


def hashes(column: pl.Series) -> Hashes:
    """A 64-bit hash of every value of a column, by its text as UTF-8; null has a hash of its own."""
    if isinstance(column.dtype, pl.Categorical):
        coded = code(column)
        return hashes(coded.values.cast(pl.String))[coded.codes]
    array = column.cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())
    if hasattr(array, "combine_chunks"):
        array = array.combine_chunks()
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.empty(0, dtype=np.uint8)
    result = _mix(_hash_bytes(offsets, data)) if len(array) else np.empty(0, dtype=np.uint64)
    if column.null_count():
        result[column.is_null().to_numpy()] = _NULL
    return result


def bucket_of(frame: pl.DataFrame, cluster_by: Sequence[str], buckets: int) -> npt.NDArray[np.uint32]:
    """The bucket of every row, `0 … buckets - 1`, from the hash of its `cluster_by` columns.

    With a power of two a bucket of few buckets is exactly the union of its buckets of more.
    """
    combined = np.zeros(frame.height, dtype=np.uint64)
    for name in cluster_by:
        combined = _mix(combined * np.uint64(31) + hashes(frame[name]))
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

"""A hash of each text of a column, the same in every process, version and machine.

Datasets are kept in buckets for months and joined bucket by bucket, so the hash cannot be Polars' own, which
may change with its version.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

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


def mix(values: Hashes) -> Hashes:
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


def text_hashes(column: pl.Series) -> Hashes:
    """A 64-bit hash of every text of a column, as UTF-8; null has a hash of its own."""
    array = column.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.empty(0, dtype=np.uint8)
    result = mix(_hash_bytes(offsets, data)) if len(array) else np.empty(0, dtype=np.uint64)
    if column.null_count():
        result[column.is_null().to_numpy()] = _NULL
    return result

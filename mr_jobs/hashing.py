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

_WORD = 8
_SHORT = 64
_CHUNK_ROWS = 1 << 13

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def _powers(base: np.uint64, count: int) -> Hashes:
    """`base ** 0 … base ** (count - 1)` modulo 2 ** 64."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


_UP = _powers(_PRIME, _WORD)
_NEXT_WORD = pow(int(_PRIME), _WORD, 2**64)
_SUMS = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_UP)])
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(_WORD + 1)], np.uint64)


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


def _hash_words(offsets: Offsets, data: Bytes) -> Hashes:
    """Polynomial hash of each text, in steps of eight bytes: the fastest where texts are short."""
    padded = np.concatenate([data[: offsets[-1]], np.zeros(_WORD, np.uint8)])
    words = np.ndarray(len(padded) - _WORD + 1, np.dtype("<u8"), padded, strides=(1,))
    result = np.empty(len(offsets) - 1, np.uint64)
    for first in range(0, len(result), _CHUNK_ROWS):
        starts, ends = offsets[first:-1][:_CHUNK_ROWS], offsets[first + 1 :][:_CHUNK_ROWS]
        lengths, found, factor = ends - starts, result[first : first + _CHUNK_ROWS], 1
        found[:] = _of_words(words[starts], lengths)
        for place in range(_WORD, int(lengths.max()), _WORD):
            rows = np.flatnonzero(lengths > place)
            factor = factor * _NEXT_WORD % 2**64
            found[rows] += _of_words(words[starts[rows] + place], lengths[rows] - place) * np.uint64(factor)
    return result


def _of_words(words: Hashes, lengths: Offsets) -> Hashes:
    """What the first bytes of words add to the hash, as many of each as it has; it changes `words`."""
    sizes = np.minimum(lengths, _WORD)
    words &= _FIRST_BYTES.take(sizes)
    found, byte = _SUMS.take(sizes), np.empty_like(words)
    for place, factor in enumerate(_UP):
        np.right_shift(words, np.uint64(8 * place), out=byte)
        byte &= np.uint64(0xFF)
        byte *= factor
        found += byte
    return found


def _hash_bytes(offsets: Offsets, data: Bytes) -> Hashes:
    """The same by differences of one running sum, so that no loop goes over rows or bytes, however long texts are."""
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
    if not len(array):
        return np.empty(0, dtype=np.uint64)
    hashed = _hash_words if np.diff(offsets).max() <= _SHORT else _hash_bytes
    result = mix(hashed(offsets, data))
    if column.null_count():
        result[column.is_null().to_numpy()] = _NULL
    return result

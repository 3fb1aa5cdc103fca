"""The buckets of a histogram as columns, as they come from a file: merging many shards needs no step per bucket."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bounds = tuple[float, float]

_MOST = 2.0**62
_FIELDS: list[tuple[str, Any]] = [
    ("low_mark", "S3"),
    ("low", ">f8"),
    ("high_mark", "S3"),
    ("high", ">f8"),
    ("count_mark", "S3"),
    ("count", ">i8"),
    ("stop", "u1"),
]
ROW = np.dtype(_FIELDS)
"""A struct Bucket of stats.thrift whose three fields come in their order."""
_MARKS = {"low_mark": b"\x04\x00\x01", "high_mark": b"\x04\x00\x02", "count_mark": b"\x0a\x00\x03"}


class PackedBuckets(Mapping[Bounds, int]):
    """Counts by bounds, like a dict; ascending and each bounds once."""

    __slots__ = ("_counts", "_highs", "_lows")

    def __init__(self, lows: NDArray[np.float64], highs: NDArray[np.float64], counts: NDArray[np.int64]) -> None:
        """Columns in any order. ValueError for bounds that are NaN and for counts that are negative or too many."""
        if np.isnan(lows).any() or np.isnan(highs).any() or (counts < 0).any() or counts.sum(dtype=float) > _MOST:
            raise ValueError("a bucket has no bounds, or a count of no use")
        if not (lows[1:] > lows[:-1]).all():
            lows, highs, counts = _in_order(lows, highs, counts)
        self._lows, self._highs, self._counts = lows, highs, counts

    @classmethod
    def of(cls, buckets: Mapping[Bounds, int]) -> "PackedBuckets":
        """Any buckets, packed."""
        if isinstance(buckets, PackedBuckets):
            return buckets
        bounds = np.array(list(buckets), dtype=np.float64).reshape(-1, 2)
        return cls(bounds[:, 0], bounds[:, 1], np.array(list(buckets.values()), dtype=np.int64))

    @classmethod
    def read(cls, chunk: bytes) -> "PackedBuckets | None":
        """Those of a list of structs, None when some are written otherwise."""
        rows = np.frombuffer(chunk, dtype=ROW)
        if rows["stop"].any() or any((rows[name] != mark.rstrip(b"\0")).any() for name, mark in _MARKS.items()):
            return None
        return cls(rows["low"].astype(np.float64), rows["high"].astype(np.float64), rows["count"].astype(np.int64))

    def plus(self, other: "PackedBuckets") -> "PackedBuckets":
        """Both together."""
        if np.array_equal(self._lows, other._lows) and np.array_equal(self._highs, other._highs):
            return PackedBuckets(self._lows, self._highs, self._counts + other._counts)
        lows = np.concatenate((self._lows, other._lows))
        highs = np.concatenate((self._highs, other._highs))
        return PackedBuckets(lows, highs, np.concatenate((self._counts, other._counts)))

    def __getitem__(self, bounds: Bounds) -> int:
        (found,) = ((self._lows == bounds[0]) & (self._highs == bounds[1])).nonzero()
        if not len(found):
            raise KeyError(bounds)
        return int(self._counts[found[0]])

    def __iter__(self) -> Iterator[Bounds]:
        return zip(self._lows.tolist(), self._highs.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self._lows)

    def items(self) -> Any:
        """All bounds with their counts."""
        return dict(zip(self, self._counts.tolist(), strict=True)).items()

    def values(self) -> Any:
        """All counts."""
        return dict(self.items()).values()


def _in_order(
    lows: NDArray[np.float64], highs: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    order = np.lexsort((highs, lows))
    lows, highs, counts = lows[order], highs[order], counts[order]
    is_new = np.ones(len(lows), dtype=bool)
    is_new[1:] = (lows[1:] != lows[:-1]) | (highs[1:] != highs[:-1])
    starts = is_new.nonzero()[0]
    return lows[starts], highs[starts], np.add.reduceat(counts, starts)

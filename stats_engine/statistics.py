"""The statistics of a task or a job: values that merge in any order and grouping (ST-09)."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import itemgetter
from typing import NamedTuple, TypeVar

from pinflow.errors import PinflowError
from pinflow.stats_engine.distincts import Distinct
from pinflow.stats_engine.exact_sums import ExactSum

DEFAULT_SIZE = 100

V = TypeVar("V")
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Histogram:
    """How many numbers fell into each bucket, with the exact lowest and highest (ST-12).

    `buckets` maps (low, high) to a count; the outermost of some bucketizers are infinite.
    """

    bucketizer: str
    buckets: Mapping[Bounds, int]
    lowest: float
    highest: float

    @property
    def count(self) -> int:
        """How many numbers were added."""
        return sum(self.buckets.values())

    def rows(self) -> list[tuple[float, float, int]]:
        """(low, high, count) by value; infinite bounds are replaced by the lowest and highest number."""
        return [
            (self.lowest if math.isinf(low) else low, self.highest if math.isinf(high) else high, n)
            for (low, high), n in sorted(self.buckets.items())
        ]

    def quantile(self, share: float) -> float:
        """The number below or at which `share` (0 to 1) of all lie, as exactly as the buckets tell.

        Takes the nearest-rank quantile's bucket and gives its middle, within lowest and highest: with log
        buckets it is off by at most their relative error. NaN for an empty histogram.
        """
        if not 0 <= share <= 1:
            raise PinflowError(f"a quantile's share cannot be {share!r}; give 0 to 1")
        if share in (0, 1):
            return self.highest if share else self.lowest
        rank = max(1, math.ceil(share * self.count))
        for low, high, n in self.rows():
            rank -= n
            if rank <= 0:
                return min(max(low + (high - low) / 2, self.lowest), self.highest)
        return math.nan

    def merge(self, other: "Histogram") -> "Histogram":
        """Both together; PinflowError when their buckets differ in kind."""
        if self.bucketizer != other.bucketizer:
            raise PinflowError(
                f"histograms with buckets {self.bucketizer} and {other.bucketizer} do not merge; "
                "give one name one bucketizer"
            )
        lowest, highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        return Histogram(self.bucketizer, _merge_buckets(self.buckets, other.buckets), lowest, highest)


def _merge_buckets(one: Mapping[Bounds, int], two: Mapping[Bounds, int]) -> Mapping[Bounds, int]:
    if not (isinstance(one, dict) and isinstance(two, dict)):
        from pinflow.stats_engine.packed_buckets import PackedBuckets

        return PackedBuckets.of(one).plus(PackedBuckets.of(two))
    merged = dict(one)
    for bounds, n in two.items():
        merged[bounds] = merged.get(bounds, 0) + n
    return merged


class Item(NamedTuple):
    """An object, named by its text, and its value."""

    item: str
    value: float


@dataclass(frozen=True)
class Items:
    """The objects with the highest and lowest values, `size` of each at most (ST-13).

    An object added more than once counts with its highest value in `top` and its lowest in `bottom`.
    Ties are ordered by the object's text, ascending by code points.
    """

    size: int
    top: tuple[Item, ...] = ()
    bottom: tuple[Item, ...] = ()

    @classmethod
    def of(cls, size: int, top: Iterable[Item], bottom: Iterable[Item]) -> "Items":
        """Sorted and cut to `size`, repeated objects made one."""
        return cls(size, _best(size, top, sign=1), _best(size, bottom, sign=-1))

    def merge(self, other: "Items") -> "Items":
        """Both together, cut to the smaller size: beyond it the lists would not be exact."""
        size = min(self.size, other.size)
        return Items(size, _merge_best(size, self.top, other.top, 1), _merge_best(size, self.bottom, other.bottom, -1))

    def is_ordered(self) -> bool:
        """Whether both lists are as `of` makes them."""
        return _is_best(self.size, self.top, sign=1) and _is_best(self.size, self.bottom, sign=-1)


def _best(size: int, items: Iterable[Item], sign: int) -> tuple[Item, ...]:
    worst_first = sorted(items, key=itemgetter(1), reverse=sign < 0)
    best = sorted({item[0]: item for item in worst_first}.values(), key=itemgetter(1), reverse=sign > 0)
    if len({item[1] for item in best}) < len(best):
        best.sort(key=lambda item: (-sign * item[1], item[0]))
    return tuple(best[:size])


def _merge_best(size: int, one: tuple[Item, ...], two: tuple[Item, ...], sign: int) -> tuple[Item, ...]:
    """The best of two lists in order; nothing is sorted when none of `two` comes before the end of `one`."""
    one = one[:size]
    if len(one) == size:
        item, value = one[-1]
        last = (-sign * value, item)
        two = tuple(takewhile(lambda pair: (-sign * pair[1], pair[0]) < last, two))
    return _best(size, (*one, *two), sign) if two else one


def _is_best(size: int, items: Sequence[Item], sign: int) -> bool:
    texts, values = zip(*items, strict=True) if items else ((), ())
    if len(items) > size or len(set(texts)) < len(texts) or not all(map(math.isfinite, values)):
        return False
    if len(set(values)) == len(values):
        return list(values) == sorted(values, reverse=sign > 0)
    keys = [(-sign * value, item) for item, value in items]
    return keys == sorted(keys)


@dataclass(frozen=True)
class Statistics:
    """Counts, sums, histograms, items and distinct counts by name; a name belongs to one kind (ST-14).

    Sums are `float`s; those that an engine or a shard gives are `ExactSum`s, so that merges stay exact.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    items: Mapping[str, Items] = field(default_factory=dict)
    distincts: Mapping[str, Distinct] = field(default_factory=dict)

    def merge(self, other: "Statistics") -> "Statistics":
        """Both together; associative and commutative. PinflowError when a name has two kinds."""
        merged = Statistics(
            _merge(self.counts, other.counts, int.__add__),
            _merge(self.sums, other.sums, lambda one, two: ExactSum.of(one).plus(two)),
            _merge(self.histograms, other.histograms, Histogram.merge),
            _merge(self.items, other.items, Items.merge),
            _merge(self.distincts, other.distincts, Distinct.merge),
        )
        merged.check_kinds()
        return merged

    def without(self, names: Collection[str]) -> "Statistics":
        """All but these names."""
        return Statistics(
            _without(self.counts, names),
            _without(self.sums, names),
            _without(self.histograms, names),
            _without(self.items, names),
            _without(self.distincts, names),
        )

    def kinds(self) -> Sequence[tuple[str, Mapping[str, object]]]:
        """Each kind of statistic and its values by name."""
        return (
            ("count", self.counts),
            ("sum", self.sums),
            ("histogram", self.histograms),
            ("items", self.items),
            ("distinct count", self.distincts),
        )

    def check_kinds(self) -> None:
        """Raise PinflowError when a name stands under two kinds."""
        seen: dict[str, str] = {}
        for kind, values in self.kinds():
            if twice := seen.keys() & values.keys():
                name = min(twice)
                raise PinflowError(f"{name!r} is a {seen[name]} and a {kind}; give each a name of its own")
            seen.update(dict.fromkeys(values, kind))


def _without(values: Mapping[str, V], names: Collection[str]) -> dict[str, V]:
    return {name: value for name, value in values.items() if name not in names}


def _merge(one: Mapping[str, V], two: Mapping[str, V], add: Callable[[V, V], V]) -> dict[str, V]:
    merged = dict(one)
    for name, value in two.items():
        merged[name] = add(merged[name], value) if name in merged else value
    return merged

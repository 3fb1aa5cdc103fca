"""What one name has collected so far inside a task: sums, histograms and items, in bounded memory.

Single numbers wait in a list and are added a block at a time, by the same code as columns are.
"""

import heapq
import math
from collections import deque
from collections.abc import Sized
from typing import Any

from pinflow.stats_engine.allowance import LONGEST_ITEM
from pinflow.stats_engine.bucketizers import Bucketizer
from pinflow.stats_engine.distincts import Distinct, new_sketch, of_sketch
from pinflow.stats_engine.exact_sums import ExactSum, units
from pinflow.stats_engine.objects import hashed_value, item_text
from pinflow.stats_engine.statistics import Bounds, Histogram, Item, Items

BLOCK = 4096
_FEW = 32


class SumCollector:
    """An exact sum; `skipped` counts what was not a finite number."""

    __slots__ = ("name", "pending", "skipped", "units")

    def __init__(self, name: str) -> None:
        self.name = name
        self.units = 0
        self.skipped = 0
        self.pending: list[float] = []

    def add_column(self, column: Sized) -> None:
        """Add the numbers of a column."""
        from pinflow.stats_engine import columns

        finite = columns.finite(self.name, column)
        self.skipped += len(column) - len(finite)
        self.units += columns.exact_units(finite)

    def flush(self) -> None:
        """Add what is pending."""
        pending, self.pending = self.pending, []
        if len(pending) > _FEW:
            self.add_column(pending)
            return
        for value in pending:
            if math.isfinite(value):
                self.units += units(value)
            else:
                self.skipped += 1

    def result(self) -> ExactSum:
        """The sum so far."""
        self.flush()
        return ExactSum(self.units)


class HistogramCollector:
    """Counts by bucket; `skipped` counts what was not a finite number."""

    __slots__ = ("bucketizer", "counts", "highest", "lowest", "name", "pending", "skipped")

    def __init__(self, name: str, bucketizer: Bucketizer) -> None:
        self.name = name
        self.bucketizer = bucketizer
        self.counts: dict[int, int] = {}
        self.lowest = math.inf
        self.highest = -math.inf
        self.skipped = 0
        self.pending: list[float] = []

    def add_column(self, column: Sized) -> None:
        """Add the numbers of a column."""
        from pinflow.stats_engine import columns

        finite = columns.finite(self.name, column)
        self.skipped += len(column) - len(finite)
        if not len(finite):
            return
        self.lowest = min(self.lowest, float(finite.min()))
        self.highest = max(self.highest, float(finite.max()))
        for bucket, count in columns.bucket_counts(self.bucketizer.buckets(finite)):
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def flush(self) -> None:
        """Add what is pending."""
        pending, self.pending = self.pending, []
        if pending:
            self.add_column(pending)

    def result(self) -> Histogram | None:
        """The histogram so far; None when nothing usable was added."""
        self.flush()
        if not self.counts:
            return None
        buckets: dict[Bounds, int] = {}
        for number, count in sorted(self.counts.items()):
            bounds = self.bucketizer.bounds(number)
            buckets[bounds] = buckets.get(bounds, 0) + count
        return Histogram(self.bucketizer.name, buckets, self.lowest, self.highest)


class _Best:
    """The `size` items with the highest values, each item's highest; at most `limit` are held at a time."""

    __slots__ = ("_values", "_worst", "floor", "limit", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.limit = max(8 * size, 256)
        self.floor = -math.inf
        self._worst = ""
        self._values: dict[str, float] = {}

    def add(self, item: str, value: float) -> None:
        if value < self.floor or (value == self.floor and item >= self._worst):
            return
        values = self._values
        if item not in values:
            values[item] = value
            if len(values) >= self.limit:
                self.cut()
        elif value > values[item]:
            values[item] = value

    def best(self) -> list[tuple[str, float]]:
        return heapq.nsmallest(self.size, self._values.items(), key=lambda pair: (-pair[1], pair[0]))

    def cut(self) -> None:
        """Keep the best; the lowest of them is the floor for what comes."""
        values, size = self._values, self.size
        if len(values) < size:
            return
        floor = self.floor = sorted(values.values(), reverse=True)[size - 1]
        kept = {item: value for item, value in values.items() if value > floor}
        level = sorted(item for item, value in values.items() if value == floor)[: size - len(kept)]
        self._worst = level[-1]
        self._values = kept | dict.fromkeys(level, floor)


class ItemsCollector:
    """The items with the highest and lowest values (ST-13); `skipped` counts unusable rows, `dropped` long texts."""

    __slots__ = ("_bottom", "_top", "dropped", "name", "size", "skipped")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.skipped = 0
        self.dropped = 0
        self._top = _Best(size)
        self._bottom = _Best(size)

    def add(self, thing: object, value: float) -> None:
        """Add one object, identified by its text."""
        if not math.isfinite(value) or thing is None:
            self.skipped += 1
            return
        is_high, is_low = value >= self._top.floor, -value >= self._bottom.floor
        if not (is_high or is_low):
            return
        item = item_text(thing)
        if len(item) > LONGEST_ITEM:
            self.dropped += 1
            return
        # adding to zero keeps -0.0 out
        if is_high:
            self._top.add(item, value + 0.0)
        if is_low:
            self._bottom.add(item, 0.0 - value)

    def add_column(self, things: Any, column: object) -> None:
        """Add a column of objects with their values."""
        from pinflow.stats_engine import columns

        top, bottom = self._top, self._bottom
        found = columns.extremes(self.name, things, column, self.size, top.floor, -bottom.floor)
        for item, value in found.top:
            top.add(item, value)
        for item, value in found.bottom:
            bottom.add(item, 0.0 - value)
        top.cut()
        bottom.cut()
        self.skipped += found.skipped
        self.dropped += found.dropped

    def result(self) -> Items:
        """The items so far."""
        top = tuple(Item(item, value) for item, value in self._top.best())
        bottom = tuple(Item(item, 0.0 - value) for item, value in self._bottom.best())
        return Items(self.size, top, bottom)


class DistinctCollector:
    """A sketch of the objects seen; `skipped` counts null and NaN."""

    __slots__ = ("_sketch", "_update", "name", "skipped")

    def __init__(self, name: str) -> None:
        self.name = name
        self.skipped = 0
        self._sketch = new_sketch()
        self._update = self._sketch.update

    def add(self, thing: object) -> None:
        """Add one object."""
        value = None if thing is None else hashed_value(thing)
        if value is None:
            self.skipped += 1
        else:
            self._update(value)

    def add_column(self, column: Sized) -> None:
        """Add a column of objects."""
        from pinflow.stats_engine import columns

        values, skipped = columns.distinct_values(column)
        deque(map(self._update, values), maxlen=0)
        self.skipped += skipped

    def result(self) -> Distinct:
        """The set so far."""
        return of_sketch(self._sketch)

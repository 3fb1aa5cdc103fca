"""The statistics engine of a task: counts, sums, histograms, items of what passes through (ST-08 to ST-15).

Nothing leaves the process until the task writes `statistics()` into its output, so a call costs a dictionary
access (ST-04). Each call also takes columns. A name belongs to one kind: mixing raises PinflowError. Null,
NaN and infinite values are left out and counted under `_skipped.NAME`, what goes over the limits (see allowance.py)
under `_dropped`; neither fails a job.
"""

import math
import operator
from functools import cache
from typing import Any

from pinflow.errors import PinflowError
from pinflow.stats_engine.allowance import DROPPED, MOST_NAMES, SKIPPED, check_name, check_size, is_name, is_reserved
from pinflow.stats_engine.bucketizers import Bucketizer, LogBucketizer
from pinflow.stats_engine.collectors import (
    BLOCK,
    DistinctCollector,
    HistogramCollector,
    ItemsCollector,
    SumCollector,
)
from pinflow.stats_engine.statistics import DEFAULT_SIZE, Statistics

DEFAULT_BUCKETIZER = LogBucketizer()


class StatsEngine:
    """Collects the statistics of one process.

    >>> stats = StatsEngine()
    >>> stats.incr_count("events")
    >>> stats.incr_count(["like", "repin", "like"])
    >>> stats.add_sum("seconds", [0.1] * 10)
    >>> stats.statistics().counts["like"], stats.statistics().sums["seconds"]
    (2, 1.0)
    """

    def __init__(self, most_names: int = MOST_NAMES) -> None:
        self._most_names = most_names
        self.reset()

    def reset(self) -> None:
        """Forget everything collected."""
        self._kinds: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._sums: dict[str, SumCollector] = {}
        self._histograms: dict[str, HistogramCollector] = {}
        self._items: dict[str, ItemsCollector] = {}
        self._distincts: dict[str, DistinctCollector] = {}
        self._left_out: dict[str, int] = {}
        self._merged = Statistics()

    def incr_count(self, name: Any, n: Any = 1) -> None:
        """Add a whole number to the count of a name (ST-10).

        `name` may be a column of names, each adding `n`; or `n` a column of whole numbers or booleans.
        """
        if type(name) is not str:
            self._count_names(name, n)
            return
        if type(n) is not int:
            n = self._amount(name, n)
        try:
            self._counts[name] += n
        except KeyError:
            if self._claim(name, "count", n):
                self._counts[name] = n

    def add_sum(self, name: str, value: Any) -> None:
        """Add a number, or a column of numbers, to the sum of a name; sums are exact (ST-11)."""
        collector = self._sums.get(name)
        if collector is None:
            if not self._claim(name, "sum", value):
                return
            collector = self._sums[name] = SumCollector(name)
        if _is_column(value):
            collector.add_column(value)
        else:
            collector.pending.append(_number(name, value))
            if len(collector.pending) >= BLOCK:
                collector.flush()

    def add_to_histogram(self, name: str, value: Any, bucketizer: Bucketizer | None = None) -> None:
        """Add a number, or a column of numbers, to the histogram of a name (ST-12).

        `bucketizer` (default `LogBucketizer()`) is settled by the name's first call; another one raises
        PinflowError.
        """
        collector = self._histograms.get(name)
        if collector is None:
            if not self._claim(name, "histogram", value):
                return
            collector = self._histograms[name] = HistogramCollector(name, bucketizer or DEFAULT_BUCKETIZER)
        elif bucketizer is not None and bucketizer.name != collector.bucketizer.name:
            raise PinflowError(f"{name!r} has buckets {collector.bucketizer.name}, not {bucketizer.name}")
        if _is_column(value):
            collector.add_column(value)
        else:
            collector.pending.append(_number(name, value))
            if len(collector.pending) >= BLOCK:
                collector.flush()

    def add_item(self, name: str, obj: Any, value: Any, size: int | None = None) -> None:
        """Offer an object, named by its text, to the top and bottom lists of a name (ST-13).

        Both `obj` and `value` may be columns of one length. `size` (default 100) is settled by the name's
        first call; another one raises PinflowError.
        """
        collector = self._items.get(name)
        if collector is None:
            check_size(name, size)
            if not self._claim(name, "items", value):
                return
            collector = self._items[name] = ItemsCollector(name, size or DEFAULT_SIZE)
        elif size is not None and size != collector.size:
            raise PinflowError(f"{name!r} keeps {collector.size} items, not {size}; keep to one size")
        if _is_column(value):
            collector.add_column(obj, value)
        else:
            collector.add(obj, _number(name, value))

    def add_distinct(self, name: str, thing: Any) -> None:
        """Add an object, or a column of objects, to the distinct ones of a name; about 1.6 % exact, in 4 KB.

        Objects are told apart by their text, numbers by their value: 1 and 1.0 are one, 1 and "1" are two. A tuple
        is one object.
        """
        collector = self._distincts.get(name)
        if collector is None:
            if not self._claim(name, "distinct count", thing):
                return
            collector = self._distincts[name] = DistinctCollector(name)
        if _is_column(thing) and not isinstance(thing, tuple):
            collector.add_column(thing)
        else:
            collector.add(thing)

    def merge(self, statistics: Statistics) -> None:
        """Add statistics collected elsewhere, such as a shard or another system's counters."""
        statistics.check_kinds()
        for kind, values in statistics.kinds():
            for name in values:
                if self._kinds.setdefault(name, kind) != kind:
                    raise PinflowError(_mixed(name, self._kinds[name], kind))
        self._merged = self._merged.merge(statistics)

    def statistics(self) -> Statistics:
        """Everything collected so far."""
        histograms = {name: collector.result() for name, collector in self._histograms.items()}
        collected = Statistics(
            counts=dict(self._counts),
            sums={name: collector.result() for name, collector in self._sums.items()},
            histograms={name: histogram for name, histogram in histograms.items() if histogram},
            items={name: collector.result() for name, collector in self._items.items()},
            distincts={name: collector.result() for name, collector in self._distincts.items()},
        )
        return collected.merge(Statistics(counts=self._left_out_counts())).merge(self._merged)

    def _claim(self, name: str, kind: str, values: Any) -> bool:
        """Whether the name is of this kind from now on; if there are too many, its values are counted as dropped."""
        known = self._kinds.get(name)
        if known == kind:
            return True
        if known is not None:
            raise PinflowError(_mixed(name, known, kind))
        check_name(name)
        if len(self._kinds) >= self._most_names:
            self._leave_out(DROPPED, len(values) if _is_column(values) else 1)
            return False
        self._kinds[name] = kind
        return True

    def _count_names(self, column: Any, n: Any) -> None:
        from pinflow.stats_engine import columns

        if not _is_column(column) or not isinstance(n, int):
            raise PinflowError(f"cannot count {n!r} of {column!r}; give a name and amounts, or names")
        for name, times in columns.name_counts(column).items():
            if name is None:
                self._leave_out(SKIPPED, times)
            elif self._is_countable(str(name)):
                self.incr_count(str(name), times * n)
            else:
                self._leave_out(DROPPED, times)

    def _is_countable(self, name: str) -> bool:
        """Whether a name out of the data may be counted."""
        return name in self._counts or (is_name(name) and not is_reserved(name) and len(self._kinds) < self._most_names)

    def _amount(self, name: str, n: Any) -> int:
        if not _is_column(n):
            try:
                return operator.index(n)
            except TypeError:
                raise PinflowError(f"{name!r} counts whole numbers, not {n!r}; use add_sum") from None
        from pinflow.stats_engine import columns

        total, skipped = columns.amounts(name, n)
        self._leave_out(f"{SKIPPED}.{name}", skipped)
        return total

    def _leave_out(self, name: str, times: int) -> None:
        if times:
            self._left_out[name] = self._left_out.get(name, 0) + times

    def _left_out_counts(self) -> dict[str, int]:
        counts = dict(self._left_out)
        for collectors in (self._sums, self._histograms, self._items, self._distincts):
            for name, collector in collectors.items():
                if collector.skipped:
                    counts[f"{SKIPPED}.{name}"] = collector.skipped
        counts |= {f"{DROPPED}.{name}": found.dropped for name, found in self._items.items() if found.dropped}
        return counts


@cache
def engine() -> StatsEngine:
    """The engine of this process (ST-08), the same at every call."""
    return StatsEngine()


def _is_column(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _number(name: str, value: Any) -> float:
    if type(value) is float:
        return value
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        raise PinflowError(f"{name!r} takes numbers, not {value!r}") from None


def _mixed(name: str, before: str, now: str) -> str:
    return f"{name!r} is a {before} and cannot be a {now} too; give each kind a name of its own"

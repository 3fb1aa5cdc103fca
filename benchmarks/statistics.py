"""What the statistics engine costs: a call, a column, a merge.

    python -m benchmarks.statistics [--json] [--shards 2000] [--rounds 5]

CPU time of this process (user and system), the best of some rounds, so that other load on the machine shows as little
as it can. A call's cost is what it takes beyond calling an empty method with the same arguments.
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.merge import merge_shards
from pinflow.stats_engine.shards import decode, encode, shard_name

CALLS = 200_000
ROWS = 2_000_000
BATCH = 1 << 17
DISTINCT_SHARDS = 100
"""Shards that are made; more are these again, since making one takes longer than merging it."""


@dataclass(frozen=True)
class Figure:
    """One measured value and its target, in `unit`; for `is_rate` more is better."""

    name: str
    value: float
    target: float | None
    unit: str
    is_rate: bool = False

    @property
    def is_reached(self) -> bool:
        return self.target is None or (self.value >= self.target if self.is_rate else self.value <= self.target)


class Empty:
    def call(self, name: str, *values: Any) -> None:
        pass


def calls(rounds: int) -> Iterator[Figure]:
    numbers = np.random.default_rng(1)
    values = (numbers.pareto(1.1, CALLS) * 10).tolist()
    texts = [f"pin{number}" for number in numbers.integers(0, 50_000, CALLS)]
    kinds: list[tuple[str, Callable[[StatsEngine], Any], list[Any], float | None]] = [
        ("incr_count", lambda stats: stats.incr_count, [], 0.15),
        ("add_sum", lambda stats: stats.add_sum, [values], 0.6),
        ("add_to_histogram", lambda stats: stats.add_to_histogram, [values], 0.6),
        ("add_item", lambda stats: stats.add_item, [texts, values], 0.6),
        ("add_item, each the highest so far", lambda stats: stats.add_item, [texts, sorted(values)], 0.6),
        ("add_distinct", lambda stats: stats.add_distinct, [texts], None),
    ]
    for name, method, columns, target in kinds:
        cost = min(_seconds(method(StatsEngine()), columns) - _seconds(Empty().call, columns) for _ in range(rounds))
        yield Figure(name, cost / CALLS * 1e6, target, "µs a call")


def _seconds(call: Callable[..., None], columns: list[Any]) -> float:
    started = time.process_time()
    if not columns:
        for _ in range(CALLS):
            call("name")
    elif len(columns) == 1:
        for value in columns[0]:
            call("name", value)
    else:
        for item, value in zip(*columns, strict=True):
            call("name", item, value)
    return time.process_time() - started


def columns(rounds: int) -> Iterator[Figure]:
    numbers = np.random.default_rng(2)
    values = pl.Series(numbers.pareto(1.1, ROWS) * 10)
    amounts = (values * 10).cast(pl.Int64)
    names = pl.Series(np.array(["impression", "repin", "like", "create"])[numbers.integers(0, 4, ROWS)])
    items = pl.Series([f"pin{number}" for number in numbers.integers(0, 200_000, ROWS)])
    kinds: list[tuple[str, Callable[[StatsEngine, slice], None], float | None]] = [
        ("incr_count, names", lambda stats, rows: stats.incr_count(names[rows]), 20),
        ("incr_count, amounts", lambda stats, rows: stats.incr_count("n", amounts[rows]), 20),
        ("add_sum", lambda stats, rows: stats.add_sum("s", values[rows]), 20),
        ("add_to_histogram", lambda stats, rows: stats.add_to_histogram("h", values[rows]), 5),
        ("add_item", lambda stats, rows: stats.add_item("i", items[rows], values[rows]), 5),
        ("add_distinct, texts", lambda stats, rows: stats.add_distinct("d", items[rows]), None),
        ("add_distinct, numbers", lambda stats, rows: stats.add_distinct("d", amounts[rows]), None),
    ]
    for size in (BATCH, ROWS):
        for name, add, target in kinds:
            seconds = min(_column_seconds(add, size) for _ in range(rounds))
            yield Figure(f"{name}, by {size:,}", ROWS / seconds / 1e6, target, "M values/s", is_rate=True)


def _column_seconds(add: Callable[[StatsEngine, slice], None], size: int) -> float:
    stats = StatsEngine()
    started = time.process_time()
    for start in range(0, ROWS, size):
        add(stats, slice(start, start + size))
    return time.process_time() - started


def merging(count: int) -> Iterator[Figure]:
    made = [_shard(number) for number in range(min(count, DISTINCT_SHARDS))]
    shards = [(shard_name(number), made[number % len(made)]) for number in range(count)]
    started = time.process_time()
    merged = merge_shards(iter(shards))
    yield Figure(f"merging {count:,} shards", time.process_time() - started, 10 * count / 2000, "s")
    yield Figure("a shard, in its file", len(made[0]) / 2**20, None, "MB")
    yield Figure("a shard, decoded", _traced(lambda: decode(made[0], "a shard")), None, "MB")
    yield Figure("peak while merging 100", _traced(lambda: merge_shards(shards[:100])), None, "MB")
    yield Figure("buckets of a merged histogram", len(merged.histograms["histogram 0"].buckets), None, "")


def _shard(number: int) -> bytes:
    """100 counts, 10 histograms and 10 lists of items, full."""
    numbers = np.random.default_rng(number)
    stats = StatsEngine()
    for name in range(100):
        stats.incr_count(f"count {name}", int(numbers.integers(1e6)))
    for name in range(10):
        values = numbers.pareto(1.1, 2000) * 10
        stats.add_to_histogram(f"histogram {name}", values)
        stats.add_item(f"items {name}", [f"pin{item}" for item in numbers.integers(0, 10**6, 2000)], values)
    return encode(stats.statistics())


def _traced(call: Callable[[], object]) -> float:
    """MB that a call took at its peak."""
    tracemalloc.start()
    kept = call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return peak / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, default=2000, help="shards to merge; default 2000")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts; default 5")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    figures = [*calls(options.rounds), *columns(options.rounds), *merging(options.shards)]
    if options.json:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    for figure in figures:
        target = "" if figure.target is None else f"{'at least' if figure.is_rate else 'at most'} {figure.target:g}"
        print(
            f"{figure.name:40} {figure.value:10.3f} {figure.unit:12} {target}{'' if figure.is_reached else ': missed'}"
        )


if __name__ == "__main__":
    main()

import heapq
import math
import random
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import PinflowError
from pinflow.stats_engine.bucketizers import LinearBucketizer
from pinflow.stats_engine.engine import StatsEngine, engine
from pinflow.stats_engine.statistics import Statistics

COLUMNS: list[Callable[[list], object]] = [list, np.array, pl.Series, pa.array]
EACH_COLUMN = pytest.mark.parametrize("column", COLUMNS, ids=["list", "numpy", "polars", "pyarrow"])


@pytest.fixture
def stats() -> StatsEngine:
    return StatsEngine()


def test_single_calls(stats: StatsEngine) -> None:
    stats.incr_count("events")
    stats.incr_count("events", 4)
    stats.incr_count("events", np.int32(2))
    stats.incr_count("events", True)
    stats.add_sum("bytes", 2.5)
    stats.add_sum("bytes", 10)
    stats.add_to_histogram("age", 40)
    stats.add_item("rank", "pin1", 3)
    stats.add_item("rank", ("board", 7), 4)
    found = stats.statistics()
    assert found.counts == {"events": 8}
    assert found.sums == {"bytes": 12.5}
    assert found.histograms["age"].rows() == [(40.0, 40.5, 1)]
    assert found.items["rank"].top == (("('board', 7)", 4), ("pin1", 3))
    assert found.items["rank"].bottom == (("pin1", 3), ("('board', 7)", 4))


@EACH_COLUMN
def test_columns(stats: StatsEngine, column: Callable[[list], object]) -> None:
    stats.incr_count(column(["like", "repin", "like"]))
    stats.incr_count("amounts", column([1, 2, 2**62]))
    stats.incr_count("amounts", column([2**62, 2**62]))
    stats.incr_count("true", column([True, False, True]))
    stats.add_sum("sum", column([0.1] * 10))
    stats.add_sum("sum", column([1, 2]))
    stats.add_to_histogram("h", column([1.0, 1.0, -2.0]))
    stats.add_item("items", column(["b", "a", "b", "c"]), column([1.0, 2.0, 3.0, 2.0]), size=2)
    stats.add_item("numbered", column([10, 9]), column([1, 1]))
    found = stats.statistics()
    assert found.counts == {"like": 2, "repin": 1, "amounts": 3 * 2**62 + 3, "true": 2}
    assert found.sums["sum"] == 4.0
    assert found.histograms["h"].rows() == [(-2.03125, -2.0, 1), (1.0, 1.015625, 2)]
    assert found.items["items"].top == (("b", 3.0), ("a", 2.0))
    assert found.items["items"].bottom == (("b", 1.0), ("a", 2.0))
    assert found.items["numbered"].top == (("10", 1.0), ("9", 1.0))


def test_other_columns_of_names_and_numbers(stats: StatsEngine) -> None:
    stats.incr_count(pl.Series(["a", "b", "a", None], dtype=pl.Categorical), 10)
    stats.add_sum("uint8", pl.Series([255, 255], dtype=pl.UInt8))
    stats.add_sum("flags", pl.Series([True, None]))
    stats.add_sum("nothing", pl.Series([None, None]))
    stats.add_sum("empty", [])
    stats.add_to_histogram("empty_histogram", pl.Series([], dtype=pl.Float64))
    stats.add_item("floats", [1.5, 2.5], [1, 2])
    stats.incr_count("large", [2**70, 1])
    found = stats.statistics()
    assert found.counts == {"a": 20, "b": 10, "_skipped": 1, "_skipped.flags": 1, "_skipped.nothing": 2} | {
        "large": 2**70 + 1
    }
    assert found.sums == {"uint8": 510.0, "flags": 1.0, "nothing": 0.0, "empty": 0.0}
    assert found.histograms == {}
    assert found.items["floats"].top == (("2.5", 2.0), ("1.5", 1.0))


@EACH_COLUMN
def test_null_nan_and_infinite_values_are_counted_aside(stats: StatsEngine, column: Callable[[list], object]) -> None:
    values = [1.0, None, math.nan, math.inf, -math.inf, 2.0]
    for value in values:
        stats.add_sum("s", value)
        stats.add_to_histogram("h", value)
        stats.add_item("i", "a", value)
    stats.add_sum("s", column(values))
    stats.add_to_histogram("h", column(values))
    stats.add_item("i", column(["a", "b", "c", "d", "e", "f"]), column(values))
    stats.incr_count("c", pl.Series([1, None, 2]))
    stats.add_sum("s", 10**400)
    found = stats.statistics()
    assert found.counts == {"_skipped.s": 9, "_skipped.h": 8, "_skipped.i": 8, "_skipped.c": 1, "c": 3}
    assert found.sums == {"s": 6.0}
    assert found.histograms["h"].count == 4
    assert found.items["i"].top == (("a", 2.0), ("f", 2.0))


def test_objects_that_are_null_are_counted_aside(stats: StatsEngine) -> None:
    stats.add_item("i", None, 1.0)
    stats.add_item("i", pl.Series(["a", None]), [1.0, 2.0])
    stats.add_item("i", ["b", None], [1.0, math.nan])
    stats.add_item("few", ["a", "b", "c"], [1, 2, 9], size=1)
    stats.add_item("few", [None, "b"], [5, 5])
    found = stats.statistics()
    assert found.items["i"].top == (("a", 1.0), ("b", 1.0))
    assert found.counts == {"_skipped.i": 3, "_skipped.few": 1}


OFFERS = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 1.5])))


@given(OFFERS, st.integers(1, 5))
def test_items_equal_a_full_sort(offers: list[tuple[str, float]], size: int) -> None:
    single, columns = StatsEngine(), StatsEngine()
    highest, lowest = {}, {}
    for item, value in offers:
        single.add_item("i", item, value, size)
        highest[item] = max(value, highest.get(item, -math.inf))
        lowest[item] = min(value, lowest.get(item, math.inf))
    columns.add_item("i", [item for item, _ in offers], [value for _, value in offers], size)
    top = tuple(sorted(highest.items(), key=lambda pair: (-pair[1], pair[0]))[:size])
    bottom = tuple(sorted(lowest.items(), key=lambda pair: (pair[1], pair[0]))[:size])
    for stats in (single, columns):
        if offers:
            found = stats.statistics().items["i"]
            assert (found.top, found.bottom) == (top, bottom)


def test_many_items_with_ties_in_bounded_memory() -> None:
    random_ = random.Random(5)
    offers = [(f"pin{random_.randrange(20_000)}", random_.randrange(50)) for _ in range(60_000)]
    stats = StatsEngine()
    tracemalloc.start()
    for item, value in offers:
        stats.add_item("i", item, value, size=20)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200_000
    halves = StatsEngine()
    for part in (offers[:30_000], offers[30_000:]):
        halves.add_item("i", pl.Series([i for i, _ in part]), pl.Series([v for _, v in part]), size=20)
    highest: dict[str, int] = {}
    for item, value in offers:
        highest[item] = max(value, highest.get(item, 0))
    expected = heapq.nsmallest(20, highest.items(), key=lambda pair: (-pair[1], pair[0]))
    assert stats.statistics().items["i"].top == tuple(expected)
    assert halves.statistics() == stats.statistics()


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200))
def test_both_forms_give_the_same(values: list[float]) -> None:
    single, columns = StatsEngine(), StatsEngine()
    for value in values:
        single.add_sum("s", value)
        single.add_to_histogram("h", value)
    columns.add_sum("s", np.array(values))
    columns.add_to_histogram("h", np.array(values))
    assert single.statistics() == columns.statistics()


def test_more_single_values_than_a_block(stats: StatsEngine) -> None:
    values = [random.Random(1).gauss() for _ in range(10_000)]
    for value in values:
        stats.add_sum("s", value)
        stats.add_to_histogram("h", value)
    found = stats.statistics()
    assert found.sums["s"] == math.fsum(values)
    assert found.histograms["h"].count == 10_000
    assert (found.histograms["h"].lowest, found.histograms["h"].highest) == (min(values), max(values))


def test_counting_names_equals_a_counter(stats: StatsEngine) -> None:
    names = random.Random(2).choices(["impression", "repin", "like"], k=5000)
    stats.incr_count(pl.Series(names))
    assert stats.statistics().counts == Counter(names)


def test_a_name_belongs_to_one_kind(stats: StatsEngine) -> None:
    stats.incr_count("n")
    for call in (
        lambda: stats.add_sum("n", 1),
        lambda: stats.add_to_histogram("n", 1),
        lambda: stats.add_item("n", "a", 1),
    ):
        with pytest.raises(PinflowError, match="'n' is a count and cannot be"):
            call()
    with pytest.raises(PinflowError, match="'n' is a count and cannot be a sum"):
        stats.merge(Statistics(sums={"n": 1.0}))
    stats.reset()
    stats.add_sum("n", 1)


def test_settled_sizes_and_buckets_stay(stats: StatsEngine) -> None:
    stats.add_item("i", "a", 1, size=5)
    stats.add_item("i", "a", 1)
    with pytest.raises(PinflowError, match="keeps 5 items, not 6"):
        stats.add_item("i", "a", 1, size=6)
    stats.add_to_histogram("h", 1)
    with pytest.raises(PinflowError, match="has buckets"):
        stats.add_to_histogram("h", 1, LinearBucketizer(0, 1, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.incr_count("n", 1.5),
        lambda s: s.incr_count("n", [1.5]),
        lambda s: s.incr_count("n", "2"),
        lambda s: s.incr_count(["n"], [1]),
        lambda s: s.incr_count(5),
        lambda s: s.incr_count(""),
        lambda s: s.incr_count("x" * 256),
        lambda s: s.incr_count("\ud800"),
        lambda s: s.incr_count("_skipped.x"),
        lambda s: s.add_sum("n", "many"),
        lambda s: s.add_sum("n", ["many"]),
        lambda s: s.add_sum("n", pl.Series(["1"])),
        lambda s: s.add_item("n", ["a", "b"], [1.0]),
        lambda s: s.add_item("n", "a", 1, size=0),
    ],
)
def test_misuse_is_explained(stats: StatsEngine, call: Callable[[StatsEngine], None]) -> None:
    with pytest.raises(PinflowError):
        call(stats)


def test_texts_that_utf8_cannot_hold_are_escaped(stats: StatsEngine) -> None:
    text = b"\xff/pin".decode("utf-8", "surrogateescape")
    stats.add_item("i", text, 1)
    stats.add_item("i", [text, "é"], [3, 2])
    assert stats.statistics().items["i"].top == (("\\udcff/pin", 3.0), ("é", 2.0))


def test_merging_takes_in_what_was_collected_elsewhere(stats: StatsEngine) -> None:
    stats.incr_count("n")
    stats.merge(Statistics(counts={"n": 2, "hadoop": 3}))
    stats.incr_count("hadoop")
    assert stats.statistics().counts == {"n": 3, "hadoop": 4}
    assert stats.statistics() == stats.statistics()


def test_the_engine_of_a_process_is_one() -> None:
    assert engine() is engine()


def test_counting_needs_no_heavy_import() -> None:
    code = (
        "import sys; from pinflow.stats_engine.engine import engine; engine().incr_count('n'); "
        "from pinflow.stats_engine import rules, merge, shards; "
        "sys.exit(', '.join({'numpy', 'polars', 'sqlalchemy', 'thriftpy2'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_are_too_many_are_dropped_and_counted() -> None:
    stats = StatsEngine(most_names=3)
    stats.incr_count("a")
    stats.add_sum("b", 1)
    stats.add_distinct("c", "x")
    for _ in range(2):
        stats.incr_count("d", 5)
        stats.add_sum("e", [1.0, 2.0])
        stats.add_to_histogram("f", 1)
        stats.add_item("g", "x", 1)
        stats.add_distinct("h", ["x", "y", "z"])
        stats.incr_count("a")
    stats.incr_count(["a", "i", "i"])
    found = stats.statistics()
    # each time 1 + 2 + 1 + 1 + 3 values, and two of the column of names
    assert found.counts == {"a": 4, "_dropped": 18}
    assert (found.sums, found.histograms, found.items, list(found.distincts)) == ({"b": 1.0}, {}, {}, ["c"])


def test_names_out_of_the_data_that_cannot_be_are_dropped_and_counted(stats: StatsEngine) -> None:
    stats.incr_count(["a", "x" * 256, "line\nend", "", "_skipped.a", "_dropped"])
    assert stats.statistics().counts == {"a": 1, "_dropped": 5}
    for name in ("_dropped", "_dropped.a"):
        with pytest.raises(PinflowError, match="reserved"):
            stats.incr_count(name)


def test_items_that_are_too_long_are_dropped_and_counted(stats: StatsEngine) -> None:
    stats.add_item("i", "é" * 1000, 1)
    stats.add_item("i", "x" * 1001, 9)
    stats.add_item("i", ["x" * 1001, "a"], [9, 2])
    found = stats.statistics()
    assert [item for item, _ in found.items["i"].top] == ["a", "é" * 1000]
    assert found.counts == {"_dropped.i": 2}


@given(st.integers(0, 2**32), st.integers(1, 20), st.booleans())
def test_long_columns_give_the_same_items_as_a_full_sort(seed: int, size: int, few: bool) -> None:
    random_ = random.Random(seed)
    count = 16 * size + random_.randrange(500)
    # few items of which one is the highest again and again, or many with ties
    items = [f"i{random_.randrange(5 if few else 400)}" for _ in range(count)]
    values = [float(random_.randrange(30)) for _ in range(count)]
    stats = StatsEngine()
    stats.add_item("i", pl.Series(items), np.array(values), size)
    highest: dict[str, float] = {}
    lowest: dict[str, float] = {}
    for item, value in zip(items, values, strict=True):
        highest[item] = max(value, highest.get(item, value))
        lowest[item] = min(value, lowest.get(item, value))
    found = stats.statistics().items["i"]
    assert found.top == tuple(sorted(highest.items(), key=lambda pair: (-pair[1], pair[0]))[:size])
    assert found.bottom == tuple(sorted(lowest.items(), key=lambda pair: (pair[1], pair[0]))[:size])

import math
import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from datasketches import hll_sketch, hll_union
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import PinflowError
from pinflow.stats_engine.distincts import MOST_COUPONS, RELATIVE_ERROR, Distinct
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.rules import absolute, evaluate
from pinflow.stats_engine.shards import decode, encode
from pinflow.stats_engine.statistics import Statistics


def counted(*columns: Any) -> Distinct:
    stats = StatsEngine()
    for column in columns:
        stats.add_distinct("d", column)
    return stats.statistics().distincts["d"]


def one_by_one(values: list[Any]) -> Distinct:
    stats = StatsEngine()
    for value in values:
        stats.add_distinct("d", value)
    return stats.statistics().distincts["d"]


PARTS = st.lists(st.lists(st.integers(0, 700), max_size=400), min_size=3, max_size=3)


@given(PARTS)
def test_merging_is_associative_commutative_and_equal_to_the_whole(parts: list[list[int]]) -> None:
    a, b, c = (counted(part) for part in parts)
    whole = counted([value for part in parts for value in part])
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == c.merge(a).merge(b) == whole
    assert a.merge(a) == a.merge(Distinct()) == a
    assert decode(encode(Statistics(distincts={"d": whole})), "x").distincts["d"] == whole


@pytest.mark.parametrize("count", [0, 1, 8, 9, 30, MOST_COUPONS])
def test_few_are_counted_exactly(count: int) -> None:
    estimate, low, high = counted(list(range(count))).estimate()
    assert low == count
    assert count <= round(estimate, 3) == count
    assert count <= high <= count * 1.0002


@pytest.mark.parametrize("count", [300, 5000, 200_000])
def test_estimates_are_those_of_the_librarys_own_union(count: int) -> None:
    sketch, union = hll_sketch(12), hll_union(12)
    for value in range(count):
        sketch.update(value)
    union.update(sketch)
    # a union of two full sketches: the library's estimate that does not depend on the order
    union.update(sketch)
    result = union.get_result()
    estimate, low, high = counted(np.arange(count)).estimate()
    if count > 400:
        assert (estimate, low, high) == (
            result.get_estimate(),
            result.get_lower_bound(2),
            result.get_upper_bound(2),
        )
    assert abs(estimate / count - 1) < 4 * RELATIVE_ERROR


VALUES = ["a", "b", "é", "", "a", "2", 2, 2.0, True, 1, 0.5, -7, 2**63, ("a", 1), Decimal("1.5"), date(2015, 5, 18)]


def test_objects_that_are_equal_are_one() -> None:
    distinct = {"a", "b", "é", "", "2", 2, 1, 0.5, -7, 2**63, ("a", 1), Decimal("1.5"), date(2015, 5, 18)}
    assert round(one_by_one(VALUES).estimate().estimate, 4) == len(distinct)
    assert counted(VALUES) == one_by_one(VALUES)


@pytest.mark.parametrize("column", [list, np.array, pl.Series, pa.array], ids=["list", "numpy", "polars", "pyarrow"])
@pytest.mark.parametrize(
    "values",
    [["a", "", "é", "a"], [1, 2, -3, 2], [1.0, 2.5, 1.0], [True, False, True]],
    ids=["texts", "whole", "numbers", "booleans"],
)
def test_both_forms_give_the_same(column: Callable[[list], Any], values: list[Any]) -> None:
    assert counted(column(values)) == one_by_one(values)


def test_other_columns() -> None:
    assert counted(pl.Series([2**63 + 5, 1], dtype=pl.UInt64)) == one_by_one([2**63 + 5, 1])
    assert counted(np.array([2**63 + 5, 1], dtype=np.uint64)) == one_by_one([2**63 + 5, 1])
    assert counted(pl.Series(["a", "b", "a"], dtype=pl.Categorical)) == one_by_one(["a", "b"])
    assert counted(pl.Series([date(2015, 5, 18)])) == one_by_one([date(2015, 5, 18)])
    assert counted(pl.Series([0.1], dtype=pl.Float32)) == one_by_one([np.float32(0.1)])
    assert one_by_one([np.int16(3), np.bool_(True), b"\xff".decode("utf-8", "surrogateescape")]) == one_by_one(
        [3, 1, "\\udcff"]
    )


def test_null_and_nan_are_counted_aside() -> None:
    stats = StatsEngine()
    for value in (None, math.nan, "a"):
        stats.add_distinct("d", value)
    stats.add_distinct("d", ["b", None, math.nan])
    stats.add_distinct("d", pl.Series(["c", None]))
    stats.add_distinct("d", pl.Series([1.5, None, math.nan]))
    found = stats.statistics()
    assert found.counts == {"_skipped.d": 7}
    assert round(found.distincts["d"].estimate().estimate, 6) == 4


@pytest.mark.parametrize(
    ("coupons", "registers"),
    [((1,), b""), ((2**32,), b""), ((2**27, 2**26), b""), ((), b"\x01"), ((), b"\x40" * 4096), ((2**26,), bytes(4096))],
)
def test_what_is_no_sketch_is_refused(coupons: tuple[int, ...], registers: bytes) -> None:
    with pytest.raises(PinflowError):
        Distinct(coupons, registers)


@pytest.mark.parametrize(("runs", "most"), [(40, 7), pytest.param(1000, 72, marks=pytest.mark.soak)])
def test_the_published_bounds_hold(runs: int, most: int) -> None:
    """Two standard deviations: 4.6 % may lie outside; `most` is exceeded by chance once in some thousand times."""
    numbers = random.Random(runs)
    outside, errors = 0, []
    for run in range(runs):
        count = int(10 ** numbers.uniform(2, 5))
        parts = np.array_split(np.arange(count) + run * 10**7, numbers.choice([1, 2, 7]))
        merged = Distinct()
        for part in parts:
            merged = merged.merge(counted(part))
        estimate, low, high = merged.estimate()
        outside += not low <= count <= high
        errors.append((estimate / count - 1) ** 2)
    assert outside <= most
    assert math.sqrt(sum(errors) / runs) < 1.3 * RELATIVE_ERROR


def test_rules_judge_the_estimate() -> None:
    found = Statistics(distincts={"users": counted(list(range(40)))})
    assert [violation.message for violation in evaluate([absolute("users", min=41)], found)] == [
        "users is 40, below its minimum 41"
    ]
    assert evaluate([absolute("users", min=40, max=41)], found) == []

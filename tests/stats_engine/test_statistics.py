import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import PinflowError
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.merge import merge_shards
from pinflow.stats_engine.shards import decode, encode, shard_name
from pinflow.stats_engine.statistics import Histogram, Item, Items, Statistics

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.1, math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324]), st.floats()
)
CALLS = st.one_of(
    st.tuples(st.just("count"), st.sampled_from(["c1", "c2"]), st.integers(-5, 1000)),
    st.tuples(st.just("sum"), st.sampled_from(["s1", "s2"]), VALUES),
    st.tuples(st.just("histogram"), st.sampled_from(["h1", "h2"]), VALUES),
    st.tuples(st.just("item"), st.sampled_from(["i1"]), st.tuples(st.sampled_from("abcdefgh"), VALUES)),
)


def collect(calls: list) -> Statistics:
    stats = StatsEngine()
    for kind, name, value in calls:
        match kind:
            case "count":
                stats.incr_count(name, value)
            case "sum":
                stats.add_sum(name, value)
            case "histogram":
                stats.add_to_histogram(name, value)
            case "item":
                stats.add_item(name, *value, size=3)
    return stats.statistics()


@given(st.lists(CALLS, max_size=30), st.lists(CALLS, max_size=30), st.lists(CALLS, max_size=30))
def test_merging_is_associative_and_commutative(one: list, two: list, three: list) -> None:
    a, b, c = collect(one), collect(two), collect(three)
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(Statistics()) == a


@given(st.lists(st.tuples(CALLS, st.integers(0, 3)), max_size=60))
def test_any_number_of_tasks_gives_the_same_bytes(calls: list) -> None:
    tasks = [collect([call for call, task in calls if task == number]) for number in range(4)]
    shards = [(shard_name(number), encode(statistics)) for number, statistics in enumerate(tasks)]
    together = encode(collect([call for call, _ in calls]))
    assert encode(merge_shards(shards)) == encode(merge_shards(reversed(shards))) == together


@given(st.lists(CALLS, max_size=40))
def test_reading_gives_what_was_written(calls: list) -> None:
    statistics = collect(calls)
    assert decode(encode(statistics), "x") == statistics


def test_an_object_keeps_its_highest_value_on_top_and_its_lowest_at_the_bottom() -> None:
    one = Items.of(2, [Item("a", 5), Item("b", 3)], [Item("a", 5), Item("b", 3)])
    two = Items.of(2, [Item("a", 1), Item("c", 3)], [Item("a", 1), Item("c", 3)])
    merged = one.merge(two)
    assert merged.top == (("a", 5), ("b", 3))
    assert merged.bottom == (("a", 1), ("b", 3))


def test_ties_are_ordered_by_the_object() -> None:
    one = Items.of(2, [Item("b", 1), Item("c", 1)], [Item("b", 1), Item("c", 1)])
    two = Items.of(2, [Item("é", 1), Item("a", 1)], [Item("é", 1), Item("a", 1)])
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).top == one.merge(two).bottom == (("a", 1), ("b", 1))


def test_lists_of_two_sizes_merge_into_the_smaller() -> None:
    long = Items.of(3, [Item(x, 1) for x in "abc"], [])
    short = Items.of(2, [Item(x, 2) for x in "de"], [])
    assert long.merge(short) == short.merge(long) == Items(2, (Item("d", 2), Item("e", 2)))


def test_a_name_with_two_kinds_is_refused() -> None:
    with pytest.raises(PinflowError, match="'x' is a count and a sum"):
        Statistics(counts={"x": 1}).merge(Statistics(sums={"x": 1.0}))


def test_histograms_with_other_buckets_are_refused() -> None:
    one = Histogram("log(6)", {(1.0, 2.0): 1}, 1.0, 1.0)
    with pytest.raises(PinflowError, match=r"log\(6\) and linear"):
        one.merge(Histogram("linear(0, 1, 2)", {}, 1.0, 1.0))


def test_plain_floats_merge_exactly_too() -> None:
    parts = [Statistics(sums={"s": value}) for value in (0.1, 0.2, 0.3)]
    assert parts[0].merge(parts[1]).merge(parts[2]).sums["s"] == math.fsum([0.1, 0.2, 0.3])


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_quantiles_outside_zero_to_one_are_refused(share: float) -> None:
    with pytest.raises(PinflowError, match="give 0 to 1"):
        Histogram("log(6)", {}, 0.0, 0.0).quantile(share)

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pinflow.stats_engine.columns import exact_units
from pinflow.stats_engine.exact_sums import ExactSum, units

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MODERATE = st.floats(min_value=-1e300, max_value=1e300)


@given(FINITE)
def test_units_are_the_exact_value(value: float) -> None:
    assert Fraction(units(value), 2**1074) == Fraction(value)


@given(st.lists(MODERATE, max_size=60))
def test_a_column_adds_up_to_the_correctly_rounded_sum(values: list[float]) -> None:
    total = ExactSum(exact_units(np.array(values, dtype=np.float64)))
    assert total == math.fsum(values)
    assert Fraction(total.units, 2**1074) == sum(map(Fraction, values))


@given(st.lists(FINITE, max_size=20), st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[float], random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    one, two = ExactSum(), ExactSum()
    for value in values:
        one = one.plus(value)
    for value in shuffled:
        two = two.plus(value)
    assert (one, one.units) == (two, two.units)


def test_blocks_of_a_long_column_are_added_exactly() -> None:
    values = np.random.default_rng(7).lognormal(0, 30, 200_001) * np.where(np.arange(200_001) % 2, 1, -1)
    assert ExactSum(exact_units(values)) == math.fsum(values.tolist())


def test_what_cancels_leaves_the_small_part() -> None:
    assert ExactSum(exact_units(np.array([1e308, 5e-324, 1.0, -1e308, -1.0]))) == 5e-324


def test_beyond_the_range_of_doubles_the_largest_shows_and_nothing_is_lost() -> None:
    most = 1.7976931348623157e308
    beyond = ExactSum.of(most).plus(most)
    assert beyond == most
    assert beyond.plus(-most).plus(-1.0) == most - 1.0
    assert ExactSum.of(-most).plus(-most) == -most


def test_copies_keep_the_exact_value() -> None:
    total = ExactSum.of(1e16).plus(1.0)
    assert copy.deepcopy(total).units == pickle.loads(pickle.dumps(total)).units == total.units

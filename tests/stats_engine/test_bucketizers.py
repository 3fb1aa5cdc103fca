import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.bucketizers import Bucketizer, EdgeBucketizer, LinearBucketizer, LogBucketizer
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.statistics import Histogram

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NORMAL = FINITE.filter(lambda value: value == 0 or abs(value) >= sys.float_info.min)
LOG = LogBucketizer()
ALL: list[Bucketizer] = [
    LOG,
    LogBucketizer(0),
    LogBucketizer(10),
    LinearBucketizer(-5, 25, 7),
    EdgeBucketizer((-1.0, 0.0, 3.5)),
]


@given(NORMAL)
def test_the_middle_of_a_log_bucket_is_within_the_relative_error(value: float) -> None:
    low, high = LOG.bounds(LOG.bucket(value))
    assert abs(low + (high - low) / 2 - value) <= LOG.relative_error * abs(value)


def test_the_default_relative_error_is_below_one_percent() -> None:
    assert LOG.relative_error == 1 / 128


@pytest.mark.parametrize("bucketizer", ALL, ids=lambda bucketizer: bucketizer.name)
@given(values=st.lists(FINITE, min_size=1, max_size=30))
def test_columns_get_the_buckets_of_single_numbers(bucketizer: Bucketizer, values: list[float]) -> None:
    assert bucketizer.buckets(np.array(values)).tolist() == [bucketizer.bucket(value) for value in values]


@pytest.mark.parametrize("bucketizer", ALL, ids=lambda bucketizer: bucketizer.name)
@given(one=FINITE, two=FINITE)
def test_buckets_grow_with_the_value_and_hold_it(bucketizer: Bucketizer, one: float, two: float) -> None:
    one, two = sorted((one, two))
    assert bucketizer.bucket(one) <= bucketizer.bucket(two)
    low, high = bucketizer.bounds(bucketizer.bucket(one))
    if abs(one) >= sys.float_info.min:
        assert low <= one <= high


def test_log_bounds_by_hand() -> None:
    assert LOG.bounds(LOG.bucket(1.0)) == (1.0, 1.015625)
    assert LOG.bounds(LOG.bucket(-1.0)) == (-1.015625, -1.0)
    assert LOG.bounds(LOG.bucket(0.0)) == LOG.bounds(LOG.bucket(-0.0)) == (0.0, 0.0)
    assert LOG.bucket(1e-310) == 0
    assert LOG.bounds(LOG.bucket(sys.float_info.max))[1] == sys.float_info.max


def test_small_whole_numbers_have_a_log_bucket_each() -> None:
    assert len({LOG.bucket(number) for number in range(-127, 128)}) == 255


def test_linear_buckets_by_hand() -> None:
    linear = LinearBucketizer(0, 10, 5)
    assert [linear.bucket(value) for value in (-0.1, 0, 1.99, 2, 9.99, 10, 1e300)] == [0, 1, 1, 2, 5, 6, 6]
    assert linear.bounds(0) == (-math.inf, 0.0)
    assert linear.bounds(3) == (4.0, 6.0)
    assert linear.bounds(6) == (10.0, math.inf)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LogBucketizer(11),
        lambda: LogBucketizer(-1),
        lambda: LinearBucketizer(1, 1, 5),
        lambda: LinearBucketizer(0, math.inf, 5),
        lambda: LinearBucketizer(0, 1, 0),
        lambda: EdgeBucketizer(()),
        lambda: EdgeBucketizer((2.0, 1.0)),
        lambda: EdgeBucketizer((1.0, math.nan)),
    ],
)
def test_divisions_that_cannot_be_are_refused(make) -> None:
    with pytest.raises(ConfigurationError, match=r"give|use"):
        make()


def _histogram(values: list[float], bucketizer: Bucketizer = LOG) -> Histogram:
    stats = StatsEngine()
    stats.add_to_histogram("h", values, bucketizer)
    return stats.statistics().histograms["h"]


@given(st.lists(NORMAL, min_size=1, max_size=80), st.floats(0, 1))
def test_quantiles_are_within_the_relative_error_of_numpys_nearest_rank(values: list[float], share: float) -> None:
    exact = float(np.quantile(np.array(values), share, method="inverted_cdf"))
    assert abs(_histogram(values).quantile(share) - exact) <= LOG.relative_error * abs(exact) * (1 + 1e-12)


def test_quantiles_of_a_long_tail() -> None:
    values = np.random.default_rng(3).lognormal(2, 3, 100_000)
    histogram = _histogram(values.tolist())
    for share in (0.01, 0.5, 0.9, 0.99, 0.9999):
        assert histogram.quantile(share) == pytest.approx(np.quantile(values, share), rel=1 / 120)
    assert histogram.quantile(0) == values.min()
    assert histogram.quantile(1) == values.max()


def test_open_buckets_end_at_the_lowest_and_highest_number() -> None:
    histogram = _histogram([-3.0, -1.0, 5.0, 11.0, 70.0], EdgeBucketizer((0.0, 10.0)))
    assert histogram.rows() == [(-3.0, 0.0, 2), (0.0, 10.0, 1), (10.0, 70.0, 2)]
    assert math.isfinite(histogram.quantile(0.99))


class OddAndEven(Bucketizer):
    name = "odd-even"

    def bucket(self, value: float) -> int:
        return int(value) % 2

    def bounds(self, bucket: int) -> tuple[float, float]:
        return float(bucket), float(bucket)


def test_a_bucketizer_of_ones_own() -> None:
    assert _histogram([1, 2, 3, 5], OddAndEven()).rows() == [(0.0, 0.0, 1), (1.0, 1.0, 3)]

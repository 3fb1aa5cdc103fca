import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.rules import Rule, absolute, evaluate, ratio
from pinflow.stats_engine.statistics import Histogram, Items, Statistics

STATISTICS = Statistics(
    counts={"lines_read": 1000, "bad_lines": 11, "users": 5},
    sums={"seconds": 2.5},
    histograms={"age": Histogram("log(6)", {(1.0, 2.0): 7}, 1.0, 1.5)},
    items={"rank": Items(3)},
)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (absolute("users", min=6), "users is 5, below its minimum 6"),
        (absolute("users", min=5, max=5), None),
        (absolute("users", max=4), "users is 5, above its maximum 4"),
        (absolute("users", max=0), "users is 5, above its maximum 0"),
        (absolute("missing", min=1), "missing is 0, below its minimum 1"),
        (absolute("missing", max=0), None),
        (absolute("seconds", max=2), "seconds is 2.5, above its maximum 2"),
        (absolute("age", min=8), "age is 7, below its minimum 8"),
        (
            ratio("bad_lines", of="lines_read", max=0.01),
            "bad_lines / lines_read is 0.011, above its maximum 0.01",
        ),
        (ratio("bad_lines", of="lines_read", max=0.011), None),
        (ratio("missing", of="nothing", min=0.5, max=0.9), None),
        (ratio("bad_lines", of="nothing", max=0.9), "bad_lines / nothing is inf, above its maximum 0.9"),
    ],
)
def test_which_rules_fire(rule: Rule, message: str | None) -> None:
    assert [found.message for found in evaluate([rule], STATISTICS)] == ([message] if message else [])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: absolute("x"), "no bound"),
        (lambda: absolute("x", min=2, max=1), "min=2 is above max=1"),
        (lambda: absolute("x", min=1, degree="severe"), "'severe' is none of warning, fatal"),
        (lambda: absolute("x", max=math.nan), "not a finite number"),
        (lambda: absolute("x", max=math.inf), "not a finite number"),
        (lambda: absolute("x", max=True), "not a finite number"),
        (lambda: absolute("x", max="1"), "not a finite number"),
        (lambda: absolute("", max=1), "name of a statistic"),
        (lambda: ratio("x", of="", max=1), "name of a statistic"),
        (lambda: Rule.from_json({"rule": "odd", "name": "x"}), "known: absolute"),
        (lambda: Rule.from_json({"rule": "absolute", "nam": "x"}), "is not a rule"),
        (lambda: evaluate([absolute("rank", min=1)], STATISTICS), "list of items"),
    ],
)
def test_rules_that_cannot_be_judged_are_refused(make, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert reason in str(caught.value)


BOUNDS = st.none() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9)


@given(BOUNDS, BOUNDS, st.none() | st.just("of"), st.sampled_from(["", "job"]), st.sampled_from(["warning", "fatal"]))
def test_rules_survive_json(low, high, of, job, degree) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    if low is None and high is None:
        high = 1
    made = absolute("é name", min=low, max=high, degree=degree)
    rule = ratio("é name", of=of, job=job, min=low, max=high, degree=degree) if of else made
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule

import json
import math
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.rules import Background, Rule, absolute, balance, evaluate, fresh, nonzero, ratio, temporal
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
        (lambda: temporal("x", side="up"), "'up' is none of both, below, above"),
        (lambda: temporal("x", least=1), "give 0 to below 1"),
        (lambda: temporal("x", degree="bad"), "'bad' is none of warning, fatal"),
        (lambda: nonzero(""), "name of a statistic"),
        (lambda: fresh("x", within="2 moons"), "not a length of time"),
        (lambda: balance([], ["x"]), "at least one statistic on each side"),
        (lambda: balance([("job", "x", "y")], ["x"]), "or a pair (job, name)"),
        (lambda: balance([None], ["x"]), "no term None"),
        (lambda: balance(["x"], ["y"], tolerance=-0.1), "give 0 to below 1"),
        (lambda: Rule.from_json({"rule": "odd", "name": "x"}), "known: absolute"),
        (lambda: Rule.from_json({"rule": "absolute", "nam": "x"}), "is not a rule"),
        (lambda: evaluate([absolute("rank", min=1)], STATISTICS), "list of items"),
    ],
)
def test_rules_that_cannot_be_judged_are_refused(make, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert reason in str(caught.value)


DAY_END = datetime(2015, 5, 19, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (fresh("event_time", within="2h"), None),
        (fresh("event_time", within="1h"), "the newest event_time is 1:30:00 before the end of the day; at most 1h"),
        (fresh("newest", within="10m"), None),
        (fresh("newest", within="3m"), "the newest newest is 0:05:00 before the end of the day; at most 3m"),
        (fresh("none", within="9d"), "none has no value, so nothing is known to be fresh; at most 9d"),
        (
            balance(["lines_read"], ["bad_lines", "users"]),
            "lines_read = bad_lines + users does not balance: 1000 in, 16 out",
        ),
        (balance(["bad_lines", "users"], ["all"]), None),
        (balance(["lines_read"], ["most"], tolerance=0.01), None),
        (balance(["lines_read"], ["most"], tolerance=0.009), "lines_read = most does not balance: 1000 in, 990 out"),
        (balance(["none"], ["nothing"]), None),
    ],
)
def test_freshness_and_balances(rule: Rule, message: str | None) -> None:
    times = Histogram("linear", {(DAY_END - 9000, DAY_END): 7}, DAY_END - 9000, DAY_END - 5400)
    statistics = Statistics(
        counts=dict(STATISTICS.counts) | {"all": 16, "most": 990},
        sums={"newest": DAY_END - 300},
        histograms={"event_time": times},
    )
    found = evaluate([rule], statistics, Background(day=date(2015, 5, 18)))
    assert [violation.message for violation in found] == ([message] if message else [])


@pytest.mark.parametrize(
    "rule",
    [
        temporal("é", of="x", side="above", least=0.25, degree="fatal"),
        temporal("é"),
        nonzero("é"),
        balance(["é", ("job", "x")], ["y"], tolerance=0.5),
        fresh("é", within="90s", degree="fatal"),
    ],
    ids=str,
)
def test_every_kind_survives_json(rule: Rule) -> None:
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


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

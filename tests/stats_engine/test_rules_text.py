"""Rules as people type them, and what history speaks for."""

from datetime import date, timedelta

import numpy as np
import pytest

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.history import History
from pinflow.stats_engine.rules import Rule, absolute, balance, fresh, nonzero, ratio, temporal
from pinflow.stats_engine.rules.text import parse_rule
from pinflow.stats_engine.suggestions import suggest

FIRST = date(2015, 3, 1)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("temporal(output_rows)", temporal("output_rows")),
        (
            ' temporal("a b", of=\'c/d\', side=below, least=0.1, degree="fatal") ',
            temporal("a b", of="c/d", side="below", least=0.1, degree="fatal"),
        ),
        ("absolute(users, min=-1, max=1e3)", absolute("users", min=-1, max=1000.0)),
        ("ratio(bad, of=all, job=read, max=0.01)", ratio("bad", of="all", job="read", max=0.01)),
        ("balance([a, (job, b)], [c], tolerance=0.1)", balance(["a", ("job", "b")], ["c"], tolerance=0.1)),
        ("fresh(event_time, within='2h')", fresh("event_time", within="2h")),
        ("nonzero(users)", nonzero("users")),
    ],
)
def test_rules_are_typed_as_in_a_workflow(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("temporal", "no call"),
        ("temporal(", "is not a rule"),
        ("odd(x)", "known: absolute, balance, fresh, nonzero, ratio, temporal"),
        ("absolute(x, low=1)", "unexpected keyword"),
        ("absolute(__import__('os').getcwd(), min=1)", "is not a rule"),
        ("absolute(x, min=2, max=1)", "min=2 is above max=1"),
    ],
)
def test_what_is_no_rule_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rule(text)
    assert reason in str(caught.value)


def _history(columns: dict[str, list[float]], states: dict[str, dict[date, str]] | None = None) -> History:
    days = [FIRST + timedelta(days=number) for number in range(len(next(iter(columns.values()))))]
    values = {name: dict(zip(days, column, strict=True)) for name, column in columns.items()}
    return History(tuple(days), values, states or {})


def test_what_the_history_speaks_for() -> None:
    random = np.random.default_rng(1)
    read = random.integers(20_000, 60_000, 30)
    bad = random.integers(0, 3, 30)
    users = (read * random.uniform(0.098, 0.102, 30)).astype(int)
    kept = read - bad
    history = _history(
        {"read": list(read), "bad": list(bad), "kept": list(kept), "rows": list(kept), "users": list(users)}
    )
    found = {suggestion.rule: suggestion.why for suggestion in suggest(history)}
    assert 'temporal("read")' in found
    assert 'balance(["kept"], ["rows"])' in found
    assert 'balance(["read"], ["bad", "kept"])' in found
    assert not [rule for rule in found if rule.startswith(('temporal("bad', 'absolute("bad'))]
    (share,) = [rule for rule in found if rule.startswith('ratio("users"')]
    low, high = share.split("min=")[1].rstrip(")").split(", max=")
    assert float(low) == pytest.approx(0.05, rel=0.1)
    assert float(high) == pytest.approx(0.2, rel=0.1)
    (bounds,) = [rule for rule in found if rule.startswith('absolute("read"')]
    low, high = bounds.split("min=")[1].rstrip(")").split(", max=")
    assert (int(low), int(high)) == (pytest.approx(read.min() / 2, rel=0.1), pytest.approx(read.max() * 2, rel=0.1))
    for text in found:
        assert parse_rule(text)


def test_alarmed_days_give_no_bounds() -> None:
    column: list[float] = [1000.0 + day for day in range(30)]
    column[10] = 90_000.0
    bad = {"read": {FIRST + timedelta(days=10): "alarmed"}}
    (bounds,) = [s.rule for s in suggest(_history({"read": column}, bad)) if s.rule.startswith("absolute")]
    assert bounds == 'absolute("read", min=500, max=2100)'


def test_too_little_history_speaks_for_nothing() -> None:
    assert suggest(_history({"read": [1000.0] * 13})) == []
    assert suggest(History()) == []

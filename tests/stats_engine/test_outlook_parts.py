"""The parts that a forecast is made of, against hand-worked cases and other libraries."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.baseline import ExpectedChange, Observation, baseline
from pinflow.stats_engine.budget import AlarmBudget, alarm_odds
from pinflow.stats_engine.smoothing import combine, season_offsets, seasonal, smoothed
from pinflow.stats_engine.special_days import Kind, special_day, special_days
from pinflow.stats_engine.surprise import Mixture, lower_tail

numbers = st.lists(st.floats(-100, 100), min_size=1, max_size=40)
MONDAY = date(2024, 1, 1)


@given(numbers, st.floats(0.01, 0.99))
def test_smoothing_is_the_loop_that_defines_it(values: list[float], rate: float) -> None:
    total, expected = 0.0, []
    for value in values:
        expected.append(total)
        total = total * (1 - rate) + value
    np.testing.assert_allclose(smoothed(np.array(values), rate), expected, atol=1e-9)


@given(numbers, st.floats(0.1, 0.99), st.integers(2, 7))
def test_seasonal_sums_are_the_loop_that_defines_them(values: list[float], memory: float, period: int) -> None:
    expected = [
        sum(values[place - period * back] * memory ** (back - 1) for back in range(1, place // period + 1))
        for place in range(len(values))
    ]
    np.testing.assert_allclose(seasonal(np.array(values), memory, period), expected, atol=1e-9)


def test_offsets_of_an_exact_week_are_its_pattern_but_for_the_prior() -> None:
    pattern = np.array([3.0, 1, 0, 0, 0, -2, -2])
    values = np.tile(pattern, 20)
    offsets = season_offsets(values, np.ones(140, dtype=bool), 7, [0.9])[0]
    weight = (1 - 0.9**19) / (1 - 0.9)
    np.testing.assert_allclose(offsets[-7:], pattern * weight / (weight + 0.3), atol=0.02)


def test_the_better_forecaster_weighs_more() -> None:
    values = np.sin(np.arange(100.0))
    known = np.ones(100, dtype=bool)
    mixed = combine(np.stack([values + 0.1, values + 0.4]), values, known)
    assert mixed[0] - values[0] == pytest.approx(0.25)
    assert mixed[-1] - values[-1] == pytest.approx(0.1, abs=0.01)


@given(st.floats(-1e4, 1e4))
def test_tails_are_those_of_student(distance: float) -> None:
    assert lower_tail(np.array([distance]))[0] == pytest.approx(stats.t.cdf(distance, 3), rel=1e-6, abs=1e-15)


def test_the_band_of_one_part_is_students() -> None:
    low, high = Mixture(np.array([5.0]), np.array([2.0]), np.array([1.0])).band(0.05)
    assert (low, high) == (pytest.approx(5 - 2 * 3.182446), pytest.approx(5 + 2 * 3.182446))


@pytest.mark.parametrize(
    ("day", "country", "kind", "name"),
    [
        (date(2015, 11, 26), "US", Kind.HOLIDAY, "Thanksgiving Day+0"),
        (date(2015, 11, 27), "US", Kind.AFTER, "Thanksgiving Day+1"),
        (date(2024, 7, 3), "US", Kind.BEFORE, "Independence Day-1"),
        (date(2023, 12, 25), "GB", Kind.HOLIDAY, "12-25"),
        (date(2023, 12, 23), "DE", Kind.TURN_OF_THE_YEAR, "12-23"),
        (date(2024, 4, 1), "GB-ENG", Kind.HOLIDAY, "Easter Monday+0"),
        (date(2023, 12, 31), "US", Kind.TURN_OF_THE_YEAR, "12-31"),
    ],
)
def test_special_days_are_known_by_kind_and_name(day: date, country: str, kind: Kind, name: str) -> None:
    special = special_day(day, country)
    assert special is not None
    assert special.kind == kind
    assert name in special.names


def test_other_days_and_unknown_countries_have_nothing_special() -> None:
    assert special_day(date(2024, 3, 12), "US") is None
    assert special_day(date(2024, 12, 25), "") is None
    assert not special_days("", np.datetime64("2020-12-01"), 60).any()
    july = special_days("US", np.datetime64("2021-06-25"), 15)
    # the fourth was a Sunday, so the fifth was free too
    assert np.flatnonzero(july).tolist() == [8, 9, 10, 11]


def observed(values: str) -> list[Observation]:
    """One observation a day: `10`, or `!10` for an alarmed one, `-` for none."""
    return [
        Observation(
            MONDAY + timedelta(i),
            None if word == "-" else float(word.lstrip("!")),
            "alarmed" if word.startswith("!") else "good",
        )
        for i, word in enumerate(values.split())
    ]


@pytest.mark.parametrize(
    ("history", "used"),
    [
        ("10 10 10", [10, 10, 10]),
        ("10 - 10", [10, 10]),
        ("10 !20 10", [10, 10]),
        ("10 !20 !21", [10]),
        ("10 !20 !21 !22", [10, 20, 21, 22]),
        ("10 !20 !21 !22 !23 10", [10, 20, 21, 22, 23, 10]),
        ("10 !20 - !21 !22", [10, 20, 21, 22]),
        ("10 !20 !5 !22", [10]),
        ("10 !20 !21 10 !22", [10, 10]),
        ("10 !0 !0 !0 !0", [10]),
        ("10 20 20 20 20 20 20 !21 !15 !15", [10, 20, 20, 20, 20, 20, 20]),
    ],
)
def test_alarmed_values_count_from_the_third_in_a_row_on_one_side(history: str, used: list[float]) -> None:
    assert baseline(observed(history), date(2025, 1, 1), ())[1].tolist() == used


def test_changes_lift_what_was_before_them_once_they_have_come() -> None:
    changes = [ExpectedChange(MONDAY + timedelta(2), 2), ExpectedChange(MONDAY + timedelta(3), 5)]
    history = observed("1 1 1 1")
    for day, values in ((2, [2, 2]), (3, [10, 10, 5]), (4, [10, 10, 5, 1])):
        assert baseline(history, MONDAY + timedelta(day), changes)[1].tolist() == values


def test_the_budget_is_divided_over_all_that_is_judged() -> None:
    assert alarm_odds(12, [365.25]) == pytest.approx(12 / 365.25)
    assert alarm_odds(12, [365.25, 365.25, 52]) == pytest.approx(12 / 782.5)
    assert alarm_odds(1000, [52]) == 1
    assert AlarmBudget() == AlarmBudget(12, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: AlarmBudget(warnings=0),
        lambda: AlarmBudget(fatals=-1),
        lambda: alarm_odds(12, []),
        lambda: ExpectedChange(MONDAY, 0),
        lambda: ExpectedChange(MONDAY, float("nan")),
    ],
)
def test_budgets_and_changes_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ConfigurationError):
        wrong()

"""Properties of one-step forecasts, on made-up histories."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.stats_engine.baseline import ExpectedChange, Observation, ValueState
from pinflow.stats_engine.forecast import Prediction, predict, score

FIRST = date(2024, 1, 1)
ODDS = 12 / 365
WEEKDAYS = np.array([1.0, 1.1, 1.1, 1.05, 1.0, 0.7, 0.6])

seeds = st.integers(0, 2**32 - 1)


def amounts(seed: int, days: int, noise: float = 0.1, level: float = 1000.0) -> np.ndarray:
    """A weekly pattern from a Monday on, with noise."""
    errors = np.random.default_rng(seed).normal(0, noise, days)
    return level * WEEKDAYS[np.arange(days) % 7] * np.exp(errors)


def days_of(count: int) -> np.ndarray:
    return np.datetime64(FIRST) + np.arange(count)


def predicted(values: np.ndarray, step: int = 1, **keywords) -> Prediction:
    history = [Observation(FIRST + timedelta(step * i), float(value)) for i, value in enumerate(values)]
    return predict(history, FIRST + timedelta(step * len(values)), **{"alarm_odds": ODDS, **keywords})


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(1, 200), st.permutations(range(4)))
def test_a_score_does_not_depend_on_what_was_scored_before(seed: int, count: int, order: list[int]) -> None:
    values, dates = amounts(seed, count + 4), days_of(count + 4)

    def at(place: int) -> list[float]:
        end = count + place
        return score(dates[: end + 1], values[:end], values[end] * np.array([1, 0, 0.5, 2]), "US").tolist()

    in_order = [at(place) for place in range(4)]
    assert {place: at(place) for place in order} == dict(enumerate(in_order))
    np.testing.assert_array_equal(values, amounts(seed, count + 4))


@settings(max_examples=10, deadline=None)
@given(seeds, st.sets(st.integers(0, 119), max_size=60))
def test_a_day_that_is_left_out_is_a_day_without_value(seed: int, missing: set[int]) -> None:
    values, dates = amounts(seed, 120), days_of(121)
    candidates = np.array([300.0, 1000.0, 3000.0])
    with_gaps = values.copy()
    with_gaps[sorted(missing)] = np.nan
    kept = np.array([i for i in range(120) if i not in missing])
    left_out = score(dates[[*kept, 120]], values[kept], candidates, "")
    np.testing.assert_array_equal(score(dates, with_gaps, candidates, ""), left_out)


@settings(max_examples=25, deadline=None)
@given(
    # a few of something that is counted may be none by chance
    st.lists(st.floats(1e-3, 1e9).filter(lambda v: v > 100 or not v.is_integer()), min_size=1, max_size=150),
    st.sampled_from([1, 7, 30]),
    st.sampled_from(["", "US", "DE"]),
)
def test_a_zero_is_alarming_wherever_there_was_always_something(values: list[float], step: int, country: str) -> None:
    for alarm_odds in (ODDS, 1e-9):
        assert predicted(np.array(values), step, alarm_odds=alarm_odds, country=country).is_alarming(0)
        assert predicted(np.array(values), step, alarm_odds=alarm_odds, country=country).is_alarming(None)


def test_an_old_outage_does_not_make_zeros_usual() -> None:
    values = amounts(1, 150)
    values[100] = 0
    assert predicted(values).is_alarming(0)
    assert not predicted(values).is_alarming(values[150 - 7])


def test_zeros_on_days_of_rest_are_usual_and_others_are_not() -> None:
    values = amounts(2, 140)
    values[np.arange(140) % 7 >= 5] = 0
    for days in range(133, 140):
        prediction = predicted(values[:days])
        assert prediction.is_alarming(0) == (days % 7 < 5)
        assert not prediction.is_alarming(values[days])
        assert (prediction.expected == 0) == (days % 7 >= 5)


def test_a_statistic_that_was_always_zero_may_stay_so() -> None:
    prediction = predicted(np.zeros(300))
    assert not prediction.is_alarming(0)
    assert prediction.expected == 0
    assert prediction.is_alarming(5)


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(1e-6, 1e9), st.integers(30, 150))
def test_the_unit_does_not_matter(seed: int, unit: float, count: int) -> None:
    values, dates = amounts(seed, count), days_of(count + 1)
    candidates = np.array([10.0, 500.0, 800.0, 1000.0, 1500.0, 9000.0])
    plain = score(dates, values, candidates, "US")
    np.testing.assert_allclose(score(dates, values * unit, candidates * unit, "US"), plain, rtol=1e-6, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(30, 200))
def test_surprise_grows_with_the_distance_from_what_is_expected(seed: int, count: int) -> None:
    prediction = predicted(amounts(seed, count), country="US")
    assert prediction.expected
    for side in (1.1, 1 / 1.1):
        odds = [prediction.odds(prediction.expected * side**step) for step in range(40)]
        assert odds[0] == pytest.approx(1)
        assert odds == sorted(odds, reverse=True)


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(30, 200), st.floats(1e-4, 0.3))
def test_the_band_holds_the_values_that_do_not_alarm(seed: int, count: int, alarm_odds: float) -> None:
    prediction = predicted(amounts(seed, count), alarm_odds=alarm_odds, country="US")
    assert prediction.low is not None
    assert prediction.high is not None
    assert prediction.low < prediction.expected < prediction.high
    inside, outside = (prediction.low * 1.001, prediction.high * 0.999), (prediction.low * 0.99, prediction.high * 1.01)
    assert [prediction.is_alarming(value) for value in (*inside, *outside)] == [False, False, True, True]


@pytest.mark.parametrize(("step", "enough"), [(1, 28), (7, 8), (30, 8)])
def test_learning_warns_of_zeros_only_and_says_so(step: int, enough: int) -> None:
    learning, ready = (predicted(amounts(3, count, noise=0.02), step) for count in (enough - 1, enough))
    assert (learning.state, ready.state) == ("learning", "ready")
    assert (learning.seen, ready.seen) == (enough - 1, enough)
    assert learning.low is None
    assert not learning.is_alarming(1e9)
    assert learning.is_alarming(0)
    assert ready.is_alarming(1e9)


def test_nothing_is_known_without_history() -> None:
    prediction = predict([], FIRST, alarm_odds=ODDS)
    assert (prediction.state, prediction.low, prediction.seen) == ("learning", None, 0)
    assert not prediction.is_alarming(0)
    assert score(days_of(1), np.array([]), np.array([0.0, 5.0]), "US").tolist() == [0, 0]


@pytest.mark.parametrize("step", [7, 14, 30])
def test_weekly_and_monthly_jobs_are_followed_by_the_run(step: int) -> None:
    values = 500 * np.exp(np.random.default_rng(4).normal(0, 0.05, 60))
    prediction = predicted(values, step)
    assert prediction.expected == pytest.approx(500, rel=0.1)
    assert not prediction.is_alarming(510)
    assert prediction.is_alarming(250)
    assert prediction.is_alarming(1000)


def test_jobs_of_some_weekdays_keep_their_weekly_pattern() -> None:
    values = amounts(5, 140, noise=0.03)
    history = [Observation(FIRST + timedelta(i), v) for i, v in enumerate(values) if i % 7 in (0, 2, 5)]
    for place, level in ((140, 1000), (142, 1100), (145, 700)):
        prediction = predict(history, FIRST + timedelta(place), alarm_odds=ODDS)
        assert prediction.expected == pytest.approx(level, rel=0.1)


def test_what_a_holiday_does_is_learnt_from_the_year_before() -> None:
    start = date(2022, 1, 3)
    values = amounts(6, 800, noise=0.03)
    days = [start + timedelta(i) for i in range(800)]
    christmas = date(2023, 12, 25)
    history = [
        Observation(day, value * (0.2 if (day.month, day.day) == (12, 25) else 1.0))
        for day, value in zip(days, values, strict=True)
    ]
    usual = values[days.index(christmas)]
    told, untold = (predict(history, christmas, alarm_odds=ODDS, country=country) for country in ("US", ""))
    assert not told.is_alarming(0.2 * usual)
    assert untold.is_alarming(0.2 * usual)
    assert told.is_alarming(0.02 * usual)


def test_an_unseen_holiday_may_look_like_a_sunday() -> None:
    values = amounts(10, 200, noise=0.02)
    values[np.arange(200) % 7 == 6] *= 0.25
    thursday = date(2024, 7, 4)
    history = [Observation(FIRST + timedelta(i), v) for i, v in enumerate(values)]
    told, untold = (predict(history, thursday, alarm_odds=ODDS, country=country) for country in ("US", ""))
    sunday = 1.2 * float(values[(date(2024, 6, 30) - FIRST).days])
    assert not told.is_alarming(sunday)
    assert untold.is_alarming(sunday)


def test_a_known_change_is_expected_from_its_day_on() -> None:
    values = amounts(7, 140, noise=0.03)
    values[126:] *= 3
    change = ExpectedChange(FIRST + timedelta(126), 3)
    for count in (120, 126, 127, 130, 139):
        told = predicted(values[:count], changes=[change])
        assert not told.is_alarming(values[count])
        assert told.is_alarming(values[count] / 3 if count >= 126 else values[count] * 3)
    assert predicted(values[:126]).is_alarming(values[126])


def with_shift(states: list[ValueState], factor: float) -> tuple[Prediction, float]:
    """The prediction after 98 usual days and one at another level for each of `states`, and that level's next value."""
    values = amounts(8, 99 + len(states), noise=0.03)
    values[98:] *= factor
    marks: list[ValueState] = ["good"] * 98 + states
    history = [Observation(FIRST + timedelta(i), v, s) for i, (v, s) in enumerate(zip(values, marks, strict=False))]
    return predict(history, FIRST + timedelta(len(marks)), alarm_odds=ODDS), float(values[len(marks)])


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_alarmed_values_teach_nothing_until_they_repeat_or_are_accepted(factor: float) -> None:
    clean, value = with_shift([], factor)
    assert clean.is_alarming(value)
    for count in (1, 2):
        poisoned, value = with_shift(["alarmed"] * count, factor)
        assert poisoned.is_alarming(value)
        assert not poisoned.is_alarming(value / factor)
        assert poisoned.seen == 98
    repeated, value = with_shift(["alarmed"] * 3, factor)
    assert repeated.seen == 101
    assert not repeated.is_alarming(value)
    accepted, value = with_shift(["accepted"] * 3, factor)
    assert not accepted.is_alarming(value)
    excluded, value = with_shift(["excluded"] * 5, factor)
    assert excluded.is_alarming(value)


@pytest.mark.parametrize("seed", range(3))
def test_alarms_on_noise_are_about_as_many_as_the_budget_says(seed: int) -> None:
    values, dates = amounts(seed, 560, noise=0.15), days_of(560)
    scores = [score(dates[: t + 1], values[:t], values[t : t + 1], "")[0] for t in range(70, 560)]
    alarms = int(np.sum(np.array(scores) > -np.log10(12 / 365.25)))
    assert alarms <= 36


def test_values_of_the_day_itself_and_later_are_not_used() -> None:
    values = amounts(9, 100)
    history = [Observation(FIRST + timedelta(i), v) for i, v in enumerate(values)]
    later = [Observation(FIRST + timedelta(i), 1e9) for i in range(100, 120)]
    day = FIRST + timedelta(100)
    assert predict(history, day, alarm_odds=ODDS).low == predict([*later, *history], day, alarm_odds=ODDS).low

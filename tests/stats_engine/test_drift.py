import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.stats_engine.drift import NO_DRIFT, drift

DAYS = np.datetime64("2024-01-01") + np.arange(200)
WEEK = np.array([1.0, 1.1, 1.1, 1.05, 1.0, 0.7, 0.6])


def calm(seed: int, noise: float = 0.05) -> np.ndarray:
    errors = np.random.default_rng(seed).normal(0, noise, len(DAYS))
    return 1000 * WEEK[np.arange(len(DAYS)) % 7] * np.exp(errors)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("daily", [0.98, 1.02])
def test_two_percent_a_day_are_found_in_time(seed: int, daily: float) -> None:
    values = calm(seed)
    values[150:] *= daily ** np.arange(1, 51)
    assert not drift(DAYS[:150], values[:150], "").is_alarming
    assert drift(DAYS[:175], values[:175], "").is_alarming
    found = drift(DAYS[:180], values[:180], "")
    # over 30 days at 2 %, the last ten are about 25 days of drift away from the weeks before, less their own drift
    assert found.factor == pytest.approx(daily**22, rel=0.12)


def test_a_drift_is_told_until_a_quiet_week_has_passed() -> None:
    values = calm(1)
    values[100:] *= 0.6
    told = [drift(DAYS[:end], values[:end], "").is_alarming for end in range(95, 195)]
    assert told.index(True) > 5
    assert np.count_nonzero(np.diff(np.array(told, dtype=int))) == 2
    assert not told[-1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e9), st.sets(st.integers(0, 199), max_size=60))
def test_units_and_the_way_gaps_are_given_do_not_matter(seed: int, unit: float, missing: set[int]) -> None:
    values = calm(seed)
    values[sorted(missing)] = np.nan
    known = np.isfinite(values)
    plain = drift(DAYS, values, "US")
    if known[-1]:
        assert drift(DAYS[known], values[known], "US") == plain
    scaled = drift(DAYS, values * unit, "US")
    assert (scaled.factor, scaled.score) == (pytest.approx(plain.factor), pytest.approx(plain.score))


def test_what_is_too_short_or_not_daily_has_no_drift() -> None:
    values = calm(2)
    assert drift(DAYS[:0], values[:0], "") == NO_DRIFT
    assert drift(DAYS[:20], values[:20], "") == NO_DRIFT
    assert drift(DAYS[::7], values[::7], "") == NO_DRIFT
    assert not drift(DAYS, values * 0, "").is_alarming

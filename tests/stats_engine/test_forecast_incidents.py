"""The two incidents of the source documents (N12), rebuilt: a counter's dip on 12/23, an output's jump on 07/22."""

from datetime import date, timedelta

import numpy as np
import pytest

from pinflow.stats_engine.baseline import Observation, ValueState
from pinflow.stats_engine.budget import DAYS_OF_YEAR, alarm_odds
from pinflow.stats_engine.forecast import predict

WEEKDAYS = np.array([1.02, 1.03, 1.01, 1.0, 0.98, 0.97, 0.99])
JUDGED = [DAYS_OF_YEAR] * 5
"""Five rules share the workflow's budget."""


def series(first: date, days: int, level: float, growth: float, noise: float, seed: int) -> dict[date, float]:
    errors = np.random.default_rng(seed).normal(0, noise, days)
    return {
        first + timedelta(i): float(level * growth**i * WEEKDAYS[(first.weekday() + i) % 7] * np.exp(errors[i]))
        for i in range(days)
    }


def alarmed_days(values: dict[date, float], first: date, last: date, country: str, budget: float) -> list[date]:
    """Judge day after day, as a workflow does; what alarmed is kept out of what follows."""
    odds = alarm_odds(budget, JUDGED)
    history: list[Observation] = []
    alarmed = []
    for day, value in values.items():
        state: ValueState = "good"
        if first <= day <= last and predict(history, day, alarm_odds=odds, country=country).is_alarming(value):
            state = "alarmed"
            alarmed.append(day)
        history.append(Observation(day, value, state))
    return alarmed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("budget", "drop"), [(12.0, 0.6), (12.0, 0.3), (1.0, 0.3)])
def test_the_dip_of_users_with_interests(seed: int, budget: float, drop: float) -> None:
    values = series(date(2013, 9, 2), 140, 31_000_000, 1.001, 0.01, seed)
    dip = date(2013, 12, 23)
    values[dip] *= drop
    for day, factor in ((24, 0.97), (25, 0.93), (26, 0.97)):
        values[date(2013, 12, day)] *= factor
    assert alarmed_days(values, dip - timedelta(14), dip + timedelta(14), "US", budget) == [dip]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("budget", "jump"), [(12.0, 1.7), (12.0, 3.0), (1.0, 3.0)])
def test_the_jump_of_an_output_size(seed: int, budget: float, jump: float) -> None:
    values = series(date(2013, 3, 4), 180, 2.4e11, 1.0005, 0.03, seed)
    bad = date(2013, 7, 22)
    values[bad] *= jump
    assert alarmed_days(values, bad - timedelta(14), bad + timedelta(14), "US", budget) == [bad]

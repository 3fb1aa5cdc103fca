"""Recall on generated series at an equal budget of false alarms, beside the field's usual z-score; it must not sink."""

from collections.abc import Callable

import numpy as np
import pytest

from pinflow.stats_engine.forecast import score

DAYS, WARM_UP = 300, 80
FACTORS = np.array([1.0, 0.0, 0.1, 0.5, 0.7, 1.5, 2.0])
LEAST_RECALL = np.array([100, 100, 85, 45, 57, 85])
BUDGET = 6.0

Detector = Callable[[np.ndarray, np.ndarray, np.ndarray, str], np.ndarray]


def families() -> list[np.ndarray]:
    """Calm, noisy, growing, counting, wandering and restless series, two of each."""
    found = []
    for seed in range(2):
        random = np.random.default_rng(seed)
        day = np.arange(DAYS)
        week = np.array([1, 1.1, 1.05, 1, 0.95, 0.6, 0.5])[day % 7]
        noise = random.standard_t(4, DAYS)
        found += [
            10_000 * week * np.exp(0.05 * noise),
            500 * np.exp(0.15 * noise),
            2_000 * week * 1.01**day * np.exp(0.08 * noise),
            random.poisson(80 * week).astype(float),
            4_000 * np.exp(np.cumsum(0.04 * noise)),
            9_000 * week * np.exp(np.where(day % 100 < 30, 0.2, 0.06) * noise),
        ]
    return found


def fortnight(dates: np.ndarray, history: np.ndarray, candidates: np.ndarray, country: str) -> np.ndarray:
    """How many standard deviations from the mean of the last 14 days."""
    return np.abs(candidates - history[-14:].mean()) / history[-14:].std()


def recall(detector: Detector) -> np.ndarray:
    """Percent of days found, by factor, at BUDGET alarms a series-year."""
    dates = np.datetime64("2023-01-02") + np.arange(DAYS)
    scores = np.concatenate(
        [
            [detector(dates[: t + 1], values[:t], values[t] * FACTORS, "") for t in range(WARM_UP, DAYS, 2)]
            for values in families()
        ]
    )
    threshold = np.quantile(scores[:, 0], 1 - BUDGET / 365.25)
    return 100 * (scores[:, 1:] > threshold).mean(axis=0)


@pytest.fixture(scope="module")
def found() -> np.ndarray:
    return recall(score)


def test_recall_stays_where_it_was(found: np.ndarray) -> None:
    assert (found >= LEAST_RECALL).all(), found.round(1)


def test_the_usual_z_score_finds_less(found: np.ndarray) -> None:
    assert (found >= recall(fortnight) - 0.5).all()
    assert found[2:4].sum() > recall(fortnight)[2:4].sum() + 40

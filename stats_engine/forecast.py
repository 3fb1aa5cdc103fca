"""One-step forecasts of a job's statistics, and how surprising a day's value is (temporal rules, ST-17).

Everything here is a pure function of the history that it is given: no state is kept between calls.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from pinflow.stats_engine.baseline import ExpectedChange, Observation, baseline
from pinflow.stats_engine.outlook import Outlook, outlook
from pinflow.stats_engine.smoothing import Floats
from pinflow.stats_engine.special_days import Days

PredictionState = Literal["learning", "ready"]
"""`learning`: there are too few values yet; only zeros are warned of."""


@dataclass(frozen=True)
class Prediction:
    """What a statistic is expected to be on `day`, and from which `alarm_odds` down a value is alarming.

    `expected`, and the bounds `low` and `high` of values that are not alarming, are None where nothing is known;
    bounds are also None while learning.
    """

    day: date
    state: PredictionState
    expected: float | None
    low: float | None
    high: float | None
    alarm_odds: float
    seen: int
    """How many values the prediction was made from."""
    outlook: Outlook

    def odds(self, value: float | None) -> float:
        """The odds of such a value or one further out, 0 to 1; a missing value counts as zero."""
        return float(self.outlook.odds(np.array([value or 0.0], dtype=float))[0])

    def surprise(self, value: float | None) -> float:
        """How surprising the value is: minus the logarithm to 10 of its odds, 0 to 15."""
        return float(-np.log10(self.odds(value)))

    def is_alarming(self, value: float | None) -> bool:
        """Whether a value should be told: its odds are below `alarm_odds`; while learning, zeros only."""
        if value and self.state == "learning":
            return False
        return self.odds(value) < self.alarm_odds


def predict(
    history: Iterable[Observation],
    day: date,
    *,
    alarm_odds: float,
    country: str = "",
    changes: Sequence[ExpectedChange] = (),
) -> Prediction:
    """Predict a statistic on `day` from its own earlier values, in any order (those of `day` and later are not used).

    `alarm_odds` comes from `budget.alarm_odds`; `country` is an ISO code whose public holidays apply; `changes` are
    known changes of level, each counting from its first day on.
    """
    dates, values = baseline(history, day, changes)
    seen = outlook(dates, values, np.datetime64(day, "D"), country)
    band = None if seen.learning else seen.band(alarm_odds)
    low, high = band or (None, None)
    state: PredictionState = "learning" if seen.learning else "ready"
    return Prediction(day, state, seen.expected(), low, high, alarm_odds, len(values), seen)


def score(dates: Days, history: Floats, candidates: Floats, country: str) -> Floats:
    """How surprising each of `candidates` would be on the last of `dates`: minus the logarithm to 10 of its odds.

    `history` has the values of the dates before (NaN: none that day). An alarm budget of n a year is met by a
    threshold of about log10(365 / n). While learning, all but zeros score 0.
    """
    days = np.asarray(dates, dtype="datetime64[D]")
    seen = outlook(days[:-1], np.asarray(history, dtype=float), days[-1], country)
    values = np.asarray(candidates, dtype=float)
    return np.asarray(np.where(seen.learning & (values != 0), 0.0, -np.log10(seen.odds(values))))

"""What the past of one statistic leads one to expect of a day, and the slow change that shows on it first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from pinflow.stats_engine.baseline import ExpectedChange, Observation, baseline
from pinflow.stats_engine.budget import DAYS_OF_YEAR, alarm_odds
from pinflow.stats_engine.drift import NO_DRIFT, Drift, drift, limit
from pinflow.stats_engine.forecast import Prediction, predict
from pinflow.stats_engine.outlook import LEARNING_DAYS, cadence
from pinflow.stats_engine.special_days import as_days

DRIFT_SHARE = 1 / 3
"""Of the false alarms that a rule may raise, these are for drifts."""
TOLD_DAYS = timedelta(days=14)
"""A change of level that alarmed is not told again as a drift."""


@dataclass(frozen=True)
class Past:
    """The values of one statistic, the changes that are expected of it, and whose public holidays it keeps."""

    observations: Sequence[Observation]
    changes: Sequence[ExpectedChange] = ()
    country: str = ""

    def judged_per_year(self, day: date) -> float:
        """How often a value comes, told from the dates before `day`."""
        days = sorted(seen.day for seen in self.observations if seen.day < day and seen.value is not None)
        return DAYS_OF_YEAR / cadence(as_days(days))

    def predict(self, day: date, false_alarms: float) -> Prediction:
        """The forecast for a day, its band as wide as so many false alarms a year allow."""
        odds = alarm_odds(false_alarms * (1 - DRIFT_SHARE), [self.judged_per_year(day)])
        return predict(self.observations, day, alarm_odds=odds, country=self.country, changes=self.changes)

    def drift(self, day: date, value: float, false_alarms: float) -> Drift:
        """The slow change that is told first on this day; NO_DRIFT when there is none, or it was told before."""
        told = (seen.day for seen in self.observations if seen.state in ("alarmed", "accepted"))
        if any(day - TOLD_DAYS <= when < day for when in told):
            return NO_DRIFT
        dates, values = baseline(self.observations, day, self.changes)
        if len(dates) < LEARNING_DAYS:
            return NO_DRIFT
        found = drift(np.append(dates, np.datetime64(day, "D")), np.append(values, value), self.country)
        highest = limit(false_alarms * DRIFT_SHARE)
        return found if found.score > highest >= found.before else NO_DRIFT

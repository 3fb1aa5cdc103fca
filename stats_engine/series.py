"""One statistic of a job over time, each day with what was to be expected of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa

from pinflow.database import Database, transact
from pinflow.errors import UnknownNameError
from pinflow.stats_engine.baseline import ValueState
from pinflow.stats_engine.budget import DAYS_OF_YEAR, AlarmBudget, alarm_odds
from pinflow.stats_engine.forecast import predict
from pinflow.stats_engine.history import History, read_history
from pinflow.stats_engine.tables import STAT_COUNTS, STAT_DISTINCTS, STAT_HISTOGRAMS, STAT_SUMS

BAND_ODDS = alarm_odds(AlarmBudget().warnings, [DAYS_OF_YEAR])
"""Values outside of a band come about twelve times a year by chance."""


@dataclass(frozen=True)
class Point:
    """The value of a day's published run, and the forecast made from the days before; None where nothing is known."""

    day: date
    value: float | None
    state: ValueState = "good"
    expected: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_outside(self) -> bool:
        """Whether the value is known to be out of the band."""
        if self.value is None or self.low is None or self.high is None:
            return False
        return not self.low <= self.value <= self.high


def series(
    database: Database,
    workflow: str,
    job: str,
    name: str,
    last: date,
    length: timedelta,
    country: str = "",
    *,
    step: int = 0,
) -> list[Point]:
    """The points of the days before `last` and of itself, oldest first; days without a published run are left out.

    `name` is a count, a sum, a distinct count or a histogram, which stands for the number of its values;
    UnknownNameError for a name that was never counted.
    """
    history = read_history(database, workflow, job, [name], last + timedelta(days=1), step)
    if name not in history.values:
        raise UnknownNameError("number", name, _names(database, workflow, job), f"pinflow stats {job}")
    days = [day for day in history.dates if day > last - length]
    return [_point(history, name, day, history.value(name, day), country) for day in days]


def forecasts(
    database: Database,
    workflow: str,
    job: str,
    day: date,
    values: dict[str, float],
    country: str = "",
    *,
    step: int = 0,
) -> dict[str, Point]:
    """What was to be expected of a day's `values` by name, from the runs before it, in two queries."""
    history = read_history(database, workflow, job, list(values), day, step)
    return {name: _point(history, name, day, value, country) for name, value in values.items()}


def _point(history: History, name: str, day: date, value: float | None, country: str) -> Point:
    observations, changes = history.observations(name), history.changes.get(name, ())
    found = predict(observations, day, alarm_odds=BAND_ODDS, country=country, changes=changes)
    expected = None if found.low is None else found.expected
    return Point(day, value, history.states.get(name, {}).get(day, "good"), expected, found.low, found.high)


def _names(database: Database, workflow: str, job: str) -> Sequence[str]:
    tables = (STAT_COUNTS, STAT_SUMS, STAT_HISTOGRAMS, STAT_DISTINCTS)
    queries = [sa.select(table.c.name).where(table.c.workflow == workflow, table.c.job == job) for table in tables]
    return transact(database, lambda connection: connection.scalars(sa.union(*queries)).all())

"""One statistic of a job over time, each day with what was to be expected of it."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from pinflow.database import Database
from pinflow.errors import UnknownNameError
from pinflow.stats_engine.baseline import ValueState
from pinflow.stats_engine.history import History, names_counted, read_history
from pinflow.stats_engine.judgement import Past
from pinflow.stats_engine.rules import FALSE_ALARMS


class Owner(NamedTuple):
    """Whose public holidays a job's statistics keep, and how many false alarms a year one of its rules may raise."""

    country: str = ""
    false_alarms: float = FALSE_ALARMS["warning"]


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
    owner: Owner = Owner(),  # noqa: B008 - it cannot be changed
    *,
    step: int = 0,
) -> list[Point]:
    """The points of the days before `last` and of itself, oldest first; days without a published run are left out.

    `name` is a count, a sum, a distinct count or a histogram, which stands for the number of its values;
    UnknownNameError for a name that was never counted.
    """
    history = read_history(database, workflow, job, [name], last + timedelta(days=1), step)
    if name not in history.values:
        raise UnknownNameError("number", name, names_counted(database, workflow, job, step), f"pinflow stats {job}")
    days = [day for day in history.dates if day > last - length]
    return [_point(history, name, day, history.value(name, day), owner) for day in days]


def forecasts(
    database: Database,
    workflow: str,
    job: str,
    day: date,
    values: dict[str, float],
    owner: Owner = Owner(),  # noqa: B008 - it cannot be changed
    *,
    step: int = 0,
) -> dict[str, Point]:
    """What was to be expected of a day's `values` by name, from the runs before it, in two queries."""
    history = read_history(database, workflow, job, list(values), day, step)
    return {name: _point(history, name, day, value, owner) for name, value in values.items()}


def _point(history: History, name: str, day: date, value: float | None, owner: Owner) -> Point:
    """The forecast is the one that a temporal rule on the name makes."""
    past = Past(history.observations(name), history.changes.get(name, ()), owner.country)
    found = past.predict(day, owner.false_alarms)
    expected = None if found.low is None else found.expected
    return Point(day, value, history.states.get(name, {}).get(day, "good"), expected, found.low, found.high)

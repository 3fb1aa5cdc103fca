"""Which past values a forecast may learn from (ST-23): good and accepted ones, and alarmed ones that have repeated."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.smoothing import Floats
from pinflow.stats_engine.special_days import Days, as_days

ValueState = Literal["good", "alarmed", "accepted", "excluded"]
"""`alarmed` values are not learnt from until the owner accepts them or they repeat; `excluded` ones never are."""

REPEATS = 3
"""So many alarmed values in a row, all above or all below the good ones, are a new level."""
WEEK = 7
WEEKS_BACK = 8


@dataclass(frozen=True)
class Observation:
    """The value of a statistic on a day, from the last good run of that day; None where there is none."""

    day: date
    value: float | None
    state: ValueState = "good"


@dataclass(frozen=True)
class ExpectedChange:
    """From `start` on values are `factor` times what they were; ConfigurationError unless `factor` is positive."""

    start: date
    factor: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.factor) and self.factor > 0):
            raise ConfigurationError(f"a change by the factor {self.factor!r} cannot be expected; give one above 0")


def baseline(history: Iterable[Observation], day: date, changes: Sequence[ExpectedChange]) -> tuple[Days, Floats]:
    """The days before `day` that count, ascending, and their values at the level expected for `day`.

    The last of several observations of a day is taken.
    """
    by_day = {seen.day: seen for seen in history if seen.day < day and seen.value is not None}
    used = _usable([by_day[when] for when in sorted(by_day)])
    dates = as_days(seen.day for seen in used)
    values = np.array([(seen.value or 0.0) * _factor(seen.day, day, changes) for seen in used], dtype=float)
    return dates, values


def _factor(seen: date, day: date, changes: Sequence[ExpectedChange]) -> float:
    return math.prod(change.factor for change in changes if seen < change.start <= day)


def _usable(history: list[Observation]) -> list[Observation]:
    used: list[Observation] = []
    good: dict[date, float] = {}
    run: list[Observation] = []
    for seen in history:
        if seen.state == "excluded":
            continue
        if seen.state != "alarmed":
            run = []
            used.append(seen)
            good[seen.day] = seen.value or 0.0
            continue
        if run and _side(run[-1], good) != _side(seen, good):
            run = []
        run.append(seen)
        if _side(seen, good) == 0:
            run = []
        elif len(run) == REPEATS:
            used += run
        elif len(run) > REPEATS:
            used.append(seen)
    return used


def _side(seen: Observation, good: dict[date, float]) -> int:
    """1 above, -1 below the newest good value, if there is one of the same weekday; 0 for a zero, which is no level."""
    if not seen.value or not good:
        return 0
    same = (date.fromordinal(seen.day.toordinal() - WEEK * back) for back in range(1, WEEKS_BACK + 1))
    usual = next((good[when] for when in same if when in good), None)
    if usual is None:
        usual = good[max(good)]
    return 1 if seen.value > usual else -1

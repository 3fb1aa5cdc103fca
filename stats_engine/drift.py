"""Slow changes, which each day's forecast follows without surprise: the last days against the weeks before them."""

from dataclasses import dataclass

import numpy as np

from pinflow.stats_engine.outlook import DAY, LONGEST_DAYS, WEEK, cadence
from pinflow.stats_engine.smoothing import Flags, Floats, season_offsets, smoothed
from pinflow.stats_engine.special_days import Days, special_days
from pinflow.stats_engine.trace import SEASON_MEMORY, scale_of

NEW_DAYS = 10
OLD_DAYS = (14, 55)
"""The days ago of the weeks that the last NEW_DAYS are compared with, first and last."""
FEWEST = 3
"""A mean is taken of at least a FEWEST-th of its days."""
MEMORY = 1 / 100
PRIOR_CHANGE = 0.1
PRIOR_DAYS = 60.0
OWN_SHARE = 0.4
"""How far a change counts by the series' own usual changes; the rest is by its size."""
THRESHOLD = 2.6
HELD_DAYS = 7
"""A drift is told until it was not seen for a week, so that one drift is one alarm."""


@dataclass(frozen=True)
class Drift:
    """`factor`: the level of the last days over that of the weeks before; it has drifted where `score` is above 1.

    `before` is the score on the last day before that had a value: a drift that was told then is told already.
    """

    factor: float
    score: float
    before: float = 0.0

    @property
    def is_alarming(self) -> bool:
        """Whether the owner should be told."""
        return self.score > 1


NO_DRIFT = Drift(1.0, 0.0)
USUAL_EPISODES = 1.9
"""Real series that nobody has cleaned reach the score 1 in so many episodes a year, and e times fewer for each 0.5."""


def limit(episodes_a_year: float) -> float:
    """The score above which a drift is told, so that a series raises so many false episodes a year.

    >>> limit(1.9), round(limit(0.7), 1)
    (1.0, 1.5)
    """
    return 1 + float(np.log(USUAL_EPISODES / episodes_a_year)) / 2


def drift(dates: Days, values: Floats, country: str) -> Drift:
    """The drift of a daily series (NaN: no value), seen at the last of its ascending dates.

    Series that have no value on most days, or fewer than four weeks of them, have none.
    """
    days = np.asarray(dates, dtype="datetime64[D]")
    known = np.isfinite(values) & (days >= days[-1:] - LONGEST_DAYS * DAY)
    days, values = days[known], np.asarray(values, dtype=float)[known]
    if len(days) < OLD_DAYS[0] + NEW_DAYS or cadence(days) > 2:
        return NO_DRIFT
    place = ((days - days[0]) / DAY).astype(int)
    grid = np.full(place[-1] + 1, np.nan)
    grid[place] = values
    ordinary = np.isfinite(grid) & (grid != 0) & ~special_days(country, days[0], len(grid))
    changes = _changes(grid, ordinary)
    scores = np.abs(changes) / _usual_changes(changes) / THRESHOLD
    held = np.nan_to_num(scores[-HELD_DAYS:])
    newest = int(held.argmax()) - len(held)
    told = np.nan_to_num(scores[place[:-1]][place[:-1] >= place[-1] - HELD_DAYS])
    factor = float(np.exp(np.nan_to_num(changes[newest])))
    return Drift(factor, float(held[newest]), float(told.max(initial=0.0)))


def _changes(grid: Floats, ordinary: Flags) -> Floats:
    """The change of level at each place, as a logarithm; NaN where too little is known."""
    scaled = scale_of(grid).apply(np.where(ordinary, grid, 0.0))
    level = np.where(ordinary, scaled - season_offsets(scaled, ordinary, WEEK, [SEASON_MEMORY])[0], 0.0)
    first, last = OLD_DAYS
    return _mean(level, ordinary, 0, NEW_DAYS) - _mean(level, ordinary, first, last + 1)


def _mean(level: Floats, ordinary: Flags, start: int, stop: int) -> Floats:
    """The mean of the ordinary days from `start` to before `stop` days ago, at each place."""
    sums = np.cumsum(np.stack([level, ordinary.astype(float)]), axis=1)
    padded = np.concatenate([np.zeros((2, stop)), sums], axis=1)
    length = level.shape[0]
    total, count = padded[:, stop - start : stop - start + length] - padded[:, :length]
    enough = count * FEWEST >= stop - start
    return np.where(enough, total / np.maximum(count, 1), np.nan)


def _usual_changes(changes: Floats) -> Floats:
    seen = np.isfinite(changes).astype(float)
    squares = np.clip(np.nan_to_num(changes), -1, 1) ** 2
    sums = smoothed(np.stack([squares, seen]), MEMORY)
    usual = np.sqrt((sums[0] + PRIOR_DAYS * PRIOR_CHANGE**2) / (sums[1] + PRIOR_DAYS))
    return np.asarray(usual**OWN_SHARE * PRIOR_CHANGE ** (1 - OWN_SHARE))

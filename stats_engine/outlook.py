"""What a day may bring to a series, judged from the values of the days before it: the odds of any value.

A series is followed by the day with weeks of seven days, or, where values come less often than every other day
(weekly and monthly jobs), by the run, without a season.
"""

from dataclasses import dataclass

import numpy as np

from pinflow.stats_engine.smoothing import Flags, Floats
from pinflow.stats_engine.special_days import Days, Kind, SpecialDay, special_day, special_days
from pinflow.stats_engine.surprise import SMALLEST_ODDS, Mixture
from pinflow.stats_engine.trace import Scale, Trace, trace

WEEK = 7
LONGEST_DAYS = 800
"""Older days are not looked at: two years, so that each holiday was seen."""
LEARNING_DAYS, LEARNING_RUNS = 28, 8
SMALLEST_MASS = 14
"""Fewer values other than zero give no forecast."""
ZERO_DAYS = 140
USUAL_ZEROS = 0.2
"""From this share on zeros are usual."""
OTHER_WEEKDAYS = 0.3
"""What a zero on another weekday tells, in zeros of the same one."""
SPECIAL_WIDTH = 0.8
SPECIAL_ERROR = 0.03
UNSEEN_HOLIDAY = (-0.2, 0.2, 0.5)
UNSEEN_BESIDE = (-0.1, 0.15, 0.25)
"""What a holiday, and a day beside one, may do that was not seen before: effect, width (in logarithms) and weight."""
DAY = np.timedelta64(1, "D")
A_SUNDAY = np.datetime64("1970-01-04")


@dataclass(frozen=True)
class Outlook:
    """What a value may be: `zero` are the odds of none at all, `mixture` (on `scale`) those of others, if known."""

    scale: Scale
    zero: float
    mixture: Mixture | None
    learning: bool
    """Too little was seen to warn of anything but zeros."""
    amounts: bool
    """No value was negative."""

    def odds(self, values: Floats) -> Floats:
        """The odds of each value or one further out: 1 for what is expected; SMALLEST_ODDS for an unheard-of zero."""
        if self.mixture is None:
            odds = np.full(len(values), 1 - self.zero)
        else:
            below, above = self.mixture.tails(self.scale.apply(values))
            odds = (1 - self.zero) * 2 * np.minimum(below, above) + self.zero * (below < above)
        return np.asarray(np.where(values == 0, self.zero, np.clip(odds, SMALLEST_ODDS, 1.0)))

    def expected(self) -> float | None:
        """The value with even odds of more and of less; None where nothing is known."""
        if self.zero > 0.5:
            return 0.0
        return None if self.mixture is None else self._value(self.mixture.median())

    def band(self, odds: float) -> tuple[float, float] | None:
        """The lowest and the highest value of these odds; None where nothing is known."""
        if self.mixture is None or self.zero >= 1:
            return None
        rest = 1 - self.zero
        high = self._value(self.mixture.band(min(odds / rest, 1.0))[1])
        if self.zero >= odds:
            return 0.0, max(high, 0.0)
        return self._value(self.mixture.band((odds - self.zero) / rest)[0]), high

    def _value(self, scaled: float) -> float:
        value = float(self.scale.invert(np.array(scaled)))
        return max(value, 0.0) if self.amounts else value


def outlook(dates: Days, values: Floats, day: np.datetime64, country: str) -> Outlook:
    """Look at `day` from the values (NaN: none) of the dates before it, ascending."""
    known = np.isfinite(values) & (dates < day) & (dates >= day - LONGEST_DAYS * DAY)
    dates, values = dates[known], values[known]
    if not len(values):
        return Outlook(Scale(1.0), 1.0, None, learning=True, amounts=True)
    if cadence(dates) > 2:
        return _by_run(values)
    return _by_day(dates, values, day, country)


def cadence(dates: Days) -> float:
    """The middle distance of dates in days; 1 for fewer than two."""
    return float(np.median(np.diff(dates) / DAY)) if len(dates) > 1 else 1.0


def _by_run(values: Floats) -> Outlook:
    followed = trace(values, np.zeros(len(values) + 1, dtype=bool), 1)
    newest = values[-ZERO_DAYS // WEEK :]
    zero = max(_share(int(np.count_nonzero(newest == 0)), len(newest)), _chance_of_none(values[-LEARNING_RUNS:]))
    learning = len(values) < LEARNING_RUNS
    mixture = _ordinary(followed, LEARNING_RUNS // 2)
    return Outlook(followed.scale, zero, mixture, learning, amounts=bool(values.min() >= 0))


def _by_day(dates: Days, values: Floats, day: np.datetime64, country: str) -> Outlook:
    first = dates[0]
    grid = np.full(int((day - first) / DAY), np.nan)
    grid[((dates - first) / DAY).astype(int)] = values
    special = special_days(country, first, len(grid) + 1)
    followed = trace(grid, special, WEEK)
    today = special_day(day.astype(object), country)
    mixture = _ordinary(followed, SMALLEST_MASS)
    if today is not None and mixture is not None:
        places = np.flatnonzero(special[:-1])
        past = [(special_day((first + place).astype(object), country), place) for place in places]
        since_sunday = int((day - A_SUNDAY) / DAY) % WEEK
        mixture = _special(followed, today, [(s, int(p)) for s, p in past if s is not None], since_sunday)
    learning = len(values) < LEARNING_DAYS
    zero = max(_zero_odds(grid, special), _chance_of_none(values[-LEARNING_DAYS:]))
    return Outlook(followed.scale, zero, mixture, learning, amounts=bool(values.min() >= 0))


def _ordinary(followed: Trace, fewest: int) -> Mixture | None:
    if np.count_nonzero(followed.known) < fewest:
        return None
    return Mixture(followed.expected[-1:], followed.usual_errors[-1:], np.ones(1))


def _special(followed: Trace, today: SpecialDay, past: list[tuple[SpecialDay, int]], since_sunday: int) -> Mixture:
    """Each thing that a special day may do is a part: nothing, what Sundays do, what special days did before."""
    sunday = followed.offsets[max(-1 - since_sunday, -len(followed.offsets))] - followed.offsets[-1]
    usual = float(followed.usual_errors[-1]) * SPECIAL_WIDTH
    width = float(np.hypot(usual, SPECIAL_ERROR))
    wider = float(np.hypot(1.2 * usual, SPECIAL_ERROR))
    is_holiday = today.kind == Kind.HOLIDAY
    effect, spread, weight = UNSEEN_HOLIDAY if is_holiday else UNSEEN_BESIDE
    parts = [
        (0.0, width, 1.0),
        (sunday, width, 2.0 if is_holiday else 0.5),
        (sunday / 2, width, 0.5),
        (effect, float(np.hypot(usual, spread)), weight),
    ]
    seen = [(special, float(followed.errors[place])) for special, place in past if followed.known[place]]
    alike = [error for special, error in seen if (special.kind == Kind.HOLIDAY) == is_holiday]
    parts += [(error, wider, len(alike) ** -0.5) for error in alike]
    for special, error in seen:
        if special.names & today.names:
            parts += [(error, wider, 6.0), (error / 2, wider, 1.5)]
    centres, widths, weights = np.array(parts).T
    return Mixture(followed.expected[-1] + centres, widths, weights / weights.sum())


def _zero_odds(grid: Floats, special: Flags) -> float:
    """The odds of a zero: from zeros on the same weekday, less from others like it; on special days also from those."""
    start = max(0, len(grid) - ZERO_DAYS)
    odds = 0.0
    if special[-1]:
        seen = grid[special[:-1] & np.isfinite(grid)]
        odds = _share(int(np.count_nonzero(seen == 0)), len(seen))
    ago = np.arange(len(grid) - start, 0, -1)
    days = np.where(special[start:-1], np.nan, grid[start:])
    known, zeros = np.isfinite(days), days == 0
    weekday = ago % WEEK
    seen_by, zeros_by = (np.bincount(weekday[flags], minlength=WEEK).astype(float) for flags in (known, zeros))
    rest_day = zeros_by * 2 >= seen_by
    alike = rest_day == rest_day[0]
    alike[0] = False
    return max(
        odds,
        _share(
            zeros_by[0] + OTHER_WEEKDAYS * zeros_by[alike].sum(),
            seen_by[0] + OTHER_WEEKDAYS * seen_by[alike].sum(),
        ),
    )


def _chance_of_none(newest: Floats) -> float:
    """The odds that a count as small as the newest ones is zero by chance (Poisson's); nothing for other numbers."""
    if newest.min() < 0 or (newest % 1).any():
        return 0.0
    return float(np.exp(-np.median(newest)))


def _share(zeros: float, seen: float) -> float:
    """The odds of a zero; few zeros among many values are rather past failures, and count less still."""
    share = float(zeros) / (float(seen) + 1)
    return max(share * min(1.0, share / USUAL_ZEROS), SMALLEST_ODDS)

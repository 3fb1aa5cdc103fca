"""A series as the forecast sees it: on a scale of logarithms, with forecast, error and usual error at every step.

All arrays of a trace have a place for each step of the history and a last one for the step that is judged, whose value
is unknown. What stands at a place depends on earlier values only, so that a day is judged as it would have been then.
"""

from dataclasses import dataclass

import numpy as np

from pinflow.stats_engine.smoothing import (
    Flags,
    Floats,
    combine,
    forecasters,
    season_offsets,
    seasonal,
    smoothed,
)

LARGEST = 600.0
"""What is larger on the scale has no finite value."""
SMALLEST_SHARE = 0.01
"""Values below this share of the median differ little from zero."""
FIRST_JUDGED = 3
"""So many values, or a season of them, are not compared with their forecast, which knows too little."""
RECENT_STEPS = 120
OUTLIER = 4.0
"""Errors beyond this many mean errors teach no more than one of this size."""
REPEATS = 2
"""The second outlier in a row on one side counts in full: the level has changed."""
LARGEST_ERROR = 2.0
PRIOR_ERROR = 0.13
PRIOR_WEIGHT = 0.3
SEASON_MEMORY = 0.85
RECENT_RATE = 0.15
TAIL_RATE = 1 / 250
TAIL_PRIOR = 30.0
TAIL_POWER = 0.6
WIDTH = 0.72
"""From mean errors to the width of the distribution, so that alarms come as often as the odds say."""
SMALLEST_ERROR = 0.03
"""A usual error is taken as at least three percent."""


@dataclass(frozen=True)
class Scale:
    """asinh(value / unit): a logarithm for values well above `unit`, that takes zero and negative values too."""

    unit: float

    def apply(self, values: Floats) -> Floats:
        """From values to the scale."""
        return np.asarray(np.arcsinh(values / self.unit))

    def invert(self, scaled: Floats) -> Floats:
        """From the scale to values."""
        return np.asarray(np.sinh(np.clip(scaled, -LARGEST, LARGEST)) * self.unit)


@dataclass(frozen=True)
class Trace:
    """Forecasts, errors (0 where the value is unknown) and usual errors, all on `scale`."""

    scale: Scale
    known: Flags
    """Where there is a value and a forecast to compare it with."""
    expected: Floats
    errors: Floats
    usual_errors: Floats
    offsets: Floats
    """How far the step's day of the season lies above the season's mean."""


def trace(values: Floats, special: Flags, period: int) -> Trace:
    """Follow a series (NaN: no value) of seasons of `period` steps (1: none), step by step.

    `special` is one place longer than `values`. Special days and zeros teach nothing about ordinary days.
    """
    scale = scale_of(values)
    known = np.append(np.isfinite(values) & (values != 0), False)
    scaled = np.append(scale.apply(np.where(known[:-1], values, 0.0)), 0.0)
    ordinary = known & ~special
    judged = known & (np.cumsum(ordinary) > max(FIRST_JUDGED, period))
    first = combine(forecasters(scaled, ordinary, period), scaled, judged & ordinary)
    errors = np.where(judged, scaled - first, 0.0)
    cleaned = scaled + without_outliers(errors, judged & ordinary) - errors
    expected = combine(forecasters(cleaned, ordinary, period), cleaned, judged & ordinary)
    errors = np.where(judged, scaled - expected, 0.0)
    offsets = season_offsets(np.where(ordinary, cleaned, 0.0), ordinary, period, [SEASON_MEMORY])[0]
    return Trace(scale, judged, expected, errors, usual_errors(errors, judged & ordinary, period), offsets)


def scale_of(values: Floats) -> Scale:
    """The scale that fits the newest values that are not zero.

    Where a tenth of them are negative, they are no amounts, and the scale is close to linear.
    """
    mass = values[np.isfinite(values) & (values != 0)][-RECENT_STEPS:]
    if not len(mass):
        return Scale(1.0)
    signed = bool(np.mean(mass < 0) > 0.1)
    return Scale(float(np.median(np.abs(mass))) * (10.0 if signed else 2 * SMALLEST_SHARE))


def without_outliers(errors: Floats, ordinary: Flags) -> Floats:
    """Errors of ordinary days, cut to OUTLIER mean errors unless the same side was out at the steps before too."""
    sums = smoothed(np.stack([np.minimum(np.abs(errors), 1.0) * ordinary, ordinary.astype(float)]), 0.05)
    limit = OUTLIER * (sums[0] + PRIOR_WEIGHT * 0.3) / (sums[1] + PRIOR_WEIGHT)
    side = np.where(np.abs(errors) > limit, np.sign(errors), 0.0)[ordinary]
    repeated = np.zeros(len(side), dtype=bool)
    repeated[REPEATS - 1 :] = np.abs(sum(side[i : len(side) - REPEATS + 1 + i] for i in range(REPEATS))) == REPEATS
    kept = np.zeros(len(errors), dtype=bool)
    kept[ordinary] = repeated
    return np.where(kept, errors, np.clip(errors, -limit, limit))


def usual_errors(errors: Floats, ordinary: Flags, period: int) -> Floats:
    """What size an error usually has: of the last days, of this weekday, and how heavy the series' tail was so far."""
    mask = ordinary.astype(float)
    sizes = np.minimum(np.abs(errors), LARGEST_ERROR) * mask
    both = np.stack([sizes, mask])
    recent = _mean(smoothed(both, RECENT_RATE), PRIOR_ERROR, PRIOR_WEIGHT)
    if period > 1:
        long = _mean(smoothed(both, 0.03), PRIOR_ERROR, PRIOR_WEIGHT)
        total, weight = seasonal(both, SEASON_MEMORY, period)
        usual = np.sqrt(recent * (total + 0.5 * long) / (weight + 0.5))
    else:
        usual = recent
    usual = np.hypot(usual, SMALLEST_ERROR)
    squares = np.minimum((errors / usual) ** 2, 40.0) * mask
    tail = _mean(smoothed(np.stack([squares, mask]), TAIL_RATE), 1.5, TAIL_PRIOR)
    return np.asarray(WIDTH * usual * tail ** (TAIL_POWER / 2))


def _mean(sums: Floats, prior: float, weight: float) -> Floats:
    return np.asarray((sums[0] + weight * prior) / (sums[1] + weight))

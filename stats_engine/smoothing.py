"""One-step forecasts of a series of logarithms: exponential smoothing of level and weekday, many at once.

Every array has one place per step; a place's forecast knows only the values before it. Unknown values weigh nothing.
The forecasters differ in how fast they forget; they are averaged by how well each has done lately
(Bates and Granger 1969, "The combination of forecasts").
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEVEL_RATES = (0.05, 0.15, 0.35, 0.7)
"""Weight of the newest value in a level."""
SEASON_MEMORIES = (0.6, 0.8, 0.93)
"""Weight of a season's (week's) pattern after one more season."""
SEASON_PRIOR = 0.3
"""Seasons without any pattern that are taken as seen."""
ERROR_RATE = 0.03
ERROR_POWER = 8
LARGEST_ERROR = 1.0
BLOCK = 64


class _Decay(NamedTuple):
    """What a block's values add to the sums at its places, and to the sum after it; and how a sum fades in it."""

    within: Floats
    after: Floats
    fading: Floats


@lru_cache(maxsize=64)
def _decay(kept: float) -> _Decay:
    place = np.arange(BLOCK)
    ago = place[None, :] - place[:, None] - 1
    within = np.where(ago >= 0, kept ** np.maximum(ago, 0.0), 0.0)
    return _Decay(within, kept ** place[::-1].astype(float), kept ** place.astype(float))


def smoothed(values: Floats, rate: float) -> Floats:
    """Sum of the values before each place, each place back weighing (1 - rate) less; over the last axis.

    Block by block, as products with matrices: many times faster than place by place.
    """
    blocks = _cut(values, BLOCK)
    decay = _decay(1 - rate)
    left = blocks @ decay.after
    carried = np.zeros_like(left)
    for number in range(1, left.shape[-1]):
        carried[..., number] = carried[..., number - 1] * (1 - rate) ** BLOCK + left[..., number - 1]
    sums: Floats = blocks @ decay.within + carried[..., None] * decay.fading
    return sums.reshape(*values.shape[:-1], -1)[..., : values.shape[-1]]


def _cut(values: Floats, size: int) -> Floats:
    """The last axis in pieces of `size`, zeros at its end."""
    length = values.shape[-1]
    whole = np.zeros((*values.shape[:-1], length + -length % size))
    whole[..., :length] = values
    return whole.reshape(*values.shape[:-1], -1, size)


def seasonal(values: Floats, memory: float, period: int) -> Floats:
    """Sum of the values whole seasons before each place, each season back weighing `memory` times; last axis."""
    seasons = _cut(values, period).swapaxes(-1, -2)
    sums = smoothed(seasons, 1 - memory).swapaxes(-1, -2)
    return sums.reshape(*values.shape[:-1], -1)[..., : values.shape[-1]]


def season_offsets(values: Floats, known: Flags, period: int, memories: Sequence[float]) -> Floats:
    """How far each place's day of the season lies above the mean of its season, judged from whole seasons before.

    One row for each of `memories`; `values` are 0 where they are not known. A `period` of 1 has no seasons.
    """
    if period == 1 or len(values) <= period or not known.any():
        return np.zeros((len(memories), len(values)))
    window = np.ones(period)
    count = np.convolve(known, window, "same")
    centre = np.convolve(values, window, "same") / np.maximum(count, 1)
    usable = (known & (count > np.median(count[known]) / 2)).astype(float)
    both = np.stack([(values - centre) * usable, usable])
    sums = [seasonal(both, memory, period) for memory in memories]
    return np.stack([total / (weight + SEASON_PRIOR) for total, weight in sums])


def forecasters(values: Floats, known: Flags, period: int) -> Floats:
    """Forecasts of each forecaster, one a row; `period` 1 means no season."""
    mask = known.astype(float)
    filled = np.where(known, values, 0.0)
    memories = SEASON_MEMORIES if period > 1 else SEASON_MEMORIES[:1]
    offsets = season_offsets(filled, known, period, memories)
    flat = np.vstack([(filled - offsets) * mask, mask])
    rows = []
    for rate in LEVEL_RATES:
        sums = smoothed(flat, rate)
        rows.append(offsets + sums[:-1] / np.maximum(sums[-1], 1e-9))
    return np.concatenate(rows)


def combine(forecasts: Floats, values: Floats, known: Flags) -> Floats:
    """The forecasters' mean, weighted by the inverse of their recent errors to the power of ERROR_POWER."""
    errors = np.where(known, np.minimum(np.abs(values - forecasts), LARGEST_ERROR), 0.0)
    sums = smoothed(np.vstack([errors, known.astype(float)]), ERROR_RATE)
    weights = ((sums[:-1] + 0.004) / (sums[-1] + 0.02)) ** -ERROR_POWER
    return np.asarray((weights * forecasts).sum(axis=0) / weights.sum(axis=0))

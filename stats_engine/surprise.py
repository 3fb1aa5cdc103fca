"""How surprising a value is: the odds of one at least as far out, under a mixture of what the day may bring.

A mixture's parts are Student distributions with three degrees of freedom, whose tails are as heavy as those of
forecast errors of daily counts.
"""

from dataclasses import dataclass

import numpy as np

from pinflow.stats_engine.smoothing import Floats

SMALLEST_ODDS = 1e-15
"""What floats still tell from 0."""
HALVINGS = 50


@dataclass(frozen=True)
class Mixture:
    """Parts of a distribution: their centres, widths and weights; the weights add up to 1."""

    centres: Floats
    widths: Floats
    weights: Floats

    def tails(self, values: Floats) -> tuple[Floats, Floats]:
        """The odds of less than each value, and of more."""
        distance = (values[:, None] - self.centres) / self.widths
        return lower_tail(distance) @ self.weights, lower_tail(-distance) @ self.weights

    def band(self, odds: float) -> tuple[float, float]:
        """The values beyond which, on either side, lie half of `odds`."""
        low, high = self._quantiles(odds / 2, 1 - odds / 2)
        return low, high

    def median(self) -> float:
        """The value with as much below as above it."""
        return self._quantiles(0.5)[0]

    def _quantiles(self, *shares: float) -> list[float]:
        """The values with such shares below them: all by one bisection, between bounds that are far enough apart."""
        wanted = np.array(shares)
        reach = float(self.widths.max())
        low = np.full(len(shares), self.centres.min())
        high = np.full(len(shares), self.centres.max())
        while (self._below(low) > wanted).any() or (self._below(high) < wanted).any():
            low, high, reach = low - reach, high + reach, 2 * reach
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            is_below = self._below(middle) < wanted
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        return [float(value) for value in (low + high) / 2]

    def _below(self, values: Floats) -> Floats:
        return np.asarray(lower_tail((values[:, None] - self.centres) / self.widths) @ self.weights)


def lower_tail(distance: Floats) -> Floats:
    """The distribution function of Student's t with three degrees of freedom.

    >>> lower_tail(np.array([0.0, -3.182446])).round(6).tolist()
    [0.5, 0.025]
    """
    ratio = distance / np.sqrt(3)
    return np.asarray(0.5 + (ratio / (1 + ratio * ratio) + np.arctan(ratio)) / np.pi)

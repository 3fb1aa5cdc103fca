"""How surprising a value is: the odds of one at least as far out, under a mixture of what the day may bring.

A mixture's parts are Student distributions with three degrees of freedom, whose tails are as heavy as those of
forecast errors of daily counts.
"""

from dataclasses import dataclass

import numpy as np

from pinflow.stats_engine.smoothing import Floats

SMALLEST_ODDS = 1e-15
"""What floats still tell from 0."""


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
        return self._quantile(odds / 2), self._quantile(1 - odds / 2)

    def median(self) -> float:
        """The value with as much below as above it."""
        return self._quantile(0.5)

    def _quantile(self, share: float) -> float:
        low, high = float(self.centres.min()), float(self.centres.max())
        reach = float(self.widths.max())
        while self._share_below(low) > share:
            low, reach = low - reach, 2 * reach
        reach = float(self.widths.max())
        while self._share_below(high) < share:
            high, reach = high + reach, 2 * reach
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._share_below(middle) < share else (low, middle)
        return (low + high) / 2

    def _share_below(self, value: float) -> float:
        return float(self.tails(np.array([value]))[0][0])


def lower_tail(distance: Floats) -> Floats:
    """The distribution function of Student's t with three degrees of freedom.

    >>> lower_tail(np.array([0.0, -3.182446])).round(6).tolist()
    [0.5, 0.025]
    """
    ratio = distance / np.sqrt(3)
    return np.asarray(0.5 + (ratio / (1 + ratio * ratio) + np.arctan(ratio)) / np.pi)

"""Sums of floating-point numbers that come out the same whatever the order and the grouping."""

import sys
from typing import Self

UNIT_EXPONENT = 1074
"""A unit is 2 ** -1074, the smallest positive double: every finite double is a whole number of units."""

_ONE = 1 << UNIT_EXPONENT


class ExactSum(float):
    """A sum of doubles: a `float` (rounded once, correctly) that remembers its exact value in `units`.

    Adding is exact, hence associative and commutative (ST-09): any split of the data into tasks gives
    the same total, bit for bit. A total beyond the range of doubles shows as the largest double.

    >>> ExactSum.of(1e16).plus(1.0).plus(-1e16)
    1.0
    """

    __slots__ = ("units",)
    units: int

    def __new__(cls, units: int = 0) -> Self:
        """The sum whose exact value is `units` times 2 ** -1074."""
        total = super().__new__(cls, _round(units))
        total.units = units
        return total

    def __getnewargs__(self) -> tuple[int]:
        return (self.units,)

    @classmethod
    def of(cls, value: float) -> "ExactSum":
        """`value` itself when it is one already, else the exact value of a finite number."""
        return value if isinstance(value, ExactSum) else cls(units(float(value)))

    def plus(self, value: float) -> "ExactSum":
        """The exact sum of both."""
        return ExactSum(self.units + ExactSum.of(value).units)


def units(value: float) -> int:
    """A finite double as a whole number of units.

    >>> units(0.0), units(5e-324), units(-1.0) == -(2**1074)
    (0, 1, True)
    """
    numerator, denominator = value.as_integer_ratio()
    return numerator << (UNIT_EXPONENT + 1 - denominator.bit_length())


def _round(total: int) -> float:
    try:
        return total / _ONE
    except OverflowError:
        return sys.float_info.max if total > 0 else -sys.float_info.max

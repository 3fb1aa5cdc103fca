"""Bounds on one statistic (ST-16)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pinflow.stats_engine.rules.background import Background
from pinflow.stats_engine.rules.rule import Degree, Rule, Violation, bounds_text, number, out_of_bounds
from pinflow.stats_engine.statistics import Statistics


@dataclass(frozen=True)
class Absolute(Rule):
    """See `absolute`."""

    kind = "absolute"

    name: str
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        self._check_names(self.name)
        self._check_bounds(self.min, self.max)

    @property
    def subject(self) -> str:
        """The name."""
        return self.name

    def __str__(self) -> str:
        return f"absolute({self.name}, {bounds_text(self.min, self.max)})"

    def judge(self, statistics: Statistics, background: Background) -> Sequence[Violation]:
        """Fires out of bounds."""
        return out_of_bounds(self, number(self.name, statistics), self.min, self.max)


def absolute(name: str, *, min: float | None = None, max: float | None = None, degree: Degree = "warning") -> Rule:
    """A rule that fires when a statistic is below `min` or above `max`.

    >>> str(absolute("users", min=1000, degree="fatal"))
    'absolute(users, min=1000)'
    """
    return Absolute(name, min, max, degree=degree)

"""What goes in comes out: sums of statistics that must be equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.rules.background import Background, Degree
from pinflow.stats_engine.rules.rule import Rule, Violation, number, show
from pinflow.stats_engine.statistics import Statistics

Term = str | tuple[str, str]
"""A statistic of the job, or (job, statistic) of another job of the workflow."""


@dataclass(frozen=True)
class Balance(Rule):
    """See `balance`."""

    kind = "balance"

    into: Sequence[Term]
    out: Sequence[Term]
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        for side in ("into", "out"):
            object.__setattr__(self, side, _terms(getattr(self, side)))
        if not self.into or not self.out:
            raise self._refused("it needs at least one statistic on each side")
        for term in (*self.into, *self.out):
            parts = term if isinstance(term, tuple) and len(term) == 2 else (term,)
            if not all(isinstance(part, str) and part for part in parts):
                raise ConfigurationError(f"a balance has no term {term!r}; give a name, or a pair (job, name)")
        self._check_names(self.subject)
        is_number = isinstance(self.tolerance, int | float) and not isinstance(self.tolerance, bool)
        if not is_number or not 0 <= self.tolerance < 1:
            raise self._refused(f"tolerance={self.tolerance!r} is no share; give 0 to below 1, such as 0.01")

    @property
    def subject(self) -> str:
        """Both sums: `lines_read = events_kept + bad_lines`."""
        return " = ".join(" + ".join(map(_text, side)) for side in (self.into, self.out))

    @property
    def names(self) -> tuple[str, ...]:
        """The job's own terms."""
        return tuple(term for term in (*self.into, *self.out) if isinstance(term, str))

    @property
    def others(self) -> tuple[tuple[str, str], ...]:
        """The terms of other jobs."""
        return tuple(term for term in (*self.into, *self.out) if not isinstance(term, str))

    def __str__(self) -> str:
        return f"balance({self.subject}{f', tolerance={show(self.tolerance)}' if self.tolerance else ''})"

    def judge(self, statistics: Statistics, background: Background) -> Sequence[Violation]:
        """Fires when the sums differ by more than the tolerated share of the larger."""
        sides = [[_value(term, statistics, background) for term in side] for side in (self.into, self.out)]
        if any(value is None for side in sides for value in side):
            return []
        into, out = (sum(value or 0 for value in side) for side in sides)
        if abs(into - out) <= self.tolerance * max(abs(into), abs(out)):
            return []
        message = f"{self.subject} does not balance: {show(into)} in, {show(out)} out"
        return [Violation(self, out, message, into * (1 - self.tolerance), into * (1 + self.tolerance))]


def balance(into: Sequence[Term], out: Sequence[Term], *, tolerance: float = 0.0, degree: Degree = "warning") -> Rule:
    """A rule that fires when the sum of what comes in is not the sum of what goes out.

    A term is a statistic of the job, or (job, statistic) of another job of the workflow, which must come before this
    one; on a day on which that has published nothing, nothing is judged. `tolerance` is a share of the larger sum.

    >>> str(balance(["rows_read"], ["rows_kept", "rows_left_out"]))
    'balance(rows_read = rows_kept + rows_left_out)'
    """
    return Balance(into, out, tolerance, degree=degree)


def _terms(given: Any) -> tuple[Term, ...]:
    """Terms as they are compared: JSON has lists for pairs."""
    if isinstance(given, str):
        return (given,)
    return tuple(tuple(term) if isinstance(term, list) else term for term in given)


def _text(term: Term) -> str:
    return term if isinstance(term, str) else ".".join(map(str, term))


def _value(term: Term, statistics: Statistics, background: Background) -> float | None:
    if isinstance(term, str):
        return number(term, statistics)
    job, name = term
    return background.others.get(job, {}).get(name)

"""Zero, or nothing counted at all, where the job's own past had always something."""

from collections.abc import Sequence
from dataclasses import dataclass

from pinflow.stats_engine.rules.background import Background, Degree
from pinflow.stats_engine.rules.rule import Rule, Violation, number
from pinflow.stats_engine.statistics import Statistics

ONCE_A_YEAR = 1 / 365.25
"""A zero is alarming below these odds."""


@dataclass(frozen=True)
class Nonzero(Rule):
    """See `nonzero`."""

    kind = "nonzero"

    name: str

    def __post_init__(self) -> None:
        self._check_names(self.name)

    @property
    def subject(self) -> str:
        """The name."""
        return self.name

    @property
    def past(self) -> tuple[str, ...]:
        """The name."""
        return (self.name,)

    def __str__(self) -> str:
        return f"nonzero({self.name})"

    def judge(self, statistics: Statistics, background: Background) -> Sequence[Violation]:
        """Looks at the past only when there is a zero to be judged."""
        if number(self.name, statistics):
            return []
        from pinflow.stats_engine.forecast import predict  # needs numpy

        history = background.history
        observations, changes = history.observations(self.name), history.changes.get(self.name, ())
        found = predict(
            observations, background.day, alarm_odds=ONCE_A_YEAR, country=background.country, changes=changes
        )
        if not found.is_alarming(0):
            return []
        learning = found.state == "learning"
        message = f"{self.name} is 0, unlike on all {found.seen} days that are known"
        if found.expected:
            message = f"{self.name} is 0, where {found.expected:,.4g} was expected"
        return [Violation(self, 0, message, forecast=found.expected, learning=learning, lenient=learning)]


def nonzero(name: str, *, degree: Degree = "warning") -> Rule:
    """A rule that fires on a zero where the job's past makes one unlikely; each job has it on `output_rows`.

    A fatal one only warns while it learns, in the first 28 days or 8 runs.

    >>> str(nonzero("users", degree="fatal"))
    'nonzero(users)'
    """
    return Nonzero(name, degree=degree)

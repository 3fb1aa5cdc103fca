"""What the job's own past leads one to expect of a statistic (ST-17), and whether it drifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from pinflow.stats_engine.rules.background import Background, Degree
from pinflow.stats_engine.rules.rule import Rule, Violation, number, share, show
from pinflow.stats_engine.statistics import Statistics

if TYPE_CHECKING:
    from pinflow.stats_engine.forecast import Prediction
    from pinflow.stats_engine.judgement import Past

Side = Literal["both", "below", "above"]
"""Which values may alarm: those below the forecast, those above it, or both."""

FATAL_DEVIATION = 0.3
"""A fatal rule stops nothing that deviates less from its forecast; it warns."""


@dataclass(frozen=True)
class Temporal(Rule):
    """See `temporal`."""

    kind = "temporal"

    name: str
    of: str = ""
    side: Side = "both"
    least: float = 0.0

    def __post_init__(self) -> None:
        self._check_names(self.name, *([self.of] if self.of else []))
        if self.side not in get_args(Side):
            raise self._refused(f"the side {self.side!r} is none of {', '.join(get_args(Side))}")
        if isinstance(self.least, bool) or not isinstance(self.least, int | float) or not 0 <= self.least < 1:
            raise self._refused(f"least={self.least!r} is no share; give 0 to below 1, such as 0.1 for 10 %")

    @property
    def subject(self) -> str:
        """The name, or `NAME / OF`."""
        return f"{self.name} / {self.of}" if self.of else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """The name, and what it is a share of."""
        return (self.name, self.of) if self.of else (self.name,)

    @property
    def past(self) -> tuple[str, ...]:
        """The same."""
        return self.names

    def __str__(self) -> str:
        side = "" if self.side == "both" else f", side={self.side}"
        return f"temporal({self.subject}{side}{f', least={show(self.least)}' if self.least else ''})"

    def judge(self, statistics: Statistics, background: Background) -> Sequence[Violation]:
        """Fires out of the band of the forecast, else where a drift shows first."""
        from pinflow.stats_engine.judgement import Past  # needs numpy

        value: float | None = number(self.name, statistics)
        if self.of and value is not None:
            value = share(value, number(self.of, statistics))
        if value is None:
            return []
        history = background.history
        changes = history.changes.get(self.subject, ())
        past = Past(history.observations(self.name, self.of), changes, background.country)
        return self._surprise(past, value, background) or self._drift(past, value, background)

    def _surprise(self, past: "Past", value: float, background: Background) -> "Sequence[Violation]":
        found = past.predict(background.day, background.allowed["warning"])
        if not (found.is_alarming(value) and self._matters(value, found.expected)):
            return []
        learning = found.state == "learning"
        worst = found
        if self.degree == "fatal" and not learning:
            worst = past.predict(background.day, background.allowed["fatal"])
        lenient = learning or not worst.is_alarming(value) or not _is_large(value, found.expected)
        message = f"{self.subject} is {show(value)}, {_compared(value, found)}"
        band = (found.low, found.high)
        return [Violation(self, value, message, *band, found.expected, learning, lenient=lenient)]

    def _drift(self, past: "Past", value: float, background: Background) -> "Sequence[Violation]":
        found = past.drift(background.day, value, background.allowed["warning"])
        before = value / found.factor
        if found.score == 0 or not self._matters(value, before):
            return []
        change = f"{abs(found.factor - 1):.0%} {'down' if found.factor < 1 else 'up'}"
        message = f"{self.subject} has drifted {change}: its last 10 days against the six weeks before"
        check = f"drift({self.subject})"
        return [Violation(self, value, message, forecast=before, check=check, lenient=True)]

    def _matters(self, value: float, expected: float | None) -> bool:
        if expected is None:
            return True
        if (self.side == "above" and value < expected) or (self.side == "below" and value > expected):
            return False
        return abs(value - expected) >= self.least * abs(expected)


def _is_large(value: float, expected: float | None) -> bool:
    return expected is None or abs(value - expected) >= FATAL_DEVIATION * abs(expected)


def _compared(value: float, found: "Prediction") -> str:
    """The deviation in words, with the forecast and its band."""
    if found.expected is None:
        return f"unlike on all {found.seen} days that are known; it learns still"
    if found.state == "learning" or found.low is None or found.high is None:
        return f"where {_round(found.expected)} was expected; it learns still, from {found.seen} values"
    usual = f"usual is {_round(found.low)} to {_round(found.high)}"
    if not found.expected:
        return f"where 0 was expected; {usual}"
    far = (value - found.expected) / abs(found.expected)
    size = f"{abs(far):.0%}" if abs(far) < 2 else f"{value / found.expected:,.1f} times as much,"
    place = f"{'below' if far < 0 else 'above'} the forecast of" if abs(far) < 2 else "where the forecast was"
    return f"{size} {place} {_round(found.expected)}; {usual}"


def _round(value: float) -> str:
    """A number to four digits."""
    return show(float(f"{value:.4g}"))


def temporal(name: str, *, of: str = "", side: Side = "both", least: float = 0.0, degree: Degree = "warning") -> Rule:
    """A rule that fires when a statistic, or its share of another, is not what its own past leads one to expect.

    `side` lets only values below or above the forecast alarm; deviations smaller than `least`, a share of the
    forecast, never do. The workflow's budget of false alarms sets how wide the band is. A fatal one stops the job where
    the budget of fatal alarms allows it and the value is at least 30 % off, else it warns.

    >>> str(temporal("output_bytes", side="below", least=0.1))
    'temporal(output_bytes, side=below, least=0.1)'
    """
    return Temporal(name, of, side, least, degree=degree)

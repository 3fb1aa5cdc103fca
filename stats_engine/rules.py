"""Rules on a job's statistics (ST-16, ST-18): declared beside the job, checked before its data is published.

A rule names a count or a sum, or a histogram, which stands for the number of its values. A name that the job
has not counted is 0. Rules are values and turn into JSON, so that a run can freeze them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.statistics import Statistics

Degree = Literal["warning", "fatal"]
"""`warning`: mail to the owner. `fatal`: the job stops, publishes nothing, and mail to the owner."""

OUTPUT_ROWS = "output_rows"
OUTPUT_BYTES = "output_bytes"
INPUT_BYTES = "input_bytes"
SECONDS = "seconds"
"""Built-in names, which every job has: three counts, and the job's duration as a sum."""


@dataclass(frozen=True)
class Rule:
    """Bounds, both allowed themselves, on a statistic or on its share of another; see `absolute`.

    ConfigurationError when it could not be judged: no bound, bounds crossed or not finite, an unknown degree.
    """

    name: str
    of: str | None = None
    min: float | None = None
    max: float | None = None
    degree: Degree = "warning"

    def __post_init__(self) -> None:
        for name in (self.name,) if self.of is None else (self.name, self.of):
            if not isinstance(name, str) or not name:
                raise ConfigurationError(f"a rule cannot be about {name!r}; give the name of a statistic")
        for bound in self._bounds():
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
                raise self._refused(f"the bound {bound!r} is not a finite number")
        if not self._bounds():
            raise self._refused("it has no bound; give min=, max= or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise self._refused(f"min={self.min!r} is above max={self.max!r}")
        if self.degree not in get_args(Degree):
            raise self._refused(f"the degree {self.degree!r} is none of {', '.join(get_args(Degree))}")

    @property
    def subject(self) -> str:
        """What is bounded: the name, or `NAME / OF`."""
        return self.name if self.of is None else f"{self.name} / {self.of}"

    def __str__(self) -> str:
        bounds = [
            f"{word}={show(bound)}" for word, bound in (("min", self.min), ("max", self.max)) if bound is not None
        ]
        return f"absolute({self.subject}, {', '.join(bounds)})"

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON values, without what it does not use."""
        fields = {"name": self.name, "of": self.of, "min": self.min, "max": self.max, "degree": self.degree}
        return {"rule": "absolute"} | {key: value for key, value in fields.items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Rule":
        """The rule that `to_json` gave; ConfigurationError for anything else."""
        fields = dict(data)
        kind = fields.pop("rule", None)
        if kind != "absolute":
            raise ConfigurationError(f"no rule is of the kind {kind!r}; known: absolute")
        try:
            return cls(**fields)
        except TypeError as error:
            raise ConfigurationError(f"{fields!r} is not a rule: {error}") from error

    def _bounds(self) -> list[float]:
        return [bound for bound in (self.min, self.max) if bound is not None]

    def _refused(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"the rule on {self.subject!r} cannot be used: {reason}")


@dataclass(frozen=True)
class Violation:
    """A rule that fired, and the value that made it fire (infinite for a share of nothing)."""

    rule: Rule
    value: float

    @property
    def message(self) -> str:
        """One line for people."""
        low, high = self.rule.min, self.rule.max
        if low is not None and self.value < low:
            return f"{self.rule.subject} is {show(self.value)}, below its minimum {show(low)}"
        return f"{self.rule.subject} is {show(self.value)}, above its maximum {show(high or 0)}"


def absolute(name: str, *, min: float | None = None, max: float | None = None, degree: Degree = "warning") -> Rule:
    """A rule that fires when a statistic is below `min` or above `max`.

    >>> str(absolute("users", min=1000, degree="fatal"))
    'absolute(users, min=1000)'
    """
    return Rule(name, None, min, max, degree)


def absolute_share(
    name: str, *, of: str, min: float | None = None, max: float | None = None, degree: Degree = "warning"
) -> Rule:
    """A rule on the share of one statistic in another, such as bad lines of the lines read.

    0 of 0 is not judged; something of 0 is infinitely much.
    """
    return Rule(name, of, min, max, degree)


def evaluate(rules: Iterable[Rule], statistics: Statistics) -> list[Violation]:
    """The rules that fire, in their order."""
    violations = []
    for rule in rules:
        value = _value(rule, statistics)
        if value is None:
            continue
        if (rule.min is not None and value < rule.min) or (rule.max is not None and value > rule.max):
            violations.append(Violation(rule, value))
    return violations


def show(value: float) -> str:
    """A number as people write it: no `.0`, no exponent below 16 digits.

    >>> show(12345678.0), show(0.01), show(2**53)
    ('12345678', '0.01', '9007199254740992')
    """
    if isinstance(value, int) or (abs(value) < 1e16 and value == int(value)):
        return str(int(value))
    return f"{value:.6g}"


def _value(rule: Rule, statistics: Statistics) -> float | None:
    value = _number(rule.name, statistics)
    if rule.of is None:
        return value
    whole = _number(rule.of, statistics)
    if whole == 0:
        return math.copysign(math.inf, value) if value else None
    return value / whole


def _number(name: str, statistics: Statistics) -> float:
    if name in statistics.items:
        raise ConfigurationError(f"a rule needs a number, but {name!r} is a list of items; take a count or a sum")
    if name in statistics.histograms:
        return statistics.histograms[name].count
    if name in statistics.distincts:
        return statistics.distincts[name].estimate().estimate
    return statistics.counts.get(name, statistics.sums.get(name, 0))

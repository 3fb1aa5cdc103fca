"""What all kinds of rules share: a name, a degree, JSON, and the violation that says what was seen and expected."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.rules.background import Background
from pinflow.stats_engine.statistics import Statistics

Degree = Literal["warning", "fatal"]
"""`warning`: mail to the owner. `fatal`: the job stops, publishes nothing, and mail to the owner."""

OUTPUT_ROWS = "output_rows"
OUTPUT_BYTES = "output_bytes"
INPUT_BYTES = "input_bytes"
SECONDS = "seconds"
"""Built-in names, which every job has: three counts, and the job's duration as a sum."""

KINDS: dict[str, "type[Rule]"] = {}
"""Each kind of rule by its name; a class below `Rule` with a `kind` is one."""


@dataclass(frozen=True)
class Rule(ABC):
    """What must hold of a job's statistics. Rules are values and turn into JSON, so that a run can freeze them.

    ConfigurationError when it could not be judged: bounds crossed or not finite, an unknown degree, no name.
    """

    kind: ClassVar[str] = ""

    degree: Degree = field(default="warning", kw_only=True)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.kind:
            KINDS[cls.kind] = cls

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is judged, in the words of the statistics: `users`, `bad_lines / lines_read`."""

    @abstractmethod
    def judge(self, statistics: Statistics, background: Background) -> "Sequence[Violation]":
        """What is wrong with these statistics; mostly nothing."""

    @property
    def names(self) -> tuple[str, ...]:
        """The job's own statistics that it looks at."""
        return (self.subject,)

    @property
    def jobs(self) -> tuple[str, ...]:
        """Other jobs of the same workflow whose statistics of the day it looks at."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON values, without what has its default."""
        values = {spec.name: (getattr(self, spec.name), spec.default) for spec in fields(self)}
        return {"rule": self.kind} | {name: value for name, (value, default) in values.items() if value != default}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Rule":
        """The rule of any kind that `to_json` gave; ConfigurationError for anything else."""
        values = dict(data)
        kind = values.pop("rule", None)
        if kind not in KINDS:
            raise ConfigurationError(f"no rule is of the kind {kind!r}; known: {', '.join(sorted(KINDS))}")
        try:
            return KINDS[kind](**values)
        except TypeError as error:
            raise ConfigurationError(f"{values!r} is not a rule: {error}") from error

    def _refused(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"the rule {self.kind} on {self.subject!r} cannot be used: {reason}")

    def _check_names(self, *names: object) -> None:
        for name in names:
            if not isinstance(name, str) or not name:
                raise ConfigurationError(f"a rule cannot be about {name!r}; give the name of a statistic")
        if self.degree not in get_args(Degree):
            raise self._refused(f"the degree {self.degree!r} is none of {', '.join(get_args(Degree))}")

    def _check_bounds(self, low: float | None, high: float | None) -> None:
        bounds = [bound for bound in (low, high) if bound is not None]
        for bound in bounds:
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
                raise self._refused(f"the bound {bound!r} is not a finite number")
        if not bounds:
            raise self._refused("it has no bound; give min=, max= or both")
        if low is not None and high is not None and low > high:
            raise self._refused(f"min={low!r} is above max={high!r}")


@dataclass(frozen=True)
class Violation:
    """A rule that fired: the value, between what it should have been, and what was expected of it, where that is known.

    `low` and `high` are the bounds of the rule, or those of the forecast's band. `learning`: there is too little
    history to warn of anything but zeros. `check` names the check that fired of a rule that has several.
    """

    rule: Rule
    value: float
    message: str
    low: float | None = None
    high: float | None = None
    forecast: float | None = None
    learning: bool = False
    check: str = ""

    @property
    def deviation(self) -> float | None:
        """How far the value lies from the forecast, as a share of it: -0.5 for half of it; None without a forecast."""
        if not self.forecast or not math.isfinite(self.value):
            return None
        return (self.value - self.forecast) / abs(self.forecast)


def bounds_text(low: float | None, high: float | None) -> str:
    """Bounds as they stand in a workflow: `min=1, max=2`."""
    return ", ".join(f"{word}={show(bound)}" for word, bound in (("min", low), ("max", high)) if bound is not None)


def out_of_bounds(rule: Rule, value: float, low: float | None, high: float | None) -> "list[Violation]":
    """The violation of bounds, which are allowed values themselves."""
    if low is not None and value < low:
        message = f"{rule.subject} is {show(value)}, below its minimum {show(low)}"
    elif high is not None and value > high:
        message = f"{rule.subject} is {show(value)}, above its maximum {show(high)}"
    else:
        return []
    return [Violation(rule, value, message, low, high)]


def number(name: str, statistics: Statistics) -> float:
    """A count, also a distinct one, a sum, or how many values a histogram has; 0 for a name that was not counted."""
    if name in statistics.items:
        raise ConfigurationError(f"a rule needs a number, but {name!r} is a list of items; take a count or a sum")
    if name in statistics.histograms:
        return statistics.histograms[name].count
    if name in statistics.distincts:
        return statistics.distincts[name].estimate().estimate
    return statistics.counts.get(name, statistics.sums.get(name, 0))


def share(value: float, whole: float) -> float | None:
    """One number in terms of another: infinite for something of nothing, None for nothing of nothing."""
    if whole == 0:
        return math.copysign(math.inf, value) if value else None
    return value / whole


def show(value: float) -> str:
    """A number as people write it: no `.0`, no exponent below 16 digits.

    >>> show(12345678.0), show(0.01), show(2**53)
    ('12345678', '0.01', '9007199254740992')
    """
    if isinstance(value, int) or (abs(value) < 1e16 and value == int(value)):
        return str(int(value))
    return f"{value:.6g}"

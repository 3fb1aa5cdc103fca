"""How old the newest thing is that a job has seen, at the end of the day that it worked on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from pinflow.config import parse_duration
from pinflow.stats_engine.rules.background import Background, Degree
from pinflow.stats_engine.rules.rule import Rule, Violation
from pinflow.stats_engine.statistics import Statistics


@dataclass(frozen=True)
class Fresh(Rule):
    """See `fresh`."""

    kind = "fresh"

    name: str
    within: str

    def __post_init__(self) -> None:
        self._check_names(self.name)
        try:
            parse_duration(self.within)
        except (ValueError, TypeError) as error:
            raise self._refused(f"within: {error}") from error

    @property
    def subject(self) -> str:
        """The name."""
        return self.name

    def __str__(self) -> str:
        return f"fresh({self.name}, within={self.within})"

    def judge(self, statistics: Statistics, background: Background) -> Sequence[Violation]:
        """The value is the age in seconds; infinite where nothing was seen."""
        most = parse_duration(self.within).total_seconds()
        end = datetime.combine(background.day + timedelta(days=1), time(), UTC).timestamp()
        newest = _newest(self.name, statistics)
        age = math.inf if newest is None else end - newest
        if age <= most:
            return []
        message = f"{self.name} has no value, so nothing is known to be fresh"
        if newest is not None:
            message = f"the newest {self.name} is {timedelta(seconds=round(age))} before the end of the day"
        return [Violation(self, age, f"{message}; at most {self.within}", None, most)]


def fresh(name: str, *, within: str, degree: Degree = "warning") -> Rule:
    """A rule that fires when the newest thing was seen longer than `within` before the end of the day (UTC).

    `name` is a histogram of times in seconds since 1970, of which the highest counts, or a sum of one such time.

    >>> str(fresh("event_time", within="2h"))
    'fresh(event_time, within=2h)'
    """
    return Fresh(name, within, degree=degree)


def _newest(name: str, statistics: Statistics) -> float | None:
    if name in statistics.histograms:
        return statistics.histograms[name].highest
    found = statistics.sums.get(name, statistics.counts.get(name))
    return None if not found else float(found)

"""Bounds on one statistic as a share of another, of the same job or of one before it in the workflow."""

from collections.abc import Sequence
from dataclasses import dataclass

from pinflow.stats_engine.rules.background import Background
from pinflow.stats_engine.rules.rule import Degree, Rule, Violation, bounds_text, number, out_of_bounds, share
from pinflow.stats_engine.statistics import Statistics


@dataclass(frozen=True)
class Ratio(Rule):
    """See `ratio`."""

    kind = "ratio"

    name: str
    of: str
    min: float | None = None
    max: float | None = None
    job: str = ""

    def __post_init__(self) -> None:
        self._check_names(self.name, self.of)
        self._check_bounds(self.min, self.max)

    @property
    def subject(self) -> str:
        """`NAME / OF`, or `NAME / JOB.OF`."""
        return f"{self.name} / {self.job}.{self.of}" if self.job else f"{self.name} / {self.of}"

    @property
    def names(self) -> tuple[str, ...]:
        """One or both, as far as they are the job's own."""
        return (self.name,) if self.job else (self.name, self.of)

    @property
    def jobs(self) -> tuple[str, ...]:
        """The other job."""
        return (self.job,) if self.job else ()

    def __str__(self) -> str:
        return f"ratio({self.subject}, {bounds_text(self.min, self.max)})"

    def judge(self, statistics: Statistics, background: Background) -> Sequence[Violation]:
        """Fires out of bounds; nothing of nothing is not judged."""
        whole = background.others.get(self.job, Statistics()) if self.job else statistics
        value = share(number(self.name, statistics), number(self.of, whole))
        return [] if value is None else out_of_bounds(self, value, self.min, self.max)


def ratio(
    name: str,
    *,
    of: str,
    job: str = "",
    min: float | None = None,
    max: float | None = None,
    degree: Degree = "warning",
) -> Rule:
    """A rule on the share of one statistic in another, such as bad lines of the lines read.

    With `job`, `of` is a statistic of another job of the same workflow, which must come before this one. 0 of 0 is
    not judged; something of 0 is infinitely much.

    >>> str(ratio("output_rows", of="output_rows", job="pin_counts", max=1))
    'ratio(output_rows / pin_counts.output_rows, max=1)'
    """
    return Ratio(name, of, min, max, job, degree=degree)

"""What all stages of one day's run have in common."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pinflow.scheduler.declare import Job
from pinflow.stats_engine.rules import Rule
from pinflow.workflows.node import Input, mapreduce

JOBS = "pinflow.mr_jobs.analytics"


@dataclass(frozen=True)
class Plan:
    """The day and the parameters of the run."""

    date: datetime.date
    owner: str
    format: str = "canonical"
    bad_share: float = 0.01
    top: int = 100
    rebuild: bool = False

    @classmethod
    def of(cls, day: datetime.date, parameters: Mapping[str, Any]) -> "Plan":
        """From the parameters that a run is frozen with; those of other workflows are left out."""
        known = {name: value for name, value in parameters.items() if name in cls.__dataclass_fields__}
        return cls(day, **known)

    def job(
        self,
        name: str,
        job: str,
        inputs: Sequence[Input],
        rules: Sequence[Rule],
        *,
        tables: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
        after: Sequence[str] = (),
        serves: bool = False,
        description: str = "",
    ) -> Job:
        """A node whose job class is `job` (`module:Class` below mr_jobs/analytics)."""
        return mapreduce(
            name,
            f"{JOBS}.{job}",
            inputs,
            owner=self.owner,
            rules=rules,
            tables=tables,
            options=options,
            after=after,
            rebuild=self.rebuild,
            serves=serves,
            description=description,
        )

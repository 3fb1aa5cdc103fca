"""How long the jobs of a workflow took in its last runs; the order of claims and the expected end of runs follow."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.scheduler.definition import Definition
from pinflow.scheduler.states import ACTIVE_STATES, FINAL_STATES, AttemptState, JobState, RunState
from pinflow.scheduler.tables import attempt, run

RUNS = 10
"""So many of the last runs of a workflow are looked at."""
_MOST_SECONDS = 10**8

_LAST_RUNS = (
    sa.select(run.c.run_id)
    .where(run.c.workflow == b("b_workflow"), run.c.state != RunState.RUNNING.value)
    .order_by(run.c.date.desc(), run.c.serial.desc())
    .limit(RUNS)
    .subquery()
)
# The attempts that succeeded in the last runs of a workflow, those of its newest days.
TIMES = (
    sa.select(attempt.c.job, attempt.c.started_at, attempt.c.finished_at)
    .join(_LAST_RUNS, _LAST_RUNS.c.run_id == attempt.c.run_id)
    .where(attempt.c.state == AttemptState.SUCCEEDED.value)
)


class Standing(Protocol):
    """What is needed of a job of a run."""

    @property
    def state(self) -> str:
        """Where it stands."""

    @property
    def started_at(self) -> datetime | None:
        """When its last attempt began."""

    @property
    def not_before(self) -> datetime | None:
        """When it may start."""

    @property
    def expected_seconds(self) -> float | None:
        """How long it usually takes."""


class Outlook(NamedTuple):
    """When a run will end, and the jobs on the way to there that takes longest."""

    end: datetime
    path: list[str]


def usual_seconds(times: Any) -> dict[str, float]:
    """The median of how long each job took, from rows of `TIMES`."""
    found: dict[str, list[float]] = defaultdict(list)
    for job, started, finished in times:
        found[job].append((finished - started).total_seconds())
    return {job: median(seconds) for job, seconds in found.items()}


def priorities(definition: Definition, seconds: Mapping[str, float]) -> dict[str, int]:
    """For each job the seconds of the longest way from its start to the end of the run (SC-09).

    A job counts as a second at least, one that has never run as the median of the others: without any history it is
    the number of jobs on that way.
    """
    usual = median(seconds.values()) if seconds else 0.0
    found: dict[str, int] = {}
    for name in reversed(definition.order):
        own = max(1, round(seconds.get(name, usual)))
        found[name] = min(_MOST_SECONDS, own + max((found[after] for after in definition.successors[name]), default=0))
    return found


def outlook(definition: Definition, jobs: Mapping[str, Standing], now: datetime, slots: int = 0) -> Outlook | None:
    """When a run that is running will end; None when none of its jobs has ever succeeded.

    It takes as long as the longest way through what is left, and not less than all that is left takes on so many
    `slots` (0: any number).
    """
    known = [job.expected_seconds for job in jobs.values() if job.expected_seconds is not None]
    if not known:
        return None
    usual = median(known)
    own = {name: _left(job, usual, now) for name, job in jobs.items()}
    way: dict[str, float] = {}
    for name in reversed(definition.order):
        way[name] = own[name] + max((way[after] for after in definition.successors[name]), default=0.0)
    work = sum(seconds for name, seconds in own.items() if definition.nodes[name].kind != "condition")
    left = max(max(way.values()), work / slots if slots else 0.0)
    return Outlook(now + timedelta(seconds=left), _path(definition, jobs, way))


def _left(job: Standing, usual: float, now: datetime) -> float:
    """How many seconds of work a job has before it."""
    if job.state in FINAL_STATES:
        return 0.0
    expected = usual if job.expected_seconds is None else job.expected_seconds
    if job.state in ACTIVE_STATES and job.started_at is not None:
        return max(0.0, expected - (now - job.started_at).total_seconds())
    pause = 0.0 if job.not_before is None else max(0.0, (job.not_before - now).total_seconds())
    return pause + expected


def _path(definition: Definition, jobs: Mapping[str, Standing], way: Mapping[str, float]) -> list[str]:
    """The jobs of the longest way, from the first that has not ended."""
    open_jobs = [name for name in definition.order if JobState(jobs[name].state) not in FINAL_STATES]
    path: list[str] = []
    choice = [name for name in open_jobs if not set(definition.nodes[name].after) & set(open_jobs)]
    while choice:
        path.append(max(choice, key=lambda name: (way[name], jobs[name].expected_seconds or 0.0)))
        choice = [name for name in definition.successors[path[-1]] if name in open_jobs]
    return path

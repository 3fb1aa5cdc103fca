"""What a peer's run of a shape took, once it is certain that it did what it was to do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.scheduler.peers.processes import FailedError
from benchmarks.scheduler.shapes import SHAPES

AT_ONCE = 2
Shapes = Mapping[str, Mapping[str, list[str]]]
"""Jobs by the name of their shape, each with those that it comes after."""
PEER_SHAPES: Shapes = {
    **SHAPES,
    "independent": {f"j{number}": [] for number in range(100)},
}
"""Those of pinflow, but with a tenth of the independent jobs: there are peers that take a second for each."""


class JobRun(NamedTuple):
    """A job that ran, from when to when, in seconds of one clock."""

    name: str
    start: float
    end: float


def milliseconds_a_job(jobs: Mapping[str, Sequence[str]], runs: Sequence[JobRun]) -> float:
    """From the first start to the last end, over the number of jobs.

    Raises `FailedError` unless every job ran once, after those that it comes after, and two at a time at most.
    """
    counts = Counter(run.name for run in runs)
    if wrong := sorted(name for name in {*jobs, *counts} if counts[name] != 1 or name not in jobs):
        raise FailedError(f"of {len(jobs)} jobs {len(wrong)} did not run exactly once, such as {wrong[0]}")
    times = {run.name: run for run in runs}
    for name, before in jobs.items():
        for other in before:
            if times[name].start < times[other].end:
                raise FailedError(f"{name} started before {other} had ended")
    if _most_at_once(runs) > AT_ONCE:
        raise FailedError(f"more than {AT_ONCE} jobs ran at a time")
    return (max(run.end for run in runs) - min(run.start for run in runs)) / len(jobs) * 1000


def _most_at_once(runs: Sequence[JobRun]) -> int:
    changes = sorted([(run.end, -1) for run in runs] + [(run.start, 1) for run in runs])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most

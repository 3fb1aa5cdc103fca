"""States of runs, jobs and attempts, and every move that is allowed between them.

The store derives from these tables which rows an update may change, so that no other move can be stored.
"""

from collections.abc import Mapping
from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class JobState(StrEnum):
    """Where a job of a run stands."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    POLLING = "polling"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream_failed"
    ABORTED = "aborted"


class AttemptState(StrEnum):
    """Where an attempt of a job stands; `lost`: its driver died, which is not held against the job."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    ABORTED = "aborted"
    LOST = "lost"


_DONE = frozenset({JobState.SUCCEEDED, JobState.SKIPPED})
_PENDING = frozenset({JobState.WAITING, JobState.READY})

JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.READY, JobState.SKIPPED, JobState.UPSTREAM_FAILED, JobState.ABORTED}),
    JobState.READY: frozenset(
        {JobState.WAITING, JobState.RUNNING, JobState.POLLING, JobState.SKIPPED, JobState.ABORTED}
    ),
    JobState.RUNNING: _DONE | _PENDING | {JobState.FAILED, JobState.ABORTED},
    JobState.POLLING: _DONE | _PENDING | {JobState.FAILED, JobState.ABORTED},
    # A run that goes on under another driver looks again at what it did before; people retry, redo and skip.
    JobState.SUCCEEDED: _PENDING,
    JobState.SKIPPED: _PENDING,
    JobState.FAILED: _PENDING | {JobState.SKIPPED},
    JobState.UPSTREAM_FAILED: _PENDING | {JobState.SKIPPED},
    JobState.ABORTED: _PENDING | {JobState.SKIPPED},
}

RUN_MOVES: Mapping[RunState, frozenset[RunState]] = {
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.ABORTED}),
    RunState.SUCCEEDED: frozenset({RunState.RUNNING}),
    RunState.FAILED: frozenset({RunState.RUNNING}),
    RunState.ABORTED: frozenset({RunState.RUNNING}),
}

ATTEMPT_MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.RUNNING: frozenset(AttemptState) - {AttemptState.RUNNING},
    **{state: frozenset() for state in AttemptState if state is not AttemptState.RUNNING},
}

DONE_STATES = _DONE
"""States of a job that let its dependents start."""

ACTIVE_STATES = frozenset({JobState.RUNNING, JobState.POLLING})
"""States of a job that somebody works on."""

FINAL_STATES = frozenset(JobState) - _PENDING - ACTIVE_STATES
"""States of a job that a run can end with."""


def job_sources(target: JobState) -> list[str]:
    """The states from which a job may move to `target`.

    >>> job_sources(JobState.UPSTREAM_FAILED)
    ['waiting']
    """
    return sorted(state.value for state, targets in JOB_MOVES.items() if target in targets)


def run_sources(target: RunState) -> list[str]:
    """The states from which a run may move to `target`.

    >>> run_sources(RunState.RUNNING)
    ['aborted', 'failed', 'succeeded']
    """
    return sorted(state.value for state, targets in RUN_MOVES.items() if target in targets)

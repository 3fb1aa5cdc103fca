"""The rows that a new run, its jobs and their attempts are stored as."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pinflow.scheduler.definition import Definition
from pinflow.scheduler.durations import priorities
from pinflow.scheduler.records import Claim
from pinflow.scheduler.states import AttemptState, JobState, RunState


def workflow_row(definition: Definition, run_id: str) -> dict[str, Any]:
    """The workflow of a run, which is its last."""
    return {
        "name": definition.workflow,
        "owner": definition.owner,
        "description": definition.description,
        "digest": definition.digest,
        "last_run_id": run_id,
    }


def run_row(
    run_id: str, definition: Definition, serial: int, worker: str, fence: int, now: datetime, lease: timedelta
) -> dict[str, Any]:
    """A run that `worker` begins to drive."""
    return {
        "run_id": run_id,
        "workflow": definition.workflow,
        "date": definition.date.isoformat(),
        "serial": serial,
        "state": RunState.RUNNING.value,
        "driver": worker,
        "fence": fence,
        "lease_until": now + lease,
        "created_at": now,
        "started_at": now,
        "parameters": json.dumps(dict(definition.parameters), sort_keys=True, ensure_ascii=False),
        "digest": definition.digest,
        "definition": definition.text,
        "due_at": definition.deadline and definition.deadline.due(definition.date, now),
    }


def job_rows(run_id: str, definition: Definition, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """The jobs of a run that nobody has worked on; `seconds`: how long they took in the runs before."""
    priority = priorities(definition, seconds)
    return [_job_row(run_id, definition, name, priority[name], seconds.get(name)) for name in definition.nodes]


def _job_row(run_id: str, definition: Definition, name: str, priority: int, seconds: float | None) -> dict[str, Any]:
    node = definition.nodes[name]
    unmet = len(set(node.after))
    return {
        "run_id": run_id,
        "name": name,
        "stage": definition.stage_of[name],
        "kind": node.kind,
        "owner": node.owner,
        "position": definition.positions[name],
        "priority": priority,
        "turn": turn(node.kind, priority, definition.positions[name]),
        "state": (JobState.WAITING if unmet else JobState.READY).value,
        "unmet": unmet,
        "attempts": 0,
        "failures": 0,
        "pool": None if node.kind == "condition" else node.pool,
        "expected_seconds": seconds,
        "warn_seconds": node.warn_seconds,
    }


def attempt_row(claim: Claim, worker: str, now: datetime, lease: timedelta) -> dict[str, Any]:
    """An attempt that `worker` begins."""
    return {
        "fence": claim.fence,
        "run_id": claim.run_id,
        "job": claim.job,
        "attempt": claim.attempt,
        "state": AttemptState.RUNNING.value,
        "worker": worker,
        "lease_until": now + lease,
        "started_at": now,
        "log": claim.log,
    }


def turn(kind: str, priority: int, position: int) -> int:
    """One number for the order of claims: conditions, then the longest way to the end, then as declared.

    >>> sorted([turn("job", 1, 0), turn("job", 1, 7), turn("job", 2, 9), turn("condition", 0, 8)])
    [-999999999999992, -1999991, -1000000, -999993]
    """
    return position - priority * 1_000_000 - (10**15 if kind == "condition" else 0)

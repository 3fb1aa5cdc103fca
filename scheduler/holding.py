"""What holds up a job that could start: signals, limits over all runs, slots; each with the command that helps."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pinflow.database import fetch
from pinflow.scheduler import statements as sql
from pinflow.scheduler import tables, worker_statements
from pinflow.scheduler.limits import workflow_limit
from pinflow.scheduler.reading import JobInfo, RunInfo
from pinflow.scheduler.sharing import workers_present
from pinflow.scheduler.states import JobState, RunState
from pinflow.scheduler.store import Store

_NAMED_AT_MOST = 5
_HELD = {
    "pause": "{whom} paused{by}: no job starts, what runs goes on",
    "drain": "{whom} drained{by}: no job starts, commands end after what runs",
    "abort": "{whom} aborted{by}: no run is made or goes on",
}
_SLOTS = sa.select(tables.pool.c.slots).where(tables.pool.c.name == sa.bindparam("b_pool"))
_RUNNING = (
    sa.select(tables.job.c.run_id, tables.job.c.name, tables.attempt.c.worker)
    .select_from(
        tables.run.join(tables.job, tables.job.c.run_id == tables.run.c.run_id).join(
            tables.attempt, tables.attempt.c.fence == tables.job.c.fence
        )
    )
    .where(tables.run.c.state == RunState.RUNNING.value, tables.job.c.state == JobState.RUNNING.value)
    .order_by(tables.job.c.started_at)
)


@dataclass(frozen=True)
class Cause:
    """One cause: its kind, a sentence, the time until which it holds if that is known, and what else it is about.

    `command` is what to type about it, empty where nothing is to be done.
    """

    kind: str
    sentence: str
    until: datetime | None = None
    about: Sequence[str] = ()
    command: str = ""


def signals_about(store: Store, run: RunInfo, job: JobInfo) -> list[Cause]:
    """What people told all runs, those of the workflow or this one, as far as a job is concerned."""
    rows = store.read(sql.SIGNALS_OF, b_run_id=run.run_id, b_workflow=run.workflow)
    return [cause for row in rows if (cause := _of_signal(row, job)) is not None]


def limits_of(store: Store, run: RunInfo, job: JobInfo) -> list[Cause]:
    """The pool of the job and the limit of its workflow, where they are full."""
    if job.kind == "condition":
        return []
    limit, workflow = workflow_limit(run.workflow), f"the workflow {run.workflow}"
    found = [_full(store, workflow, limit, f"{run.workflow} --workflow", tables.run.c.workflow == run.workflow)]
    if job.pool is not None:
        found.append(_full(store, f"its pool {job.pool}", job.pool, job.pool, tables.job.c.pool == job.pool))
    return [cause for cause in found if cause is not None]


def slots_of(store: Store, run: RunInfo, job: JobInfo) -> Cause:
    """Who could start the job, and what they do in its place."""
    if run.shared:
        return _shared_slots(store, job)
    rows = fetch(store.engine, tables.worker.select().where(tables.worker.c.worker == run.driver))
    running = [each.name for each in run.jobs if each.state is JobState.RUNNING]
    slots = f"all {rows[0].slots} slots" if rows else "the slots"
    if not running:
        return Cause("slots", "it can start at once: its driver is about to claim it")
    sentence = f"it is ready and waits for a slot: {slots} of {run.driver} are taken, by {names(running)}"
    return Cause("slots", sentence, about=running)


def names(found: Sequence[str]) -> str:
    """Names for a sentence, the first few of many."""
    shown = ", ".join(found[:_NAMED_AT_MOST])
    return f"{shown} and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else shown


def time_of(moment: datetime) -> str:
    """A time for a sentence."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _of_signal(row: Any, job: JobInfo) -> Cause | None:
    by = f" by {row.author} since {time_of(row.at)}" + (f" ({row.reason})" if row.reason else "")
    whom = {"all": "all runs are", "run": "the run is"}.get(row.scope, f"the workflow {row.name} is")
    if row.action in _HELD:
        target = {"all": "--all", "run": row.name}.get(row.scope, f"--workflow {row.name}")
        return Cause(row.action, _HELD[row.action].format(whom=whom, by=by), command=f"pinflow resume {target}")
    if row.action == "disable" and row.job == job.name:
        where = "the run" if row.scope == "run" else f"the workflow {row.name}"
        command = f"pinflow enable {row.name} {job.name}"
        return Cause("disable", f"it is disabled in {where}{by}: it is skipped when it could start", command=command)
    return None


def _full(store: Store, what: str, limit: str, name: str, which: sa.ColumnElement[bool]) -> Cause | None:
    rows = fetch(store.engine, _SLOTS, {"b_pool": limit})
    if not rows:
        return None
    running = [f"{row.name} of {row.run_id}" for row in fetch(store.engine, _RUNNING.where(which))]
    if len(running) < rows[0].slots:
        return None
    taken = f", by {names(running)}" if running else ""
    sentence = f"{what} is full: {len(running)} of its {rows[0].slots} slots are taken{taken}"
    return Cause("pool" if name == limit else "limit", sentence, about=running, command=_raise(name, rows[0].slots))


def _raise(name: str, slots: int) -> str:
    pool, _, option = name.partition(" ")
    return f"pinflow pools set {pool} {slots + 1} {option}".rstrip()


def _shared_slots(store: Store, job: JobInfo) -> Cause:
    present = workers_present(store)
    if not present:
        return Cause("worker", "no worker is there", command="pinflow worker")
    exits = [row.generation for row in store.read(worker_statements.SIGNALS) if row.action == "exit"]
    staying = [row for row in present if row.generation >= max(exits, default=0)]
    if not staying:
        sentence = f"all workers were asked to exit: those of a generation below {max(exits)} leave"
        return Cause("worker", sentence, command="pinflow worker exit --undo")
    serving = [row for row in staying if not row.pools or job.pool in json.loads(row.pools)]
    if not serving:
        what = f"its pool {job.pool}" if job.pool else "jobs without a pool"
        start = f"pinflow worker --pool {job.pool}" if job.pool else "pinflow worker"
        return Cause("worker", f"none of the {len(staying)} workers serves {what}", command=start)
    posts = {row.worker for row in serving}
    running = [f"{row.name} of {row.run_id}" for row in _rows_of(store) if row.worker in posts]
    slots = sum(row.slots for row in serving)
    if len(running) < slots:
        return Cause("slots", "it can start at once: a worker is about to claim it")
    sentence = f"it is ready and waits for a slot: all {slots} of {len(serving)} workers are taken, by {names(running)}"
    return Cause("slots", sentence, about=running, command="pinflow worker")


def _rows_of(store: Store) -> Iterator[Any]:
    yield from fetch(store.engine, _RUNNING)

"""Runs that will miss their deadline, and jobs that run for long: their owners are told, once, while there is time.

Any process may look, any number of them at once: a warning is stored with its alert, its mail and its event in one
transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.database import fetch
from pinflow.scheduler import durations, tables
from pinflow.scheduler.cron import zone_of
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.durations import Outlook
from pinflow.scheduler.reading import RunInfo
from pinflow.scheduler.sharing import workers_present
from pinflow.scheduler.statements import JOBS
from pinflow.scheduler.states import ACTIVE_STATES, JobState, RunState
from pinflow.scheduler.store import Store
from pinflow.scheduler.transaction import Transaction

RUN = "(run)"
"""What stands for a job in an alert about a run."""

# Running runs with a deadline of which nobody was told that they will miss it.
_DUE = sa.select(tables.run).where(
    tables.run.c.state == RunState.RUNNING.value, tables.run.c.due_at.is_not(None), tables.run.c.warned_at.is_(None)
)
# Jobs that are worked on, may be slow, and of which nobody was told so.
_WATCHED = (
    sa.select(tables.job, tables.run.c.workflow, tables.run.c.date)
    .select_from(tables.run.join(tables.job, tables.job.c.run_id == tables.run.c.run_id))
    .where(
        tables.run.c.state == RunState.RUNNING.value,
        tables.job.c.state.in_([state.value for state in ACTIVE_STATES]),
        tables.job.c.warn_seconds.is_not(None),
        tables.job.c.warned_at.is_(None),
    )
)
_MARK_RUN = (
    sa.update(tables.run)
    .where(
        tables.run.c.run_id == b("b_run_id"),
        tables.run.c.state == RunState.RUNNING.value,
        tables.run.c.warned_at.is_(None),
    )
    .values(warned_at=b("b_now"))
)
_MARK_JOB = (
    sa.update(tables.job)
    .where(
        tables.job.c.run_id == b("b_run_id"),
        tables.job.c.name == b("b_name"),
        tables.job.c.fence == b("b_fence"),
        tables.job.c.state.in_([state.value for state in ACTIVE_STATES]),
        tables.job.c.warned_at.is_(None),
    )
    .values(warned_at=b("b_now"))
)


@lru_cache(maxsize=256)
def _definition(text: str) -> Definition:
    """A frozen definition, which is looked at again and again while its run is running."""
    return Definition.from_text(text)


def warn(store: Store) -> int:
    """Tell the owners of runs that will miss their deadline and of jobs that run for long; how many were told."""
    now = store.clock()
    slow = [row for row in fetch(store.engine, _WATCHED) if _ran(row, now) >= timedelta(seconds=row.warn_seconds)]
    late = [work for row in fetch(store.engine, _DUE) if (work := _judge(store, row, now)) is not None]
    found: list[Callable[[Transaction], bool]] = [*(partial(_tell_of_job, row=row, now=now) for row in slow), *late]
    return sum(store.transact(work) for work in found)


def expect(store: Store, run: RunInfo) -> RunInfo:
    """The run with the time at which it is expected to end, if it is running and that is known."""
    found = outlook_of(store, run.run_id) if run.state is RunState.RUNNING else None
    return run if found is None else replace(run, expected_at=found.end)


def outlook_of(store: Store, run_id: str) -> Outlook | None:
    """When a run that is running will end, from the runs before it; None if it is not, or nothing is known."""
    (row,) = fetch(store.engine, sa.select(tables.run).where(tables.run.c.run_id == run_id))
    return _outlook(store, row, store.clock()) if row.state == RunState.RUNNING else None


def _outlook(store: Store, row: Any, now: datetime) -> Outlook | None:
    jobs = {job.name: job for job in fetch(store.engine, JOBS, {"b_run_id": row.run_id})}
    return durations.outlook(_definition(row.definition), jobs, now, _slots(store, row))


def _slots(store: Store, row: Any) -> int:
    if row.shared:
        return sum(worker.slots for worker in workers_present(store))
    query = sa.select(tables.worker.c.slots).where(tables.worker.c.worker == row.driver)
    return next((found.slots for found in fetch(store.engine, query)), 0)


def _judge(store: Store, row: Any, now: datetime) -> Callable[[Transaction], bool] | None:
    """What tells the owner of a run, if it will miss its deadline."""
    found = _outlook(store, row, now)
    definition = _definition(row.definition)
    if definition.deadline is None:
        return None
    margin = definition.deadline.margin_of(row.created_at, row.due_at)
    end = now if found is None else found.end
    if now < row.due_at and (found is None or end + margin <= row.due_at):
        return None
    due, expected = (_local(moment, definition.deadline.timezone) for moment in (row.due_at, end))
    if now >= row.due_at:
        what = f"is late: it was due at {due}, and still runs"
    elif end > row.due_at:
        what = f"will be late: it is due at {due}, its end is expected at {expected}"
    else:
        what = f"may be late: it is due at {due}, its end is expected at {expected}"
    return partial(_tell_of_run, row=row, what=what, path=found.path if found else [])


def _tell_of_run(work: Transaction, *, row: Any, what: str, path: list[str]) -> bool:
    if not work.try_change(_MARK_RUN, b_run_id=row.run_id, b_now=work.now):
        return False
    work.tell(row.run_id, None, None, row.state, row.state, what)
    jobs = {job.name: job for job in work.rows(JOBS, b_run_id=row.run_id)}
    left = "".join(f" {_described(jobs[name], work.now)}." for name in path)
    body = f"The run goes on.{' What takes longest until its end:' if left else ''}{left}"
    commands = [("what it waits for", f"pinflow explain {row.run_id}"), ("end it", f"pinflow abort {row.run_id}")]
    key = (row.workflow, row.run_id, RUN, 1, row.date, _definition(row.definition).owner)
    _alert(work, key, f"{row.run_id} {what}", body, "deadline", commands)
    return True


def _tell_of_job(work: Transaction, *, row: Any, now: datetime) -> bool:
    if not work.try_change(_MARK_JOB, b_run_id=row.run_id, b_name=row.name, b_fence=row.fence, b_now=work.now):
        return False
    what = f"has run for {_length(_ran(row, now).total_seconds())}, longer than its warn_after"
    work.tell(row.run_id, row.name, row.attempts, row.state, row.state, what)
    usual = f" It usually takes {_length(row.expected_seconds)}." if row.expected_seconds is not None else ""
    body = f"Its warn_after is {_length(row.warn_seconds)}; it runs on.{usual}"
    commands = [
        ("what it writes", f"pinflow logs {row.run_id} {row.name}"),
        ("end it with its run", f"pinflow abort {row.run_id}"),
    ]
    key = (row.workflow, row.run_id, row.name, row.attempts, row.date, row.owner)
    _alert(work, key, f"{row.name} of {row.run_id} {what}", body, "slow", commands)
    return True


def _alert(
    work: Transaction,
    key: tuple[str, str, str, int, str, str],
    subject: str,
    body: str,
    rule: str,
    commands: Sequence[tuple[str, str]],
) -> None:
    from pinflow.stats_engine.alerts import JobKey
    from pinflow.stats_engine.record import notify

    notify(work.connection, JobKey(*key), subject, body, "warning", rule, work.now, commands)


def _described(job: Any, now: datetime) -> str:
    usual = "it has never succeeded" if job.expected_seconds is None else f"usually {_length(job.expected_seconds)}"
    since = f" for {_length(_ran(job, now).total_seconds())}" if JobState(job.state) in ACTIVE_STATES else ""
    return f"{job.name}: {job.state}{since}, {usual}"


def _ran(job: Any, now: datetime) -> timedelta:
    return now - job.started_at if job.started_at else timedelta(0)


def _local(moment: datetime, timezone: str) -> str:
    return f"{moment.astimezone(zone_of(timezone)):%Y-%m-%d %H:%M %Z}"


def _length(seconds: float) -> str:
    """A length of time for people, in two units.

    >>> _length(42.4), _length(3725), _length(90061)
    ('42 s', '1 h 2 min', '25 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"

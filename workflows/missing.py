"""Tells owners that a run waited for its input in vain, and takes it back when a later run has found it."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pinflow.config import Settings
from pinflow.database import fetch, transact
from pinflow.errors import ExitCode
from pinflow.scheduler.states import JobState
from pinflow.scheduler.store import Store
from pinflow.scheduler.tables import job, run, workflow
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.handling import PINFLOW, move
from pinflow.stats_engine.record import notify
from pinflow.stats_engine.states import PENDING
from pinflow.stats_engine.tables import ALERTS

RULE = "input_missing"
RECENT = timedelta(days=2)
"""Runs that were begun longer ago are not looked at any more."""

_LATER = run.alias()
_FOUND = job.alias()


def _later_found_it(serial: Any, workflow: Any, date: Any, name: Any) -> sa.Exists:
    """Whether a run of a workflow's day, from one on, has found what a job waits for."""
    return (
        sa.exists()
        .select_from(_LATER.join(_FOUND, _FOUND.c.run_id == _LATER.c.run_id))
        .where(
            _LATER.c.serial >= serial,
            _LATER.c.workflow == workflow,
            _LATER.c.date == date,
            _FOUND.c.name == name,
            _FOUND.c.state.in_((JobState.SUCCEEDED.value, JobState.SKIPPED.value)),
        )
    )


_TOLD = sa.exists().where(ALERTS.c.rule == RULE, ALERTS.c.run_id == run.c.run_id, ALERTS.c.job == job.c.name)
_IN_VAIN = (
    sa.select(
        run.c.run_id,
        run.c.workflow,
        run.c.date,
        run.c.started_at,
        run.c.wait_until,
        job.c.name,
        job.c.reason,
        sa.func.coalesce(sa.func.nullif(job.c.owner, ""), workflow.c.owner).label("owner"),
    )
    .select_from(
        job.join(run, run.c.run_id == job.c.run_id).join(workflow, workflow.c.name == run.c.workflow, isouter=True)
    )
    .where(job.c.state == JobState.FAILED.value, job.c.exit_code == int(ExitCode.INPUT_MISSING), ~_TOLD)
    .where(~_later_found_it(run.c.serial, run.c.workflow, run.c.date, job.c.name))
)
"""Jobs that ended without the input that they waited for, which no later run has found, and nobody was told."""


def tell_missing(settings: Settings, store: Store, now: datetime) -> int:
    """Mail the owners of input that runs which no command follows lacked: detached ones and those of schedules.

    Each is told once; gives how many were. Takes back what later runs have found.
    """
    recent = (run.c.shared == 1, run.c.created_at > now - RECENT)
    return _tell_all(settings, store, recent, timedelta(0), now)


def tell_missing_of(settings: Settings, store: Store, run_id: str, wait: timedelta, now: datetime) -> int:
    """The same of one run, whose driver waited so long; of a run without a wait its user sees it, and gets no mail."""
    return _tell_all(settings, store, (run.c.run_id == run_id, sa.literal(bool(wait))), wait, now)


def _tell_all(settings: Settings, store: Store, chosen: Any, wait: timedelta, now: datetime) -> int:
    engine = store.engine.execution_options(writes=True)
    found = fetch(engine, _IN_VAIN.where(*chosen).order_by(run.c.run_id, job.c.name))
    for row in found:
        _tell(settings, engine, row, wait, now)
    _take_back(engine, now)
    return len(found)


def _tell(settings: Settings, engine: sa.Engine, row: Any, wait: timedelta, now: datetime) -> None:
    key = JobKey(row.workflow, row.run_id, row.name, 1, row.date, row.owner or settings.owner)
    length = row.wait_until - row.started_at if row.wait_until else wait
    waited = f"waited {timedelta(seconds=round(length.total_seconds()))} for it" if length else "did not wait for it"
    looked = (row.reason or "it is not there").rstrip(". ")
    body = (
        f"{looked}. The run {row.run_id} {waited} and has ended. Nothing was published; what was published before "
        "stands."
    )
    commands = [
        ("the run", f"pinflow show {row.run_id}"),
        ("once the input is there", f"pinflow run {row.workflow} --date {row.date} --wait 6h"),
    ]
    notify(engine, key, f"input of {row.workflow} {row.date} is missing", body, "fatal", RULE, now, commands)


def _take_back(engine: sa.Engine, now: datetime) -> None:
    """Resolve alerts of days whose input a later run has found, or the same when it was tried again."""
    # Without `correlate` the run of any alert would count, not of the one that is looked at.
    told = sa.select(run.c.serial).where(run.c.run_id == ALERTS.c.run_id).correlate(ALERTS).scalar_subquery()
    found = _later_found_it(told, ALERTS.c.workflow, ALERTS.c.date, ALERTS.c.job)
    pending = sa.select(ALERTS).where(ALERTS.c.rule == RULE, ALERTS.c.state.in_(PENDING), found)
    if not fetch(engine, pending):
        return

    def resolve(connection: sa.Connection) -> None:
        for row in connection.execute(pending).all():
            move(connection, row, "resolve", person=PINFLOW, why="a later run found the input", now=now)

    transact(engine, resolve)

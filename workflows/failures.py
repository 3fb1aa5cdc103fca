"""Tells owners of jobs that failed, or that waited for their input in vain; takes it back once a job was done later."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from pinflow.config import Settings
from pinflow.database import fetch, transact
from pinflow.errors import ExitCode
from pinflow.scheduler.outcomes import last_lines
from pinflow.scheduler.states import JobState
from pinflow.scheduler.store import Store
from pinflow.scheduler.tables import attempt, job, run, workflow
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.handling import PINFLOW, move
from pinflow.stats_engine.record import notify
from pinflow.stats_engine.states import PENDING
from pinflow.stats_engine.tables import ALERTS

FAILED, MISSING = "failed", "input_missing"
"""The rules of these alerts: a job failed; the input of a run is not there."""
RECENT = timedelta(days=2)
"""Jobs that ended longer ago are not looked at any more."""
_LOG_BYTES = 8192
_LOG_LINES = 40

_LATER = run.alias()
_DONE = job.alias()


def _done_later(serial: Any, workflow: Any, date: Any, name: Any) -> sa.Exists:
    """Whether a run of a workflow's day, from one on, has done a job."""
    return (
        sa.exists()
        .select_from(_LATER.join(_DONE, _DONE.c.run_id == _LATER.c.run_id))
        .where(
            _LATER.c.serial >= serial,
            _LATER.c.workflow == workflow,
            _LATER.c.date == date,
            _DONE.c.name == name,
            _DONE.c.state.in_((JobState.SUCCEEDED.value, JobState.SKIPPED.value)),
        )
    )


_RULE = sa.case((job.c.exit_code == int(ExitCode.INPUT_MISSING), MISSING), else_=FAILED)
_TOLD = sa.exists().where(ALERTS.c.rule == _RULE, ALERTS.c.run_id == run.c.run_id, ALERTS.c.job == job.c.name)
_UNTOLD = (
    sa.select(
        run.c.run_id,
        run.c.workflow,
        run.c.date,
        run.c.started_at,
        run.c.wait_until,
        job.c.name,
        job.c.attempts,
        job.c.reason,
        attempt.c.log,
        _RULE.label("rule"),
        sa.func.coalesce(sa.func.nullif(job.c.owner, ""), workflow.c.owner).label("owner"),
    )
    .select_from(
        job.join(run, run.c.run_id == job.c.run_id)
        .join(workflow, workflow.c.name == run.c.workflow, isouter=True)
        .join(attempt, attempt.c.fence == job.c.fence, isouter=True)
    )
    # what a fatal rule has stopped, its own mail tells
    .where(job.c.state == JobState.FAILED.value, sa.func.coalesce(job.c.exit_code, -1) != int(ExitCode.FATAL_ALERT))
    .where(~_TOLD, ~_done_later(run.c.serial, run.c.workflow, run.c.date, job.c.name))
)
"""Jobs that have failed for good, which no later run has done, and nobody was told."""


def tell_failed(settings: Settings, store: Store, now: datetime) -> int:
    """Mail the owners of jobs that failed in runs which no command follows: detached ones and those of schedules.

    Each is told once a run; gives how many were. Takes back what later runs have done.
    """
    return _tell_all(settings, store, (run.c.shared == 1, job.c.finished_at > now - RECENT), timedelta(0), now)


def tell_failed_of(settings: Settings, store: Store, run_id: str, wait: timedelta, now: datetime) -> int:
    """The same of one run, whose driver waited so long; input that it did not wait for, its user sees to be missing."""
    chosen = (run.c.run_id == run_id, sa.or_(_RULE == FAILED, sa.literal(bool(wait))))
    return _tell_all(settings, store, chosen, wait, now)


def _tell_all(settings: Settings, store: Store, chosen: Any, wait: timedelta, now: datetime) -> int:
    engine = store.engine.execution_options(writes=True)
    found = fetch(engine, _UNTOLD.where(*chosen).order_by(run.c.run_id, job.c.name))
    for row in found:
        key = JobKey(row.workflow, row.run_id, row.name, max(row.attempts, 1), row.date, row.owner or settings.owner)
        mail = _of_input(row, wait) if row.rule == MISSING else _of_failure(row, _end_of_log(settings, row.log))
        notify(engine, key, mail.subject, mail.body, "fatal", row.rule, now, mail.commands, mail.log)
    _take_back(engine, now)
    return len(found)


class _Mail(NamedTuple):
    """What the owner reads: `body` says what follows, `commands` are pairs of a purpose and what to type."""

    subject: str
    body: str
    commands: list[tuple[str, str]]
    log: str = ""


def _of_input(row: Any, wait: timedelta) -> _Mail:
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
    return _Mail(f"input of {row.workflow} {row.date} is missing", body, commands)


def _of_failure(row: Any, log: str) -> _Mail:
    why = (row.reason or "it did not say why").rstrip(". ")
    body = (
        f"{why}. It was tried {'once' if row.attempts < 2 else f'{row.attempts} times'}. The jobs that depend on it do "
        "not run; what was published before stands."
    )
    commands = [
        ("its log", f"pinflow logs {row.run_id} {row.name}"),
        ("the run", f"pinflow show {row.run_id}"),
        ("once it is mended", f"pinflow retry {row.run_id} {row.name}"),
    ]
    return _Mail(f"{row.name} of {row.workflow} {row.date} failed", body, commands, log)


def _end_of_log(settings: Settings, log: str | None) -> str:
    """The last lines of what the job wrote, where a traceback stands; empty when its log lies on another machine."""
    text = "\n".join(last_lines(settings.logs_path / (log or ""), _LOG_BYTES))
    return "\n".join(text.rstrip().splitlines()[-_LOG_LINES:])


def _take_back(engine: sa.Engine, now: datetime) -> None:
    """Resolve alerts of what a later run has done, or the same when it was tried again."""
    # Without `correlate` the run of any alert would count, not of the one that is looked at.
    told = sa.select(run.c.serial).where(run.c.run_id == ALERTS.c.run_id).correlate(ALERTS).scalar_subquery()
    done = _done_later(told, ALERTS.c.workflow, ALERTS.c.date, ALERTS.c.job)
    pending = sa.select(ALERTS).where(ALERTS.c.rule.in_((FAILED, MISSING)), ALERTS.c.state.in_(PENDING), done)
    if not fetch(engine, pending):
        return

    def resolve(connection: sa.Connection) -> None:
        for row in connection.execute(pending).all():
            why = "a later run found the input" if row.rule == MISSING else "it was done later"
            move(connection, row, "resolve", person=PINFLOW, why=why, now=now)

    transact(engine, resolve)

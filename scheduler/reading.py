"""What people and pages ask of the store: which runs there are, how their jobs stand, where their logs lie."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pinflow.database import fetch
from pinflow.errors import ExitCode, UnknownNameError
from pinflow.scheduler import tables
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.records import Claim
from pinflow.scheduler.states import AttemptState, JobState, RunState
from pinflow.scheduler.store import Store


@dataclass(frozen=True)
class AttemptInfo:
    """One attempt of a job; `log` is below the folder of logs."""

    attempt: int
    state: AttemptState
    reason: str | None
    exit_code: int | None
    signal: int | None
    worker: str
    pid: int | None
    started_at: datetime
    finished_at: datetime | None
    user_seconds: float | None
    system_seconds: float | None
    peak_bytes: int | None
    log: str
    result: dict[str, Any]


@dataclass(frozen=True)
class JobInfo:
    """A job of a run; `seconds` is the time of its last attempt, until now if that still runs."""

    name: str
    stage: str
    kind: str
    owner: str
    state: JobState
    seconds: float
    reason: str | None
    exit_code: int | None
    attempts: int
    not_before: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    pool: str | None
    expected_seconds: float | None
    log: str | None


@dataclass(frozen=True)
class RunInfo:
    """A run with its jobs in the order of their declaration (none in a list of runs).

    `due_at` is its deadline, `warned_at` when its owner was told that it will miss it; `lateness.expect` says when it
    will end (`expected_at`).
    """

    run_id: str
    workflow: str
    date: str
    state: RunState
    reason: str | None
    driver: str
    parameters: dict[str, Any]
    created_at: datetime
    finished_at: datetime | None
    seconds: float
    shared: bool
    due_at: datetime | None = None
    warned_at: datetime | None = None
    expected_at: datetime | None = None
    jobs: Sequence[JobInfo] = ()

    @property
    def exit_code(self) -> ExitCode:
        """What a command that waited for the run returns: fatal alert before missing input before failure."""
        if self.state is RunState.SUCCEEDED:
            return ExitCode.SUCCEEDED
        codes = {job.exit_code for job in self.jobs if job.state is JobState.FAILED}
        ranked = (code for code in (ExitCode.FATAL_ALERT, ExitCode.INPUT_MISSING) if code in codes)
        return next(ranked, ExitCode.FAILED)


def list_runs(store: Store, *, workflow: str | None = None, limit: int = 50) -> list[RunInfo]:
    """The newest runs first, without their jobs."""
    query = sa.select(tables.run).order_by(tables.run.c.created_at.desc(), tables.run.c.serial.desc()).limit(limit)
    if workflow is not None:
        query = query.where(tables.run.c.workflow == workflow)
    return [_run_info(row, store.clock()) for row in _rows(store, query)]


def get_run(store: Store, name: str) -> RunInfo:
    """The run called `name`, else the newest whose id begins with it; raises `UnknownNameError` if there is none."""
    row = _find_run(store, name)
    now = store.clock()
    query = sa.select(tables.job).where(tables.job.c.run_id == row.run_id).order_by(tables.job.c.position)
    return _run_info(row, now, [_job_info(job, now) for job in _rows(store, query)])


def definition_of(store: Store, name: str) -> Definition:
    """The frozen definition of a run, found as `get_run` does."""
    return Definition.from_text(_find_run(store, name).definition)


def attempts(store: Store, run_id: str, job: str) -> list[AttemptInfo]:
    """All attempts of a job of a run, in order."""
    table = tables.attempt
    query = sa.select(table).where(table.c.run_id == run_id, table.c.job == job).order_by(table.c.attempt)
    names = [name for name in AttemptInfo.__dataclass_fields__ if name not in ("state", "result")]
    return [
        AttemptInfo(
            **{name: getattr(row, name) for name in names},
            state=AttemptState(row.state),
            result=json.loads(row.result or "{}"),
        )
        for row in _rows(store, query)
    ]


def find_attempt(store: Store, run: str, job: str, attempt: int | None = None) -> AttemptInfo:
    """An attempt of a job, by default its last; raises `UnknownNameError` for what is not there."""
    info = get_run(store, run)
    command = f"pinflow show {info.run_id}"
    if job not in {j.name for j in info.jobs}:
        raise UnknownNameError("job", job, [j.name for j in info.jobs], command)
    known = {str(a.attempt): a for a in attempts(store, info.run_id, job)}
    wanted = str(attempt) if attempt is not None else next(reversed(known), "1")
    if wanted not in known:
        raise UnknownNameError(f"attempt of {job}", wanted, known, command)
    return known[wanted]


def _find_run(store: Store, name: str) -> Any:
    table = tables.run
    query = (
        sa.select(table)
        .where(table.c.run_id.startswith(name, autoescape=True))
        .order_by((table.c.run_id == name).desc(), table.c.created_at.desc(), table.c.serial.desc())
        .limit(1)
    )
    rows = _rows(store, query) if name else []
    if not rows:
        raise UnknownNameError("run", name, [run.run_id for run in list_runs(store)], "pinflow runs")
    return rows[0]


def _rows(store: Store, query: Any) -> Sequence[Any]:
    return fetch(store.engine, query)


def _run_info(row: Any, now: datetime, jobs: Sequence[JobInfo] = ()) -> RunInfo:
    return RunInfo(
        run_id=row.run_id,
        workflow=row.workflow,
        date=row.date,
        state=RunState(row.state),
        reason=row.reason,
        driver=row.driver,
        parameters=json.loads(row.parameters),
        created_at=row.created_at,
        finished_at=row.finished_at,
        seconds=_seconds(row.created_at, row.finished_at, now),
        shared=bool(row.shared),
        due_at=row.due_at,
        warned_at=row.warned_at,
        jobs=tuple(jobs),
    )


def _job_info(row: Any, now: datetime) -> JobInfo:
    names = [name for name in JobInfo.__dataclass_fields__ if name not in ("state", "seconds", "log")]
    return JobInfo(
        **{name: getattr(row, name) for name in names},
        state=JobState(row.state),
        seconds=_seconds(row.started_at, row.finished_at, now),
        log=Claim(row.run_id, row.name, row.attempts, 0, 0).log if row.attempts else None,
    )


def _seconds(start: datetime | None, end: datetime | None, now: datetime) -> float:
    return max(0.0, ((end or now) - start).total_seconds()) if start else 0.0

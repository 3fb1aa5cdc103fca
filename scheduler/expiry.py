"""Runs that ended long ago are forgotten, with their jobs, attempts and events; so are workers that are gone."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pinflow.database import fetch, transact
from pinflow.scheduler.states import RunState
from pinflow.scheduler.tables import attempt, dependency, event, job, run, worker

RUNS_AT_ONCE = 20
"""The rows of so many runs go in one transaction, so that others do not wait for long."""
_ENDED = run.c.state != RunState.RUNNING.value


def forget_runs(engine: Engine, before: datetime, *, dry_run: bool = False) -> list[str]:
    """Remove runs of a day, and ended, before a time; gives their ids, or with `dry_run` those that would go.

    May be stopped and called again. One that somebody lets go on meanwhile stays.
    """
    old = sa.and_(run.c.date < before.date().isoformat(), run.c.finished_at < before, _ENDED)
    ids = [row.run_id for row in fetch(engine, sa.select(run.c.run_id).where(old).order_by(run.c.run_id))]
    if dry_run:
        return ids
    gone: list[str] = []
    for start in range(0, len(ids), RUNS_AT_ONCE):
        gone += _forget(engine, ids[start : start + RUNS_AT_ONCE])
    _forget_workers(engine, before)
    return gone


def _forget(engine: Engine, ids: Sequence[str]) -> list[str]:
    def delete(connection: Connection) -> list[str]:
        chosen = sa.select(run.c.run_id).where(run.c.run_id.in_(ids), _ENDED).with_for_update()
        found = list(connection.scalars(chosen))
        for table in (event, attempt, dependency, job, run):
            connection.execute(table.delete().where(table.c.run_id.in_(found)))
        return found

    return transact(engine.execution_options(writes=True), delete)


def _forget_workers(engine: Engine, before: datetime) -> None:
    """Remove those that began before a time, are no more, and that no run names as its driver."""
    is_gone = sa.or_(worker.c.lease_until.is_(None), worker.c.lease_until < before)
    unnamed = worker.c.worker.not_in(sa.select(run.c.driver))
    old = worker.delete().where(worker.c.started_at < before, is_gone, unnamed)
    transact(engine.execution_options(writes=True), lambda connection: connection.execute(old).rowcount)

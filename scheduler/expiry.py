"""Runs that ended long ago are forgotten, with their jobs, attempts, events and signals.

So are old ticks of schedules, backfills that ended long ago, and workers that are gone.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pinflow.database import fetch, transact
from pinflow.scheduler.schedule_tables import backfill, backfill_day, tick
from pinflow.scheduler.states import RunState
from pinflow.scheduler.tables import attempt, dependency, event, job, run, signals, worker

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
    _forget_ticks(engine, before)
    _forget_backfills(engine, before)
    return gone


def _forget(engine: Engine, ids: Sequence[str]) -> list[str]:
    def delete(connection: Connection) -> list[str]:
        chosen = sa.select(run.c.run_id).where(run.c.run_id.in_(ids), _ENDED).with_for_update()
        found = list(connection.scalars(chosen))
        for table in (event, attempt, dependency, job, run):
            connection.execute(table.delete().where(table.c.run_id.in_(found)))
        # a later run of the day may get the same id
        connection.execute(signals.delete().where(signals.c.scope == "run", signals.c.name.in_(found)))
        return found

    return transact(engine.execution_options(writes=True), delete)


def _forget_workers(engine: Engine, before: datetime) -> None:
    """Remove those that began before a time, are no more, and that no run names as its driver."""
    is_gone = sa.or_(worker.c.lease_until.is_(None), worker.c.lease_until < before)
    unnamed = worker.c.worker.not_in(sa.select(run.c.driver))
    old = worker.delete().where(worker.c.started_at < before, is_gone, unnamed)
    transact(engine.execution_options(writes=True), lambda connection: connection.execute(old).rowcount)


def _forget_ticks(engine: Engine, before: datetime) -> None:
    """Remove those that were done with before a time, and whose runs have ended.

    A schedule keeps its newest, which the next may have to wait for.
    """
    running = sa.exists().where(run.c.run_id == tick.c.run_id, ~_ENDED).correlate(tick)
    old = sa.and_(tick.c.state != "waiting", tick.c.changed_at < before, ~running)

    def delete(connection: Connection) -> None:
        newest = sa.select(tick.c.workflow, sa.func.max(tick.c.at).label("at")).group_by(tick.c.workflow)
        for workflow, at in connection.execute(newest).all():
            connection.execute(tick.delete().where(tick.c.workflow == workflow, tick.c.at < min(at, before), old))

    transact(engine.execution_options(writes=True), delete)


def _forget_backfills(engine: Engine, before: datetime) -> None:
    """Remove those that ended, with their days; the newest stays, so that no number is given twice."""

    def delete(connection: Connection) -> None:
        newest = connection.scalar(sa.select(sa.func.max(backfill.c.backfill)))
        ended = sa.select(backfill.c.backfill).where(backfill.c.finished_at < before, backfill.c.backfill != newest)
        found = list(connection.scalars(ended.with_for_update()))
        for table in (backfill_day, backfill):
            connection.execute(table.delete().where(table.c.backfill.in_(found)))

    transact(engine.execution_options(writes=True), delete)

"""Runs that all workers share: which have jobs for a worker, and what becomes of what the dead left."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from pinflow import database
from pinflow.scheduler import statements as sql
from pinflow.scheduler import worker_statements as worker_sql
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.leftovers import end_leftovers
from pinflow.scheduler.records import Lease
from pinflow.scheduler.states import RunState
from pinflow.scheduler.store import WORKERS, Store
from pinflow.scheduler.transaction import Transaction

_REMEMBERED = timedelta(days=1)
"""How long those that died without a word stay in the table of workers."""


class Post(NamedTuple):
    """A worker that stays: who it is, the process that forks its jobs, and what it serves (no pools: all jobs)."""

    worker: str
    zygote: str
    slots: int
    generation: int = 0
    pools: tuple[str, ...] = ()


class SharedRun(NamedTuple):
    """A shared run with jobs that may start: how many of its jobs run, and since when and how long it may wait."""

    lease: Lease
    active: int
    started_at: datetime
    wait: timedelta


def arrive(store: Store, post: Post) -> None:
    """Note a worker, for as long as it says so again within its lease."""

    def note(work: Transaction) -> None:
        work.try_change(sql.DELETE_WORKER, b_worker=post.worker)
        work.try_change(worker_sql.FORGET_WORKERS, b_before=work.now - _REMEMBERED)
        row = post._asdict() | {
            "pools": json.dumps(list(post.pools)) if post.pools else None,
            "started_at": work.now,
            "lease_until": work.now + store.lease,
        }
        work.insert(sql.INSERT_WORKER, [row])

    store.transact(note)


def stay(store: Store, worker: str) -> bool:
    """Say that a worker is still there; False when it is to leave: workers of its generation are asked to exit."""

    def beat(work: Transaction) -> bool:
        work.try_change(worker_sql.RENEW_WORKER, b_worker=worker, b_until=work.now + store.lease)
        return work.first(worker_sql.EXIT_OF, b_worker=worker) is None

    return store.transact(beat)


def leave(store: Store, worker: str) -> None:
    """Forget a worker that has ended."""
    store.transact(lambda work: work.try_change(sql.DELETE_WORKER, b_worker=worker))


def shared_runs(store: Store, worker: str) -> list[SharedRun]:
    """The shared runs with jobs that may start, those first of which the fewest jobs run, then the oldest."""
    now = store.clock()
    rows = database.fetch(store.engine, worker_sql.SHARED_RUNS, {"b_now": now})
    return [
        SharedRun(
            Lease(row.run_id, worker, row.fence),
            row.active,
            row.started_at,
            max(timedelta(0), row.wait_until - row.started_at) if row.wait_until else timedelta(0),
        )
        for row in rows
    ]


def recover(store: Store, own_zygote: str) -> int:
    """Give what the dead left to those who live; how many attempts and runs that were.

    An attempt of a shared run whose worker is known to be dead, or whose lease has run out, is `lost`, and its job
    starts again; so does, as a shared one, a run whose driver is gone. A shared run all of whose jobs have ended ends.
    """
    now = store.clock()
    count = 0
    for row in database.fetch(store.engine, worker_sql.OPEN_CLAIMS):
        if _is_over(store, row.lease_until, row.worker, now):
            _bury(store, row.worker, own_zygote)
            count += store.transact(_losing(store, row))
    for row in database.fetch(store.engine, worker_sql.DRIVEN_RUNS):
        if _is_over(store, row.lease_until, row.driver, now):
            _bury(store, row.driver, own_zygote)
            count += store.transact(_adopting(store, row))
    for row in database.fetch(store.engine, worker_sql.DONE_RUNS):
        count += store.transact(partial(_ending, run_id=row.run_id))
    return count


def _ending(work: Transaction, run_id: str) -> bool:
    row = work.first(sql.LOCK_RUN, b_run_id=run_id)
    is_open = row.state == RunState.RUNNING and bool(row.shared)
    return is_open and work.close_if_done(Lease(run_id, WORKERS, row.fence))


def _bury(store: Store, worker: str, own_zygote: str) -> None:
    """End what a dead worker of this machine left; the zygote of a frozen one has ended it with its lease."""
    if store.is_dead(worker):
        end_leftovers(store.zygote_of(worker), own_zygote)


def _is_over(store: Store, lease_until: datetime | None, worker: str, now: datetime) -> bool:
    return lease_until is None or lease_until <= now or store.is_dead(worker)


def _losing(store: Store, seen: Any) -> Callable[[Transaction], bool]:
    def lose(work: Transaction) -> bool:
        run = work.first(sql.LOCK_RUN, b_run_id=seen.run_id)
        row = work.first(worker_sql.OPEN_CLAIM, b_fence=seen.fence)
        if run is None or row is None or not _is_over(store, row.lease_until, row.worker, work.now):
            return False
        work.lose(row, "its worker died" if store.is_dead(row.worker) else "the lease of its worker ran out")
        work.close_if_done(Lease(run.run_id, WORKERS, run.fence))
        return True

    return lose


def _adopting(store: Store, seen: Any) -> Callable[[Transaction], bool]:
    def adopt(work: Transaction) -> bool:
        row = work.first(sql.LOCK_RUN, b_run_id=seen.run_id)
        if row is None or row.state != RunState.RUNNING or row.shared or row.fence != seen.fence:
            return False
        if not _is_over(store, row.lease_until, row.driver, work.now):
            return False
        definition = Definition.from_text(row.definition)
        lease = work.seize(row, WORKERS, definition, retry_failed=False, lease=store.lease)
        work.share(lease)
        return True

    return adopt


def workers_present(store: Store) -> Sequence[Any]:
    """The rows of the workers that stay and live."""
    now = store.clock()
    rows = database.fetch(store.engine, worker_sql.POSTS)
    return [row for row in rows if not _is_over(store, row.lease_until, row.worker, now)]

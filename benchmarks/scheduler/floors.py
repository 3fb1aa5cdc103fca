"""What this machine can do at best: the floor that a start and a claim are compared with."""

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import sqlalchemy as sa

from benchmarks.scheduler.shapes import median_seconds
from pinflow.database import open_database

_ROWS_A_SECOND = 5_000
"""More than any machine takes."""
_id = sa.Column("id", sa.Integer, primary_key=True)
_job = sa.Table("raw_job", sa.MetaData(), _id, sa.Column("state", sa.String(16), index=True))
_next = sa.select(_job.c.id).where(_job.c.state == "ready").order_by(_job.c.id).limit(1)
_take = sa.update(_job).where(_job.c.id == sa.bindparam("taken")).values(state="running")


def start_floors(rounds: int) -> dict[str, float]:
    """Seconds to start Python alone, and with the two libraries that every command needs."""
    return {
        "python_start_s": median_seconds([sys.executable, "-c", "pass"], rounds),
        "libraries_start_s": median_seconds([sys.executable, "-c", "import click, sqlalchemy"], rounds),
    }


def raw_claims(url: str, processes: int, seconds: float) -> float:
    """Rows a second that processes take from one table of MariaDB with SKIP LOCKED: no lease, no fence, no event."""
    engine = open_database(url)
    _job.create(engine)
    with engine.begin() as connection:
        connection.execute(_job.insert(), [{"state": "ready"} for _ in range(int(_ROWS_A_SECOND * seconds))])
    engine.dispose()
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_take_rows, args=(url, seconds, barrier, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    rates = [results.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def _take_rows(url: str, seconds: float, barrier: Barrier, results: Any) -> None:
    engine = open_database(url)
    with engine.connect() as connection:
        barrier.wait()
        taken, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            with connection.begin():
                row = connection.execute(_next.with_for_update(skip_locked=True)).scalar_one()
                connection.execute(_take, {"taken": row})
            taken += 1
        results.put(taken / (time.perf_counter() - start))
    engine.dispose()

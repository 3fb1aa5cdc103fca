"""Claims a second of several processes at once, each the driver of a run of its own, beside any number of old jobs."""

import multiprocessing
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from typing import Any

from benchmarks.scheduler.shapes import definition_of
from pinflow.database import open_database
from pinflow.scheduler import tables
from pinflow.scheduler.store import Store

JOBS = 4000
BATCH = 10_000
_LONG = timedelta(hours=1)


@dataclass(frozen=True)
class Claims:
    """Claims a second of all, the share of the slowest of the fastest process, and the longest claim in ms."""

    per_second: float
    fairness: float
    longest_ms: float


def claim(url: str, processes: int, seconds: float) -> Claims:
    """Let every process claim one job after another for so long."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_work, args=(url, number, seconds, barrier, results)) for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    fences = [fence for given, _, _ in found for fence in given]
    if len(set(fences)) != len(fences):
        raise RuntimeError("two claims got the same fence")
    counts = [len(given) for given, _, _ in found]
    rate = sum(len(given) / taken for given, taken, _ in found)
    return Claims(rate, min(counts) / max(counts), max(longest for _, _, longest in found) * 1000)


def fill(url: str, old: int, jobs: int) -> None:
    """Have so many old, finished jobs where there are `old`: each with its attempt and three events."""
    engine = open_database(url)
    Store(engine).close()
    now = datetime.now(UTC) - timedelta(days=30)
    with engine.execution_options(writes=True).connect() as connection:
        for first in range(old, jobs, BATCH):
            names = [(f"old-{first}", f"j{n}", first + n) for n in range(min(BATCH, jobs - first))]
            with connection.begin():
                connection.execute(tables.job.insert(), [_job(*name, now) for name in names])
                connection.execute(tables.attempt.insert(), [_attempt(*name, now) for name in names])
                connection.execute(tables.event.insert(), [e for name in names for e in _events(*name, now)])
    engine.dispose()


def _work(url: str, number: int, seconds: float, barrier: Barrier, results: Any) -> None:
    with Store(open_database(url), lease=_LONG) as store:
        definition = definition_of({f"j{n}": [] for n in range(JOBS)}, f"claims-{number}-{time.time_ns()}")
        lease = store.open_run(definition, f"worker-{number}").lease
        if lease is None:
            raise RuntimeError("the run of this process was opened by another")
        barrier.wait()
        fences, longest = [], 0.0
        start = now = time.perf_counter()
        while now - start < seconds and len(fences) < JOBS:
            (given,) = store.advance(lease, [], 1).claims
            fences.append(given.fence)
            now, before = time.perf_counter(), now
            longest = max(longest, now - before)
        barrier.wait()  # aborting thousands of jobs takes the database for long
        store.abort(lease, [], "measured")
    results.put((fences, now - start, longest))


def _job(run_id: str, name: str, number: int, now: datetime) -> dict[str, Any]:
    numbers = {"position": 0, "priority": 0, "unmet": 0, "attempts": 1, "failures": 0, "fence": number, "turn": 0}
    texts = {"stage": "s", "kind": "job", "owner": "o", "state": "succeeded"}
    return {"run_id": run_id, "name": name, "started_at": now, "finished_at": now} | numbers | texts


def _attempt(run_id: str, job: str, number: int, now: datetime) -> dict[str, Any]:
    row = {"fence": number, "run_id": run_id, "job": job, "attempt": 1, "state": "succeeded", "worker": "w"}
    return row | {"started_at": now, "finished_at": now, "log": f"{run_id}/{job}.1.log"}


def _events(run_id: str, job: str, _number: int, now: datetime) -> list[dict[str, Any]]:
    moves = [("waiting", "ready"), ("ready", "running"), ("running", "succeeded")]
    return [
        {"run_id": run_id, "job": job, "attempt": 1, "at": now, "before": before, "state": state, "detail": None}
        for before, state in moves
    ]

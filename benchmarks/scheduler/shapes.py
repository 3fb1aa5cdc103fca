"""Whole runs of jobs that do nothing, each with a process, a log and durable state."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import psutil
import sqlalchemy as sa

from pinflow import config
from pinflow.database import open_database
from pinflow.scheduler import reading, tables
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.processes import Place
from pinflow.scheduler.run import execute
from pinflow.scheduler.sharing import workers_present
from pinflow.scheduler.states import RunState
from pinflow.scheduler.store import Store
from pinflow.workflows.preload import needs_of, start_zygote
from pinflow.zygote import Zygote

ROOT = Path(__file__).parents[2]
DAY = date(2015, 5, 18)
CHAIN = {f"j{n}": [f"j{n - 1}"] if n else [] for n in range(40)}
INDEPENDENT: Mapping[str, list[str]] = {f"j{n}": [] for n in range(1000)}
STAGES = {f"s{s}-{n}": [f"s{s - 1}-{m}" for m in range(25)] if s else [] for s in range(4) for n in range(25)}
SHAPES = {"chain_40": CHAIN, "independent": INDEPENDENT, "stages": STAGES}
NOTHING = "gc:enable"
"""A function that every process has imported, without effect."""


def definition_of(jobs: Mapping[str, list[str]], name: str, day: date = DAY) -> Definition:
    nodes = [Job(job, call=NOTHING, after=after) for job, after in jobs.items()]
    return define(Workflow(name, "o", lambda _day, _parameters: [Stage("only", nodes)]), day)


def milliseconds_a_job(
    url: str,
    folder: Path,
    rounds: int,
    *,
    shapes: Mapping[str, Mapping[str, list[str]]] = SHAPES,
    full: bool = False,
) -> dict[str, float]:
    """For each shape the median over the rounds: from the first start to the last end, over the number of jobs.

    Also the CPU time of scheduler, zygote and jobs together. `full`: with SQLite's synchronous = FULL, which waits for
    the disk at every commit.
    """
    found = {}
    settings = config.Settings()
    with start_zygote(settings, {NOTHING}) as zygote, Store(open_with(url, full=full)) as store:
        place = Place(folder / "logs", slots=2, folder=ROOT, needs=needs_of(settings))
        execute(store, definition_of({"first": []}, "warm-up"), zygote, place)
        for shape, jobs in shapes.items():
            wall, cpu = [], []
            for number in range(rounds):
                definition = definition_of(jobs, shape, DAY + timedelta(days=number))
                before = _cpu_seconds(zygote)
                run = execute(store, definition, zygote, place).run
                cpu.append((_cpu_seconds(zygote) - before) / len(jobs) * 1000)
                wall.append(_seconds(store, run.run_id) / len(jobs) * 1000)
            found[f"{shape}_ms"] = statistics.median(wall)
            found[f"{shape}_cpu_ms"] = statistics.median(cpu)
        store.engine.dispose()
    return found


def worker_milliseconds_a_job(url: str, folder: Path, rounds: int, jobs: Mapping[str, list[str]] = CHAIN) -> float:
    """The same of runs that `pinflow worker`, a process of its own, works on: the median over the rounds."""
    with Store(open_database(url)) as store, _worker(url, folder, store) as process:
        wall = []
        for number in range(rounds + 1):  # the first is the warm-up
            run_id = store.submit(definition_of(jobs, "worker", DAY + timedelta(days=number))).run_id
            while reading.get_run(store, run_id).state is RunState.RUNNING:
                _check(process)
                time.sleep(0.1)
            wall.append(_seconds(store, run_id) / len(jobs) * 1000)
        store.engine.dispose()
    return statistics.median(wall[1:])


def start_seconds(url: str, folder: Path, rounds: int) -> float:
    """A command that needs no engine: `pinflow runs`, the median."""
    return median_seconds([*_pinflow(folder), "runs"], rounds, PINFLOW_DATABASE=url)


def median_seconds(command: list[str], rounds: int, **environment: str) -> float:
    """How long a command takes that succeeds, in seconds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _pinflow(folder: Path) -> list[str]:
    return [sys.executable, "-m", "pinflow.cli", "--home", str(folder)]


def open_with(url: str, *, full: bool) -> sa.Engine:
    """The database, of which SQLite waits for the disk at every commit if `full`."""
    engine = open_database(url)
    if full:
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = FULL"))
    return engine


@contextmanager
def _worker(url: str, folder: Path, store: Store) -> Iterator["subprocess.Popen[bytes]"]:
    command = [*_pinflow(folder), "worker", "--slots", "2"]
    process = subprocess.Popen(command, env=os.environ | {"PINFLOW_DATABASE": url}, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        while not workers_present(store):
            _check(process)
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _check(worker: "subprocess.Popen[bytes]") -> None:
    if worker.poll() is not None:
        raise RuntimeError(f"the worker ended with code {worker.returncode}")


def _cpu_seconds(zygote: Zygote) -> float:
    """CPU time so far of this process, the zygote and the jobs that have ended."""
    times = psutil.Process(zygote.pid).cpu_times()
    return time.process_time() + times.user + times.system + times.children_user + times.children_system


def _seconds(store: Store, run_id: str) -> float:
    times = sa.select(sa.func.min(tables.attempt.c.started_at), sa.func.max(tables.attempt.c.finished_at))
    with store.engine.connect() as connection:
        start, end = connection.execute(times.where(tables.attempt.c.run_id == run_id)).one()
    seconds: float = (end - start).total_seconds()
    return seconds

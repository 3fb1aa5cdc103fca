"""Whole runs of jobs that do nothing, each with a process, a log and durable state."""

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import psutil
import sqlalchemy as sa

from pinflow import config
from pinflow.database import open_database
from pinflow.scheduler import tables
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.processes import Place
from pinflow.scheduler.run import execute
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
) -> dict[str, float]:
    """For each shape the median over the rounds: from the first start to the last end, over the number of jobs.

    Also the CPU time of scheduler, zygote and jobs together.
    """
    found = {}
    settings = config.Settings()
    with start_zygote(settings, {NOTHING}) as zygote, Store(open_database(url)) as store:
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


def start_seconds(url: str, folder: Path, rounds: int) -> float:
    """A command that needs no engine: `pinflow runs`, the median."""
    taken = []
    command = [sys.executable, "-m", "pinflow.cli", "--home", str(folder), "runs"]
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, env={"PINFLOW_DATABASE": url}, check=True, capture_output=True, cwd=folder)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


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

"""Airflow: API server, scheduler and DAG processor over SQLite, with two processes for jobs; all else as it comes."""

import json
import secrets
import shutil
import sqlite3
import statistics
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.scheduler.peers.measured import AT_ONCE, JobRun, Shapes, milliseconds_a_job
from benchmarks.scheduler.peers.processes import (
    FailedError,
    environment,
    finish,
    free_port,
    last_lines,
    running,
    wait_until,
)

SCRIPT = Path(__file__).with_name("inside") / "airflow_dag.py"
WARM_UP = "warm_up"
START_SECONDS = 300
RUN_SECONDS = 1800


class Airflow:
    """An Airflow with a home of its own, started by `servers`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._program, self._folder, self._port = str(programs / "airflow"), folder, free_port()
        self._files, self._dags = folder / "files", folder / "dags"
        self._variables = environment(folder, self._settings())

    def _settings(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self._port}"
        settings = {
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": str(AT_ONCE),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_FOLDER": str(self._dags),
            "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "API__BASE_URL": url,
            "API__SECRET_KEY": secrets.token_urlsafe(32),
            "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        }
        own = {"AIRFLOW_HOME": str(self._folder), "PINFLOW_PEER_FILES": str(self._files)}
        return own | {f"AIRFLOW__{name}": value for name, value in settings.items()}

    @contextmanager
    def servers(self, shapes: Shapes) -> Iterator[Mapping[Path, psutil.Popen]]:
        """The servers by their logs, when they know a DAG for each shape."""
        self._files.mkdir()
        self._dags.mkdir()
        for shape, jobs in shapes.items():
            shutil.copy(SCRIPT, self._dags / f"{shape}.py")
            (self._dags / f"{shape}.json").write_text(json.dumps(jobs))
        self._finish("db", "migrate")
        commands = {
            "api-server": ("api-server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"),
            "scheduler": ("scheduler", "--skip-serve-logs"),
            "dag-processor": ("dag-processor",),
        }
        with ExitStack() as stack:
            started = {}
            for name, arguments in commands.items():
                log = self._folder / f"{name}.log"
                process = running([self._program, *arguments], self._variables, self._folder, log)
                started[log] = stack.enter_context(process)
            wait_until(lambda: self._is_ready(len(shapes)), started, START_SECONDS, pause=1)
            yield started

    def run(self, shape: str, number: int, servers: Mapping[Path, psutil.Popen]) -> Sequence[JobRun]:
        """Trigger a run and wait for its end. Raises `FailedError` unless every job succeeded at its only attempt."""
        run_id = f"run-{number}"
        which = f"WHERE dag_id = '{shape}' AND run_id = '{run_id}'"
        self._finish("dags", "trigger", "--run-id", run_id, shape)

        def state() -> str:
            ((found,),) = self._rows(f"SELECT state FROM dag_run {which}")
            return str(found)

        wait_until(lambda: state() in {"success", "failed"}, servers, RUN_SECONDS, pause=1)
        rows = self._rows(f"SELECT task_id, state, try_number, start_date, end_date FROM task_instance {which}")
        for name, ended, attempt, *_ in rows:
            if (ended, attempt) != ("success", 1):
                log = f"dag_id={shape}/run_id={run_id}/task_id={name}/attempt={attempt}.log"
                text = last_lines(self._folder / "logs" / log)
                raise FailedError(f"{name} of {shape} ended as {ended} at attempt {attempt}\n{text}")
        prefix = f"{shape}.{run_id}."
        touched = {file.name.removeprefix(prefix) for file in self._files.glob(f"{prefix}*")}
        if touched != {name for name, *_ in rows}:
            raise FailedError(f"{len(touched)} jobs of {shape} have run, and {len(rows)} are noted as run")
        return [JobRun(name, _seconds(start), _seconds(stop)) for name, _, _, start, stop in rows]

    def _is_ready(self, dags: int) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v2/monitor/health", timeout=10).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return self._rows("SELECT count(DISTINCT dag_id) FROM serialized_dag") == [(dags,)]

    def _finish(self, *arguments: str) -> None:
        finish([self._program, *arguments], self._variables, self._folder, self._folder / "command.log")

    def _rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._folder / 'airflow.db'}?mode=ro", uri=True, timeout=60)) as database:
            return database.execute(query).fetchall()


def milliseconds(programs: Path, folder: Path, shapes: Shapes, rounds: int) -> dict[str, float]:
    """For each shape the median of its rounds, in milliseconds a job, after a run of one job that does not count."""
    airflow, found = Airflow(programs, folder), {}
    with airflow.servers({WARM_UP: {"first": []}, **shapes}) as servers:
        airflow.run(WARM_UP, 0, servers)
        for shape, jobs in shapes.items():
            taken = [milliseconds_a_job(jobs, airflow.run(shape, number, servers)) for number in range(rounds)]
            found[shape] = statistics.median(taken)
    return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()

"""A database, the workers that stay over it as real processes, and what their jobs noted."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pinflow.database import open_database
from pinflow.scheduler import reading
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.store import Store
from tests.scheduler.conftest import DAY
from tests.scheduler.stories import check_story

HERE = Path(__file__).parent


class Yard:
    """A database, the workers over it, and what their jobs noted."""

    def __init__(self, folder: Path, url: str, of: Callable[..., Definition]) -> None:
        self.folder, self.url, self.of = folder, url, of
        self.store = Store(open_database(url))
        self.started: list[subprocess.Popen[str]] = []

    def worker(self, slots: int = 2, lease: float = 15, generation: int = 0) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "serve.py"), self.url, str(self.folder / "logs")]
        command += [str(slots), str(lease), str(generation)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def submit(
        self, edges: dict[str, list[str]], seconds: float = 0.0, call: str = "note", workflow: str = "demo"
    ) -> str:
        notes = {"file": str(self.folder / "notes"), "seconds": seconds}
        jobs = [Job(n, call=f"sample_jobs:{call}", after=after, arguments=notes) for n, after in edges.items()]
        made = Workflow(workflow, "o", lambda _day, _parameters: [Stage("only", jobs)])
        return self.store.submit(define(made, DAY)).run_id

    def state(self, run_id: str) -> str:
        return reading.get_run(self.store, run_id).state.value

    def until(self, condition: Callable[[], bool], seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def notes(self) -> list[list[str]]:
        file = self.folder / "notes"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def rows(self, query: str) -> list[tuple]:
        with self.store.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        self.store.close()
        self.store.engine.dispose()

    def check_whole(self, run_id: str, jobs: int) -> None:
        """Each job succeeded in exactly one attempt, after those before it, and nobody counts a crash as a failure."""
        run = reading.get_run(self.store, run_id)
        assert [job.state.value for job in run.jobs] == ["succeeded"] * jobs
        assert self.rows("SELECT count(*) FROM attempt WHERE state = 'succeeded'") == [(jobs,)]
        assert self.rows("SELECT count(*) FROM attempt WHERE state NOT IN ('succeeded', 'lost')") == [(0,)]
        assert self.rows("SELECT sum(failures) FROM job") == [(0,)]
        check_story(self.store.engine, run_id)

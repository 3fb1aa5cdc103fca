"""A database with logs and notes of jobs, and the processes that drive runs over it."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pinflow.database import open_database
from pinflow.scheduler.schema import state_of
from tests.scheduler.stories import check_stories

HERE = Path(__file__).parent


class Home:
    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.engine = open_database(url)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, shape: str, seconds: float, *lease: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "drive.py"), self.url]
        command += [str(self.folder / "logs"), str(self.folder / "notes"), shape, str(seconds), *lease]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def wait_for(self, count: int) -> None:
        """Until so many jobs have noted their effect."""
        self.until(lambda: self.notes().total() >= count)

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)

    def notes(self) -> Counter[str]:
        """How often each job had its effect."""
        file = self.folder / "notes"
        return Counter(line.split()[0] for line in (file.read_text().splitlines() if file.exists() else []))

    def rows(self, query: str) -> list[tuple]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def is_made(self) -> bool:
        """Whether the tables are there."""
        return state_of(self.engine).name == "current"

    def close(self) -> None:
        """End what was started."""
        for process in self.started:
            process.kill()
            process.communicate()
        self.engine.dispose()

    def check_whole(self, jobs: int) -> None:
        """The story in the database is one in which each job succeeded exactly once, with one fence each."""
        assert self.rows("SELECT run_id, state FROM run") == [("demo-2015-05-18-1", "succeeded")]
        assert self.rows("SELECT count(*) FROM job WHERE state <> 'succeeded'") == [(0,)]
        succeeded = self.rows("SELECT job, fence FROM attempt WHERE state = 'succeeded'")
        assert len(succeeded) == len({job for job, _ in succeeded}) == jobs
        assert self.rows("SELECT count(*) FROM attempt WHERE state NOT IN ('succeeded', 'lost')") == [(0,)]
        effects = {tuple(line.split()[:2]) for line in (self.folder / "notes").read_text().splitlines()}
        assert {(job, str(fence)) for job, fence in succeeded} <= effects
        check_stories(self.engine)
        if self.engine.dialect.name == "sqlite":
            assert self.rows("PRAGMA integrity_check") == [("ok",)]


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, error = process.communicate(timeout=30)
    assert error == ""
    assert process.returncode == 0, out
    return out.splitlines()

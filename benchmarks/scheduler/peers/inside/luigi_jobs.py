"""Runs in Luigi's environment: all jobs of a file, by two workers that ask a luigid.

    luigi_jobs.py JOBS_JSON FOLDER PORT

Each job leaves a file with its start and end, which is also Luigi's own mark that the job is done.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import luigi


@cache
def after(file: str) -> Mapping[str, Sequence[str]]:
    """The names of the jobs, each with those that it comes after."""
    found: dict[str, list[str]] = json.loads(Path(file).read_text())
    return found


class Job(luigi.Task):
    """Does nothing; running it a second time fails."""

    name = luigi.Parameter()
    jobs = luigi.Parameter()
    folder = luigi.Parameter()

    def requires(self) -> "list[Job]":
        return [Job(name=name, jobs=self.jobs, folder=self.folder) for name in after(self.jobs)[self.name]]

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(str(Path(self.folder) / self.name))

    def run(self) -> None:
        start = time.time()
        with Path(self.output().path).open("x") as file:
            file.write(f"{start} {time.time()}")


def main(jobs: str, folder: str, port: str) -> bool:
    """Whether all jobs succeeded at their first attempt; each runs in a process of its own."""
    names = after(jobs)
    followed = {name for before in names.values() for name in before}
    luigi.configuration.get_config().set("worker", "force_multiprocessing", "true")
    found = luigi.build(
        [Job(name=name, jobs=jobs, folder=folder) for name in names if name not in followed],
        workers=2,
        local_scheduler=False,
        scheduler_host="127.0.0.1",
        scheduler_port=int(port),
        log_level="WARNING",
        detailed_summary=True,
    )
    succeeded: bool = found.status is luigi.LuigiStatusCode.SUCCESS
    return succeeded


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))

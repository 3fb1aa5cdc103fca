"""What both kinds of job share: options, the task's statistics, its tables and its output."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import polars as pl
from mrjob.job import MRJob
from mrjob.options import _add_basic_args, _add_job_args, _add_step_args

from pinflow.config import parse_size
from pinflow.mr_jobs.clustering import bucket_of
from pinflow.mr_jobs.datasets import Published
from pinflow.mr_jobs.output import LineOutput, Output, ParquetOutput
from pinflow.mr_jobs.splits import read_parquet
from pinflow.mr_jobs.task import Task
from pinflow.stats_engine import shards
from pinflow.stats_engine.engine import StatsEngine, engine
from pinflow.stats_engine.statistics import Statistics
from pinflow.storage import open_storage

DESCRIPTION = "_dataset.json"
DEFAULT_MEMORY = "512MB"


class DatasetJob(MRJob):
    """An mrjob job whose last step writes a dataset and whose every task counts what passes.

    `version` is to be raised when the job's meaning changes without its module (AN-14: it is part of what a
    published result is known by); the result of a job that `uses_rankings` is also known by all registered rankings.
    Run by hand (`python job.py -r inline FILE`) it prints its rows as JSON lines; with `--to parquet` a task writes
    them to its output folder.
    """

    version: ClassVar[int] = 1
    uses_rankings: ClassVar[bool] = False
    cluster_by: ClassVar[Sequence[str]] = ()
    partition_by: ClassVar[str | None] = None

    def configure_args(self) -> None:
        """Declare the options that every job has."""
        if Task.current(os.environ) is None:
            super().configure_args()
        else:
            self._configure_task()
        self.add_passthru_arg("--date", default="", help="day of the run, YYYY-MM-DD")
        self.add_passthru_arg("--days", default="", help="published days of the periods of the run, by comma")
        self.add_passthru_arg("--to", choices=("lines", "parquet"), default="lines", help="form of the output")
        self.add_passthru_arg("--splits", action="store_true", help="input lines name splits, they are not data")
        self.add_passthru_arg("--buckets", type=int, default=1, help="buckets of the output, a power of two")
        self.add_passthru_arg("--table", action="append", default=[], help="NAME=FOLDER of a dataset to join with")
        self.add_passthru_arg("--memory", default=DEFAULT_MEMORY, help="what a task may hold of its data")

    def _configure_task(self) -> None:
        """The options of mrjob but for the hundred of its runners: of no use to a task, and slow to declare."""
        self.arg_parser.add_argument(dest="args", nargs="*")
        for declare in (_add_basic_args, _add_job_args, _add_step_args):
            declare(self.arg_parser)

    @property
    def stats(self) -> StatsEngine:
        """The statistics engine of this task (ST-08)."""
        return engine()

    @property
    def memory(self) -> int:
        """What a task may hold of its data, in bytes."""
        return parse_size(self.options.memory)

    @contextmanager
    def task_output(self) -> Iterator[Output]:
        """Where this task's rows go; on a clean exit they and the task's shard are written."""
        task = Task.current(os.environ) if self.options.to == "parquet" else None
        if task is None:
            output: Output = LineOutput(self.stdout)
        else:
            output = ParquetOutput(
                task, partition_by=self.partition_by, limit=self.memory // 8, statistics=self.cluster_by
            )
        yield output
        output.close()
        if task is not None:
            for step, counted in self.counted_by_step().items():
                task.write_statistics(shards.encode(counted), step)

    def counted_by_step(self) -> dict[int, Statistics]:
        """What this task hands in, by the number of the step; 0 in a job of one step."""
        return {0: self.stats.statistics()}

    def take_in_statistics(self, data: bytes, source: str) -> None:
        """Add what another task counted to this task's statistics."""
        self.stats.merge(shards.decode(data, source))

    @property
    def partition(self) -> int:
        """The number of this task, 0 outside of one."""
        return int(os.environ.get("mapreduce_task_partition", "0"))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All rows of a dataset that was shipped with the job (`--table NAME=FOLDER`), for a map join (AN-18)."""
        folder, description = self._table(name)
        return _concat([read_parquet(f"{folder}/{part.name}", columns) for part in description.parts])

    def table_bucket(self, name: str, bucket: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows of a dataset that can meet rows of one of this job's buckets, for a bucket join (AN-18).

        The dataset must be clustered by the key that the job clusters by.
        """
        folder, description = self._table(name)
        least = min(description.buckets, self.options.buckets)
        parts = [part for part in description.parts if part.bucket % least == bucket % least]
        frame = _concat([read_parquet(f"{folder}/{part.name}", columns) for part in parts])
        if description.buckets < self.options.buckets and frame.height:
            numbers = bucket_of(frame, description.clustered_by, self.options.buckets)
            frame = frame.filter(pl.Series(numbers == bucket))
        return frame

    def _table(self, name: str) -> tuple[str, Published]:
        folders = dict(text.split("=", 1) for text in self.options.table)
        if name not in folders:
            raise KeyError(f"{type(self).__name__} joins with {name!r}: give --table {name}=FOLDER")
        path = f"{folders[name]}/{DESCRIPTION}"
        return folders[name], Published.from_json(open_storage(path).read_bytes(path), path)


def _concat(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def binary_lines(text: Sequence[str]) -> io.BytesIO:
    """Input lines as the standard input of a task."""
    return io.BytesIO("".join(f"{line}\n" for line in text).encode())


def job_arguments(**options: Any) -> list[str]:
    """Options of a job as its command line; None and False are left out, a list repeats the option.

    >>> job_arguments(date="2015-05-18", splits=True, table=["pins=/a", "users=/b"], buckets=None)
    ['--date=2015-05-18', '--splits', '--table=pins=/a', '--table=users=/b']
    """
    arguments = []
    for name, value in options.items():
        switch = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(switch)
        elif isinstance(value, list):
            arguments += [f"{switch}={item}" for item in value]
        elif value is not None and value is not False:
            arguments.append(f"{switch}={value}")
    return arguments

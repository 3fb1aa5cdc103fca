"""Run one MapReduce job into an attempt's folder and describe what it left there."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from pinflow.mr_jobs.datasets import Part, Published
from pinflow.mr_jobs.executors import executor
from pinflow.mr_jobs.hadoop.cluster import Cluster
from pinflow.mr_jobs.job import DESCRIPTION
from pinflow.mr_jobs.local_runner import LocalRunner
from pinflow.mr_jobs.local_tasks import load_job
from pinflow.mr_jobs.native import StepRun, Usage, together, with_native
from pinflow.mr_jobs.spec import JobSpec
from pinflow.mr_jobs.task import STATS_FOLDER
from pinflow.stats_engine.merge import merge_by_step, total
from pinflow.stats_engine.shards import JOB, encode, file_name
from pinflow.stats_engine.statistics import Statistics
from pinflow.storage import Entry, Storage, join, open_storage

_TEXT = re.compile(r"part-\d+")
_PART = re.compile(r"part-\d+(-\d+)?\.parquet")


@dataclass(frozen=True)
class JobOutput:
    """What a job left: its parts, its merged statistics, those of each step if it has several, what its tasks used."""

    parts: tuple[Part, ...]
    statistics: Statistics
    usage: Usage
    seconds: float
    steps: tuple[Statistics, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)


def launch(spec: JobSpec, runner: str, environment: Mapping[str, str], cluster: Cluster | None = None) -> JobOutput:
    """Run the job, merge its statistics with what the runner knows, and store them as `_stats/job.thrift.gz` (ST-06).

    Those of the steps of a job that has several are stored beside it, as `_stats/job.step-N.thrift.gz` (ST-20). The
    runners hadoop and emr need `cluster`, and their output is a URL. Raises what the runner raises; the attempt's
    folder stays for a look at it.
    """
    started = monotonic()
    runs = _run_on(runner, cluster, spec, environment) if cluster else _run_here(spec, runner, environment)
    whole = together(runs)
    storage = open_storage(spec.output)
    files = sorted(storage.walk(spec.output), key=lambda entry: entry.path)
    parts = tuple(_parts(storage, spec.output, files))
    texts = [file for file in files if _TEXT.fullmatch(file.path.removeprefix(f"{spec.output}/"))]
    seconds = monotonic() - started
    own = {
        "output_rows": sum(part.rows for part in parts) + sum(_lines(storage, file.path) for file in texts),
        "output_bytes": sum(part.bytes for part in parts) + sum(file.size for file in texts),
        "input_bytes": sum(weight for _, weight in spec.lines),
    }
    counted = merge_by_step(_shards(storage, files))
    statistics = with_native(total(counted), whole.counters | own, seconds, whole.usage)
    steps = tuple(_steps(counted, runs))
    for number, merged in enumerate((statistics, *steps)):
        storage.write_unsynced(join(spec.output, STATS_FOLDER, file_name(JOB, number)), encode(merged))
    return JobOutput(parts, statistics, whole.usage, seconds, steps)


def _steps(counted: Mapping[int, Statistics], runs: Sequence[StepRun]) -> Iterator[Statistics]:
    for number, run in enumerate(runs if len(runs) > 1 else (), start=1):
        yield with_native(counted.get(number, Statistics()), run.counters, run.seconds, run.usage)


def _run_here(spec: JobSpec, runner: str, environment: Mapping[str, str]) -> list[StepRun]:
    tasks = executor(runner, spec.memory)
    try:
        return LocalRunner(spec, tasks, environment).run()
    finally:
        tasks.close()


def _run_on(runner: str, cluster: Cluster, spec: JobSpec, environment: Mapping[str, str]) -> list[StepRun]:
    from pinflow.mr_jobs.hadoop.runners import cluster_runner  # few runs need it

    return cluster_runner(runner)(spec, cluster, environment).run()


def describe(published: Published, folder: str) -> None:
    """Write what is about to be published into its folder, for jobs that join with it."""
    open_storage(folder).write_unsynced(join(folder, DESCRIPTION), published.to_json())


def clustered_by(job: str) -> tuple[str, ...]:
    """The columns that a job's output is bucketed by, none for a job without buckets."""
    return tuple(getattr(load_job(job), "cluster_by", ()))


def _shards(storage: Storage, files: Iterable[Entry]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        is_shard = file.path.endswith(".thrift.gz") and file.path.split("/")[-2] == STATS_FOLDER
        if is_shard and file.name.partition(".")[0] != JOB:
            yield file.path, storage.read_bytes(file.path)


def _lines(storage: Storage, path: str) -> int:
    with storage.open_input(path) as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _parts(storage: Storage, folder: str, files: Iterable[Entry]) -> Iterator[Part]:
    """The Parquet files of a job's output; those of folders that start with `_` are not its rows."""
    import pyarrow.parquet as pq

    for entry in files:
        *folders, name = entry.path.removeprefix(f"{folder}/").split("/")
        if _PART.fullmatch(name) and not any(piece.startswith("_") for piece in folders):
            with storage.open_input(entry.path) as file:
                rows = pq.read_metadata(file).num_rows
            yield Part("/".join((*folders, name)), rows, entry.size, int(name.removesuffix(".parquet").split("-")[1]))

"""Run one MapReduce job into an attempt's folder and describe what it left there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from pinflow.mr_jobs.datasets import Part, Published
from pinflow.mr_jobs.job import DESCRIPTION
from pinflow.mr_jobs.local_runner import JobSpec, LocalRunner, executor
from pinflow.mr_jobs.local_tasks import load_job
from pinflow.mr_jobs.native import Usage, with_native
from pinflow.mr_jobs.task import STATS_FOLDER
from pinflow.stats_engine.merge import merge_shards
from pinflow.stats_engine.shards import JOB_SHARD, encode
from pinflow.stats_engine.statistics import Statistics
from pinflow.storage import explained


@dataclass(frozen=True)
class JobOutput:
    """What a job left: its parts, its merged statistics and what its tasks used."""

    parts: tuple[Part, ...]
    statistics: Statistics
    usage: Usage
    seconds: float

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)


def launch(spec: JobSpec, runner: str, environment: Mapping[str, str]) -> JobOutput:
    """Run the job, merge its statistics with what the runner knows, and store them as `_stats/job.thrift.gz` (ST-06).

    Raises what the runner raises; the attempt's folder stays for a look at it.
    """
    started = monotonic()
    tasks = executor(runner)
    try:
        usage = LocalRunner(spec, tasks, environment).run()
    finally:
        tasks.close()
    folder = Path(spec.output)
    parts = tuple(_parts(folder))
    texts = list(_texts(folder))
    seconds = monotonic() - started
    own = {
        "output_rows": sum(part.rows for part in parts) + sum(map(_lines, texts)),
        "output_bytes": sum(part.bytes for part in parts) + sum(path.stat().st_size for path in texts),
        "input_bytes": sum(weight for _, weight in spec.lines),
    }
    statistics = with_native(merge_shards(_shards(folder)), own, seconds, usage)
    job_shard = folder / STATS_FOLDER / JOB_SHARD
    with explained("write", str(job_shard)):
        job_shard.parent.mkdir(exist_ok=True)
        job_shard.write_bytes(encode(statistics))
    return JobOutput(parts, statistics, usage, seconds)


def describe(published: Published, folder: str) -> None:
    """Write what is about to be published into its folder, for jobs that join with it."""
    with explained("write", folder):
        Path(folder, DESCRIPTION).write_bytes(published.to_json())


def clustered_by(job: str) -> tuple[str, ...]:
    """The columns that a job's output is bucketed by, none for a job without buckets."""
    return tuple(getattr(load_job(job), "cluster_by", ()))


def _shards(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted((folder / STATS_FOLDER).glob("*.thrift.gz")):
        if path.name != JOB_SHARD:
            yield str(path), path.read_bytes()


def _texts(folder: Path) -> Iterator[Path]:
    """The files of a job that writes lines."""
    yield from (path for path in sorted(folder.glob("part-*")) if path.suffix == "" and path.is_file())


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _parts(folder: Path) -> Iterator[Part]:
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob("part-*.parquet")):
        name = path.relative_to(folder)
        if any(piece.startswith("_") for piece in name.parts[:-1]):
            continue
        bucket = int(path.stem.split("-")[1])
        yield Part(str(name), pq.read_metadata(path).num_rows, path.stat().st_size, bucket)

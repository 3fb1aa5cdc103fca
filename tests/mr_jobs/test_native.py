"""The figures that every job has without counting a thing."""

import os
from pathlib import Path

import polars as pl
import pytest

from pinflow.mr_jobs.launch import JobOutput, launch
from pinflow.mr_jobs.local_plan import SMALL_BATCH_BYTES
from pinflow.mr_jobs.native import Usage, with_native
from pinflow.mr_jobs.spec import JobSpec
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.shards import decode
from pinflow.zygote import Exit, Zygote
from tests.mr_jobs.sample_jobs import DIE_ONCE

WEIGHT = SMALL_BATCH_BYTES + 1
TEXT = ["a b", "c", "", "a"]
JOBS = pytest.mark.parametrize(
    ("job", "tasks", "reads"), [("Totals", 4, 2), ("Doubled", 2, 2), ("WordRows", 4, 2), ("WordsByCount", 8, 2)]
)


@pytest.fixture(scope="module", autouse=True)
def zygote():
    with Zygote.start(["polars", "pinflow.mr_jobs.local_tasks"]) as running:
        yield running


def run(folder: Path, job: str, runner: str = "local", **variables: str) -> JobOutput:
    lines = TEXT
    if job in ("Totals", "Doubled"):
        lines = [str(folder / f"{number}.parquet") for number in range(2)]
        for line in lines:
            pl.DataFrame({"key": ["x", "y"], "value": [1, 2]}).write_parquet(line)
    weighed = tuple((line, WEIGHT + number) for number, line in enumerate(lines))
    arguments = () if job == "WordsByCount" else ("--to=parquet",)
    spec = JobSpec(
        f"tests.mr_jobs.sample_jobs:{job}", arguments, weighed, str(folder / "out"), buckets=4, slots=2, memory=1 << 30
    )
    return launch(spec, runner, {**os.environ, **variables})


@JOBS
@pytest.mark.parametrize("runner", ["inline", "local"])
def test_every_job_has_figures_of_its_tasks(tmp_path: Path, job: str, tasks: int, reads: int, runner: str) -> None:
    output = run(tmp_path, job, runner)
    found = output.statistics
    files = [path for path in (tmp_path / "out").rglob("part-*") if path.suffix in ("", ".parquet")]
    weights = [path.stat().st_size for path in files]
    assert found.counts["input_rows"] == 4
    assert found.counts["output_bytes"] == sum(weights) > 0
    assert found.counts["input_bytes"] == WEIGHT * (2 if job in ("Totals", "Doubled") else 4) + (
        1 if job in ("Totals", "Doubled") else 6
    )
    for name in ("task_seconds", "task_cpu_seconds", "task_peak_bytes", "task_output_bytes"):
        assert found.histograms[name].count == tasks
    assert found.histograms["task_input_bytes"].count == reads
    assert 0 < found.histograms["task_cpu_seconds"].highest <= found.sums["cpu_seconds"] < 60
    assert found.histograms["task_seconds"].highest <= found.sums["seconds"]
    assert found.counts["peak_bytes"] == found.histograms["task_peak_bytes"].highest > 10 << 20
    assert found.histograms["task_output_bytes"].highest >= max(weights)
    stored = decode((tmp_path / "out/_stats/job.thrift.gz").read_bytes(), "job")
    assert stored == found


def test_a_lost_attempt_is_counted_and_its_figures_are_not(tmp_path: Path) -> None:
    found = run(tmp_path, "Doubled", **{DIE_ONCE: str(tmp_path / "died")}).statistics
    assert found.counts["lost_attempts"] == 1
    assert found.histograms["task_seconds"].count == 2
    assert found.counts["input_rows"] == 4


def test_names_of_pinflow_are_its_own() -> None:
    stats = StatsEngine()
    stats.incr_count("task_seconds", 5)
    stats.incr_count("peak_bytes", 7)
    stats.add_sum("output_rows", 1.5)
    stats.incr_count("events", 3)
    usage = Usage()
    usage.add(Exit(1, 0, None, 1.0, 0.5, 1000), seconds=2.0, input_bytes=10)
    found = with_native(stats.statistics(), {"output_rows": 4}, 3.0, usage)
    dropped = {"_dropped.task_seconds": 1, "_dropped.peak_bytes": 1, "_dropped.output_rows": 1}
    assert found.counts == {"events": 3, "output_rows": 4, "peak_bytes": 1000, **dropped}
    assert found.sums == {"seconds": 3.0, "cpu_seconds": 1.5}
    assert found.histograms["task_seconds"].highest == 2.0

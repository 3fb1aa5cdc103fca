"""Small jobs on a real Hadoop: retries, speculation, failures, counters."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
import requests

from pinflow.errors import FatalAlertError, PinflowError
from pinflow.mr_jobs.hadoop.cluster import Cluster
from pinflow.mr_jobs.hadoop.sizes import REDUCER_BYTES
from pinflow.mr_jobs.launch import JobOutput, launch
from pinflow.mr_jobs.spec import JobSpec
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit
from pinflow.storage import open_storage
from tests.engines import engines, processes, variables
from tests.mr_jobs.hadoop.sent_jobs import OWN, SAMPLE, make_importable

pytestmark = pytest.mark.hadoop
MAPS = 3
REDUCERS = 3
KEYS = 40
PATIENCE_SECONDS = 600
ROWS = [[(f"k{(n * 7 + part) % KEYS}", n - part) for n in range(100)] for part in range(MAPS)]
NATIVE = re.compile(r"File \w+( Format)? Counters/|Job Counters/|Map-Reduce Framework/|Shuffle Errors/|.*_bytes$")
Run = Callable[..., JobOutput]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in HDFS with a Parquet file for each map task."""
    found = variables("hadoop")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    make_importable(tmp_path, monkeypatch)
    url = f"{found['PINFLOW_WAREHOUSE']}/{tmp_path.parent.name}/{tmp_path.name}"
    for number, rows in enumerate(ROWS):
        data = io.BytesIO()
        pl.DataFrame(rows, schema={"key": pl.String, "value": pl.Int64}, orient="row").write_parquet(data)
        open_storage(url).write_bytes(f"{url}/input/{number}.parquet", data.getvalue())
    return url


@pytest.fixture
def run(folder: str, cache: Path) -> Run:
    """Runs a job of `jobs_on_hadoop`, a map task a file; `properties` are Hadoop's."""

    def start(job: str, *arguments: str, lines: list[str] | None = None, **properties: str) -> JobOutput:
        module = SAMPLE if job == "WordsByCount" else OWN
        weight = REDUCER_BYTES if lines is None else 1
        given = lines if lines is not None else [_line(f"{folder}/input/{n}.parquet") for n in range(MAPS)]
        spec = JobSpec(
            f"{module}:{job}",
            arguments,
            tuple((line, weight) for line in given),
            f"{folder}/_attempt-1",
            buckets=8 * REDUCERS,
        )
        base = folder.rpartition("/")[0]
        cluster = Cluster(
            f"{base}/_hadoop",
            cache,
            f"{job}-1",
            f"{job}-",
            properties={name.replace("_", "."): value for name, value in properties.items()},
        )
        return launch(spec, "hadoop", dict(os.environ), cluster)

    return start


def _line(path: str) -> str:
    return DatasetSplit("d", (DatasetFile(path, "2015-05-18", len(ROWS[0]), 1),)).to_line()


def rows(folder: str, output: JobOutput) -> list[tuple[object, ...]]:
    frames = []
    for part in output.parts:
        with open_storage(folder).open_input(f"{folder}/_attempt-1/{part.name}") as file:
            frames.append(pl.read_parquet(file, columns=["key", "value", "n"]))
    return sorted(pl.concat(frames).rows())


def totals() -> list[tuple[str, int, int]]:
    every = [row for part in ROWS for row in part]
    keys = {key for key, _ in every}
    return sorted((k, sum(v for key, v in every if key == k), sum(key == k for key, _ in every)) for k in keys)


def own_counts(output: JobOutput) -> dict[str, int]:
    return {name: n for name, n in output.statistics.counts.items() if not NATIVE.match(name)}


WANTED = {"input_rows": 300, "rows_read": 300, "keys": KEYS, "output_rows": KEYS, "lost_attempts": 1}


def test_a_batch_job_whose_reducer_dies_after_writing_is_counted_once(run: Run, folder: str) -> None:
    output = run("DiesOnce", "--to=parquet")
    assert rows(folder, output) == totals()
    assert own_counts(output) == WANTED
    assert output.statistics.histograms["value"].count == 300
    assert output.statistics.counts["Job Counters/Failed reduce tasks"] >= 1
    assert output.statistics.counts["Job Counters/Launched map tasks"] == MAPS
    assert output.usage.tasks >= MAPS + REDUCERS + 1


def test_speculative_attempts_are_counted_once(run: Run, folder: str) -> None:
    output = run(
        "SlowFirst",
        "--to=parquet",
        mapreduce_map_speculative="true",
        mapreduce_job_speculative_slowtaskthreshold="0.01",
    )
    assert rows(folder, output) == totals()
    # under load Hadoop may double more than the one that hangs
    killed = output.statistics.counts["Job Counters/Killed map tasks"]
    assert killed >= 1
    assert own_counts(output) == WANTED | {"lost_attempts": killed}
    assert output.statistics.counts["Job Counters/Launched map tasks"] == MAPS + killed


def kill_the_node_manager() -> None:
    """Once a map task runs, and start it again; what it had started lives on without it."""
    site = Path(os.environ["HADOOP_CONF_DIR"], "yarn-site.xml").read_text()
    (address,) = re.findall(r"yarn.resourcemanager.webapp.address</name><value>([^<]+)", site)
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        metrics = requests.get(f"http://{address}/ws/v1/cluster/metrics", timeout=60).json()["clusterMetrics"]
        if metrics["containersAllocated"] > 1:  # the first one is the application's master
            break
        assert time.monotonic() < end
        time.sleep(0.5)
    time.sleep(3)
    os.kill(processes("hadoop-nodemanager"), signal.SIGKILL)
    engines("start", "hadoop")


def test_a_killed_node_manager_makes_nothing_count_twice(run: Run, folder: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_the_node_manager)
        output = run("Lingering", "--to=parquet")
        killed.result()
    assert rows(folder, output) == totals()
    assert own_counts(output) | {"lost_attempts": 1} == WANTED
    assert output.statistics.histograms["value"].count == 300


def test_a_failure_is_told_with_its_traceback_and_its_page(
    run: Run, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PinflowError, match=r"RuntimeError: broken on purpose.*http://.*/application_\d+_\d+/") as told:
        run("Broken", "--to=parquet", mapreduce_reduce_maxattempts="1")
    assert type(told.value) is PinflowError
    said = capsys.readouterr().err
    assert 'raise RuntimeError("broken on purpose")' in said
    assert re.search(r"map \d+% reduce \d+%", said)
    left = [entry.path for entry in open_storage(folder).walk(f"{folder}/_attempt-1")]
    assert left == []


def test_a_task_that_refuses_makes_the_job_refuse(run: Run) -> None:
    with pytest.raises(FatalAlertError, match="too much"):
        run("Refusing", "--to=parquet", mapreduce_map_maxattempts="1")


def test_a_plain_job_of_two_steps(run: Run, folder: str) -> None:
    text = ["a b a", "c b", "a"]
    output = run("WordsByCount", lines=text)
    storage = open_storage(folder)
    parts = [entry for entry in storage.list(f"{folder}/_attempt-1") if entry.name.startswith("part-")]
    found = [line.split("\t") for part in parts for line in storage.read_bytes(part.path).decode().splitlines()]
    counts = Counter(word for line in text for word in line.split())
    wanted = sorted([n, sorted(word for word in counts if counts[word] == n)] for n in set(counts.values()))
    assert sorted([json.loads(key), json.loads(value)] for key, value in found) == wanted
    assert {name: n for name, n in own_counts(output).items() if name.startswith("text/")} == {
        "text/lines": len(text),
        "text/words": counts.total(),
        "text/different words": len(counts),
        "text/counts": len(wanted),
    }


OWN_SCRIPT = """
import polars as pl
from pinflow.mr_jobs.batch_job import BatchJob

class Totals(BatchJob):
    cluster_by = ("key",)

    def map(self, batch):
        return batch.with_columns(n=pl.lit(1))

    def combine(self, frame):
        return frame.group_by("key").agg(pl.col("value", "n").sum())

    reduce = combine

if __name__ == "__main__":
    Totals.run()
"""


def test_a_batch_job_runs_by_itself_with_mrjobs_own_runner(folder: str, tmp_path: Path) -> None:
    for number, rows in enumerate(ROWS):
        pl.DataFrame(rows, schema={"key": pl.String, "value": pl.Int64}, orient="row").write_parquet(
            tmp_path / f"{number}.parquet"
        )
    (tmp_path / "lines").write_text("".join(f"{tmp_path}/{number}.parquet\n" for number in range(MAPS)))
    (tmp_path / "own_job.py").write_text(OWN_SCRIPT)
    command = [sys.executable, "own_job.py", "-r", "hadoop", "--python-bin", sys.executable, "lines"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted((row["key"], row["value"], row["n"]) for row in found) == totals()

"""The comparison with other engines: the peers agree with the oracle, differences are seen, all memory is counted."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.analytics.compare import difference
from benchmarks.analytics.engines import ENGINES, Engine
from benchmarks.analytics.measure import Measured
from benchmarks.analytics.plot import plot
from benchmarks.analytics.report import Missing, Result, to_json
from benchmarks.analytics.task import TABLES, TOP_ITEMS, Task
from benchmarks.generate import generate_day
from tests.oracle import Oracle

ROOT = Path(__file__).parents[2]
DAY = date(2015, 5, 18)


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A Python process in the repository: what measures adopts orphans, which the tests' process must not."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def rows(task: Task, name: str) -> list[dict[str, Any]]:
    return pl.read_parquet(f"{task.table(name)}/*.parquet").to_dicts()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day")
    generate_day(folder, DAY, events=20_000, seed=3)
    return folder


@pytest.fixture(scope="module")
def oracle(day: Path) -> Oracle:
    return Oracle(day, [DAY], DAY)


@pytest.fixture(scope="module", params=["duckdb", "polars", "mrjob"])
def task(request: pytest.FixtureRequest, day: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The tables of one engine, made as the benchmark does it."""
    made = Task(day, DAY.isoformat(), tmp_path_factory.mktemp(request.param))
    command = ENGINES[request.param].command(made)
    environment = {**os.environ, **command.environment}
    subprocess.run(command.arguments, env=environment, cwd=made.output, check=True, capture_output=True, timeout=300)
    return made


def test_metrics_are_those_of_the_oracle(task: Task, oracle: Oracle) -> None:
    expected = {key[:2]: entry["metrics"] for key, entry in oracle.metrics().items() if key[2] == "daily"}
    found = {}
    for row in [*rows(task, "domain_metrics"), *rows(task, "profile_metrics")]:
        key = row["subject"], row["platform"]
        found[key] = {name: value for name, value in row.items() if name not in ("subject", "platform") and value}
    assert found == expected


def test_audience_is_that_of_the_oracle(task: Task, oracle: Oracle) -> None:
    expected = {
        (f"a:{subject}", platform, dimension, value): users
        for (subject, platform, aggregation), dimensions in oracle.audience().items()
        if aggregation == "daily"
        for dimension, values in dimensions.items()
        for value, users in values.items()
    }
    found = [*rows(task, "domain_audience"), *rows(task, "profile_audience")]
    assert {
        tuple(row[k] for k in ("subject", "platform", "dimension", "value")): row["users"] for row in found
    } == expected


def test_top_lists_are_those_of_the_oracle(task: Task, oracle: Oracle) -> None:
    expected = {
        (subject, platform, items, by, row["id"]): (row["rank"], row["value"])
        for (subject, platform, aggregation), lists in oracle.top().items()
        if aggregation == "daily"
        for (items, by), entries in lists.items()
        for row in entries
    }
    tables = [name for name in TABLES if "_top_" in name]
    found = [row for name in tables for row in rows(task, name)]
    assert any(row["id"] == "_other" for row in found)
    assert {tuple(row[k] for k in TOP_ITEMS.keys): (row["rank"], row["value"]) for row in found} == expected


LIST = pl.DataFrame(
    {
        "subject": ["d:a", "d:a", "d:b"],
        "platform": ["all", "all", "web"],
        "items": ["pins", "pins", "pins"],
        "by": ["like", "like", "like"],
        "id": ["p1", "_other", "p1"],
        "rank": [1, None, 1],
        "value": [2.0, 7.0, 1.0],
    }
)


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (LIST.reverse(), ""),
        (LIST.with_columns(more=1).cast({"value": pl.Int64, "rank": pl.UInt8}), ""),
        (LIST.with_columns(value=pl.Series([2.0, 7.5, 1.0])), "1 rows, first"),
        (LIST.with_columns(rank=pl.Series([1, 2, 1])), "1 rows, first"),
        (LIST.with_columns(rank=None, value=None), "3 rows, first"),
        (LIST.head(2), "3 rows and 2"),
    ],
)
def test_tables_are_compared_by_content(tmp_path: Path, theirs: pl.DataFrame, expected: str) -> None:
    for name, frames in (("ours", [LIST.head(1), LIST.tail(2)]), ("theirs", [theirs])):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(frames):
            frame.write_parquet(tmp_path / name / f"{number}.parquet")
    found = difference(tmp_path / "ours", tmp_path / "theirs", TOP_ITEMS)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_an_engine_that_is_not_installed_is_named() -> None:
    engine = Engine("other", "no_such_engine", ENGINES["duckdb"].command, Task.table)
    entry = to_json(Missing(engine.name, 10, engine.missing))
    assert entry["engine"] == "other"
    assert "no_such_engine is not installed" in entry["missing"]


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    done = python("-m", "benchmarks.analytics", "--engines", "duckdb,oracle")
    assert done.returncode == 2
    assert "oracle; there are pinflow, duckdb, polars, pyspark, mrjob" in done.stderr


def test_sizes_are_measured(tmp_path: Path) -> None:
    options = [
        "--events",
        "2e3,4e3",
        "--engines",
        "duckdb,polars",
        "--rounds",
        "2",
        "--json",
        "--folder",
        str(tmp_path),
    ]
    done = python("-m", "benchmarks.analytics", *options)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [(r["engine"], r["events"], r["equal"]) for r in results] == [
        (engine, events, True) for events in (2_000, 4_000) for engine in ("duckdb", "polars")
    ]
    assert all(0 < r["seconds"] < 60 and r["peak_mb"] > 20 and len(r["rounds"]) == 2 for r in results)


def test_time_and_memory_are_drawn(tmp_path: Path) -> None:

    run = Measured(seconds=2.0, cpu_seconds=3.0, peak=10_000_000, written=0, foreign_load=0.0)
    results = [Result(engine, events, (run,), run, "") for engine in ("duckdb", "polars") for events in (1_000, 10_000)]
    files = plot(results, tmp_path / "plots")
    assert [path.name for path in files] == ["analytics.png", "analytics.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert "polars" in files[1].read_text()


MEASURE = """
import json, sys
from pathlib import Path
from benchmarks.analytics.engines import Command
from benchmarks.analytics.measure import FailedError, run
try:
    measured = run(Command((sys.executable, "-c", sys.argv[1])), Path(sys.argv[2]), watch_memory=True)
    print(json.dumps([measured.seconds, measured.peak, measured.written]))
except FailedError as error:
    print(error)
"""
ORPHAN = "import time; held = bytes(range(256)) * (200 << 12); open('file', 'wb').write(held[:50 << 20]); time.sleep(3)"


def test_memory_and_writes_of_processes_left_behind_count(tmp_path: Path) -> None:
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {ORPHAN!r}])"
    seconds, peak, written = json.loads(python("-c", MEASURE, start, str(tmp_path)).stdout)
    assert seconds < 3, "the command itself ends at once"
    assert 200 << 20 < peak < 400 << 20
    assert 50 << 20 <= written < 60 << 20


def test_a_command_that_fails_is_shown_with_its_output(tmp_path: Path) -> None:
    failed = python("-c", MEASURE, "raise SystemExit('no such day')", str(tmp_path)).stdout
    assert "ended with 1" in failed
    assert "no such day" in failed

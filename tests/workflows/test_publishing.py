"""What a node publishes, and what those who read it find."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pinflow.database import open_database
from pinflow.mr_jobs.clustering import bucket_of
from pinflow.mr_jobs.coded import read_rows
from pinflow.mr_jobs.datasets import Part, Published, Warehouse
from pinflow.mr_jobs.splits import bucket_splits
from pinflow.scheduler.schema import upgrade
from pinflow.workflows import mapreduce
from pinflow.workflows.node import Day, MapReduce
from tests.mr_jobs.sample_jobs import Fine

DAYS = (date(2015, 5, 18), date(2015, 5, 19))
KEYS = [f"k{number}" for number in range(200)]


def publish(warehouse: Warehouse, day: date, *, copies: int) -> None:
    """A dataset `given` of one file: each key so often."""
    path = Path(warehouse.attempt_folder("given", day, "1"), "part-00000.parquet")
    path.parent.mkdir(parents=True)
    pl.DataFrame({"key": KEYS * copies, "value": range(len(KEYS) * copies)}).write_parquet(path)
    parts = (Part(path.name, len(KEYS) * copies, path.stat().st_size),)
    warehouse.publish(Published("given", str(day), "_attempt-1", 1, "", len(KEYS), 1, parts))


def run(home: Path, day: date, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = {"RUN_ID": f"r-{day}-1", "WORKFLOW": "w", "JOB": "fine", "ATTEMPT": "1", "DATE": str(day), "FENCE": "2"}
    for name, value in (attempt | {"HOME": str(home), "RUNNER": "inline"}).items():
        monkeypatch.setenv(f"PINFLOW_{name}", value)
    mapreduce.run(MapReduce("tests.mr_jobs.sample_jobs:Fine", "fine", (Day("given"),)).to_json())


def test_a_job_says_how_much_of_a_tasks_memory_a_bucket_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    upgrade(open_database(f"sqlite:///{tmp_path}/pinflow.db"))
    monkeypatch.setattr(Fine, "bytes_a_file", None)
    buckets = []
    for share, day in zip((1 << 15, 1 << 14), DAYS, strict=True):
        publish(warehouse, day, copies=20)
        monkeypatch.setattr(Fine, "bucket_share", share)
        run(tmp_path, day, monkeypatch)
        buckets.append(warehouse.require("fine", day).buckets)
    assert buckets[0] == 2 * buckets[1] > 2


def test_files_are_in_the_buckets_that_they_are_published_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    upgrade(open_database(f"sqlite:///{tmp_path}/pinflow.db"))
    days = []
    for copies, day in zip((1, 20), DAYS, strict=True):
        publish(warehouse, day, copies=copies)
        run(tmp_path, day, monkeypatch)
        days.append(warehouse.require("fine", day))
        for part in days[-1].parts:
            keys = pl.read_parquet(f"{warehouse.path(days[-1])}/{part.name}", columns=["key"])
            assert set(bucket_of(keys, ["key"], days[-1].buckets)) == {part.bucket}
    assert 1 < days[0].buckets < days[1].buckets
    read = [read_rows(split, ["key"]) for split in bucket_splits(warehouse, days)]
    found = [key for rows in read for key in rows.texts["key"].decode(rows.texts["key"].codes)]
    assert sorted(found) == sorted(2 * KEYS)

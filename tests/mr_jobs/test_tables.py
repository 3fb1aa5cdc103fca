"""Datasets that a job joins with."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.clustering import split
from pinflow.mr_jobs.datasets import Part, Published
from pinflow.mr_jobs.launch import describe

PINS = pl.DataFrame(
    {
        "pin_id": [f"p{number}" for number in range(100)],
        "domain": [None if number % 3 == 0 else f"d{number % 7}" for number in range(100)],
        "score": [float(number) for number in range(100)],
    }
)
KEYS = pl.Series("ids", ["p7", "q", None, "p3", "p7", "p99"])


def pins(folder: Path, rows: pl.DataFrame, buckets: int) -> BatchJob:
    published = Published("pins", "2015-05-18", "_a", 1, "", rows.height, 1, (), ("pin_id",), buckets)
    parts = []
    for bucket, part in split(rows, ["pin_id"], buckets):
        parts.append(Part(f"part-{bucket:05d}.parquet", part.height, 1, bucket))
        part.write_parquet(folder / parts[-1].name)
    describe(replace(published, parts=tuple(parts)), str(folder))
    return BatchJob(["--to=parquet", f"--table=pins={folder}", "--buckets=2"])


@pytest.mark.parametrize("buckets", [1, 4, 64])
def test_keys_are_looked_up_in_their_order(tmp_path: Path, buckets: int) -> None:
    found = pins(tmp_path, PINS, buckets).looked_up("pins", KEYS, ["domain"])
    wanted = KEYS.to_frame("pin_id").join(PINS, on="pin_id", how="left", maintain_order="left")
    assert found["domain"].to_list() == wanted["domain"].to_list()
    assert found["found"].to_list() == wanted["score"].is_not_null().to_list()


def test_nothing_is_found_in_an_empty_dataset(tmp_path: Path) -> None:
    found = pins(tmp_path, PINS.clear(), 4).looked_up("pins", KEYS, ["domain"])
    assert found.rows() == [(None, False)] * len(KEYS)
    assert pins(tmp_path, PINS, 4).looked_up("pins", KEYS.clear(), ["domain"]).shape == (0, 2)


@pytest.mark.parametrize("buckets", [1, 4])
def test_a_bucket_of_a_table_has_the_rows_that_can_meet_those_of_the_job(tmp_path: Path, buckets: int) -> None:
    job = pins(tmp_path, PINS, buckets)
    assert job.table("pins").sort("pin_id").equals(PINS.sort("pin_id"))
    for bucket, rows in split(PINS, ["pin_id"], 2):
        assert sorted(job.table_bucket("pins", bucket)["pin_id"]) == sorted(rows["pin_id"])

"""Datasets that a job joins with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pinflow.mr_jobs import lookups
from pinflow.mr_jobs.clustering import split
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.datasets import Part, Published
from pinflow.mr_jobs.hashing import text_hashes
from pinflow.mr_jobs.launch import describe
from tests.mr_jobs.coded_frames import decoded

PINS = pl.DataFrame(
    {
        "pin_id": [f"p{number}" for number in range(100)],
        "domain": [None if number % 3 == 0 else f"d{number % 7}" for number in range(100)],
        "score": [float(number) for number in range(100)],
    }
)
KEYS = pl.Series("ids", ["p7", "q", None, "p3", "p7", "p99"])


def pins(folder: Path, rows: pl.DataFrame, buckets: int) -> CodedJob:
    published = Published("pins", "2015-05-18", "_a", 1, "", rows.height, 1, (), ("pin_id",), buckets)
    parts = []
    for bucket, part in split(rows, ["pin_id"], buckets):
        parts.append(Part(f"part-{bucket:05d}.parquet", part.height, 1, bucket))
        part.write_parquet(folder / parts[-1].name)
    describe(replace(published, parts=tuple(parts)), str(folder))
    return CodedJob(["--to=parquet", f"--table=pins={folder}", "--buckets=2"])


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


@pytest.mark.parametrize("size", [1, 1 << 40], ids=["kept", "too large to keep"])
@pytest.mark.parametrize("buckets", [1, 4])
def test_codes_are_looked_up_as_texts_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int, size: int
) -> None:
    monkeypatch.setattr("pinflow.mr_jobs.coded_job.size_of", lambda *_: size)
    job = pins(tmp_path, PINS.with_columns(kind=pl.lit("k")), buckets)
    for keys in (KEYS, KEYS.reverse(), KEYS.clear()):
        wanted = job.looked_up("pins", keys, ["domain", "kind"])
        rows, is_found = job.looked_up_codes("pins", keys, ["domain", "kind"])
        assert decoded(rows).rows() == wanted.select("domain", "kind").rows()
        assert is_found.tolist() == wanted["found"].to_list()
        assert all(column.values.is_unique().all() for column in rows.texts.values())


def test_no_codes_are_found_in_an_empty_dataset(tmp_path: Path) -> None:
    rows, is_found = pins(tmp_path, PINS.clear(), 4).looked_up_codes("pins", KEYS, ["domain"])
    assert decoded(rows).rows() == [(None,)] * len(KEYS)
    assert not is_found.any()


def test_keys_with_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "text_hashes", lambda texts: text_hashes(texts) % np.uint64(3))
    job = pins(tmp_path, PINS, 4)
    rows, is_found = job.looked_up_codes("pins", pl.concat([PINS["pin_id"], KEYS]), ["domain"])
    texts = rows.texts["domain"]
    assert texts.decode(texts.codes)[: len(PINS)].to_list() == PINS["domain"].to_list()
    assert is_found.tolist() == [True] * len(PINS) + [True, False, False, True, True, True]


@pytest.mark.parametrize("buckets", [1, 4])
def test_a_bucket_of_a_table_has_the_rows_that_can_meet_those_of_the_job(tmp_path: Path, buckets: int) -> None:
    job = pins(tmp_path, PINS, buckets)
    assert job.table("pins").sort("pin_id").equals(PINS.sort("pin_id"))
    for bucket, rows in split(PINS, ["pin_id"], 2):
        assert sorted(job.table_bucket("pins", bucket)["pin_id"]) == sorted(rows["pin_id"])


def test_the_size_of_a_lookup_is_that_of_its_columns(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.parquet") for number in range(2)]
    for path in paths:
        PINS.with_columns(more=pl.lit("x" * 100) + pl.col("pin_id")).write_parquet(path, use_pyarrow=True)
    small, large = (lookups.size_of(paths, ["pin_id", *more]) for more in ([], ["more"]))
    texts = 2 * int(PINS["pin_id"].str.len_bytes().sum())
    assert 200 * 40 + texts < small < 200 * 40 + 4 * texts
    assert large > small + 200 * 100

"""Datasets that a job joins with."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pinflow.mr_jobs import lookups
from pinflow.mr_jobs.clustering import split
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.hashing import text_hashes
from pinflow.mr_jobs.lookups import Lookup
from tests.mr_jobs.coded_frames import decoded, write_clustered

PINS = pl.DataFrame(
    {
        "pin_id": [f"p{number}" for number in range(100)],
        "domain": [None if number % 3 == 0 else f"d{number % 7}" for number in range(100)],
        "score": [float(number) for number in range(100)],
    }
)
KEYS = pl.Series("ids", ["p7", "q", None, "p3", "p7", "p99"])


def pins(folder: Path, rows: pl.DataFrame, buckets: int) -> CodedJob:
    write_clustered(folder, rows, "pin_id", buckets)
    return CodedJob(["--to=parquet", f"--table=pins={folder}", "--buckets=2"])


def lookup_of(job: CodedJob, columns: list[str], keys: pl.Series) -> Lookup:
    return job.lookup("pins", columns, lambda: keys)


@pytest.mark.parametrize("size", [1, 1 << 40], ids=["kept", "too large to keep"])
@pytest.mark.parametrize("buckets", [1, 4, 64])
def test_rows_are_found_as_a_join_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int, size: int
) -> None:
    monkeypatch.setattr("pinflow.mr_jobs.coded_job.size_of", lambda *_: size)
    job = pins(tmp_path, PINS.with_columns(kind=pl.lit("k")), buckets)
    lookup = lookup_of(job, ["domain", "kind"], KEYS)
    for keys in (KEYS, KEYS.reverse(), KEYS.clear()):
        wanted = keys.to_frame("pin_id").join(PINS, on="pin_id", how="left", maintain_order="left")
        rows, is_found = lookup.find(keys)
        assert decoded(rows)["domain"].to_list() == wanted["domain"].to_list()
        assert decoded(rows)["kind"].to_list() == ["k" if known else None for known in is_found]
        assert is_found.tolist() == wanted["score"].is_not_null().to_list()
        assert all(column.values.is_unique().all() for column in rows.texts.values())


def test_of_a_dataset_too_large_to_keep_only_some_rows_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinflow.mr_jobs.coded_job.size_of", lambda *_: 1 << 40)
    lookup = lookup_of(pins(tmp_path, PINS, 4), ["domain"], KEYS)
    assert sorted(lookup.keys) == ["p3", "p7", "p99"]
    assert lookup.find(pl.Series(["p8"]))[1].tolist() == [False]
    nothing = lookup_of(pins(tmp_path, PINS, 4), ["domain"], KEYS.clear())
    assert not nothing.find(KEYS)[1].any()


def test_no_codes_are_found_in_an_empty_dataset(tmp_path: Path) -> None:
    rows, is_found = lookup_of(pins(tmp_path, PINS.clear(), 4), ["domain"], KEYS).find(KEYS)
    assert decoded(rows).rows() == [(None,)] * len(KEYS)
    assert not is_found.any()


def test_keys_with_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "text_hashes", lambda texts: text_hashes(texts) % np.uint64(3))
    job = pins(tmp_path, PINS, 4)
    keys = pl.concat([PINS["pin_id"], KEYS])
    rows, is_found = lookup_of(job, ["domain"], keys).find(keys)
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

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pinflow.errors import DamagedFileError, InputMissingError, PinflowError, StaleFenceError
from pinflow.mr_jobs.datasets import Part, Published, Warehouse
from pinflow.storage import LocalStorage

DAY = date(2015, 5, 18)
FIRST = Published(
    dataset="pins",
    date="2015-05-18",
    attempt="_attempt-run1-1-5",
    fence=5,
    identity="abc",
    rows=3,
    bytes=120,
    parts=(Part("part-00000.parquet", 2, 80, 0), Part("part-00001.parquet", 1, 40, 1)),
    clustered_by=("pin_id",),
    buckets=2,
    run_id="run1",
    inputs=(("events", "2015-05-18", "_attempt-x"),),
)
SECOND = replace(FIRST, attempt="_attempt-run2-1-6", fence=6, rows=4)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(str(tmp_path / "warehouse"))


def current(warehouse: Warehouse) -> Path:
    return Path(warehouse.folder("pins", DAY), "current.json")


def test_what_is_published_is_read_back(warehouse: Warehouse) -> None:
    assert warehouse.current("pins", DAY) is None
    warehouse.publish(FIRST)
    assert warehouse.current("pins", DAY) == FIRST
    assert warehouse.path(FIRST) == f"{warehouse.url}/pins/date=2015-05-18/_attempt-run1-1-5"


def test_all_files_of_an_attempt_are_synced_before_it_is_published(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(warehouse.path(FIRST))
    (folder / "_stats").mkdir(parents=True)
    files = [folder / name for name in ("part-00000.parquet", "_stats/job.thrift.gz")]
    for path in files:
        path.write_bytes(b"1")
    synced: dict[str, bool] = {}

    def sync(descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        synced.setdefault(path, current(warehouse).exists())

    monkeypatch.setattr(os, "fsync", sync)
    warehouse.publish(FIRST)
    before = [*files, folder / "_stats", folder, folder.parent]
    assert {path: synced[str(path)] for path in before} == dict.fromkeys(before, False)


def test_a_later_fence_replaces_and_a_lower_one_is_refused(warehouse: Warehouse) -> None:
    warehouse.publish(SECOND)
    before = current(warehouse).read_bytes()
    with pytest.raises(StaleFenceError, match=r"_attempt-run1-1-5 \(fence 5\).*_attempt-run2-1-6 \(fence 6\)"):
        warehouse.publish(FIRST)
    assert current(warehouse).read_bytes() == before
    warehouse.publish(replace(FIRST, fence=7))
    assert warehouse.require("pins", DAY).fence == 7


def test_the_same_attempt_may_publish_again(warehouse: Warehouse) -> None:
    warehouse.publish(FIRST)
    warehouse.publish(FIRST)
    assert warehouse.current("pins", DAY) == FIRST


@pytest.mark.parametrize("content", [b"", b'{"dataset": "pins"', b"[]", b"{}", b'{"parts": [{"odd": 1}]}', b"\xff"])
def test_a_damaged_file_is_named(warehouse: Warehouse, content: bytes) -> None:
    warehouse.publish(FIRST)
    current(warehouse).write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"pins/date=2015-05-18/current\.json"):
        warehouse.current("pins", DAY)
    with pytest.raises(DamagedFileError, match=r"current\.json"):
        warehouse.publish(SECOND)
    assert current(warehouse).read_bytes() == content


def test_a_rebuild_replaces_a_damaged_file_but_no_later_attempt(warehouse: Warehouse) -> None:
    warehouse.publish(SECOND)
    with pytest.raises(StaleFenceError):
        warehouse.publish(FIRST, rebuild=True)
    current(warehouse).write_bytes(b"{")
    warehouse.publish(FIRST, rebuild=True)
    assert warehouse.current("pins", DAY) == FIRST


def test_a_damaged_day_does_not_hide_the_others(warehouse: Warehouse) -> None:
    other = replace(FIRST, date="2015-05-19")
    warehouse.publish(FIRST)
    warehouse.publish(other)
    current(warehouse).write_bytes(b"{")
    damaged: list[DamagedFileError] = []
    assert list(warehouse.published_days("pins", damaged.append)) == [other]
    assert ["date=2015-05-18" in str(error) for error in damaged] == [True]
    assert list(warehouse.published_days("pins", pytest.fail, date(2015, 5, 19))) == [other]


def test_a_day_whose_deletion_is_cut_short_is_not_published(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.publish(FIRST)
    part = Path(warehouse.path(FIRST), "part-00000.parquet")
    part.parent.mkdir()
    part.touch()
    delete, calls = LocalStorage.delete, iter([True])

    def fail_after_the_first(self: LocalStorage, path: str, *, recursive: bool = False) -> None:
        if not next(calls, False):
            raise PinflowError("the machine died")
        delete(self, path, recursive=recursive)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "delete", fail_after_the_first)
        with pytest.raises(PinflowError, match="died"):
            warehouse.delete_day("pins", DAY)
    assert warehouse.current("pins", DAY) is None
    assert part.exists()
    warehouse.delete_day("pins", DAY)
    assert warehouse.days("pins") == []


def test_unknown_keys_of_later_versions_are_skipped(warehouse: Warehouse) -> None:
    warehouse.publish(FIRST)
    values = json.loads(current(warehouse).read_bytes())
    current(warehouse).write_text(json.dumps(values | {"new": 1}))
    assert warehouse.current("pins", DAY) == FIRST


def test_readers_see_one_whole_attempt(warehouse: Warehouse) -> None:
    for published, content in ((FIRST, "old"), (SECOND, "new")):
        folder = Path(warehouse.attempt_folder("pins", DAY, published.attempt.removeprefix("_attempt-")))
        folder.mkdir(parents=True)
        for part in published.parts:
            (folder / part.name).write_text(content)
            assert read(warehouse) in ([], ["old", "old"])
        warehouse.publish(published)
        assert read(warehouse) == [content, content]
    assert [name for name, _ in warehouse.attempts("pins", DAY)] == [FIRST.attempt, SECOND.attempt]


def read(warehouse: Warehouse) -> list[str]:
    published = warehouse.current("pins", DAY)
    if published is None:
        return []
    return [Path(warehouse.path(published), part.name).read_text() for part in published.parts]


def test_a_day_that_is_missing_is_said_to_be_missing(warehouse: Warehouse) -> None:
    with pytest.raises(InputMissingError, match=r"2015-05-18.*pinflow datasets pins"):
        warehouse.require("pins", DAY)


def test_days_and_datasets_are_listed_in_order(warehouse: Warehouse) -> None:
    assert warehouse.datasets() == []
    warehouse.publish(replace(FIRST, date="2015-05-19"))
    warehouse.publish(FIRST)
    Path(warehouse.folder("pins", "2015-05-17")).mkdir()
    Path(warehouse.url, "pins", "date=odd").mkdir()
    Path(warehouse.url, "_other").mkdir()
    assert warehouse.datasets() == ["pins"]
    assert warehouse.days("pins") == [date(2015, 5, 17), DAY, date(2015, 5, 19)]
    assert [p.date for p in warehouse.published_days("pins", pytest.fail)] == ["2015-05-18", "2015-05-19"]


def test_only_what_lies_below_the_warehouse_is_deleted(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(PinflowError, match="not below the warehouse"):
        warehouse.delete(str(tmp_path / "other"))
    assert (tmp_path / "other").exists()

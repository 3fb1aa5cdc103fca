"""Periods that are loaded at once: seen like rows that were put one by one, on every store."""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.errors import StaleFenceError
from pinflow.hbase_schema.embedded import EmbeddedStore
from pinflow.hbase_schema.keys import parse_key, row_key
from pinflow.hbase_schema.markers import read_marker
from pinflow.hbase_schema.reader import metrics, subjects
from pinflow.hbase_schema.rows import metric_rows
from pinflow.hbase_schema.store import KEY_ONLY, Store, ending_with
from pinflow.hbase_schema.tables import METRICS
from pinflow.hbase_schema.writer import expire, write_periods

DAY = date(2015, 5, 18)
STARTS = {"daily": DAY, "weekly": DAY, "monthly": date(2015, 5, 1)}
TABLE = "analytics_metrics"


def packed(likes: dict[str, int], platforms: Sequence[str] = ("all",)) -> list[pl.DataFrame]:
    rows = [(name, platform, number) for name, number in likes.items() for platform in platforms]
    frame = pl.DataFrame(
        rows,
        orient="row",
        schema={"subject": pl.String, "platform": pl.String, "like": pl.Int64},
    )
    return [metric_rows(frame, ["like"])]


def likes(store: Store, subject: str, aggregation: str = "daily") -> list[int]:
    return [int(row.metrics["like"]) for row in metrics(store, subject, aggregation=aggregation).rows]


def test_periods_of_equal_rows_are_loaded_at_once(store: Store) -> None:
    results = write_periods(store, METRICS, STARTS, packed({"d:a": 1, "d:b": 2}), version="1", fence=5)
    assert {name: (r.rows, r.cells, r.deleted_rows) for name, r in results.items()} == dict.fromkeys(STARTS, (2, 2, 0))
    for aggregation in STARTS:
        assert likes(store, "d:a", aggregation) == [1]
        assert likes(store, "d:b", aggregation) == [2]
    assert subjects(store) == ["d:a", "d:b"]


def test_one_of_them_can_be_replaced(store: Store) -> None:
    write_periods(store, METRICS, STARTS, packed({"d:a": 1, "d:b": 2}), version="1", fence=5)
    results = write_periods(store, METRICS, {"weekly": DAY}, packed({"d:b": 3, "d:c": 4}), version="2", fence=6)
    assert results["weekly"].deleted_rows == 1
    assert [likes(store, name, "weekly") for name in ("d:a", "d:b", "d:c")] == [[], [3], [4]]
    assert [likes(store, name) for name in ("d:a", "d:b", "d:c")] == [[1], [2], []]


def test_single_rows_of_a_loaded_period_can_be_changed(store: Store) -> None:
    write_periods(store, METRICS, STARTS, packed({"d:a": 1, "d:b": 2}), version="1")
    table = store.table(TABLE)
    table.put(row_key("d:a", "all", "daily", DAY), {b"m:like": b"7"})
    table.delete(row_key("d:b", "all", "daily", DAY))
    assert (likes(store, "d:a"), likes(store, "d:b")) == ([7], [])
    assert (likes(store, "d:a", "weekly"), likes(store, "d:b", "weekly")) == ([1], [2])


def test_expired_periods_leave_nothing(store: Store) -> None:
    write_periods(store, METRICS, STARTS, packed({"d:a": 1, "d:b": 2}), version="1")
    planned = expire(store, date(2015, 5, 25), dry_run=True)
    assert [(period.aggregation, period.rows) for period in planned] == [("daily", 2), ("weekly", 2)]
    assert expire(store, date(2015, 5, 25)) == planned
    assert (likes(store, "d:a"), likes(store, "d:a", "monthly")) == ([], [1])
    expire(store, date(2015, 7, 1))
    assert list(store.table(TABLE).scan()) == []


def test_segments_are_shared_and_dropped_with_their_last_period(tmp_path: Path) -> None:
    file = tmp_path / "serving.db"
    with EmbeddedStore(file) as store:
        write_periods(store, METRICS, STARTS, packed({"d:a": 1}), version="1")
        assert segment_tables(file) == ["segment_1"]
        write_periods(store, METRICS, {"weekly": DAY}, packed({"d:a": 2}), version="2")
        assert segment_tables(file) == ["segment_1", "segment_2"]
        write_periods(store, METRICS, STARTS, packed({"d:a": 3}), version="3")
        assert segment_tables(file) == ["segment_3"]


def test_a_slow_reader_goes_on_when_its_period_is_replaced(store: Store) -> None:
    names = [f"d:{number:04}" for number in range(50)]
    write_periods(store, METRICS, {"daily": DAY}, packed(dict.fromkeys(names, 1)), version="1")
    scan = store.table(TABLE).scan(row_start=b"0", batch_size=10)
    first = [next(scan)[0] for _ in range(5)]
    write_periods(store, METRICS, {"daily": DAY}, packed(dict.fromkeys(names, 2)), version="2")
    keys = first + [key for key, _ in scan]
    assert keys == sorted(row_key(name, "all", "daily", DAY) for name in names)


def test_a_slow_reader_of_a_dropped_segment_sees_no_others_rows(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "serving.db") as store:
        store.create_tables()
        write_periods(store, METRICS, {"daily": DAY}, packed({f"d:{n}": 1 for n in range(50)}), version="1")
        scan = store.table(TABLE).scan(row_start=b"0", batch_size=10)
        next(scan)
        expire(store, date(2015, 5, 20))
        write_periods(store, METRICS, {"weekly": DAY}, packed({f"d:{n}": 1 for n in range(50, 99)}), version="1")
        assert {parse_key(key).userparam for key, _ in scan} <= {f"d:{n}" for n in range(50)}


def segment_tables(file: Path) -> list[str]:
    with sqlite3.connect(file) as connection:
        return [
            n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'segment!_%' ESCAPE '!'")
        ]


PLATFORMS = st.sets(st.sampled_from(["all", "web", "web2", "we", "w_b", "ü"]), min_size=1)
NAMES = st.sets(st.text(alphabet="ab_%Z!é", max_size=3).map(lambda text: f"d:{text}"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES, PLATFORMS, st.binary(max_size=3), st.integers(0, 40), st.integers(1, 7), st.integers(1, 90))
def test_scans_see_the_same_rows_whether_loaded_or_put(
    loaded: set[str], put: set[str], platforms: set[str], more: bytes, cut: int, size: int, block_bytes: int
) -> None:
    flags = {"filter": KEY_ONLY} if cut % 2 else {}
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore(Path(folder, "a.db")) as store:
        with patch("pinflow.hbase_schema.rows.BLOCK_BYTES", block_bytes):
            rows = packed(dict.fromkeys(loaded, 1), sorted(platforms))
            write_periods(store, METRICS, {"daily": DAY, "weekly": DAY}, rows, version="1")
        other = date(2015, 5, 19)
        table = store.table(TABLE)
        with table.batch() as batch:
            for name in put:
                batch.put(row_key(name, "all", "daily", other), {b"m:like": b"1"})
        expected = sorted(
            [row_key(name, p, period, DAY) for name in loaded for p in platforms for period in ("daily", "weekly")]
            + [row_key(name, "all", "daily", other) for name in put]
        )
        start = (expected[cut % len(expected)][:cut] if expected else b"") + more
        start = max(start, b"0")
        found = [key for key, _ in table.scan(row_start=start, batch_size=size, **flags)]
        assert found == [key for key in expected if key >= start]
        ending = ending_with(b"_weekly_2015-05-18")
        assert [key for key, _ in table.scan(row_start=b"0", filter=ending)] == [
            k for k in expected if b"_weekly_" in k
        ]
        for key in expected:
            assert table.row(key) == {b"m:like": b"1"}


def test_a_writer_that_was_overtaken_leaves_nothing(store: Store) -> None:
    write_periods(store, METRICS, {"daily": DAY}, packed({"d:a": 1}), version="1", fence=5)
    with pytest.raises(StaleFenceError):
        write_periods(store, METRICS, STARTS, packed({"d:a": 2, "d:b": 2}), version="2", fence=4)
    assert (likes(store, "d:a"), likes(store, "d:b"), likes(store, "d:a", "weekly")) == ([1], [], [])


@pytest.fixture(params=["at once", "row by row"])
def writing(request: pytest.FixtureRequest, store: Store) -> Store:
    """Every store, and each of them with the periods written one by one."""
    store.loads_periods = store.loads_periods and request.param == "at once"
    return store


def test_a_longer_period_of_a_later_writer_is_left_out_and_the_rest_written(writing: Store) -> None:
    write_periods(writing, METRICS, {"weekly": DAY}, packed({"d:a": 9}), version="later", fence=9)
    results = write_periods(writing, METRICS, STARTS, packed({"d:a": 1, "d:b": 2}), version="earlier", fence=8)
    assert {name: result.rows for name, result in results.items()} == {"daily": 2, "monthly": 2}
    assert [likes(writing, "d:a", aggregation) for aggregation in STARTS] == [[1], [9], [1]]
    assert likes(writing, "d:b", "weekly") == []
    markers = {name: read_marker(writing, METRICS, name, start) for name, start in STARTS.items()}
    assert {name: (m.version, m.fence) for name, m in markers.items() if m} == {
        "daily": ("earlier", 8),
        "weekly": ("later", 9),
        "monthly": ("earlier", 8),
    }
    assert write_periods(writing, METRICS, {"weekly": DAY}, packed({"d:c": 1}), version="earlier", fence=8) == {}
    assert likes(writing, "d:c", "weekly") == []


def test_a_later_writer_that_comes_before_the_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "serving.db"
    load = EmbeddedStore.bulk_load
    later = iter(["weekly", "monthly"])

    def overtaken(store: EmbeddedStore, *arguments: Any) -> list[int]:
        for name in islice(later, 1):
            with EmbeddedStore(file) as other, monkeypatch.context() as undisturbed:
                undisturbed.setattr(EmbeddedStore, "bulk_load", load)
                write_periods(other, METRICS, {name: STARTS[name]}, packed({"d:a": 9}), version="later", fence=9)
        return load(store, *arguments)

    monkeypatch.setattr(EmbeddedStore, "bulk_load", overtaken)
    with EmbeddedStore(file) as store:
        results = write_periods(store, METRICS, STARTS, packed({"d:a": 1, "d:b": 2}), version="earlier", fence=8)
        assert list(results) == ["daily"]
        assert [likes(store, "d:a", aggregation) for aggregation in STARTS] == [[1], [9], [9]]
        assert [likes(store, "d:b", aggregation) for aggregation in STARTS] == [[2], [], []]


def test_another_writer_does_not_wait_while_rows_are_made(tmp_path: Path) -> None:
    def made() -> Iterator[pl.DataFrame]:
        with EmbeddedStore(file) as other:
            write_periods(other, METRICS, {"weekly": DAY}, packed({"d:b": 2}), version="1")
        yield from packed({"d:a": 1})

    file = tmp_path / "serving.db"
    with EmbeddedStore(file) as store:
        write_periods(store, METRICS, {"daily": DAY}, made(), version="1")
        assert (likes(store, "d:a"), likes(store, "d:b", "weekly")) == ([1], [2])
        with pytest.raises(ZeroDivisionError):
            write_periods(store, METRICS, {"daily": DAY}, (1 / 0 for _ in "x"), version="2")
        write_periods(store, METRICS, {"daily": DAY}, packed({"d:a": 3}), version="2")
        assert likes(store, "d:a") == [3]


def test_rows_that_are_made_lie_beside_the_store(tmp_path: Path) -> None:
    """Elsewhere there may be too little room for them."""
    random = Random(1)
    many = {f"d:{random.randbytes(60).hex()}": 1 for _ in range(60_000)}
    opened: list[str] = []

    def made() -> Iterator[pl.DataFrame]:
        yield from packed(many)
        opened.extend(str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink())

    with EmbeddedStore(tmp_path / "it's/serving.db") as store:
        write_periods(store, METRICS, {"daily": DAY}, made(), version="1")
        temporary = [name for name in opened if name.endswith("(deleted)") and str(tmp_path) in name]
        assert temporary
        assert not list((tmp_path / "it's").glob("*etilqs*"))


def test_a_load_within_a_transaction_is_a_part_of_it(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "serving.db") as store:
        write_periods(store, METRICS, {"daily": DAY}, packed({"d:a": 1}), version="1")
        for name in ("d:b", "d:c"):
            with suppress(ZeroDivisionError), store.transaction():
                store.table(TABLE).put(row_key("d:a", "all", "weekly", DAY), {b"m:like": b"7"})
                write_periods(store, METRICS, {"daily": DAY}, packed({name: 2}), version="2")
                raise ZeroDivisionError
        assert (likes(store, "d:a"), likes(store, "d:b")) == ([1], [])
        with store.transaction():
            for number in (2, 3):
                write_periods(store, METRICS, {"daily": DAY}, packed({"d:a": number}), version="2")
        assert likes(store, "d:a") == [3]

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, PinflowError, StaleFenceError
from pinflow.hbase_schema.keys import row_key
from pinflow.hbase_schema.markers import published, read_marker
from pinflow.hbase_schema.packing import pack_cells, unpack_cells
from pinflow.hbase_schema.reader import audience, metrics
from pinflow.hbase_schema.store import Store
from pinflow.hbase_schema.tables import AUDIENCES, METRICS, TOP_ITEMS, Row
from pinflow.hbase_schema.writer import expire, write_period

DAY = date(2015, 5, 18)


def made(
    values: dict[str, dict[str, int]], day: date = DAY, aggregation: str = "daily", family: str = "m"
) -> list[Row]:
    return sorted(
        row(
            row_key(userparam, "all", aggregation, day),
            {f"{family}:{name}".encode(): b"%d" % n for name, n in cells.items()},
        )
        for userparam, cells in values.items()
    )


def row(key: bytes, cells: dict[bytes, bytes]) -> Row:
    return Row(key, pack_cells(cells), len(cells))


def keys(store: Store) -> list[bytes]:
    return [key for key, _ in store.table("analytics_metrics").scan(row_start=b"0")]


def test_a_period_is_seen_with_its_marker(store: Store) -> None:
    result = write_period(store, METRICS, "daily", DAY, made({"d:a": {"like": 1, "pins": 2}}), version="v1", fence=7)
    assert result == (1, 2, 0, 0)
    assert metrics(store, "d:a").rows[0].metrics == {"like": 1, "pins": 2}
    marker = read_marker(store, METRICS, "daily", DAY)
    assert marker == ("metrics", "daily", DAY, "v1", 1, 7)


def test_rewriting_removes_what_vanished_and_nothing_else(store: Store) -> None:
    for day in (DAY, date(2015, 5, 19)):
        write_period(store, METRICS, "daily", day, made({"d:a": {"x": 1, "y": 1}, "d:b": {"x": 1}}, day), version="1")
    week = made({"d:b": {"x": 9}}, aggregation="weekly")
    write_period(store, METRICS, "weekly", DAY, week, version="1")
    write_period(store, AUDIENCES, "daily", DAY, made({"a:d:b": {"country/US": 1}}), version="1")
    result = write_period(store, METRICS, "daily", DAY, made({"d:a": {"y": 2}, "d:c": {}}), version="2")
    assert result == (1, 1, 1, 1)
    assert [row.metrics for row in metrics(store, "d:a").rows] == [{"y": 2}, {"x": 1, "y": 1}]
    assert [row.date.day for row in metrics(store, "d:b").rows] == [19]
    assert metrics(store, "d:b", aggregation="weekly").rows[0].metrics == {"x": 9}
    found = audience(store, "d:b", day=DAY)
    assert found is not None
    assert found["country"] == {"US": 1}
    assert write_period(store, AUDIENCES, "daily", DAY, [], version="2").deleted_rows == 1
    assert [row.metrics for row in metrics(store, "d:a").rows] == [{"y": 2}, {"x": 1, "y": 1}]


VALUES = st.dictionaries(
    st.text(alphabet="ab_%é", max_size=3).map(lambda text: f"d:{text}"),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(0, 3), min_size=1),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(1, 5))
def test_the_last_version_is_all_that_is_left(
    store: Store, versions: list[dict[str, dict[str, int]]], batch_cells: int
) -> None:
    for number, values in enumerate(versions):
        write_period(store, METRICS, "daily", DAY, made(values), version=str(number), batch_cells=batch_cells)
    expected = [(row.key, unpack_cells(row.packed)) for row in made(versions[-1])]
    assert list(store.table("analytics_metrics").scan(row_start=b"0")) == expected


def test_many_pages_of_stored_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinflow.hbase_schema.writer._PAGE_ROWS", 3)
    write_period(store, METRICS, "daily", DAY, made({f"d:{n}": {"x": n} for n in range(0, 60, 2)}), version="1")
    new = made({f"d:{n}": {"x": n} for n in range(0, 60, 3)})
    result = write_period(store, METRICS, "daily", DAY, new, version="2", batch_cells=2)
    assert result == (20, 20, 20, 0)
    assert keys(store) == [row.key for row in new]


def failing(rows: list[Row]) -> Iterator[Row]:
    yield from rows
    raise ZeroDivisionError


def test_a_writer_that_fails_leaves_the_marker(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        write_period(
            store, METRICS, "daily", DAY, failing(made({"d:a": {"x": 1}, "d:b": {"x": 1}})), version="1", batch_cells=1
        )
    assert len(keys(store)) == 2
    assert metrics(store, "d:a").rows == []
    assert published(store, METRICS, "daily") == {}
    assert write_period(store, METRICS, "daily", DAY, made({"d:b": {"x": 2}}), version="2").deleted_rows == 1
    with pytest.raises(ZeroDivisionError):
        write_period(store, METRICS, "daily", DAY, failing(made({"d:b": {"x": 3}})), version="3")
    assert published(store, METRICS, "daily")[DAY].version == "2"


KILLED = """
import os, signal, sys
from datetime import date
from pinflow.hbase_schema.keys import row_key
from pinflow.hbase_schema.packing import pack_cells
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import METRICS, Row
from pinflow.hbase_schema.writer import write_period
def rows():
    keys = sorted(row_key(f"d:{n}", "all", "daily", date(2015, 5, 18)) for n in range(50))
    for number, key in enumerate(keys):
        if number == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        yield Row(key, pack_cells({b"m:x": b"2"}), 1)
write_period(open_store(sys.argv[1]), METRICS, "daily", date(2015, 5, 18), rows(), version="2", batch_cells=10)
"""


@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_killed_writer_and_a_second_one(tmp_path: Path, rebuilt: bool) -> None:
    from pinflow.hbase_schema.store import open_store

    file = tmp_path / "serving.db"
    rows = made({f"d:{n}": {"x": 1} for n in range(50)})
    with open_store(str(file)) as store:
        if rebuilt:
            write_period(store, METRICS, "daily", DAY, rows, version="1")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(file)], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    with open_store(str(file)) as store:
        seen = [row.metrics["x"] for n in range(50) for row in metrics(store, f"d:{n}").rows]
        assert sorted(seen) == ([1] * 20 + [2] * 30 if rebuilt else [])
        assert [m.version for m in published(store, METRICS, "daily").values()] == (["1"] if rebuilt else [])
        write_period(store, METRICS, "daily", DAY, rows[:10], version="3")
        assert keys(store) == [row.key for row in rows[:10]]


def test_a_later_fence_is_respected(store: Store) -> None:
    write_period(store, METRICS, "daily", DAY, made({"d:a": {"x": 1}}), version="1", fence=9)
    with pytest.raises(StaleFenceError, match="fence 9"):
        write_period(store, METRICS, "daily", DAY, made({"d:a": {"x": 2}}), version="2", fence=8)
    assert metrics(store, "d:a").rows[0].metrics == {"x": 1}

    def overtaken() -> Iterator[Row]:
        yield from made({"d:a": {"x": 2}})
        write_period(store, METRICS, "daily", DAY, made({"d:a": {"x": 3}}), version="3", fence=11)

    with pytest.raises(StaleFenceError, match="fence 11"):
        write_period(store, METRICS, "daily", DAY, overtaken(), version="2", fence=10)
    write_period(store, METRICS, "daily", DAY, made({"d:a": {"x": 4}}), version="by hand")
    marker = read_marker(store, METRICS, "daily", DAY)
    assert marker is not None
    assert (marker.version, marker.fence) == ("by hand", 11)


def test_wrong_rows_are_refused(store: Store) -> None:
    rows = made({"d:a": {"x": 1}, "d:b": {"x": 1}})
    for wrong in (
        rows[::-1],
        [rows[0], rows[0]],
        made({"d:a": {"x": 1}}, date(2015, 5, 19)),
        made({"a:d:a": {"x": 1}}),
    ):
        with pytest.raises(PinflowError):
            write_period(store, METRICS, "daily", DAY, wrong, version="1")
    with pytest.raises(ConfigurationError, match="starts on 2015-05-18"):
        write_period(store, METRICS, "weekly", date(2015, 5, 19), [], version="1")
    assert published(store, METRICS, "daily") == {}


def test_expiry(store: Store) -> None:
    for day in (date(2015, 5, 17), DAY):
        write_period(store, METRICS, "daily", day, made({"d:a": {"x": 1}, "d:b": {"x": 1}}, day), version="1")
        write_period(store, TOP_ITEMS, "daily", day, made({"d:a": {"pins/like/001": 1}}, day, family="t"), version="1")
    month = date(2015, 5, 1)
    write_period(store, METRICS, "monthly", month, made({"d:a": {"x": 2}}, month, "monthly"), version="1")
    old = date(2015, 5, 16)
    with pytest.raises(ZeroDivisionError):
        write_period(
            store, AUDIENCES, "daily", old, failing(made({"a:d:a": {"country/US": 1}}, old)), version="1", batch_cells=1
        )
    expected = [
        ("metrics", "daily", date(2015, 5, 17), 2),
        ("audience", "daily", old, 1),
        ("topitems", "daily", date(2015, 5, 17), 1),
    ]
    assert expire(store, DAY, dry_run=True) == expected
    assert len(keys(store)) == 6
    assert expire(store, DAY) == expected
    assert len(keys(store)) == 3
    assert expire(store, DAY) == []
    assert list(published(store, METRICS, "daily")) == [DAY]
    assert metrics(store, "d:a", aggregation="monthly").rows[0].metrics == {"x": 2}

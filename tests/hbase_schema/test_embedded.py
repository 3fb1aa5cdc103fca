import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, DamagedFileError, PinflowError
from pinflow.hbase_schema.embedded import EmbeddedStore
from pinflow.hbase_schema.packing import pack_cells, unpack_cells
from pinflow.hbase_schema.store import open_store


@given(st.dictionaries(st.binary(), st.binary(), max_size=5))
def test_cells_can_be_read_back_and_cuts_are_seen(cells: dict[bytes, bytes]) -> None:
    data = pack_cells(cells)
    assert unpack_cells(data) == cells
    if data and not data.endswith(b"0:"):
        with pytest.raises(ValueError):
            unpack_cells(data[:-1])


def test_what_is_no_store(tmp_path: Path) -> None:
    for url in ("ftp://x", "", "hbase://", "hbase://host:port", "hbase://host:1/x"):
        with pytest.raises(ConfigurationError, match="hbase://host:port"):
            open_store(url)
    with pytest.raises(ConfigurationError, match="analytics_metrics"):
        EmbeddedStore(tmp_path / "x").table("metrics")
    with pytest.raises(ConfigurationError, match="filter"):
        list(EmbeddedStore(tmp_path / "x").table("analytics_metrics").scan(filter=b"PageFilter(1)"))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "serving.db"
    file.write_bytes(b"nonsense" * 1000)
    with pytest.raises(DamagedFileError, match=r"serving\.db"), EmbeddedStore(file) as store:
        store.table("analytics_metrics").row(b"k")
    cut = tmp_path / "cut.db"
    with EmbeddedStore(cut) as store:
        store.create_tables()
        store.writing().execute("INSERT INTO analytics_metrics VALUES (?, ?)", [b"k", b"\x01\x00"])
        with pytest.raises(DamagedFileError, match=r"cut\.db"):
            store.table("analytics_metrics").row(b"k")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PinflowError, match="pinflow doctor"):
        EmbeddedStore(tmp_path / "file" / "serving.db").create_tables()
    with pytest.raises(PinflowError, match="no serving store"):
        EmbeddedStore(tmp_path / "file").create_tables()
    with pytest.raises(PinflowError, match="no tables"):
        EmbeddedStore(tmp_path / "none.db").table("analytics_metrics").put(b"k", {b"m:a": b"1"})


def test_a_full_disk_stores_nothing_of_the_batch(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "serving.db") as store:
        store.create_tables()
        table = store.table("analytics_metrics")
        table.put(b"old", {b"m:a": b"1"})
        store.writing().execute("PRAGMA max_page_count = 20")
        batch = table.batch()
        batch.put(b"new", {b"m:a": b"1"})
        batch.put(b"large", {b"m:a": b"x" * 1_000_000})
        with pytest.raises(PinflowError, match="full"):
            batch.send()
        assert [key for key, _ in table.scan()] == [b"old"]


CREATING = """
import sys
from pinflow.hbase_schema.embedded import EmbeddedStore
sys.stdin.read()
for number in range(30):
    with EmbeddedStore(f"{sys.argv[1]}/{number}.db") as store:
        store.create_tables()
        store.table("analytics_metrics").put(sys.argv[2].encode(), {b"m:a": b"1"})
"""


def test_processes_that_create_the_file_at_once(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    started = [
        subprocess.Popen([sys.executable, "-c", CREATING, str(tmp_path), name], stdin=subprocess.PIPE) for name in names
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0, 0, 0]
    for number in range(30):
        with EmbeddedStore(tmp_path / f"{number}.db") as store:
            assert [key.decode() for key, _ in store.table("analytics_metrics").scan()] == names
    assert not list(tmp_path.glob(".*"))


def test_what_a_kill_left_is_removed_at_the_next_creation(tmp_path: Path) -> None:
    dying = "embedded_file.TABLES = type('Dying', (dict,), {'__iter__': lambda _: os._exit(9)})()"
    code = f"import os, pathlib, sys; from pinflow.hbase_schema import embedded_file; {dying}"
    create = "embedded_file.create_file(pathlib.Path(sys.argv[1]))"
    killed = subprocess.run([sys.executable, "-c", f"{code}; {create}", str(tmp_path / "a[1].db")])
    assert killed.returncode == 9
    (left,) = tmp_path.iterdir()
    assert (left / "new.db").exists()
    (tmp_path / ".other.db-x").mkdir()
    with EmbeddedStore(tmp_path / "a[1].db") as store:
        store.create_tables()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.db-x", "a[1].db"]


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "serving.db") as writer, EmbeddedStore(tmp_path / "serving.db") as reader:
        writer.create_tables()
        writer.table("analytics_metrics").put(b"k", {b"m:a": b"1"})
        writer.writing().execute("BEGIN IMMEDIATE")
        writer.writing().execute("DELETE FROM analytics_metrics")
        assert reader.table("analytics_metrics").row(b"k") == {b"m:a": b"1"}


def test_a_period_is_found_by_the_index(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "serving.db") as store:
        store.create_tables()
    database = sqlite3.connect(tmp_path / "serving.db")
    plan = database.execute(
        "EXPLAIN QUERY PLAN SELECT key FROM analytics_metrics WHERE substr(key, -10) = ? AND key >= ? ORDER BY key",
        [b"2015-05-18", b""],
    ).fetchall()
    database.close()
    assert "analytics_metrics_by_end" in plan[0][-1]
    assert len(plan) == 1

"""The scheduler's benchmark runs as it is documented, here with few jobs."""

import sqlite3

import pytest
from click.testing import CliRunner

from benchmarks.scheduler.__main__ import main
from benchmarks.scheduler.claims import fill
from benchmarks.scheduler.floors import raw_claims, start_floors
from benchmarks.scheduler.shapes import milliseconds_a_job, open_with, start_seconds, worker_milliseconds_a_job


def test_overhead(tmp_path):
    url = f"sqlite:///{tmp_path / 'pinflow.db'}"
    pair = {"first": [], "second": ["first"]}
    for full in (False, True):
        found = milliseconds_a_job(url, tmp_path, 1, shapes={"pair": pair}, full=full)
        assert found.keys() == {"pair_ms", "pair_cpu_ms"}
        assert 0 < found["pair_ms"] < 10_000
    assert 0 < worker_milliseconds_a_job(url, tmp_path, 1, pair) < 10_000
    assert 0 < start_seconds(url, tmp_path, 1) < 60


def test_full_waits_for_the_disk(tmp_path):
    for full, synchronous in ((False, 1), (True, 2)):  # by the numbers of SQLite's documentation
        with open_with(f"sqlite:///{tmp_path / 'pinflow.db'}", full=full).connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous


def test_the_floors_of_a_start():
    floors = start_floors(1)
    assert 0 < floors["python_start_s"] < floors["libraries_start_s"] < 60


@pytest.mark.mariadb
def test_the_floor_of_claims(mariadb):
    assert raw_claims(mariadb.create(), 2, 0.5) > 0


def test_old_jobs_are_added_to_those_that_are_there(tmp_path):
    url = f"sqlite:///{tmp_path / 'pinflow.db'}"
    fill(url, 0, 3)
    fill(url, 3, 5)
    with sqlite3.connect(tmp_path / "pinflow.db") as database:
        counts = [
            database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("job", "attempt", "event")
        ]
    assert counts == [5, 5, 15]


def test_unknown_store():
    assert CliRunner().invoke(main, ["--stores", "oracle"]).exit_code == 2

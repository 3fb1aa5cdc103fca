"""An SQLite file that another process keeps locked for longer than a statement waits is waited for like a server."""

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pinflow import database
from pinflow.database import open_database
from pinflow.errors import PinflowError
from pinflow.scheduler import reading, tables
from pinflow.scheduler.declare import Job
from pinflow.scheduler.processes import Place
from pinflow.scheduler.records import Event
from pinflow.scheduler.run import execute
from pinflow.scheduler.store import Store
from pinflow.zygote import Zygote
from tests.scheduler.stories import check_story

FREEZE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
connection.execute("COMMIT")
"""
"""A process that stops in the middle of a transaction until somebody lets it go on."""
CHAIN = {"a": [], "b": ["a"], "c": ["b"]}
Freeze = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "it's my.db"


@pytest.fixture
def store(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    with Store(open_database(f"sqlite:///{file}")) as store:
        yield store
    store.engine.dispose()


@pytest.fixture
def freeze(file: Path) -> Iterator[Freeze]:
    started: list[subprocess.Popen[str]] = []

    def start() -> "subprocess.Popen[str]":
        process = subprocess.Popen([sys.executable, "-c", FREEZE, file], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_run_goes_on_after_another_process_has_kept_the_file_locked_for_long(store, file, freeze, of, tmp_path):
    begun: list[float] = []

    def lock(event: Event) -> None:
        if (event.job, event.state) == ("b", "running"):
            frozen = freeze()
            begun.append(time.monotonic())
            threading.Timer(3.5, frozen.send_signal, [signal.SIGCONT]).start()

    notes = {"file": str(tmp_path / "notes")}
    jobs = [Job(name, call="sample_jobs:note", arguments=notes, after=after) for name, after in CHAIN.items()]
    with Zygote.start(["pinflow.scheduler.child"]) as zygote:
        place = Place(tmp_path / "logs", folder=Path(__file__).parent)
        result = execute(store, of(*jobs), zygote, place, on_event=lock)
    assert time.monotonic() - begun[0] > 3.5
    assert [job.state.value for job in result.run.jobs] == ["succeeded"] * 3
    assert [line.split()[0] for line in (tmp_path / "notes").read_text().splitlines()] == list(CHAIN)
    assert [len(reading.attempts(store, result.run.run_id, job)) for job in CHAIN] == [1, 1, 1]
    check_story(store.engine, result.run.run_id)


def test_a_file_that_stays_locked_is_given_up_and_told_with_what_to_do(store, file, freeze, make):
    lease = store.open_run(make(CHAIN), "w").lease
    frozen = freeze()
    with pytest.raises(PinflowError) as given_up:
        store.transact(lambda work: work.guard(lease), patience=timedelta(seconds=1))
    said = str(given_up.value)
    assert "cannot be used: database is locked" in said
    command = re.search(r"type: (fuser .*), which", said)
    assert command
    assert shlex.split(command[1]) == ["fuser", "-v", str(file)]
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.wait(10)
    assert [claim.job for claim in store.advance(lease, [], 1).claims] == ["a"]


def test_a_locked_file_is_waited_for_once(store, freeze):
    freeze()
    start = time.monotonic()
    with pytest.raises(sa.exc.OperationalError, match="locked"), store.engine.execution_options(writes=True).begin():
        pass
    assert 1 <= time.monotonic() - start < 2


def test_statements_outside_of_the_store_wait_as_well(store, freeze):
    frozen = freeze()
    threading.Timer(2.5, frozen.send_signal, [signal.SIGCONT]).start()
    row = {"worker": "w", "slots": 1, "started_at": store.clock()}
    writing = store.engine.execution_options(writes=True)
    database.transact(writing, lambda connection: connection.execute(sa.insert(tables.worker), row))
    assert [row.worker for row in database.fetch(store.engine, sa.select(tables.worker))] == ["w"]


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_new_file_is_waited_for_while_another_process_makes_it(file, begin):
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE made_first (x)")
    other.execute(begin)
    other.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    end = threading.Timer(0.3, other.execute, ["COMMIT"])
    end.start()
    with open_database(f"sqlite:///{file}").connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("SELECT name FROM sqlite_schema").all() == [("made_first",)]
    end.join()
    other.close()

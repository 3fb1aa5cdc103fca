"""What fails beside the work of a process is logged, and holds up nothing else."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy.exc import OperationalError

from pinflow import config
from pinflow.errors import PinflowError
from pinflow.workflows import backfilling, failures, run, watching

SETTINGS = config.Settings()


def fails(error: Exception) -> Callable[..., NoReturn]:
    def work(*_: object) -> NoReturn:
        raise error

    return work


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> threading.Semaphore:
    """Each look sends mails once, whatever went wrong before."""
    found = threading.Semaphore(0)
    broken = OperationalError("UPDATE run", {}, sqlite3.OperationalError("disk I/O error"))
    monkeypatch.setattr(watching, "open_database", lambda _: run.open_database(f"sqlite:///{tmp_path}/pinflow.db"))
    monkeypatch.setattr(watching, "warn", fails(broken))
    monkeypatch.setattr(failures, "tell_failed", fails(PinflowError("the source is gone")))
    monkeypatch.setattr(backfilling, "push_anew", fails(OSError("no more processes")))
    monkeypatch.setattr(run, "post", lambda *_: found.release())
    return found


def test_a_step_that_fails_holds_up_neither_the_next_nor_the_next_look(
    posted: threading.Semaphore, caplog: pytest.LogCaptureFixture
) -> None:
    with watching.watching(SETTINGS, seconds=0.01):
        assert [posted.acquire(timeout=30) for _ in range(3)] == [True] * 3
    said = {record.getMessage().partition("\n")[0]: record.exc_info is not None for record in caplog.records}
    assert said == {
        "late runs cannot be looked at: (sqlite3.OperationalError) disk I/O error": True,
        "failed jobs cannot be looked at: the source is gone": False,
        "detached backfills cannot go on: no more processes": True,
    }


def test_a_database_that_cannot_be_opened_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Semaphore(0)

    def open_database(_: str) -> NoReturn:
        tried.release()
        raise OSError("unable to open")

    monkeypatch.setattr(watching, "open_database", open_database)
    with watching.watching(SETTINGS, seconds=0.01):
        assert [tried.acquire(timeout=30) for _ in range(3)] == [True] * 3

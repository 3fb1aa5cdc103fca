"""`pinflow backfill` as it is typed, stopped and killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pinflow.database import open_database
from tests.scheduler.stories import check_stories

MODULE = """
import os, time
from pathlib import Path
from pinflow.scheduler.declare import Job, Stage, Workflow

def note() -> None:
    with Path("notes").open("a") as stream:
        stream.write(os.environ["PINFLOW_DATE"] + "\\n")
    while not (Path("go").exists() or Path("go " + os.environ["PINFLOW_DATE"]).exists()):
        time.sleep(0.02)
    if os.environ["PINFLOW_DATE"] == "2015-05-03" and not Path("mended").exists():
        raise ValueError("broken day")

def stages(day, given):
    if day.day == 2 and Path("undeclared").exists():
        raise KeyError("no such source")
    return [Stage("s", [Job("note", call="noting:note")])]

def workflows(owner):
    return [Workflow("noting", owner, stages)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "noting.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "pinflow.toml").write_text('workflows = ["noting"]\n', encoding="utf-8")
    return tmp_path


def start(project: Path, *words: str, verb: str = "backfill noting") -> "subprocess.Popen[str]":
    environment = {**os.environ, "PINFLOW_SLOTS": "2"}
    command = [sys.executable, "-m", "pinflow.cli", *verb.split(), *words]
    return subprocess.Popen(
        command, cwd=project, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(project: Path, *words: str, code: int = 0) -> Any:
    process = start(project, *words, "--json")
    out, error = process.communicate(timeout=300)
    assert process.returncode == code, error
    return json.loads(out)


def notes(project: Path) -> Counter[str]:
    file = project / "notes"
    return Counter(file.read_text(encoding="utf-8").split() if file.exists() else [])


def wait_for_notes(project: Path, count: int) -> None:
    end = time.monotonic() + 300
    while notes(project).total() < count and time.monotonic() < end:
        time.sleep(0.05)
    assert notes(project).total() >= count


SPAN = ("--from", "2015-05-01", "--to", "2015-05-05")


def test_the_days_are_run_and_a_failed_one_is_run_again_when_asked(project: Path) -> None:
    (project / "go").touch()
    found = run(project, *SPAN, "--max-runs", "2", code=1)
    assert [day["state"] for day in found["days"]] == ["succeeded", "succeeded", "failed", "succeeded", "succeeded"]
    (project / "mended").touch()
    planned = run(project, *SPAN, "--reprocess", "failed", "--dry-run")
    assert [day["runs"] for day in planned] == [False, False, True, False, False]
    again = run(project, *SPAN, "--reprocess", "failed")
    assert [day["state"] for day in again["days"]] == ["kept", "kept", "succeeded", "kept", "kept"]
    assert notes(project) == Counter({f"2015-05-0{n}": 2 if n == 3 else 1 for n in range(1, 6)})


def test_a_backfill_that_is_stopped_gives_its_day_back_and_goes_on(project: Path) -> None:
    (project / "mended").touch()
    process = start(project, *SPAN)
    wait_for_notes(project, 1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 1, error
    assert "5 waiting; the same command goes on" in out
    (project / "go").touch()
    found = run(project, *SPAN)
    assert (found["backfill"], found["state"]) == (1, "succeeded")
    assert notes(project) == Counter({f"2015-05-0{n}": 2 if n == 1 else 1 for n in range(1, 6)})


def boot_anew(project: Path) -> None:
    """What the database has been told looks as after a reboot some minutes ago: the mark of the machine is another."""
    (file,) = project.rglob("pinflow.db")
    with sqlite3.connect(file) as connection:
        for name in ("backfill_day.driver", "run.driver", "attempt.worker", "worker.worker", "worker.zygote"):
            table, column = name.split(".")
            connection.execute(f"UPDATE {table} SET {column} = 'old-' || {column} WHERE {column} IS NOT NULL")
        for name in ("run.lease_until", "attempt.lease_until", "worker.started_at"):
            table, column = name.split(".")
            connection.execute(f"UPDATE {table} SET {column} = '2020-01-01 00:00:00.000000'")


@pytest.mark.parametrize("rebooted", [False, True])
def test_a_killed_backfill_goes_on_with_the_same_command(project: Path, rebooted: bool) -> None:
    (project / "mended").touch()
    options = (*SPAN, "--max-runs", "2", "--reprocess", "all")
    process = start(project, *options)
    wait_for_notes(project, 2)
    for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(300)
    (project / "go").touch()
    if rebooted:
        boot_anew(project)
    found = run(project, *options)
    assert (found["backfill"], found["state"]) == (1, "succeeded")
    assert notes(project) == Counter({f"2015-05-0{n}": 2 if n < 3 else 1 for n in range(1, 6)})
    (file,) = project.rglob("pinflow.db")
    check_stories(open_database(f"sqlite:///{file}"))


def test_a_failed_day_may_be_run_again_while_its_backfill_works_on_the_next(project: Path) -> None:
    (project / "go 2015-05-03").touch()
    backfill = start(project, "--from", "2015-05-02", "--to", "2015-05-03", "--reverse", "--json")
    wait_for_notes(project, 2)
    (project / "mended").touch()
    retry = start(project, "noting-2015-05-03-1", verb="retry")
    _, error = retry.communicate(timeout=300)
    assert retry.returncode == 0, error
    (project / "go").touch()
    out, error = backfill.communicate(timeout=300)
    assert error == ""
    assert {day["date"]: day["state"] for day in json.loads(out)["days"]} == {
        "2015-05-03": "failed",
        "2015-05-02": "succeeded",
    }
    assert notes(project) == Counter({"2015-05-03": 2, "2015-05-02": 1})


def test_a_cancelled_backfill_finishes_its_day_and_runs_no_further_one(project: Path) -> None:
    process = start(project, *SPAN)
    wait_for_notes(project, 1)
    assert run(project, "--cancel") == {"cancelled": [1]}
    (project / "go").touch()
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "backfill 1 cancelled: 1 succeeded, 4 cancelled" in out
    assert notes(project) == Counter({"2015-05-01": 1})


def test_what_is_wrong_is_said_before_any_day_is_run(project: Path) -> None:
    process = start(project, *SPAN, "--set", "color=red")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "no parameter of noting is called 'color'" in error


def test_a_day_whose_jobs_cannot_be_declared_fails_alone(project: Path) -> None:
    for name in ("go", "mended", "undeclared"):
        (project / name).touch()
    process = start(project, *SPAN, "--json")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 1
    days = {day["date"]: day["state"] for day in json.loads(out)["days"]}
    assert days == {f"2015-05-0{n}": "failed" if n == 2 else "succeeded" for n in range(1, 6)}
    assert "noting 2015-05-02: KeyError: 'no such source'" in error
    assert "Traceback" not in error

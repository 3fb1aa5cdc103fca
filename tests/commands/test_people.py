"""What a person meets at the terminal: closed pipes, settings that are no places, files that are there already."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from benchmarks.generate import generate_odd_day
from tests.workflows.command import Command, finish

DAY = date(2015, 5, 18)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    made = Command(tmp_path / "home", tmp_path / "input")
    generate_odd_day(made.input, DAY, 1, events=900)
    return made


def test_a_run_goes_on_when_nobody_reads_its_progress(command: Command) -> None:
    process = command.start("run", "analytics", "--date", str(DAY))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stderr.close()
    process.stdout.close()
    process.wait(timeout=120)
    assert command.sql("select state from run") == [("succeeded",)]


def test_a_run_whose_command_is_gone_says_so(command: Command) -> None:
    process = command.start("run", "analytics", "--date", str(DAY))
    end = time.monotonic() + 60
    while not running(command):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    for found in (command("runs", "--json").json[0], command("show", "analytics", "--json").json):
        assert (found["state"], found["reason"]) == (
            "running",
            f"its command is gone; go on with: pinflow run analytics --date {DAY}",
        )
    command.run(DAY)
    assert command("runs", "--json").json[0]["reason"] is None


def running(command: Command) -> bool:
    file = command.home / "pinflow.db"
    if not file.exists():
        return False
    with closing(sqlite3.connect(file)) as connection:
        if not connection.execute("select 1 from sqlite_master where name = 'attempt'").fetchone():
            return False
        return connection.execute("select 1 from attempt where state = 'running'").fetchone() is not None


def test_alerts_and_mails_that_wait_are_spoken_of(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_MAIL": "smtp://127.0.0.1:1"})
    event = {"event_type": "like", "timestamp": f"{DAY}T01:00:00", "user_id": "u", "pin_id": "p", "app": "web"}
    folder = command.input / "events" / f"date={DAY}"
    folder.mkdir(parents=True)
    # Its pin is unknown, which is worth a warning.
    (folder / "a.jsonl").write_text(json.dumps(event | {"domain": "a.example"}) + "\n")
    with command.start("run", "analytics", "--date", str(DAY)) as process:
        result = finish(process)
    ((alerts,),) = command.sql("select count(*) from alerts")
    ((mails,),) = command.sql("select count(*) from mails where state = 'waiting'")
    assert result.code == 0
    assert alerts > 0
    assert mails > 0
    assert f"{alerts} alerts were raised; see: pinflow alerts" in result.out
    assert f"{mails} mails could not be sent; see why with: pinflow alerts deliver" in result.err


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("DATABASE", "foo", "mysql+pymysql://"),
        ("SERVING", "s3://bucket/rows", "hbase://HOST:PORT"),
        ("DATABASE", "sqlite://", "valid: sqlite:///FILE, mysql+pymysql://USER@HOST:PORT/NAME"),
        ("DATABASE", "sqlite:///:memory:", "valid: sqlite:///FILE, mysql+pymysql://USER@HOST:PORT/NAME"),
        ("MAIL", "ftp://mail", "smtp://HOST:PORT"),
        ("OWNER", " ", "address"),
    ],
)
def test_a_place_of_the_wrong_kind_is_a_wrong_setting(tmp_path: Path, name: str, value: str, valid: str) -> None:
    result = Command(tmp_path / "home", tmp_path / "input", {f"PINFLOW_{name}": value})("runs")
    assert result.code == 2
    assert repr(value) in result.err
    assert valid in result.err


def test_init_replaces_only_what_it_names_and_keeps_it(command: Command) -> None:
    folder = command.home.parent
    mine = folder / "pinflow.toml"
    mine.write_text("# mine\n")
    other = folder / "two" / "pinflow.toml"
    assert command("init", str(other.parent), "--input", "my logs").code == 0
    other.write_text(other.read_text() + "# edited\n")
    refused = command("init", str(other.parent), "--input", "my logs")
    assert refused.code == 2
    advice = f"pinflow init {other.parent} --input 'my logs' --owner owner@localhost --force"
    assert advice in refused.err
    assert command("init", str(other.parent), "--input", "my logs", "--force").code == 0
    assert mine.read_text() == "# mine\n"
    assert "# edited" not in other.read_text()
    assert "# edited" in other.with_name("pinflow.toml.old").read_text()


@pytest.mark.parametrize("arguments", [("runs",), ("stats", "read_events"), ("alerts",), ("show", "x"), ("doctor",)])
def test_a_damaged_database_is_named_with_what_to_do(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    command.home.mkdir()
    (command.home / "pinflow.db").write_bytes(b"garbage\n" * 200)
    result = command(*arguments)
    said = result.out + result.err
    assert result.code in (1, 2)
    assert f"{command.home}/pinflow.db cannot be used: file is not a database. Move the file away" in said
    assert (command.home / "pinflow.db").read_bytes() == b"garbage\n" * 200


def test_doctor_finds_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path / "home"], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted")
    try:
        found = Command(tmp_path / "home", tmp_path / "input")("doctor", "--json").json
    finally:
        subprocess.run(["umount", "--lazy", tmp_path / "home"], check=True)
    failed = {finding["what"] for finding in found if not finding["ok"]}
    assert failed >= {"home", "warehouse", "database", "serving", "mail"}


def test_a_dataset_that_lost_a_file_is_made_again(command: Command) -> None:
    command.run(DAY)
    for lost in (command.home / "warehouse" / "pin_counts").rglob("part-*.parquet"):
        lost.unlink()
    states = command.run(DAY).jobs
    assert states["pin_counts"] == "succeeded"
    assert states["read_events"] == "skipped"
    assert set(command.run(DAY).jobs.values()) == {"succeeded", "skipped"}

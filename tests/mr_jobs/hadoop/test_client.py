"""What is understood of Hadoop's client, as Hadoop 3.4.2 printed it, and how it ends."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pinflow.mr_jobs.hadoop import client
from pinflow.mr_jobs.hadoop.client import Told

SAID = Path(__file__).with_name("said-by-hadoop.txt")


def said(path: Path = SAID, code: int = 0) -> tuple[Told, str, int]:
    told, log = Told(), io.StringIO()
    ended = client.run(["sh", "-c", f"cat {path}; exit {code}"], os.environ, log, told, ["false"])
    return told, log.getvalue(), ended


def test_the_application_its_page_and_failed_attempts_are_found() -> None:
    told, _, code = said()
    assert code == 0
    assert told.application == "application_1795257557766_0001"
    assert told.place == "YARN application: http://localhost:27809/proxy/application_1795257557766_0001/"
    assert told.failed_attempts == ["attempt_1795257557766_0001_m_000000_0"]


def test_counters_are_taken_by_group_and_all_else_goes_to_the_log() -> None:
    told, log, _ = said()
    assert told.counters == {
        "File System Counters/FILE: Number of bytes read": 22383,
        "Job Counters/Launched map tasks": 3,
        "Job Counters/Launched reduce tasks": 3,
        "Map-Reduce Framework/CPU time spent (ms)": 1420,
        "Map-Reduce Framework/Shuffled Maps ": 9,
        "text/lines, all": 40,
    }
    printed = SAID.read_text().splitlines()
    assert log.splitlines() == [*printed[:13], printed[-1]]


def test_the_code_of_the_client_is_given() -> None:
    assert said(code=5)[2] == 5


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A folder with a client that runs for a minute once it has told its application; its `yarn` takes notes."""
    Path(tmp_path, "hadoop").write_text(f"#!/bin/sh\nhead -6 {SAID}\nexec sleep 60\n")
    Path(tmp_path, "yarn").write_text(f'#!/bin/sh\nsleep 0.3; echo "$@" >>{tmp_path}/killed\n')
    for name in ("hadoop", "yarn"):
        Path(tmp_path, name).chmod(0o755)
    return tmp_path


DRIVER = """
    import os, sys
    from pinflow.mr_jobs.hadoop import client
    folder = sys.argv[1]
    with client.ended_by_signal():
        try:
            client.run([f"{folder}/hadoop"], os.environ, sys.stdout, client.Told(), [f"{folder}/yarn"])
        finally:
            print("put in order", flush=True)
"""


def test_an_end_by_signal_kills_the_application(running: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(running)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        while "map 0%" not in driver.stdout.readline():
            pass
        driver.send_signal(signal.SIGTERM)
        rest = driver.stdout.read()
    assert driver.returncode == -signal.SIGTERM
    assert rest.splitlines()[-1] == "put in order"
    assert (running / "killed").read_text() == "application -kill application_1795257557766_0001\n"


def test_the_killing_goes_on_when_the_driver_is_killed(running: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(running)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as driver:
        assert driver.stdout is not None
        while "map 0%" not in driver.stdout.readline():
            pass
        os.killpg(driver.pid, signal.SIGTERM)
        time.sleep(0.15)
        os.killpg(driver.pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while not (running / "killed").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nothing_is_killed_before_there_is_an_application(tmp_path: Path) -> None:
    client.kill("", [str(tmp_path / "there is no such program")], os.environ)

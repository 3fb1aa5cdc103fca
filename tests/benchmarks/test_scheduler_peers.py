"""Other schedulers beside pinflow: what is said of their runs, where they are installed, and that none outlives it."""

import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from benchmarks.scheduler import peers
from benchmarks.scheduler.__main__ import main
from benchmarks.scheduler.peers.environments import NotInstalledError, environment_of
from benchmarks.scheduler.peers.measured import JobRun, milliseconds_a_job
from benchmarks.scheduler.peers.processes import FailedError, finish, running, wait_until

PAIR = {"first": [], "second": ["first"]}


def test_from_the_first_start_to_the_last_end():
    runs = [JobRun("second", 10.5, 11.0), JobRun("first", 10.0, 10.25)]
    assert milliseconds_a_job(PAIR, runs) == 500.0


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([JobRun("first", 0, 1)], "1 did not run exactly once, such as second"),
        ([JobRun("first", 0, 1), JobRun("first", 1, 2), JobRun("second", 3, 4)], "such as first"),
        ([JobRun("first", 0, 1), JobRun("second", 2, 3), JobRun("third", 3, 4)], "such as third"),
        ([JobRun("first", 0, 2), JobRun("second", 1, 3)], "second started before first had ended"),
    ],
)
def test_a_run_that_was_not_what_was_asked_for_is_no_measurement(runs, reason):
    with pytest.raises(FailedError, match=reason):
        milliseconds_a_job(PAIR, runs)


def test_more_than_two_jobs_at_a_time_are_no_measurement():
    jobs = {"a": [], "b": [], "c": []}
    with pytest.raises(FailedError, match="more than 2 jobs"):
        milliseconds_a_job(jobs, [JobRun("a", 0, 2), JobRun("b", 0, 2), JobRun("c", 1, 3)])
    assert milliseconds_a_job(jobs, [JobRun("a", 0, 2), JobRun("b", 0, 3), JobRun("c", 2, 3)]) == 1000.0


def test_unknown_engine():
    found = CliRunner().invoke(main, ["--engines", "luigi,cron"])
    assert found.exit_code == 2
    assert "no engine is called cron; there are luigi, airflow" in " ".join(found.output.split())


def test_an_engine_that_cannot_be_installed_is_named_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(NotInstalledError, match=r"luigi==0\.0\.1"):
        environment_of("luigi", "0.0.1", tmp_path)


def test_an_engine_that_is_missing_does_not_hide_the_others(monkeypatch):
    def refuse(distribution: str, version: str) -> Path:
        raise NotInstalledError(f"{distribution} {version} is nowhere")

    monkeypatch.setattr(peers, "environment_of", refuse)
    options = ["--only-claims", "--processes", "1", "--seconds", "0.1", "--engines", "airflow", "--json"]
    found = json.loads(CliRunner().invoke(main, options).stdout)
    assert found["sqlite"]["claims_per_s"] > 0
    assert found["airflow"] == {"missing": f"apache-airflow {peers.PEERS['airflow'].version} is nowhere"}


def test_a_server_ends_with_all_that_it_started_also_after_an_error(tmp_path):
    child = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(60)"
    parent = f"import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); signal.pause()"
    log = tmp_path / "server.log"
    server = _interrupted([sys.executable, "-c", parent], tmp_path, log)
    assert server.poll() is not None
    assert not _runs(int(log.read_text()))


def test_the_end_of_a_log_tells_why_a_command_failed(tmp_path):
    command = [sys.executable, "-c", "import sys; print('no such table'); sys.exit(3)"]
    with pytest.raises(FailedError, match=r"ended with 3:\nno such table"):
        finish(command, os.environ, tmp_path, tmp_path / "command.log")


def test_a_server_that_ends_is_not_waited_for(tmp_path):
    log, start = tmp_path / "server.log", time.monotonic()
    with (
        running([sys.executable, "-c", "print('port taken')"], os.environ, tmp_path, log) as server,
        pytest.raises(FailedError, match=r"server ended with 0:\nport taken"),
    ):
        wait_until(lambda: False, {log: server}, 60, pause=0.05)
    assert time.monotonic() - start < 50


def _interrupted(command: list[str], folder: Path, log: Path) -> psutil.Popen:
    """The server, interrupted as by Ctrl-C when it has written a line."""
    try:
        with running(command, os.environ, folder, log) as server:
            wait_until(lambda: log.read_text().endswith("\n"), {log: server}, 30, pause=0.05)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return server


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

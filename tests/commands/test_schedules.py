"""The commands about schedules and workflows, as they are typed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pinflow.cli import cli
from pinflow.errors import PinflowError

MODULE = """
from pinflow.scheduler.declare import Command, Stage, Workflow
from pinflow.scheduler.schedules import Schedule

def stages(day, given):
    return [Stage("s", [Command("echo", argv=["echo", day.isoformat()])])]

def workflows(owner):
    often = Schedule("* * * * *", timezone="Asia/Tokyo", days_before=0, catch_up="all")
    nightly = Schedule("30 2 * * *", timezone="Europe/Berlin", active=False)
    return [
        Workflow("often", owner, stages, "each minute", often),
        Workflow("nightly", owner, stages, "each night", nightly),
        Workflow("never", owner, stages, "by hand"),
    ]
"""

Call = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    name = f"flows_{os.urandom(4).hex()}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "pinflow.toml").write_text(f'workflows = ["{name}"]\n', encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(project: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("PINFLOW_CONFIG", str(project / "pinflow.toml"))

    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, list(words))

    return call


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_schedules_are_listed_with_what_is_next(call: Call) -> None:
    found = {info["workflow"]: info for info in read(call("schedules", "--json"))}
    assert found.keys() == {"often", "nightly"}
    assert (found["often"]["state"], found["nightly"]["state"]) == ("on", "paused")
    assert len(found["often"]["next"]) == 1
    assert found["nightly"]["next"] == []
    assert found == {info["workflow"]: info for info in read(call("schedules", "list", "--json"))}
    assert "30 2 * * * Europe/Berlin" in call("schedules").output


def test_a_schedule_is_resumed_and_paused(call: Call) -> None:
    first = read(call("schedules", "resume", "nightly", "--json"))
    assert (first["paused"], first["changed"]) == (False, True)
    assert first["next"][11:16] in ("00:30", "01:30")
    assert read(call("schedules", "resume", "nightly", "--json"))["changed"] is False
    assert "nightly is paused" in call("schedules", "pause", "nightly").output
    assert "nightly is paused already" in call("schedules", "pause", "nightly").output


def test_the_next_ticks_are_shown_by_both_clocks(call: Call) -> None:
    found = read(call("schedules", "next", "nightly", "--count", "3", "--json"))
    assert [coming["local"][11:16] for coming in found] == ["02:30"] * 3
    assert all(coming["date"] < coming["local"][:10] for coming in found)
    assert {coming["workflow"] for coming in read(call("schedules", "next", "--json"))} == {"often"}


def test_a_workflow_without_a_schedule_is_named(call: Call) -> None:
    result = call("schedules", "pause", "never")
    assert isinstance(result.exception, PinflowError)
    assert "no workflow with a schedule is called 'never'; known: nightly, often" in str(result.exception)


def test_check_says_what_is_wrong_and_fails(call: Call, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("workflows", "check").exit_code == 0
    (project / "worse_flows.py").write_text("1/0", encoding="utf-8")
    toml = project / "pinflow.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("]", ', "worse_flows"]'), encoding="utf-8")
    result = call("workflows", "check")
    assert result.exit_code == 2
    assert "ZeroDivisionError: division by zero" in result.output
    assert "Traceback" in result.output
    found = json.loads(call("workflows", "check", "--json").stdout)
    assert [one["ok"] for one in found["workflows"]] == [True] * 3
    assert [one["module"] for one in found["broken"]] == ["worse_flows"]
    assert call("workflows", "check", "often").exit_code == 0
    assert [one["name"] for one in read(call("workflows", "--json"))] == ["often", "nightly", "never"]


@pytest.mark.parametrize(("command", "state"), [("scheduler", "running"), ("up", "succeeded")])
def test_the_scheduler_starts_runs_until_it_is_asked_to_stop(
    call: Call, project: Path, command: str, state: str
) -> None:
    """The tick of a minute ago is made up for at once: the schedule is known for longer than it was looked at."""
    read(call("schedules", "pause", "often", "--json"))
    read(call("schedules", "resume", "often", "--json"))
    environment = {**os.environ, "PINFLOW_CONFIG": str(project / "pinflow.toml")}
    set_back(project)
    process = subprocess.Popen(
        [sys.executable, "-m", "pinflow.cli", command], env=environment, stderr=subprocess.PIPE, cwd=project
    )
    try:
        end = time.monotonic() + 300
        runs: list[dict[str, str]] = []
        while state not in [run["state"] for run in runs] and time.monotonic() < end:
            time.sleep(0.1)
            runs = read(call("runs", "--json"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(300)
    assert process.returncode == 0
    assert [(run["workflow"], run["state"]) for run in runs][-1:] == [("often", state)]
    assert read(call("schedules", "--json"))[1]["last"]["state"] in ("started", "skipped", "waiting")


QUICK = """
import sys
from datetime import timedelta
from pinflow.cli import main
from pinflow.scheduler.store import Store
from pinflow.workflows import scheduling

Store.__init__.__kwdefaults__["lease"] = timedelta(seconds=2)
scheduling.LONGEST_PAUSE = timedelta(seconds=1)
sys.argv = ["pinflow", "up", "--slots", "1"]
main()
"""
"""`pinflow up` that looks each second, and whose leases are shorter than its workflows take to be made."""


SLOW = """
import time
from pathlib import Path
from pinflow.scheduler.declare import Command, Stage, Workflow
from pinflow.scheduler.schedules import Schedule

def slow(day, given):
    Path(__file__).with_name("asked").touch()
    time.sleep(6)
    return [Stage("s", [Command("echo", argv=["echo"])])]

def long(day, given):
    return [Stage("s", [Command("wait", argv=["sleep", "10"])])]

def workflows(owner):
    return [Workflow("often", owner, slow, "slow", Schedule("* * * * *")), Workflow("long", owner, long, "by hand")]
"""


def test_code_of_a_workflow_that_takes_long_harms_no_job_that_runs(call: Call, project: Path) -> None:
    (module,) = project.glob("flows_*.py")
    module.write_text(SLOW, encoding="utf-8")
    read(call("schedules", "pause", "often", "--json"))
    read(call("schedules", "resume", "often", "--json"))
    run = read(call("run", "long", "--date", "2020-01-01", "--detach", "--json"))["run_id"]
    environment = {**os.environ, "PINFLOW_CONFIG": str(project / "pinflow.toml")}
    process = subprocess.Popen([sys.executable, "-c", QUICK], env=environment, cwd=project)

    def wait_for(state: str) -> dict[str, Any]:
        end = time.monotonic() + 120
        while (found := read(call("show", run, "--json"))["jobs"][0])["state"] != state:
            assert time.monotonic() < end
            time.sleep(0.1)
        return found

    try:
        wait_for("running")
        set_back(project)
        ended = wait_for("succeeded")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(300)
    assert process.returncode == 0
    assert (project / "asked").exists()
    assert [attempt["state"] for attempt in ended["attempts"]] == ["succeeded"]


def set_back(project: Path) -> None:
    """As if no scheduler had run for two minutes."""
    import sqlite3

    with sqlite3.connect(project / ".pinflow" / "pinflow.db") as database:
        shift = "strftime('%Y-%m-%d %H:%M:%f000', {}, '-2 minutes')"
        changes = ", ".join(f"{name} = {shift.format(name)}" for name in ("handled_until", "next_at", "wake_at"))
        database.execute(f"UPDATE schedule SET {changes} WHERE workflow = 'often'")

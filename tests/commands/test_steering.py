"""Runs that workers do, and what people do about runs, as they type it."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflows.command import Command, finish

TOY = """
import os, time
from pathlib import Path
from pinflow.scheduler.declare import Job, Stage, Workflow

def work(seconds=0.0, needs=""):
    time.sleep(seconds)
    print("anew", os.environ.get("PINFLOW_ANEW"))
    return 7 if needs and not Path(needs).exists() else 0

def workflows(owner):
    jobs = [Job("a", call="toy:work"),
            Job("b", call="toy:work", after=["a"], arguments={"needs": os.environ["TOY_NEEDS"]}),
            Job("c", call="toy:work", after=["b"])]
    return [Workflow("toy", owner, lambda day, parameters: [Stage("s", jobs)])]
"""
RUN = "toy-2020-01-01-1"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "input" / "events").mkdir(parents=True)
    more = {
        "PINFLOW_WORKFLOWS": "toy",
        "PYTHONPATH": str(tmp_path),
        "TOY_NEEDS": str(tmp_path / "needed"),
    }
    return Command(tmp_path / "home", tmp_path / "input", more)


@pytest.fixture
def until(command: Command) -> Callable[[str, str], None]:
    def wait(query: str, value: str) -> None:
        end = time.monotonic() + 40
        while time.monotonic() < end:
            # The command may not have made the tables yet.
            with suppress(sqlite3.OperationalError):
                if command.sql(query) == [(value,)]:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{query} did not give {value}")

    return wait


def states(command: Command) -> dict[str, str]:
    return {job["name"]: job["state"] for job in command("show", RUN, "--json").json["jobs"]}


def test_a_run_is_left_to_a_worker_then_repaired(command: Command, tmp_path: Path, until) -> None:
    put = command("run", "toy", "--date", "2020-01-01", "--detach")
    assert (put.code, put.out) == (0, f"{RUN}: left to workers\n")
    assert "no worker is there" in put.err
    worker = command.start("worker", "--slots", "2")
    until("select state from run", "failed")
    assert [w["slots"] for w in command("worker", "list", "--json").json] == [2]
    (tmp_path / "needed").touch()
    (shown,) = command("retry", RUN, "--dry-run", "--json").json
    assert [(c["job"], c["before"], c["after"]) for c in shown["changes"]] == [
        ("b", "failed", "ready"),
        ("c", "upstream_failed", "waiting"),
    ]
    assert states(command)["b"] == "failed"
    assert command("retry", RUN, "--json").json == [{"run_id": RUN, "changed": 2}]
    until("select state from run", "succeeded")
    command("disable", "toy", "c", "--reason", "nobody reads it")
    assert command("poison", RUN, "b", "--yes").code == 0
    until("select state from run", "succeeded")
    assert states(command) == {"a": "succeeded", "b": "succeeded", "c": "skipped"}
    assert "anew 1" in command("logs", RUN, "b").out
    assert command("signals", "--json").json[0]["reason"] == "nobody reads it"
    assert command("enable", "toy", "c").code == 0
    command("worker", "exit", "--generation", "1")
    ended = finish(worker)
    assert ended.code == 0
    assert "workers of generation 0 are asked to exit" in ended.err


def test_a_run_that_a_command_drove_goes_on_in_a_command(command: Command, tmp_path: Path) -> None:
    assert finish(command.start("run", "toy", "--date", "2020-01-01")).code == 1
    refused = command("redo", RUN, "z")
    assert (refused.code, refused.err.split(";")[0]) == (2, "error: no job is called 'z'")
    (tmp_path / "needed").touch()
    again = finish(command.start("retry", RUN, "--json"))
    assert (again.code, again.json["state"], again.json["run_id"]) == (0, "succeeded", RUN)
    anew = finish(command.start("redo", RUN, "c"))
    assert anew.code == 0
    assert "anew 1" in command("logs", RUN, "c").out
    assert "anew None" in command("logs", RUN, "b").out


def test_a_paused_command_waits_and_a_drained_one_ends(command: Command, tmp_path: Path, until) -> None:
    (tmp_path / "needed").touch()
    command("pause", "--all", "--reason", "disk is moved")
    process = command.start("run", "toy", "--date", "2020-01-01")
    until("select state from run", "running")
    time.sleep(1.5)
    assert command.sql("select count(*) from attempt") == [(0,)]
    command("drain", "--workflow", "toy")
    ended = finish(process)
    assert ended.code == 1
    assert f"run {RUN} is drained" in ended.err
    assert command("resume", "--all").out == "undone for all: pause\n"
    assert command("resume", "--workflow", "toy").out == "undone for workflow toy: drain\n"
    assert finish(command.start("run", "toy", "--date", "2020-01-01")).code == 0


def test_an_abort_ends_the_jobs_of_a_command_and_lets_none_start(command: Command, tmp_path: Path, until) -> None:
    (tmp_path / "toy.py").write_text(TOY.replace("seconds=0.0", "seconds=60.0"))
    process = command.start("run", "toy", "--date", "2020-01-01")
    until("select state from attempt", "running")
    assert command("abort", "--workflow", "toy", "--json").json["aborted"] == [RUN]
    assert finish(process).code == 1
    assert states(command) == dict.fromkeys("abc", "aborted")
    refused = finish(command.start("run", "toy", "--date", "2020-01-02"))
    assert (refused.code, "undo it with: pinflow resume --workflow toy" in refused.err) == (1, True)
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "needed").touch()
    resumed = finish(command.start("resume", "--workflow", "toy"))
    assert (resumed.code, resumed.out.splitlines()[0]) == (0, "undone for workflow toy: abort")
    assert states(command) == dict.fromkeys("abc", "succeeded")


@pytest.mark.parametrize("scope", [["--workflow", "toy"], ["--all"]])
def test_what_undoes_an_abort_lets_the_runs_go_on_that_it_ended(command: Command, scope: list[str]) -> None:
    first, other, last = (f"toy-2020-01-0{day}-1" for day in (1, 2, 3))
    for day in (1, 2, 3):
        command("run", "toy", "--date", f"2020-01-0{day}", "--detach")
    # that somebody aborted by itself
    assert command("abort", other, "--json").json["aborted"] == [other]
    assert command("abort", *scope, "--json").json["aborted"] == [first, last]
    # to give it again changes nothing
    assert command("abort", *scope, "--json").json["aborted"] == []
    undone = command("resume", *scope)
    changed = [f"{run}: 3 jobs changed; see: pinflow show {run}" for run in (first, last)]
    name = "all" if scope == ["--all"] else "workflow toy"
    assert undone.out.splitlines() == [f"undone for {name}: abort", *changed]
    found = dict(command.sql("select run_id, state from run"))
    assert found == {first: "running", other: "aborted", last: "running"}
    assert command("signals", "--json").json == []
    # what another abort ended before is not its own
    command("abort", first, "--json")
    command("abort", *scope, "--json")
    assert [run["run_id"] for run in command("resume", *scope, "--json").json] == [last]


def test_a_workflow_that_is_not_there_cannot_be_held_but_let_go(command: Command) -> None:
    for action in ("pause", "drain", "abort"):
        refused = command(action, "--workflow", "tyo", "--json")
        assert (refused.code, refused.out) == (2, "")
        assert "no workflow is called 'tyo'; did you mean 'toy'?" in refused.err
    assert command("signals", "--json").json == []
    command("pause", "--workflow", "toy")
    later = replace(command, variables={**command.variables, "PINFLOW_WORKFLOWS": "gone"})
    assert later("resume", "--workflow", "toy").out == "undone for workflow toy: pause\n"


def test_who_follows_a_run_without_workers_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "needed").touch()
    command("run", "toy", "--date", "2020-01-01", "--detach", "--json")
    follower = command.start("run", "toy", "--date", "2020-01-01")
    assert follower.stderr is not None
    assert follower.stderr.readline() == f"{RUN} is already run by workers; following it\n"
    worker = command.start("worker")
    ended = finish(follower)
    assert ended.code == 0
    assert ended.err.count("no worker is there; start one with: pinflow worker") == 1
    worker.terminate()
    assert finish(worker).code == 0


def test_a_log_of_another_machine_is_not_called_empty(command: Command, tmp_path: Path) -> None:
    (tmp_path / "needed").touch()
    assert finish(command.start("run", "toy", "--date", "2020-01-01")).code == 0
    (tmp_path / "home" / "logs" / RUN / "a.1.log").unlink()
    ((worker,),) = command.sql("select worker from attempt where job = 'a'")
    missing = command("logs", RUN, "a")
    assert (missing.code, missing.out) == (1, "")
    assert f"attempt 1 of a ran in the worker {worker}" in missing.err


def test_what_makes_no_sense_is_said(command: Command) -> None:
    for arguments in (["pause"], ["pause", "x", "--all"], ["worker", "exit"], ["enable", "toy", "c"]):
        assert command(*arguments).code == 2
    assert command("pools", "set", "disk", "2").code == 0
    assert command("pools", "--json").json == [{"kind": "pool", "name": "disk", "slots": 2}]
    assert command("pools", "remove", "disk").code == 0
    assert command("pools", "remove", "disk").code == 2


def test_only_a_workflow_that_is_known_is_limited(command: Command) -> None:
    refused = command("pools", "set", "toi", "2", "--workflow")
    assert refused.code == 2
    assert "no workflow is called 'toi'; did you mean 'toy'?" in refused.err
    assert command("pools", "--json").json == []
    assert command("pools", "set", "toy", "2", "--workflow").code == 0
    assert command("pools", "--json").json == [{"kind": "workflow", "name": "toy", "slots": 2}]

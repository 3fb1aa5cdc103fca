"""What the zygote of a run imports: no more than the jobs of its workflow need."""

import sys
from collections.abc import Callable
from datetime import date

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from pinflow import config
from pinflow.cli import cli
from pinflow.workflows import preload
from pinflow.workflows.preload import BARE, PRELOAD, calls_of, needs_of, start_zygote

DAY = date(2015, 5, 18)
PLAIN = """
from pinflow.scheduler.declare import Command, Job, Stage, Workflow
from pinflow.workflows.node import Day, mapreduce

def plain(day, given):
    return [Stage("s", [Command("echo", argv=["echo"]), Job("j", call="builtins:print")])]

def counted(day, given):
    return [Stage("s", [mapreduce("counts", "jobs:Count", [Day("events")], owner="o", rules=[])])]

def broken(day, given):
    raise SystemExit(1)

def workflows(owner):
    return [Workflow(of.__name__, owner, of) for of in (plain, counted, broken)]
"""


@pytest.fixture
def settings(tmp_path, monkeypatch) -> config.Settings:
    (tmp_path / "preloaded_workflows.py").write_text(PLAIN)
    (tmp_path / "pinflow.toml").write_text('workflows = ["pinflow.workflows.analytics", "preloaded_workflows"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return config.load()


class Begun:
    """Stands in for a zygote: what it imports, and whether it was closed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.closed = set(names), False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def begun(monkeypatch) -> list[Begun]:
    """The zygotes that are started."""
    started: list[Begun] = []

    def start(names: tuple[str, ...]) -> Begun:
        started.append(Begun(names))
        return started[-1]

    monkeypatch.setattr(preload.Zygote, "start", start)
    return started


@pytest.fixture
def imported(begun) -> Callable[..., set[str]]:
    """What the zygote of a workflow is told to import."""

    def start(settings: config.Settings, workflow: str) -> set[str]:
        return start_zygote(settings, calls_of(settings, workflow, DAY, {})).names

    return start


def test_a_workflow_without_mapreduce_jobs_has_a_bare_zygote(settings, imported):
    assert imported(settings, "plain") == set(BARE)
    assert not set(BARE) & set(PRELOAD)


@pytest.mark.parametrize("name", ["analytics", "counted"])
def test_one_with_mapreduce_jobs_has_all_that_they_need_from_the_start(settings, imported, name):
    assert imported(settings, name) >= {*PRELOAD, *BARE}


@pytest.mark.parametrize("name", ["broken", "no_such_workflow"])
def test_what_cannot_be_found_out_is_left_to_the_run(settings, imported, name):
    assert imported(settings, name) == set(BARE)


def test_the_storage_of_a_place_is_needed_by_conditions_too(monkeypatch):
    monkeypatch.setenv("PINFLOW_WAREHOUSE", "s3://bucket/warehouse")
    needs = needs_of(config.load())
    assert all("pinflow.storage_s3" in names for names in needs.values())
    assert len(needs) == 2


def test_one_that_was_begun_serves_a_workflow_with_mapreduce_jobs(settings, begun):
    preload.begin()
    taken = start_zygote(settings, calls_of(settings, "counted", DAY, {}))
    assert [taken] == begun
    assert not taken.closed
    assert taken.names >= {*BARE, *PRELOAD}
    assert start_zygote(settings, calls_of(settings, "counted", DAY, {})) is not taken


@pytest.mark.parametrize("name", ["plain", "no_such_workflow"])
def test_one_that_was_begun_is_closed_when_nobody_needs_it(settings, begun, name):
    preload.begin()
    taken = start_zygote(settings, calls_of(settings, name, DAY, {}))
    assert [taken.names for taken in begun[1:]] == [set(BARE)]
    assert (begun[0].closed, taken.closed) == (True, False)


@pytest.mark.parametrize(
    "arguments",
    [["run", "--help"], ["run", "analytics", "--date", "2015-05-18", "--detach"], ["runs"], ["logs", "run"]],
)
def test_a_command_that_runs_nothing_begins_none(begun, arguments, tmp_path):
    CliRunner().invoke(cli, ["--home", str(tmp_path), *arguments])
    assert begun == []


def test_completion_begins_none(begun):
    complete = ShellComplete(cli, {}, "pinflow", "_PINFLOW_COMPLETE")
    assert complete.get_completions(["run"], "--st")
    assert begun == []


def test_a_run_begins_one_before_it_has_read_its_options_and_leaves_none(begun):
    CliRunner().invoke(cli, ["run", "--no-such-option"])
    assert [zygote.closed for zygote in begun] == [True]


def test_one_that_lacks_what_a_place_needs_is_not_taken(settings, begun, monkeypatch):
    monkeypatch.setenv("PINFLOW_WAREHOUSE", "s3://bucket/warehouse")
    preload.begin()
    taken = start_zygote(config.load(), {"pinflow.workflows.mapreduce:run"})
    assert "pinflow.storage_s3" in taken.names
    assert [zygote.closed for zygote in begun] == [True, False]

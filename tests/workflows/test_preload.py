"""What the zygote of a run imports: no more than the jobs of its workflow need."""

import sys
from collections.abc import Callable
from datetime import date

import pytest

from pinflow import config
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


@pytest.fixture
def imported(monkeypatch) -> Callable[..., set[str]]:
    """What a zygote is told to import."""
    told: list[set[str]] = []
    monkeypatch.setattr(preload.Zygote, "start", lambda names: told.append(set(names)))

    def start(settings: config.Settings, workflow: str) -> set[str]:
        start_zygote(settings, calls_of(settings, workflow, DAY, {}))
        return told[-1]

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

"""A scheduler that stays sees workflows as they are now."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from pinflow import config
from pinflow.workflows.reloading import Timetables

MODULE = """
from flows_beside import WORD
from pinflow.scheduler.declare import Command, Stage, Workflow
from pinflow.scheduler.schedules import Schedule

def workflows(owner):
    say = [Stage("s", [Command("say", argv=["echo", WORD])])]
    return [Workflow("flow", owner, lambda day, given: say, "", Schedule("{cron}"))]
"""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Timetables]:
    write(tmp_path, "@daily", "one")
    (tmp_path / "pinflow.toml").write_text('workflows = ["reloaded_flows"]\n')
    monkeypatch.setenv("PINFLOW_CONFIG", str(tmp_path / "pinflow.toml"))
    before = list(sys.path)
    yield Timetables(config.load())
    sys.path[:] = before
    for name in ("reloaded_flows", "flows_beside"):
        sys.modules.pop(name, None)


def write(folder: Path, cron: str, word: str) -> None:
    (folder / "reloaded_flows.py").write_text(MODULE.replace("{cron}", cron))
    (folder / "flows_beside.py").write_text(f"WORD = {word!r}\n")


def said(tables: Timetables) -> tuple[str, ...]:
    defined = tables.now().define("flow", date(2026, 1, 1), {})
    return tuple(defined.to_json()["stages"][0]["jobs"][0]["argv"])


def test_changes_are_seen_and_nothing_is_read_without_one(tables: Timetables, tmp_path: Path) -> None:
    first = tables.now()
    assert first.schedules["flow"].cron == "@daily"
    assert tables.now() is first
    write(tmp_path, "@weekly", "one")
    assert tables.now().schedules["flow"].cron == "@weekly"
    # also of a module that the workflows import
    assert said(tables) == ("echo", "one")
    write(tmp_path, "@weekly", "another")
    assert said(tables) == ("echo", "another")


def test_a_module_that_is_broken_for_a_while_comes_back(
    tables: Timetables, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "flows_beside.py").write_text("WORD = (\n")
    assert tables.now().schedules == {}
    assert tables.now().schedules == {}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "'reloaded_flows' of the setting workflows cannot be used" in told[0]
    write(tmp_path, "@hourly", "three")
    assert tables.now().schedules["flow"].cron == "@hourly"
    assert said(tables) == ("echo", "three")

"""A scheduler that stays sees workflows as they are now."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NoReturn

import pytest

from pinflow import config
from pinflow.workflows import reloading
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


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_what_is_installed_anywhere_is_neither_watched_nor_read_again(
    folder: str, tables: Timetables, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "package_beside.py").write_text("")
    sys.path.append(str(tmp_path / folder))
    with (tmp_path / "flows_beside.py").open("a") as stream:
        stream.write("import package_beside\n")
    tables.now()
    package = sys.modules["package_beside"]
    try:
        write(tmp_path, "@weekly", "two")
        assert said(tables) == ("echo", "two")
        assert sys.modules["package_beside"] is package
    finally:
        del sys.modules["package_beside"]


def test_what_cannot_be_read_at_all_leaves_the_timetable_as_it_was(
    tables: Timetables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: config.Settings) -> NoReturn:
        raise OSError("the folder is gone")

    write(tmp_path, "@weekly", "one")
    with monkeypatch.context() as patched:
        patched.setattr(reloading, "catalog", fails)
        assert [tables.now().schedules["flow"].cron for _ in range(2)] == ["@daily"] * 2
    assert [record.getMessage() for record in caplog.records] == ["workflows cannot be read again: the folder is gone"]
    assert tables.now().schedules["flow"].cron == "@weekly"

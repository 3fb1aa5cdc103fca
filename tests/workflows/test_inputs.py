"""What a node reads, and what identifies it."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from pinflow.config import Settings
from pinflow.mr_jobs.datasets import Warehouse
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.mr_jobs.inputs.splits import InputFile
from pinflow.workflows.inputs import Resolved, identity_of, resolve
from pinflow.workflows.node import MapReduce, Raw

DAY = date(2015, 5, 18)
NODE = MapReduce("pinflow.mr_jobs.analytics.extract_events:ExtractEvents", "events", (Raw("events"),))
EARLY, LATE = InputFile("/in/a.jsonl", 10, 1), InputFile("/in/b.jsonl", 20, 2)


def listings(monkeypatch: pytest.MonkeyPatch, *found: list[InputFile]) -> None:
    """Each listing of the input gives the next of `found`."""
    left: Iterator[list[InputFile]] = iter(found)
    monkeypatch.setattr(Source, "files", lambda *_: next(left))


def read_files(resolved: Resolved) -> set[str]:
    return {json.loads(line)["path"] for line, _ in resolved.lines}


@pytest.mark.parametrize("later", [[EARLY, LATE], [InputFile("/in/a.jsonl", 30, 3)]], ids=["arrives", "grows"])
def test_a_file_that_changes_after_the_listing_is_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: list[InputFile]
) -> None:
    (tmp_path / "in/events").mkdir(parents=True)
    settings = Settings(home=str(tmp_path / "home"), input=str(tmp_path / "in"))
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    listings(monkeypatch, [EARLY], later, later, later)
    first = resolve(NODE, DAY, settings, warehouse)
    assert read_files(first) == {EARLY.path}
    second = resolve(NODE, DAY, settings, warehouse)
    assert read_files(second) == {file.path for file in later}
    assert identity_of(NODE, first, DAY) != identity_of(NODE, second, DAY)

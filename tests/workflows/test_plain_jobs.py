"""An unchanged `MRJob` as a node: it reads lines, and its output lines and counters are kept."""

import gzip
import json
import re
from collections import Counter
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pinflow.mr_jobs.datasets import Warehouse
from pinflow.storage import open_storage
from tests.engines import variables
from tests.workflows.command import Command, finish

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "examples" / "access_log"
DAY = date(2015, 5, 18)
MODULE = "plain_jobs_of_somebody"
"""A copy of `plain_jobs`, by itself: with the package `tests` all that tests import would travel to the nodes."""


def lines_of(url: str, dataset: str) -> list[list[object]]:
    """The pairs that a plain job has written."""
    warehouse = Warehouse(url)
    folder = warehouse.path(warehouse.require(dataset, DAY))
    storage = open_storage(url)
    text = b"".join(
        storage.read_bytes(entry.path) for entry in storage.list(folder) if re.fullmatch(r"part-\d+", entry.name)
    )
    return sorted(
        [json.loads(key), json.loads(value)] for key, value in (line.split(b"\t") for line in text.splitlines())
    )


@pytest.mark.parametrize("runner", ["local", pytest.param("hadoop", marks=pytest.mark.hadoop)])
def test_plain_jobs_are_nodes(tmp_path: Path, runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{MODULE}.py").write_text(Path(__file__).with_name("plain_jobs.py").read_text())
    given = {"PINFLOW_WORKFLOWS": MODULE, "PYTHONPATH": str(tmp_path), "PINFLOW_RUNNER": runner}
    warehouse = str(tmp_path / "home" / "warehouse")
    if runner == "hadoop":
        found = variables("hadoop")
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        warehouse = f"{found['PINFLOW_WAREHOUSE']}/{tmp_path.parent.name}/{tmp_path.name}"
        given["PINFLOW_WAREHOUSE"] = warehouse
    logs = tmp_path / "input"
    logs.mkdir()
    content = (LOGS / f"access-{DAY}.log.gz").read_bytes()
    (logs / "a.log.gz").write_bytes(content)
    (logs / "b.log").write_bytes(gzip.decompress(content)[:100_000].rpartition(b"\n")[0])
    command = Command(tmp_path / "home", logs, given)
    with command.start("run", "plain", "--date", str(DAY), "--json") as process:
        result = finish(process, timeout=3600)
    assert result.code == 0, (result.err, result.out)

    lines = [line for name in ("a.log.gz", "b.log") for line in read(logs / name)]
    statuses = Counter(re.findall(r'" (\d{3}) ', line)[0] for line in lines)
    assert lines_of(warehouse, "statuses") == sorted([status, count] for status, count in statuses.items())
    assert command.counts(DAY)["statuses"]["log/lines"] == len(lines)

    published = Warehouse(warehouse).require("read_events", DAY)
    frames = []
    for part in published.parts:
        with open_storage(warehouse).open_input(f"{Warehouse(warehouse).path(published)}/{part.name}") as file:
            frames.append(pl.read_parquet(file, columns=["app", "user_id"]))
    users = pl.concat(frames).group_by("app").agg(pl.col("user_id").n_unique()).sort("app")
    assert lines_of(warehouse, "users_of_app") == [list(row) for row in users.iter_rows()]


def read(path: Path) -> list[str]:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()

"""The analytics workflow with its warehouse, and its input, in S3 and in HDFS: the same results as on local disks."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from benchmarks.generate import generate_odd_day
from pinflow.mr_jobs.datasets import Warehouse
from pinflow.storage import is_remote, open_storage
from tests.engines import engines, processes, variables
from tests.workflows.command import Command, Served, finish, served, wait_for_job

DAY = date(2015, 5, 18)
AWAY_SECONDS = 60
PLACES = {"s3": "s3", "hdfs": "hadoop"}
Content = dict[str, list[str]]


@dataclass(frozen=True)
class Local:
    """A run with all on this machine."""

    command: Command
    rows: Served
    content: Content


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Local:
    folder = tmp_path_factory.mktemp("local")
    command = Command(folder / "home", folder / "input")
    generate_odd_day(command.input, DAY, 2, events=900)
    command.run(DAY)
    return Local(command, served(command), content_of(str(command.home / "warehouse")))


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in PLACES])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in a storage."""
    found = variables(PLACES[request.param])
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return f"{found['PINFLOW_WAREHOUSE']}/{tmp_path.parent.name}/{tmp_path.name}"


def content_of(url: str) -> Content:
    """Rows, sorted, of every published part."""
    return dict(datasets_of(url))


def datasets_of(url: str) -> Iterator[tuple[str, list[str]]]:
    """The same dataset by dataset."""
    warehouse = Warehouse(url)
    for dataset in warehouse.datasets():
        for published in warehouse.published_days(dataset, pytest.fail):
            rows = []
            for part in published.parts:
                with open_storage(url).open_input(f"{warehouse.path(published)}/{part.name}") as file:
                    frame = pl.read_parquet(file)
                rows += [str(row) for row in frame.select(sorted(frame.columns)).iter_rows()]
            yield f"{dataset} {published.date}", sorted(rows)


def upload(folder: Path, url: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            open_storage(url).write_bytes(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def test_a_remote_warehouse_has_the_same_datasets(local: Local, tmp_path: Path, place: str) -> None:
    command = Command(tmp_path / "home", local.command.input, {"PINFLOW_WAREHOUSE": place})
    command.run(DAY)
    assert content_of(place) == local.content
    assert served(command) == local.rows
    assert not (command.home / "warehouse").exists()
    assert list((command.home / "staging").iterdir()) == []
    again = command.run(DAY)
    assert set(again.jobs.values()) == {"skipped"} | ({"succeeded"} & set(again.jobs.values()))
    command.run(DAY, "--rebuild")
    assert content_of(place) == local.content
    path = command("datasets", "pin_counts", "--date", str(DAY), "--path").out.strip()
    assert path.startswith(place)
    assert command("clean", "--json").code == 0
    assert content_of(place) == {}


@contextmanager
def away(place: str) -> Iterator[None]:
    """The storage does not answer for a while: S3 hangs, and the NameNode of HDFS is killed and started again."""
    if place.startswith("s3://"):
        server = processes("s3")
        os.kill(server, signal.SIGSTOP)
        yield
        os.kill(server, signal.SIGCONT)
    else:
        os.kill(processes("hadoop-namenode"), signal.SIGKILL)
        yield
        engines("start", "hadoop")


def test_a_warehouse_that_goes_away_during_a_run_is_waited_for(local: Local, tmp_path: Path, place: str) -> None:
    command = Command(tmp_path / "home", local.command.input, {"PINFLOW_WAREHOUSE": place})
    with command.start("run", "analytics", "--date", str(DAY), "--json") as process:
        wait_for_job(command, "extract_%")
        with away(place):
            time.sleep(AWAY_SECONDS)
            assert process.poll() is None
        result = finish(process, timeout=1800)
    assert result.code == 0, (result.err, result.out)
    assert content_of(place) == local.content
    assert served(command) == local.rows


def test_input_in_a_storage_is_read_and_waited_for(local: Local, tmp_path: Path, place: str) -> None:
    assert is_remote(place)
    options = ["--input", place]
    command = Command(tmp_path / "home", local.command.input, options=options)
    assert command("run", "analytics", "--date", str(DAY), "--json").code == 4
    upload(local.command.input, place)
    command.run(DAY)
    assert served(command) == local.rows
    assert command("run", "analytics", "--date", "2015-05-25", "--json").code == 4

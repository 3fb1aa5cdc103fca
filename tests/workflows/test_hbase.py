"""The analytics workflow with a real HBase: the cells are those of embedded, also when it is killed meanwhile."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from benchmarks.generate import generate_day
from pinflow.hbase_schema.hbase import HBaseStore
from pinflow.hbase_schema.hbase_address import connect, parse_address
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import DATA_START, TABLES
from tests.engines import engines, processes, variables
from tests.workflows.command import Command, finish, wait_for_job

pytestmark = pytest.mark.hbase

DAY = date(2015, 5, 18)
EVENTS = 40_000
VICTIMS = {"thrift": ["hbase-thrift"], "hbase": ["hbase-master"], "both": ["hbase-thrift", "hbase-master"]}
LARGEST_TO_MEAN = 1.5
Cells = dict[str, dict[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True)
class Embedded:
    """A run with the embedded store."""

    input: Path
    warehouse: Path
    cells: Cells


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    folder = tmp_path_factory.mktemp("embedded")
    command = Command(folder / "home", folder / "input")
    generate_day(command.input, DAY, events=EVENTS)
    command.run(DAY)
    return Embedded(command.input, command.home, cells_of(str(command.home / "serving.db")))


@pytest.fixture
def serving() -> Iterator[str]:
    """URL of a real HBase without tables of ours."""
    url = variables("hbase")["PINFLOW_SERVING"] + "&prefix=workflow_"
    drop(url)
    yield url
    engines("start", "hbase")
    drop(url)


def drop(url: str) -> None:
    address = parse_address(url)
    connection = connect(address, address.hosts[0])
    for name in set(connection.tables()) & {f"{address.prefix}{name}".encode() for name in TABLES}:
        connection.delete_table(name, disable=True)
    connection.close()


def cells_of(url: str) -> Cells:
    """Every cell of every data row."""
    with open_store(url) as store:
        return {name: dict(store.table(name).scan(row_start=DATA_START)) for name in TABLES}


def command_of(embedded: Embedded, home: Path, serving: str) -> Command:
    return Command(home, embedded.input, {"PINFLOW_SERVING": serving})


def test_a_day_has_the_same_cells_as_embedded_and_fills_regions_evenly(
    embedded: Embedded, tmp_path: Path, serving: str
) -> None:
    command = command_of(embedded, tmp_path / "home", serving)
    command.run(DAY)
    found = cells_of(serving)
    assert found == embedded.cells
    assert sum(len(rows) for rows in found.values()) > 10_000
    with HBaseStore(parse_address(serving), patience=10) as store:
        for name, rows in found.items():
            sizes = [sum(key >= start and (not end or key < end) for key in rows) for start, end in store.regions(name)]
            assert len(sizes) == 16
            assert max(sizes) <= LARGEST_TO_MEAN * sum(sizes) / len(sizes), (name, sizes)
    command.run(DAY, "--rebuild")
    assert cells_of(serving) == embedded.cells


def disturb(embedded: Embedded, home: Path, serving: str, victims: list[str], wait: float) -> None:
    """Kill -9 while rows are being written, start again, and see the run end by itself."""
    command = command_of(embedded, home, serving)
    with command.start("run", "analytics", "--date", str(DAY), "--json") as process:
        wait_for_job(command, "persist%")
        time.sleep(wait)
        for name in victims:
            os.kill(processes(name), signal.SIGKILL)
        was_running = process.poll() is None
        engines("start", "hbase")
        result = finish(process, timeout=1800)
    assert was_running, "the run ended before the kill"
    assert result.code == 0, (result.err, result.out)
    assert result.json["state"] == "succeeded"
    assert cells_of(serving) == embedded.cells
    assert command.sql("select max(attempt) from attempt") == [(1,)]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_run_survives_kill_9_while_it_persists(embedded: Embedded, tmp_path: Path, serving: str, victim: str) -> None:
    disturb(embedded, tmp_path / "home", serving, VICTIMS[victim], wait=0.4)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("victim", VICTIMS)
def test_ten_kills_of_each(embedded: Embedded, tmp_path: Path, serving: str, victim: str, number: int) -> None:
    disturb(embedded, tmp_path / "home", serving, VICTIMS[victim], wait=0.15 * number)

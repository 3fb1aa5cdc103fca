"""Runs the real command in a process of its own, and reads what it left: datasets, statistics, serving rows."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from pinflow.database import open_database
from pinflow.hbase_schema.keys import AUDIENCE, parse_key
from pinflow.hbase_schema.markers import all_markers
from pinflow.hbase_schema.store import Store, open_store
from pinflow.hbase_schema.tables import (
    AUDIENCES,
    DATA_START,
    METRICS,
    OTHER,
    SECTIONS,
    TABLES,
    TOP_ITEMS,
    decode_item,
    decode_number,
    parse_audience_qualifier,
)

TIMEOUT = 600
HOME_VARIABLE = "TEST_HOME"
"""Names the home in the environment of the command and of all that it starts, before it has read its options."""
Row = tuple[str, str, str, str]
"""Subject, platform, aggregation, first day of the period."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)

    @property
    def jobs(self) -> dict[str, str]:
        """State by job of a `run --json`."""
        return {job["name"]: job["state"] for job in self.json["jobs"]}


@dataclass(frozen=True)
class Command:
    """The command with a home and an input; it works in the folder of the home, far from the repository's settings."""

    home: Path
    input: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()

    def arguments(self, *args: str) -> list[str]:
        """The whole command line."""
        places = ["--home", str(self.home), "--input", str(self.input)]
        return [sys.executable, "-m", "pinflow.cli", *places, *self.options, *args]

    @property
    def environment(self) -> dict[str, str]:
        """The environment without settings of whoever runs the tests, and with two slots."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PINFLOW_")}
        return clean | {"PINFLOW_SLOTS": "2", HOME_VARIABLE: str(self.home)} | self.variables

    def __call__(self, *args: str) -> Result:
        """Run it to its end; a traceback on standard error is never right."""
        with self.start(*args) as process:
            return finish(process)

    def start(self, *args: str) -> "subprocess.Popen[str]":
        """Start it and return at once."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            self.arguments(*args),
            env=self.environment,
            cwd=self.home.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, day: date | str, *args: str, code: int = 0) -> Result:
        """`run analytics --json` of a day, which has to end with `code`."""
        result = self("run", "analytics", "--date", str(day), "--json", *args)
        assert result.code == code, (result.code, result.err, result.out)
        return result

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query of HOME/pinflow.db."""
        with closing(sqlite3.connect(self.home / "pinflow.db")) as connection:
            return connection.execute(query, parameters).fetchall()

    def counts(self, day: date | str) -> dict[str, dict[str, int]]:
        """The published counts of each job of a day."""
        found: dict[str, dict[str, int]] = {}
        for job, name, value in self.sql("select job, name, value from v_counts where date = ?", str(day)):
            assert name not in found.setdefault(job, {}), f"{job} has {name} twice"
            found[job][name] = value
        return found

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.variables.get("PINFLOW_DATABASE") or f"sqlite:///{self.home / 'pinflow.db'}"

    @property
    def serving(self) -> Store:
        """The serving store, open."""
        return open_store(self.variables.get("PINFLOW_SERVING") or str(self.home / "serving.db"))


def finish(process: "subprocess.Popen[str]", *, timeout: float = TIMEOUT) -> Result:
    """Wait for a command's end."""
    out, err = process.communicate(timeout=timeout)
    assert "Traceback" not in err, err
    return Result(process.returncode, out, err)


def wait_for_job(command: Command, name: str) -> None:
    """Until a job whose name is like `name` runs."""
    end = time.monotonic() + TIMEOUT
    running = sa.text("select 1 from job where name like :name and state = 'running'")
    engine = open_database(command.database)
    while True:
        # at first there is no file, then a database without tables
        with suppress(sa.exc.DBAPIError), engine.connect() as connection:
            if connection.scalar(running, {"name": name}):
                break
        assert time.monotonic() < end, f"no job {name} was started"
        time.sleep(0.02)
    engine.dispose()


@dataclass(frozen=True)
class Served:
    """All rows of the published periods, in the shapes of the oracle."""

    metrics: dict[Row, dict[str, int | float]]
    audience: dict[Row, dict[str, dict[str, int | float]]]
    top: dict[Row, dict[tuple[str, str], list[tuple[int | None, str, int | float]]]]


def served(command: Command) -> Served:
    """Everything that readers can see in the serving store."""
    found = Served({}, {}, {})
    for section, row, values in served_rows(command):
        _ADD[section](found, row, values)
    return found


def served_rows(command: Command) -> Iterator[tuple[str, Row, dict[bytes, bytes]]]:
    """The same row by row, in the order of the keys, with the section's name and the values as they are stored."""
    with command.serving as store:
        seen = {
            section.name: {(m.aggregation, m.start) for m in all_markers(store, section) if m.version is not None}
            for section in SECTIONS
        }
        for table in TABLES:
            for key, cells in store.table(table).scan(row_start=DATA_START):
                whole = parse_key(key)
                subject = whole.userparam.removeprefix(AUDIENCE)
                row = (subject, whole.platform, whole.aggregation, str(whole.date))
                section = TOP_ITEMS if table == TOP_ITEMS.table else METRICS
                section = AUDIENCES if subject != whole.userparam else section
                if (whole.aggregation, whole.date) in seen[section.name]:
                    yield section.name, row, {column.partition(b":")[2]: value for column, value in cells.items()}


def _add_metrics(found: Served, row: Row, values: dict[bytes, bytes]) -> None:
    found.metrics[row] = {name.decode(): decode_number(value) for name, value in values.items()}


def _add_audience(found: Served, row: Row, values: dict[bytes, bytes]) -> None:
    kinds: dict[str, dict[str, int | float]] = {"country": {}, "metro": {}, "gender": {}}
    for qualifier, value in values.items():
        kind, name = parse_audience_qualifier(qualifier)
        kinds[kind][name] = decode_number(value)
    found.audience[row] = kinds


def _add_top(found: Served, row: Row, values: dict[bytes, bytes]) -> None:
    lists: dict[tuple[str, str], list[tuple[int | None, str, int | float]]] = {}
    for qualifier, value in sorted(values.items()):
        items, by, rank = qualifier.decode().split("/")
        lists.setdefault((items, by), []).append((None if rank == OTHER else int(rank), *decode_item(value)))
    found.top[row] = lists


_ADD = {METRICS.name: _add_metrics, AUDIENCES.name: _add_audience, TOP_ITEMS.name: _add_top}


def published(command: Command) -> dict[str, list[str]]:
    """Rows, sorted, of every published dataset and day; checks that current.json names a folder that is whole."""
    found = {}
    for path in sorted((command.home / "warehouse").glob("*/date=*/current.json")):
        current = json.loads(path.read_bytes())
        folder = path.parent / current["attempt"]
        rows: list[str] = []
        for part in current["parts"]:
            assert (folder / part["name"]).stat().st_size == part["bytes"], (path, part)
            frame = pl.read_parquet(folder / part["name"], hive_partitioning=False)
            assert frame.height == part["rows"], (path, part)
            rows += (f"{Path(part['name']).parent} {row}" for row in frame.select(sorted(frame.columns)).iter_rows())
        assert len(rows) == current["rows"], path
        found[f"{current['dataset']} {current['date']}"] = sorted(rows)
    return found


def currents(command: Command) -> dict[str, bytes]:
    """The bytes of every current.json."""
    return {str(path): path.read_bytes() for path in (command.home / "warehouse").glob("*/date=*/current.json")}

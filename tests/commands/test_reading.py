"""The reading commands where something is not as expected: one message and an exit code, never a traceback."""

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pinflow.hbase_schema.rows import metric_rows, top_rows
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import AUDIENCES, METRICS, TOP_ITEMS
from pinflow.hbase_schema.writer import write_periods
from tests.workflows.command import Command

DAY = date(2015, 5, 18)
SHORT, LONG = "d:www.google.com", "d:www.google.com.br"
OF_DATABASE = (
    ("runs",),
    ("show", "analytics"),
    ("logs", "analytics", "pins"),
    ("graph", "analytics", "--run", "analytics"),
    ("stats", "pins"),
    ("alerts",),
    ("alerts", "mute", "1"),
)
OF_SERVING = (("metrics", SHORT), ("top", SHORT), ("audience", SHORT), ("subjects",))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    for folder in ("home", "input/events"):
        (tmp_path / folder).mkdir(parents=True)
    return Command(tmp_path / "home", tmp_path / "input")


@pytest.fixture
def served(command: Command) -> Command:
    """A store with two subjects on one day: one's name starts with the other's, and neither has lists."""
    rows = metric_rows(pl.DataFrame({"subject": [SHORT, LONG], "platform": ["all", "all"], "like": [1, 2]}), ["like"])
    with open_store(str(command.home / "serving.db")) as store:
        store.create_tables()
        write_periods(store, METRICS, {"daily": DAY}, [rows], version="1")
        for section in (TOP_ITEMS, AUDIENCES):
            write_periods(store, section, {"daily": DAY}, [], version="1")
        old = {"subject": [LONG], "platform": ["web"], "items": ["pins"], "by": ["old_rank"], "rank": [1], "id": ["a"]}
        lists = top_rows(pl.DataFrame({**old, "value": [2.5]}))
        write_periods(store, TOP_ITEMS, {"weekly": DAY}, [lists], version="1")
    return command


@pytest.mark.parametrize("name", ["metrics", "top", "audience"])
def test_a_subject_whose_name_starts_that_of_another_is_known(served: Command, name: str) -> None:
    found = served(name, SHORT, "--platform", "iphone")
    assert (found.code, found.err) == (0, "")
    refused = served(name, "d:www.google", "--platform", "iphone")
    assert (refused.code, refused.out) == (2, "")
    assert SHORT in refused.err


def test_a_top_list_by_a_name_that_orders_none_is_refused(served: Command) -> None:
    refused = served("top", SHORT, "--by", "nope")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "impression, clickthrough, repin, like, create, search_rank\n" in refused.err
    for subject, by in ((SHORT, "repin"), (SHORT, "search_rank"), (LONG, "old_rank")):
        assert "no top pins" in served("top", subject, "--by", by).out
    assert served("top", LONG, "--by", "old_rank", "--aggregation", "weekly", "--platform", "web", "--json").json == [
        {"rank": 1, "id": "a", "value": 2.5}
    ]


@pytest.mark.parametrize("aggregation", ["daily", "biweekly", "monthly"])
def test_metrics_before_the_first_day_of_the_calendar(served: Command, aggregation: str) -> None:
    found = served("metrics", SHORT, "--to", "0001-01-01", "--aggregation", aggregation, "--json")
    assert (found.code, found.out.strip()) == (0, "[]")


def one_message(command: Command, arguments: tuple[str, ...], place: str) -> None:
    result = command(*arguments)
    assert (result.code, result.out) == (1, ""), (arguments, result)
    assert result.err.startswith("error: "), (arguments, result)
    assert result.err.count("\n") == 1, (arguments, result)
    assert place in result.err


def test_files_that_are_no_databases_are_named(command: Command) -> None:
    for name, reading in (("pinflow.db", OF_DATABASE), ("serving.db", OF_SERVING)):
        (command.home / name).write_bytes(b"nonsense" * 1000)
        for arguments in reading:
            one_message(command, arguments, name)
    details = {found["what"]: found["detail"] for found in command("doctor", "--json").json}
    for what in ("database", "serving"):
        assert "not a database" in details[what]
        assert "\n" not in details[what]


def test_a_database_that_lacks_its_tables_is_named(command: Command) -> None:
    assert command("runs").code == 0
    with closing(sqlite3.connect(command.home / "pinflow.db")) as connection:
        for table in ("run", "job_stats", "alerts"):
            connection.execute(f"DROP TABLE {table}")
    for arguments in OF_DATABASE:
        one_message(command, arguments, "pinflow.db")

"""The database as users meet it: `pinflow db`, refusals, and a whole day over SQLite and over MariaDB."""

import re
import sqlite3
from datetime import date
from pathlib import Path

import pymysql
import pytest
import sqlalchemy as sa
from pymysql.constants import CR, ER

from benchmarks.generate import generate_odd_day
from pinflow.database import database_error, open_database
from tests.mariadb import MariaDb
from tests.workflows.command import Command, Result, finish, published, served

DAY = date(2015, 5, 18)
FIRST_SCHEMA = Path(__file__).parents[1] / "scheduler" / "schema-0001.sql"


@pytest.fixture
def command(tmp_path: Path, database_url: str) -> Command:
    return Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_DATABASE": database_url})


def test_an_empty_database_gets_its_tables(command: Command) -> None:
    before = command("db", "status", "--json")
    assert (before.code, before.json["state"], before.json["revision"]) == (0, "empty", None)
    assert command("runs", "--json").json == []
    after = command("db", "status", "--json")
    assert (after.code, after.json["state"]) == (0, "current")
    assert after.json["revision"] == after.json["needed"]
    again = command("db", "upgrade", "--json")
    assert (again.code, again.json["before"]) == (0, again.json["after"])
    assert "has the schema" in command("db", "upgrade").out


def test_an_older_schema_is_refused_until_it_is_upgraded(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path / "input")
    generate_odd_day(command.input, DAY, 1, events=900)
    command.home.mkdir()
    with sqlite3.connect(command.home / "pinflow.db") as connection:
        connection.executescript(FIRST_SCHEMA.read_text(encoding="utf-8"))
    for arguments in (["runs"], ["alerts"], ["run", "analytics", "--date", str(DAY)]):
        refused = command(*arguments)
        assert (refused.code, refused.out) == (2, "")
        assert "type: pinflow db upgrade" in refused.err
    assert "pinflow db upgrade" in {f["what"]: f for f in command("doctor", "--json").json}["database"]["detail"]
    status = command("db", "status")
    assert (status.code, "type: pinflow db upgrade" in status.out) == (2, True)
    assert command("db", "upgrade").code == 0
    assert command("runs", "--json").json == []


def test_two_first_commands_at_once(command: Command) -> None:
    both = [command.start("runs", "--json") for _ in range(3)]
    assert [finish(process).json for process in both] == [[], [], []]


def test_a_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    away = {"PINFLOW_DATABASE": "mysql+pymysql://u:secret@127.0.0.1:9/d"}
    result = Command(tmp_path / "home", tmp_path / "input", away)("runs")
    assert (result.code, result.out) == (1, "")
    assert "u:***@127.0.0.1:9/d" in result.err
    assert "secret" not in result.err


URL = "mysql+pymysql://u:secret@db.example.com/day"
GRANT = "Type as an administrator of the server: GRANT ALL ON `day`.* TO 'u'@'%';"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (ER.BAD_DB_ERROR, "Type as an administrator of the server: CREATE DATABASE `day`;"),
        (ER.ACCESS_DENIED_ERROR, "Correct user and password of the URL in the setting database;"),
        (ER.DBACCESS_DENIED_ERROR, GRANT),
        (ER.TABLEACCESS_DENIED_ERROR, GRANT),
        (ER.DISK_FULL, "make room, or see that it may be written"),
        (CR.CR_CONN_HOST_ERROR, "see that its server runs and that this machine and user may reach it"),
    ],
)
def test_what_to_do_about_an_error_of_a_server(code: int, advice: str) -> None:
    error = sa.exc.OperationalError("SELECT 1", None, pymysql.err.OperationalError(code, "what the server says"))
    said = str(database_error(open_database(URL), error))
    assert f"({code}, 'what the server says')" in said
    assert f"{advice}" in said
    assert "secret" not in said


@pytest.mark.mariadb
def test_what_is_advised_makes_a_missing_database_and_gives_its_rights(tmp_path: Path, mariadb: MariaDb) -> None:
    """A user of whom the server knows only the password, and types what the errors say."""

    def administer(statement: str) -> None:
        with mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def runs(password: str) -> Result:
        url = f"mysql+pymysql://advised:{password}@127.0.0.1:{mariadb.port}/not-there"
        return Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_DATABASE": url})("runs", "--json")

    administer("CREATE USER 'advised'@'%' IDENTIFIED BY 'right'")
    wrong = runs("wrong")
    assert (wrong.code, "(1045, " in wrong.err) == (1, True)
    assert "Correct user and password of the URL in the setting database; then" in wrong.err
    for code in (1044, 1049):
        refused = runs("right")
        assert (refused.code, f"({code}, " in refused.err) == (1, True), refused.err
        typed = re.search(r"as an administrator of the server: ([^;]+;)", refused.err)
        assert typed, refused.err
        administer(typed[1])
    allowed = runs("right")
    assert (allowed.code, allowed.json) == (0, []), allowed.err


@pytest.mark.mariadb
def test_a_day_over_mariadb_is_the_day_over_sqlite(tmp_path: Path, mariadb: MariaDb) -> None:
    generate_odd_day(tmp_path / "input", DAY, 1, events=900)
    plain = Command(tmp_path / "plain", tmp_path / "input")
    plain.run(DAY)
    url = mariadb.create()
    command = Command(tmp_path / "home", tmp_path / "input", {"PINFLOW_DATABASE": url})
    command.run(DAY)
    assert served(command) == served(plain)
    assert published(command) == published(plain)
    assert not (command.home / "pinflow.db").exists()
    tables = {
        "v_counts": "job, name, value",
        "v_histograms": "job, name, low, high, count",
        "v_items": "job, name, side, `rank`, item, value",
    }
    engine = open_database(url)
    with engine.connect() as connection:
        for view, columns in tables.items():
            # The size of a compressed file and what a task took are not the same twice.
            query = f"SELECT {columns} FROM {view} WHERE name NOT LIKE '%bytes' AND name NOT LIKE '%seconds'"
            rows = [tuple(row) for row in connection.execute(sa.text(query))]
            assert sorted(rows) == sorted(plain.sql(query)), view
            assert rows
    engine.dispose()
    assert set(command.run(DAY).jobs.values()) <= {"skipped", "succeeded"}
    found, wanted = (
        {name: n for name, n in each("stats", "read_events", "--json").json["counts"].items() if name != "peak_bytes"}
        for each in (command, plain)
    )
    assert found == wanted
    assert all(finding["ok"] for finding in command("doctor", "--json").json)

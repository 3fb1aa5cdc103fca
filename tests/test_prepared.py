"""Prepared statements do what SQLAlchemy does with the same ones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam as b
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from pinflow.database import LongText, Real, UtcDateTime, open_database
from pinflow.prepared import Prepared, execute
from tests.mariadb import MariaDb

TABLE = sa.Table(
    "thing",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(20)),
    sa.Column("at", UtcDateTime),
    sa.Column("weight", Real),
    sa.Column("note", LongText, server_default="none"),
)
COLUMNS = ["id", "name", "at", "weight"]
INSERT = Prepared(sa.insert(TABLE).inline(), COLUMNS)
ALL = sa.select(TABLE, sa.func.count().over()).order_by(TABLE.c.id)
RENAME = Prepared(sa.update(TABLE).where(TABLE.c.id >= b("b_least")).values(name=b("b_name"), weight=2.5))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 2**31 - 1),
            "name": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
            "at": st.none()
            | st.datetimes(
                datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=5, minutes=30)))
            ),
            "weight": st.none() | st.floats(-1e100, 1e100),
        }
    ),
    max_size=4,
    unique_by=lambda row: row["id"],
)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = open_database(database_url)
    with engine.connect() as opened:
        TABLE.create(opened)
        opened.commit()
        yield opened
        opened.rollback()
        TABLE.drop(opened)
    engine.dispose()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_what_is_stored_and_read_is_the_same(connection, rows):
    with connection.begin_nested() as nested:
        if rows:
            execute(connection, INSERT, rows)
        expected = connection.execute(ALL).all()
        assert sorted(tuple(row)[:4] for row in expected) == sorted(tuple(row[c] for c in COLUMNS) for row in rows)
        found = Prepared(ALL).run(connection, {}).rows
        assert [tuple(row) for row in found] == [tuple(row) for row in expected]
        assert [(row.id, row.at, row.note) for row in found] == [(row.id, row.at, "none") for row in expected]
        nested.rollback()


def test_it_tells_how_many_rows_it_changed_also_if_they_are_as_before(connection):
    INSERT.run(connection, [{"id": n, "name": "x", "at": None, "weight": 1.0} for n in range(5)])
    for _ in range(2):
        assert RENAME.run(connection, {"b_least": 2, "b_name": "y"}).changed == 3
    assert execute(connection, sa.update(TABLE).where(TABLE.c.id == 1).values(name="z"), {}).changed == 1
    names = [row.name for row in execute(connection, ALL, {}).rows]
    assert names == ["x", "z", "y", "y", "y"]
    assert execute(
        connection, Prepared(sa.select(TABLE.c.weight).where(TABLE.c.id == b("b_id"))), {"b_id": 3}
    ).rows == [(2.5,)]


def test_a_value_that_is_missing_is_an_error(connection):
    with pytest.raises(KeyError, match="b_name"):
        RENAME.run(connection, {"b_least": 2})
    with pytest.raises(KeyError, match="weight"):
        INSERT.run(connection, {"id": 1, "name": "x", "at": datetime.now(UTC)})


def test_errors_are_those_of_sqlalchemy(connection):
    row = {"id": 1, "name": "x", "at": None, "weight": None}
    INSERT.run(connection, row)
    with pytest.raises(IntegrityError) as told:
        INSERT.run(connection, row)
    with pytest.raises(IntegrityError) as expected:
        connection.execute(sa.insert(TABLE), row)
    assert str(told.value.orig) == str(expected.value.orig)
    assert told.value.connection_invalidated is False
    assert not connection.invalidated


def test_a_transaction_begins_with_it_as_with_any_statement(connection):
    connection.rollback()
    INSERT.run(connection, {"id": 1, "name": "x", "at": None, "weight": None})
    assert connection.in_transaction()
    connection.rollback()
    assert execute(connection, ALL, {}).rows == []


@pytest.mark.mariadb
def test_a_connection_that_was_lost_is_known_to_be(mariadb: MariaDb) -> None:
    engine = open_database(mariadb.create())
    with engine.connect() as lost, engine.connect() as other:
        number = lost.execute(sa.select(sa.func.connection_id())).scalar_one()
        other.exec_driver_sql(f"KILL {number}")
        with pytest.raises(OperationalError) as told:
            Prepared(sa.select(sa.literal(1))).run(lost, {})
        assert told.value.connection_invalidated
        assert lost.invalidated
    engine.dispose()

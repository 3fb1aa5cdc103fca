"""Fences: each number is given once, and is higher than all that any driver took before."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinflow.database import open_database
from pinflow.scheduler import schema
from pinflow.scheduler.fences import Fences

START = datetime(2015, 5, 19, tzinfo=UTC)


@pytest.fixture
def writers(database_url: str) -> Iterator[list[tuple[sa.Connection, Fences]]]:
    engine = open_database(database_url).execution_options(writes=True)
    schema.prepare(engine)
    made = [engine.connect() for _ in range(3)]
    pairs = [(connection, Fences(engine, connection)) for connection in made]
    yield pairs
    for connection, fences in pairs:
        fences.close()
        connection.close()
    engine.dispose()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20), st.integers(-900, 900)), max_size=40))
def test_numbers_only_grow_whoever_takes_them_and_whatever_the_clock_says(
    writers: list[tuple[sa.Connection, Fences]], steps: list[tuple[int, int, int]]
) -> None:
    now, last = START, 0
    for who, count, milliseconds in steps:
        connection, fences = writers[who]
        now += timedelta(milliseconds=milliseconds)
        with connection.begin():
            numbers = fences.take(count, now)
        assert len(numbers) == count
        assert numbers[0] > last
        assert numbers[0] >= now.timestamp() * 1_000_000
        last = numbers[-1]

"""Fences: each number is given once; those that were taken ahead are above their floor and not old."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinflow.database import open_database
from pinflow.scheduler import schema
from pinflow.scheduler.fences import AHEAD, FRESH, Fences

START = datetime(2015, 5, 19, tzinfo=UTC)
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["fresh", "above"]), st.integers(1, 20), st.integers(-900, 900)),
    max_size=40,
)


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
@given(steps=STEPS)
def test_numbers_are_given_once_and_above_what_they_must_be(
    writers: list[tuple[sa.Connection, Fences]], steps: list[tuple[int, str, int, int]]
) -> None:
    now, floor, given = START, 0, set[int]()
    for who, how, count, milliseconds in steps:
        connection, fences = writers[who]
        now += timedelta(milliseconds=milliseconds)
        with connection.begin():
            numbers = fences.take(count, now) if how == "fresh" else fences.take_above(floor, count, now)
        assert len(numbers) == count
        assert not given.intersection(numbers)
        assert numbers[0] > max(given | {floor} if how == "fresh" else {floor})
        given.update(numbers)
        floor = numbers[0] if how == "fresh" else floor


def test_a_server_is_asked_once_for_several_and_again_when_they_are_used_up_old_or_too_low(
    writers: list[tuple[sa.Connection, Fences]],
) -> None:
    (connection, one), (_, other), _ = writers
    if connection.dialect.name == "sqlite":
        with connection.begin():
            assert [one.take_above(0, 1, START)[0] - one.take_above(0, 1, START)[0] for _ in range(3)] == [-1] * 3
        return
    first = one.take_above(0, 1, START)[0]
    between = other.take(1, START)[0]
    assert between == first + AHEAD
    assert [one.take_above(0, 1, START)[0] for _ in range(AHEAD - 1)] == list(range(first + 1, first + AHEAD))
    assert one.take_above(0, 1, START)[0] == between + 1  # used up
    assert one.take_above(between + 1, 1, START)[0] == between + 2
    assert one.take_above(between + AHEAD, 1, START)[0] > between + AHEAD  # too low
    assert one.take_above(0, 1, START + FRESH)[0] >= START.timestamp() * 1_000_000 + FRESH.total_seconds() * 1_000_000
    with_clock_back = one.take_above(0, AHEAD - 1, START)
    assert one.take_above(0, 1, START)[0] == with_clock_back[-1] + 1

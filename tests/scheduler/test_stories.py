"""The check of stories sees each single event that is missing, told twice or wrong."""

import pytest
import sqlalchemy as sa

from pinflow.scheduler.records import Outcome
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.tables import attempt, event
from tests.scheduler.stories import check_story


def test_an_event_that_is_missing_or_told_twice_is_seen(store, make):
    lease = store.open_run(make({"a": [], "b": ["a"], "c": ["b"]}), "w").lease
    (a,) = store.advance(lease, [], 1).claims
    (b,) = store.advance(lease, [Outcome(a, AttemptState.SUCCEEDED)], 1).claims
    (b,) = store.advance(lease, [Outcome(b, AttemptState.FAILED, retry_at=store.clock())], 1).claims
    check_story(store.engine, lease.run_id)
    store.advance(lease, [Outcome(b, AttemptState.FAILED)], 1)
    store.close_run(lease)
    check_story(store.engine, lease.run_id)
    writing = store.engine.execution_options(writes=True)
    with writing.connect() as connection:
        told = [row._asdict() for row in connection.execute(event.select())]
    # Both of the run, start and end of a, two of both of b, each with what it waited for, and c that cannot start.
    assert len(told) == 2 + 2 + 5 + 1
    for row in told:
        with writing.begin() as connection:
            connection.execute(event.delete().where(event.c.id == row["id"]))
        with pytest.raises(AssertionError):
            check_story(store.engine, lease.run_id)
        with writing.begin() as connection:
            connection.execute(event.insert(), [row, row | {"id": 1000}])
        with pytest.raises(AssertionError):
            check_story(store.engine, lease.run_id)
        with writing.begin() as connection:
            connection.execute(event.delete().where(event.c.id == 1000))
        check_story(store.engine, lease.run_id)


@pytest.mark.parametrize(
    "wrong", [attempt.delete().where(attempt.c.job == "a"), sa.update(attempt).values(state="failed")]
)
def test_attempts_that_no_event_tells_of_are_seen(store, make, wrong):
    lease = store.open_run(make({"a": []}), "w").lease
    (a,) = store.advance(lease, [], 1).claims
    store.advance(lease, [Outcome(a, AttemptState.SUCCEEDED)], 1)
    check_story(store.engine, lease.run_id)
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(wrong)
    with pytest.raises(AssertionError):
        check_story(store.engine, lease.run_id)

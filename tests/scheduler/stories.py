"""The story that the events of a run tell, held against its rows: no transition is lost, and none is told twice."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from pinflow.scheduler.tables import attempt, dependency, event, job, run

WORKED_ON = ("running", "polling")
AFTER = {
    "succeeded": {"succeeded"},
    "skipped": {"skipped"},
    "failed": {"failed", "ready"},
    "aborted": {"aborted"},
    "lost": {"ready", "failed", "aborted"},
}
"""What becomes of a job by how its attempt ended."""


def check_story(engine: sa.Engine, run_id: str) -> None:
    """Each transition begins where the one before it ended, the last is the row's; each attempt has start and end."""
    with engine.connect() as connection:

        def rows(table: sa.Table, *order: sa.Column[Any]) -> list[Any]:
            return list(connection.execute(table.select().where(table.c.run_id == run_id).order_by(*order)))

        (its_run,), events = rows(run), rows(event, event.c.id)
        jobs, attempts = rows(job), rows(attempt)
        waiting = {row.job for row in rows(dependency)}
    _follow([each for each in events if each.job is None], None, its_run.state)
    for row in jobs:
        first = "waiting" if row.name in waiting else "ready"
        _follow([each for each in events if each.job == row.name], first, row.state)
    assert {each.job for each in events} <= {row.name for row in jobs} | {None}
    starts = Counter((each.job, each.attempt) for each in events if each.job and each.state in WORKED_ON)
    ends = {(each.job, each.attempt): each.state for each in events if each.job and each.before in WORKED_ON}
    assert starts == Counter((row.job, row.attempt) for row in attempts), run_id
    ended = {(row.job, row.attempt): row.state for row in attempts if row.state != "running"}
    assert ends.keys() == ended.keys(), run_id
    assert [key for key, state in ended.items() if ends[key] not in AFTER[state]] == []


def check_stories(engine: sa.Engine) -> None:
    """`check_story` of all runs, of which there is one."""
    with engine.connect() as connection:
        found = list(connection.scalars(sa.select(run.c.run_id)))
    assert found
    for run_id in found:
        check_story(engine, run_id)


def _follow(events: Iterable[Any], first: str | None, last: str) -> None:
    state = first
    for each in events:
        assert each.before == state, each
        state = each.state
    assert state == last, (events, last)

"""Which runs and workers are forgotten."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pinflow.database import open_database
from pinflow.scheduler.expiry import forget_runs
from pinflow.scheduler.schedule_tables import backfill, backfill_day, tick
from pinflow.scheduler.store import Store
from pinflow.scheduler.tables import attempt, dependency, event, job, run, signals, worker
from tests.scheduler.rows import insert

BEFORE = datetime(2015, 5, 18, tzinfo=UTC)
OLD, NEW = BEFORE - timedelta(days=1), BEFORE + timedelta(days=1)
TABLES = (run, job, dependency, attempt, event)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(open_database(f"sqlite:///{tmp_path}/pinflow.db")) as opened:
        yield opened


def add_run(store: Store, number: int, date: str, state: str, finished_at: datetime | None, driver: str = "w") -> str:
    run_id = f"daily-{date}-{number}"
    of = {"workflow": "daily", "date": date, "serial": number, "driver": driver, "state": state}
    insert(store, run, run_id=run_id, **of, finished_at=finished_at)
    insert(store, job, run_id=run_id, name="a", state="succeeded")
    insert(store, dependency, run_id=run_id, after="a", job="b")
    insert(store, attempt, fence=number, run_id=run_id, job="a", attempt=1, state="succeeded")
    insert(store, event, run_id=run_id, state="succeeded")
    return run_id


def left(store: Store) -> list[set[str]]:
    with store.engine.connect() as connection:
        return [set(connection.scalars(sa.select(table.c.run_id))) for table in TABLES]


def test_runs_that_ended_long_ago_go_with_all_their_rows(store: Store) -> None:
    old = [add_run(store, n, "2015-05-17", state, OLD) for n, state in enumerate(("succeeded", "failed", "aborted"), 1)]
    kept = {
        add_run(store, 4, "2015-05-17", "running", None),
        add_run(store, 5, "2015-05-17", "succeeded", NEW),
        add_run(store, 6, "2015-05-18", "succeeded", OLD),
    }
    assert forget_runs(store.engine, BEFORE, dry_run=True) == old
    assert left(store) == [kept | set(old)] * len(TABLES)
    assert forget_runs(store.engine, BEFORE) == old
    assert left(store) == [kept] * len(TABLES)
    assert forget_runs(store.engine, BEFORE) == []


def test_what_people_told_a_run_goes_with_it(store: Store) -> None:
    old = add_run(store, 1, "2015-05-17", "succeeded", OLD)
    kept = add_run(store, 2, "2015-05-18", "succeeded", NEW)
    # a workflow may be called as a run is
    told = [("run", old), ("run", kept), ("workflow", old), ("all", "")]
    for scope, name in told:
        insert(store, signals, scope=scope, name=name, action="pause", job="", at=OLD)
    forget_runs(store.engine, BEFORE)
    with store.engine.connect() as connection:
        found = {tuple(row) for row in connection.execute(sa.select(signals.c.scope, signals.c.name))}
    assert found == set(told) - {("run", old)}


def test_more_runs_than_go_at_once(store: Store) -> None:
    for number in range(1, 46):
        add_run(store, number, "2015-05-17", "succeeded", OLD)
    assert len(forget_runs(store.engine, BEFORE)) == 45
    assert left(store) == [set()] * len(TABLES)


def test_workers_go_that_are_no_more(store: Store) -> None:
    add_run(store, 1, "2015-05-18", "succeeded", NEW, driver="named")
    for name, lease, started in (
        ("command", None, OLD),
        ("named", None, OLD),
        ("recent", None, NEW),
        ("dead", OLD, OLD),
        ("alive", NEW, OLD),
    ):
        insert(store, worker, worker=name, lease_until=lease, started_at=started)
    forget_runs(store.engine, BEFORE)
    with store.engine.connect() as connection:
        assert set(connection.scalars(sa.select(worker.c.worker))) == {"named", "recent", "alive"}


def test_ticks_go_but_those_that_wait_and_the_newest_of_each_schedule(store: Store) -> None:
    rows = [
        ("daily", OLD - timedelta(days=2), "started"),
        ("daily", OLD - timedelta(days=1), "waiting"),
        ("daily", OLD, "missed"),
        ("daily", NEW, "started"),
        ("ended", OLD - timedelta(days=1), "skipped"),
        ("ended", OLD, "joined"),
    ]
    for workflow, at, state in rows:
        insert(store, tick, workflow=workflow, at=at, state=state, changed_at=at)
    forget_runs(store.engine, BEFORE)
    with store.engine.connect() as connection:
        kept = connection.execute(
            sa.select(tick.c.workflow, tick.c.at, tick.c.state).order_by(tick.c.workflow, tick.c.at)
        )
        assert [tuple(row) for row in kept] == [rows[1], rows[3], rows[5]]


def test_ticks_stay_that_were_handled_late_or_whose_run_runs(store: Store) -> None:
    running = add_run(store, 1, "2015-05-15", "running", None)
    ended = add_run(store, 2, "2015-05-18", "succeeded", NEW)
    ticks = {hour: OLD - timedelta(hours=hour) for hour in range(1, 6)}
    for hour, changed_at, run_id in (
        (5, OLD, None),
        (4, NEW, None),
        (3, OLD, running),
        (2, OLD, ended),
        (1, OLD, None),
    ):
        row = {"at": ticks[hour], "changed_at": changed_at, "run_id": run_id}
        insert(store, tick, workflow="daily", state="started", **row)
    forget_runs(store.engine, BEFORE)
    with store.engine.connect() as connection:
        assert set(connection.scalars(sa.select(tick.c.at))) == {ticks[4], ticks[3], ticks[1]}


def test_backfills_go_that_ended_long_ago_but_the_newest(store: Store) -> None:
    for number, finished_at in enumerate((OLD, None, NEW, OLD, OLD), 1):
        state = "running" if finished_at is None else "failed"
        names = {"workflow": "daily", "reprocess": "none", "state": state, "parameters": "{}"}
        insert(
            store, backfill, backfill=number, first="2015-05-01", last="2015-05-01", **names, finished_at=finished_at
        )
        insert(store, backfill_day, backfill=number, date="2015-05-01", state="failed")
    forget_runs(store.engine, BEFORE)
    with store.engine.connect() as connection:
        for table in (backfill, backfill_day):
            assert set(connection.scalars(sa.select(table.c.backfill))) == {2, 3, 5}

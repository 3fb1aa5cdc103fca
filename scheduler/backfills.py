"""Backfills: many days of a workflow, a few at once; what is done of them is stored, so that a killed one goes on.

A backfill is its days in an order. Whoever works on it takes the next day, runs it, and notes how it ended.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.database import fetch, is_race
from pinflow.errors import ConfigurationError
from pinflow.scheduler import identity
from pinflow.scheduler import statements as sql
from pinflow.scheduler.schedule_statements import NEWEST_RUN
from pinflow.scheduler.schedule_tables import backfill, backfill_day
from pinflow.scheduler.states import RunState
from pinflow.scheduler.store import WORKERS, Store
from pinflow.scheduler.tables import run, worker
from pinflow.scheduler.transaction import Transaction
from pinflow.zygote import JSON

MOST_DAYS = 5000
SILENCE = timedelta(minutes=2)
"""After how long a driver of another machine, or of this one before its boot, that gives no sign is taken for dead."""
OPEN_STATES = ("waiting", "running")

# The backfill of a number, which nobody else changes until the transaction ends.
_LOCK = sa.select(backfill).where(backfill.c.backfill == b("b_backfill")).with_for_update()
_OF_WORKFLOW = sa.select(backfill).where(backfill.c.workflow == b("b_workflow")).order_by(backfill.c.backfill.desc())
_RUNNING = _OF_WORKFLOW.where(backfill.c.state == "running").with_for_update()
_DAYS = sa.select(backfill_day).where(backfill_day.c.backfill == b("b_backfill")).order_by(backfill_day.c.position)
_SET_STATE = (
    sa.update(backfill)
    .where(backfill.c.backfill == b("b_backfill"), backfill.c.state == "running")
    .values(state=b("b_state"), finished_at=b("b_now"))
)
_SET_MOST = sa.update(backfill).where(backfill.c.backfill == b("b_backfill")).values(max_runs=b("b_max_runs"))
_DETACH = sa.update(backfill).where(backfill.c.backfill == b("b_backfill")).values(detached=1)
# The backfills that workers go on with, and cancelled ones of which they still have days.
_DETACHED = sa.select(backfill).where(
    backfill.c.detached == 1,
    sa.or_(
        backfill.c.state == "running",
        sa.and_(
            backfill.c.state == "cancelled",
            sa.exists().where(backfill_day.c.backfill == backfill.c.backfill, backfill_day.c.state == "running"),
        ),
    ),
)
_STATE = sa.select(run.c.state).where(run.c.run_id == b("b_run_id"))
_DRIVER = sa.select(backfill_day.c.driver).where(
    backfill_day.c.backfill == b("b_backfill"), backfill_day.c.date == b("b_date")
)
_SET_DAY = (
    sa.update(backfill_day)
    .where(backfill_day.c.backfill == b("b_backfill"), backfill_day.c.date == b("b_date"))
    .values(state=b("b_state"), run_id=b("b_run_id"), driver=b("b_driver"))
)
# The newest run of each day of a span.
_NEWEST_OF_DAYS = (
    sa.select(run.c.date, run.c.run_id, run.c.state, run.c.serial)
    .where(run.c.workflow == b("b_workflow"), run.c.date.between(b("b_first"), b("b_last")))
    .order_by(run.c.serial)
)
_NOTE_AGAIN = sa.update(worker).where(worker.c.worker == b("b_worker")).values(started_at=b("b_now"))
# When the newest run of a day gave signs of its driver.
_SIGNS = (
    sa.select(run.c.state, run.c.shared, run.c.lease_until, run.c.finished_at)
    .where(run.c.workflow == b("b_workflow"), run.c.date == b("b_date"))
    .order_by(run.c.serial.desc())
    .limit(1)
)
_STARTED = sa.select(run.c.created_at).where(run.c.run_id == b("b_run_id"))


class Reprocess(StrEnum):
    """Which of the days that have had a run are run again."""

    NONE = "none"
    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True)
class BackfillRequest:
    """What is asked for: the days from `first` to `last` of a workflow, `max_runs` at once."""

    workflow: str
    first: date
    last: date
    max_runs: int = 1
    reverse: bool = False
    reprocess: Reprocess = Reprocess.NONE
    rebuild: bool = False
    parameters: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ConfigurationError(f"a backfill cannot go from {self.first} to {self.last}; exchange --from and --to")
        if (self.last - self.first).days >= MOST_DAYS:
            raise ConfigurationError(f"a backfill may have {MOST_DAYS} days at most; make several")

    @property
    def days(self) -> list[date]:
        """The days in the order in which they are run."""
        days = [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]
        return days[::-1] if self.reverse else days


@dataclass(frozen=True)
class BackfillDay:
    """A day and where it stands: waiting, running, succeeded, failed, kept (it had a run already), cancelled."""

    date: date
    state: str
    run_id: str | None
    driver: str | None = None


@dataclass(frozen=True)
class Backfill:
    """A backfill with its days in their order; its state: running, succeeded, failed, cancelled."""

    number: int
    request: BackfillRequest
    state: str
    created_at: datetime
    days: Sequence[BackfillDay] = ()

    def count(self, *states: str) -> int:
        """How many days are in one of these states."""
        return sum(day.state in states for day in self.days)


def plan(store: Store, request: BackfillRequest) -> list[BackfillDay]:
    """The days in their order, `waiting` if they would be run, `kept` if not, each with the newest run it has had."""
    values = {"b_workflow": request.workflow, "b_first": str(request.first), "b_last": str(request.last)}
    newest = {row.date: row for row in fetch(store.engine, _NEWEST_OF_DAYS, values)}
    return [_planned(request, day, newest.get(str(day))) for day in request.days]


def open_backfill(store: Store, request: BackfillRequest, *, detach: bool = False) -> tuple[Backfill, bool]:
    """Begin a backfill, or go on with the running one for the same days and choices; True if it was begun.

    With `detach` workers go on with it: see `work_for_workers`.
    """
    if request.max_runs < 1:
        raise ConfigurationError(f"a backfill cannot run {request.max_runs} days at once; max_runs is 1 or more")
    planned = plan(store, request)

    def begin(work: Transaction) -> tuple[int, bool]:
        number, begun = _find_or_insert(work, request, planned)
        if detach:
            work.try_change(_DETACH, b_backfill=number)
        return number, begun

    number, begun = store.transact(begin, is_race)
    return get_backfill(store, number), begun


def get_backfill(store: Store, number: int) -> Backfill:
    """A backfill as it stands."""
    query = sa.select(backfill).where(backfill.c.backfill == number)
    return _backfill_of(fetch(store.engine, query)[0], fetch(store.engine, _DAYS, {"b_backfill": number}))


def list_backfills(store: Store, workflow: str) -> list[Backfill]:
    """All backfills of a workflow, the newest first, without their days."""
    return [_backfill_of(row, []) for row in fetch(store.engine, _OF_WORKFLOW, {"b_workflow": workflow})]


def take_day(
    store: Store,
    number: int,
    driver: str,
    is_dead: Callable[[str], bool] = identity.is_dead,
    *,
    leave_out: Collection[date] = (),
) -> BackfillDay | None:
    """The next day to run, now held by `driver`: one that waits, or one whose driver died; None if there is none now.

    A driver works on one day at a time: one that it seems to hold already it was given, and could not hear so. Days of
    `leave_out` are not given. While `max_runs` days are held by drivers that live, and when the backfill is not
    running any more, there is none. Whether a driver of another machine lives only its signs tell: it took the day, or
    its run ended, not longer than `SILENCE` ago, or the run is driven.
    """

    def take(work: Transaction) -> BackfillDay | None:
        row = work.first(_LOCK, b_backfill=number)
        if row.state != "running":
            return None
        days = [_day_of(day) for day in work.rows(_DAYS, b_backfill=number)]
        left = [day for day in days if day.driver == driver or _is_left(work, row, day, is_dead)]
        for day in left:
            if _found_ended(work, row, day):
                return take(work)
        if sum(day.state == "running" for day in days) - len(left) >= row.max_runs:
            return None
        open_ones = [*left, *(day for day in days if day.state == "waiting")]
        chosen = next((day for day in open_ones if day.date not in leave_out), None)
        if chosen is not None:
            _set_day(work, number, chosen.date, "running", chosen.run_id, driver)
            _note_driver(work, driver)
        return chosen

    return store.transact(take)


def end_day(store: Store, number: int, day: date, state: str, run_id: str | None, *, driver: str | None = None) -> None:
    """Note how a day ended; `waiting`: it was given back. The backfill ends with its last day.

    With `driver` only if the day is still held by that; another that has taken it notes how it ends.
    """

    def end(work: Transaction) -> None:
        row = work.first(_LOCK, b_backfill=number)
        if driver is not None and work.first(_DRIVER, b_backfill=number, b_date=str(day)).driver != driver:
            return
        given_back = "cancelled" if row.state == "cancelled" else "waiting"
        _set_day(work, number, day, given_back if state == "waiting" else state, run_id, None)
        _close(work, row)

    store.transact(end)


def hand_over(store: Store, number: int, day: date, run_id: str) -> None:
    """Leave a day that was taken to workers, which have its run."""
    store.transact(lambda work: _set_day(work, number, day, "running", run_id, WORKERS))


def work_for_workers(store: Store, is_dead: Callable[[str], bool] = identity.is_dead) -> list[int]:
    """Note which days of detached backfills have ended; gives the backfills of which days can be taken now."""
    open_ones = [row.backfill for row in fetch(store.engine, _DETACHED)]
    return [number for number in open_ones if store.transact(partial(_settle, number=number, is_dead=is_dead))]


def cancel(store: Store, workflow: str) -> list[int]:
    """Let all running backfills of a workflow start no further day; gives their numbers."""

    def stop(work: Transaction) -> list[int]:
        numbers = [row.backfill for row in work.rows(_RUNNING, b_workflow=workflow)]
        for number in numbers:
            for day in work.rows(_DAYS, b_backfill=number):
                if day.state == "waiting":
                    _set_day(work, number, date.fromisoformat(day.date), "cancelled", day.run_id, None)
            work.change(_SET_STATE, b_backfill=number, b_state="cancelled", b_now=work.now)
        return numbers

    return store.transact(stop)


def _settle(work: Transaction, number: int, is_dead: Callable[[str], bool]) -> bool:
    """End the days of a backfill whose runs have ended; whether there is a day to take then, and room for it."""
    row = work.first(_LOCK, b_backfill=number)
    days = [_day_of(day) for day in work.rows(_DAYS, b_backfill=number)]
    for day in days:
        if day.state == "running" and day.driver == WORKERS:
            found = work.first(_STATE, b_run_id=day.run_id)
            if found is None or found.state != RunState.RUNNING:
                ended = "succeeded" if found and found.state == RunState.SUCCEEDED else "failed"
                _set_day(work, number, day.date, ended, day.run_id, None)
    _close(work, row)
    days = [_day_of(day) for day in work.rows(_DAYS, b_backfill=number)]
    left = [day for day in days if _is_left(work, row, day, is_dead)]
    if row.state == "cancelled":
        for day in left:
            _set_day(work, number, day.date, "cancelled", day.run_id, None)
        return False
    held = sum(day.state == "running" for day in days) - len(left)
    return held < row.max_runs and bool(left or any(day.state == "waiting" for day in days))


def _is_left(work: Transaction, row: Any, day: BackfillDay, is_dead: Callable[[str], bool]) -> bool:
    """Whether nobody works on a day any more that somebody has taken."""
    if day.state != "running" or day.driver == WORKERS:
        return False
    return day.driver is None or is_dead(day.driver) or _is_silent(work, row.workflow, day.date, day.driver)


def _is_silent(work: Transaction, workflow: str, day: date, driver: str) -> bool:
    """Whether a driver, of whose process nothing can be known here, has given no sign for so long that it is dead."""
    if identity.is_here(driver):
        return False
    newest = work.first(_SIGNS, b_workflow=workflow, b_date=str(day))
    if newest is not None and newest.state == RunState.RUNNING and newest.shared:
        return False
    noted = work.first(sql.WORKER, b_worker=driver)
    signs = [noted and noted.started_at, newest and newest.lease_until, newest and newest.finished_at]
    return all(sign is None or sign + SILENCE < work.now for sign in signs)


def _note_driver(work: Transaction, driver: str) -> None:
    """Remember when a driver took a day: it gives no other sign until the run is made."""
    if not work.try_change(_NOTE_AGAIN, b_worker=driver, b_now=work.now):
        work.insert(sql.INSERT_WORKER, [{"worker": driver, "slots": 1, "started_at": work.now}])


def _planned(request: BackfillRequest, day: date, newest: Any) -> BackfillDay:
    if newest is None:
        return BackfillDay(day, "waiting", None)
    again = {
        Reprocess.NONE: newest.state == RunState.RUNNING,
        Reprocess.FAILED: newest.state != RunState.SUCCEEDED,
        Reprocess.ALL: True,
    }[request.reprocess]
    return BackfillDay(day, "waiting" if again else "kept", newest.run_id)


def _find_or_insert(work: Transaction, request: BackfillRequest, planned: Sequence[BackfillDay]) -> tuple[int, bool]:
    for row in work.rows(_RUNNING, b_workflow=request.workflow):
        if replace(_request_of(row), max_runs=request.max_runs) == request:
            work.change(_SET_MOST, b_backfill=row.backfill, b_max_runs=request.max_runs)
            return row.backfill, False
    return _insert(work, request, planned), True


def _insert(work: Transaction, request: BackfillRequest, planned: Sequence[BackfillDay]) -> int:
    number = (work.first(sa.select(sa.func.max(backfill.c.backfill)))[0] or 0) + 1
    values = {
        "backfill": number,
        "workflow": request.workflow,
        "first": str(request.first),
        "last": str(request.last),
        "max_runs": request.max_runs,
        "reverse": request.reverse,
        "reprocess": request.reprocess.value,
        "rebuild": request.rebuild,
        "parameters": json.dumps(dict(request.parameters), sort_keys=True),
        "state": "running",
        "created_at": work.now,
    }
    work.insert(sa.insert(backfill), [values])
    days = [
        {"backfill": number, "date": str(day.date), "position": position, "state": day.state, "run_id": day.run_id}
        for position, day in enumerate(planned)
    ]
    work.insert(sa.insert(backfill_day), days)
    _close(work, work.first(_LOCK, b_backfill=number))
    return number


def _found_ended(work: Transaction, row: Any, day: BackfillDay) -> bool:
    """Note how a day ended whose driver died between the end of its run and telling so; whether it was so."""
    newest = work.first(NEWEST_RUN, b_workflow=row.workflow, b_date=str(day.date))
    if newest is None or newest.state not in (RunState.SUCCEEDED, RunState.FAILED):
        return False
    if work.first(_STARTED, b_run_id=newest.run_id).created_at < row.created_at:
        return False
    _set_day(work, row.backfill, day.date, newest.state, newest.run_id, None)
    _close(work, row)
    return True


def _close(work: Transaction, row: Any) -> None:
    states = {day.state for day in work.rows(_DAYS, b_backfill=row.backfill)}
    if row.state == "running" and not states & set(OPEN_STATES):
        state = "succeeded" if states <= {"succeeded", "kept"} else "failed"
        work.change(_SET_STATE, b_backfill=row.backfill, b_state=state, b_now=work.now)


def _set_day(work: Transaction, number: int, day: date, state: str, run_id: str | None, driver: str | None) -> None:
    values = {"b_backfill": number, "b_date": str(day), "b_state": state, "b_run_id": run_id, "b_driver": driver}
    work.change(_SET_DAY, **values)


def _request_of(row: Any) -> BackfillRequest:
    return BackfillRequest(
        row.workflow,
        date.fromisoformat(row.first),
        date.fromisoformat(row.last),
        max_runs=row.max_runs,
        reverse=row.reverse,
        reprocess=Reprocess(row.reprocess),
        rebuild=row.rebuild,
        parameters=json.loads(row.parameters),
    )


def _backfill_of(row: Any, days: Sequence[Any]) -> Backfill:
    return Backfill(row.backfill, _request_of(row), row.state, row.created_at, [_day_of(day) for day in days])


def _day_of(row: Any) -> BackfillDay:
    return BackfillDay(date.fromisoformat(row.date), row.state, row.run_id, row.driver)

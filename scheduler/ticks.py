"""Starts the runs of schedules: each tick once, with any number of schedulers, and whatever is killed when.

A tick is stored first, by one scheduler under the lock of the schedule's row; then, in its turn, it starts a run, is
skipped or waits. Each step is one transaction, and what one scheduler left, any goes on with.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from pinflow import database
from pinflow.config import parse_duration
from pinflow.errors import AbortedError, PinflowError
from pinflow.scheduler import schedule_statements as sql
from pinflow.scheduler.cron import last_ticks
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.overrun import Action, Verdict, choose_ticks, judge_tick
from pinflow.scheduler.records import GRACE
from pinflow.scheduler.schedules import Overrun, Schedule
from pinflow.scheduler.statements import LOCK_RUN
from pinflow.scheduler.states import RunState
from pinflow.scheduler.store import Store
from pinflow.scheduler.timetable import Timetable
from pinflow.scheduler.transaction import Transaction

_LOOK_AGAIN = timedelta(seconds=5)
_TRY_AGAIN = timedelta(minutes=1)


class _Turn(NamedTuple):
    """A tick whose turn it is to start a run."""

    declared: Schedule
    at: datetime
    verdict: Verdict


def fire_due(store: Store, timetable: Timetable, now: datetime | None = None) -> datetime | None:
    """Start the runs that are due, as runs that wait for a worker; gives when to call again, None if never.

    Any number of processes may do so at once: each tick starts one run at most. Where a run cannot be made, the
    tick waits and is tried again, its schedule says why, and all others go on.
    """
    now = now or store.clock()
    declare(store, timetable.schedules, now)
    for row in database.fetch(store.engine, sql.DUE, {"b_now": now}):
        if row.workflow in timetable.schedules:
            _fire(store, timetable, row.workflow, now)
    rows = database.fetch(store.engine, sql.SCHEDULES)
    moments = [row.wake_at for row in rows if row.workflow in timetable.schedules]
    return min((moment for moment in moments if moment is not None), default=None)


def declare(store: Store, schedules: Mapping[str, Schedule], now: datetime) -> None:
    """Note new and changed declarations; a changed one counts from now, what is due by the old one is taken before."""
    known = {row.workflow: row.declared for row in database.fetch(store.engine, sql.SCHEDULES)}
    for workflow, declared in schedules.items():
        if known.get(workflow) != declared.text:

            def note(work: Transaction, workflow: str = workflow, declared: Schedule = declared) -> None:
                _declare(work, workflow, declared, now)

            store.transact(note, database.is_race)


def pause(store: Store, workflow: str, *, paused: bool) -> bool:
    """Pause a schedule, or let it go on from now; what came due between is not made up for. False if it was so."""

    def change(work: Transaction) -> bool:
        row = work.first(sql.LOCK_SCHEDULE, b_workflow=workflow)
        if row is None or row.paused == paused:
            return False
        _change(work, row, Schedule.from_text(row.declared), max(work.now, row.handled_until), paused=paused)
        return True

    return store.transact(change)


def _declare(work: Transaction, workflow: str, declared: Schedule, now: datetime) -> None:
    row = work.first(sql.LOCK_SCHEDULE, b_workflow=workflow)
    if row is None:
        following = declared.next(now)
        values = {
            "workflow": workflow,
            "declared": declared.text,
            "paused": not declared.active,
            "handled_until": now,
            "next_at": following,
            "wake_at": following if declared.active else None,
            "changed_at": work.now,
        }
        work.insert(sql.INSERT_SCHEDULE, [values])
        return
    before = Schedule.from_text(row.declared)
    if not row.paused:
        _take(work, row, before, now)
    paused = row.paused if before.active == declared.active else not declared.active
    _change(work, row, declared, max(now, row.handled_until), paused=paused)


def _change(work: Transaction, row: Any, declared: Schedule, handled_until: datetime, *, paused: bool) -> None:
    following = declared.next(handled_until)
    is_waiting = work.first(sql.WAITING_TICKS, b_workflow=row.workflow) is not None
    work.change(
        sql.CHANGE_SCHEDULE,
        b_workflow=row.workflow,
        b_declared=declared.text,
        b_paused=paused,
        b_handled_until=handled_until,
        b_next_at=following,
        b_wake_at=None if paused else handled_until if is_waiting else following,
        b_now=work.now,
    )


def _fire(store: Store, timetable: Timetable, workflow: str, now: datetime) -> None:
    store.transact(lambda work: _take_due(work, workflow, now))
    while (turn := store.transact(lambda work: _next_turn(work, workflow, now))) is not None:
        day, parameters = turn.declared.day_of(turn.at), turn.declared.parameters_of(turn.at)
        try:
            definition = timetable.define(workflow, day, parameters)
        except (Exception, SystemExit) as error:  # it is the code of whoever declared the workflow
            _put_off(store, workflow, day, now, error)
            return
        try:
            if not store.transact(partial(_start, now=now, turn=turn, definition=definition, lease=store.lease)):
                return
        except Exception as error:  # what was declared cannot be stored
            if error.__cause__ is not None and database.is_passing(error.__cause__):
                raise
            _put_off(store, workflow, day, now, error)
            return


def _put_off(store: Store, workflow: str, day: date, now: datetime, error: BaseException) -> None:
    """Say why a run cannot be made, and try it again soon."""
    reason = str(error) if isinstance(error, PinflowError) else f"{type(error).__name__}: {error}"
    _wake(store, workflow, now + _TRY_AGAIN, f"the run of {day} cannot be made: {reason}")


def _wake(store: Store, workflow: str, at: datetime, error: str) -> None:
    store.transact(lambda work: work.change(sql.WAKE, b_workflow=workflow, b_at=at, b_error=error))


def _take_due(work: Transaction, workflow: str, now: datetime) -> None:
    row = work.first(sql.LOCK_SCHEDULE, b_workflow=workflow)
    if row is not None and not row.paused:
        _take(work, row, Schedule.from_text(row.declared), now)


def _take(work: Transaction, row: Any, declared: Schedule, now: datetime) -> None:
    """Store the ticks that came due since the last time: those that are to run wait, of the others the newest is noted.

    A schedule's row must be locked.
    """
    if row.next_at is None or row.next_at > now:
        return
    due = last_ticks(declared.cron, declared.timezone, row.handled_until, now, declared.limit + 1)
    chosen = choose_ticks(declared, due, now)
    ticks: list[tuple[datetime, str, str | None]] = [(at, "waiting", None) for at in chosen]
    left = [at for at in due if at not in chosen]
    if left:
        reason = f"no scheduler ran when it came due; the first that was missed came due at {row.next_at.isoformat()}"
        ticks.append((left[-1], "missed", reason))
    names = ("workflow", "at", "state", "reason", "changed_at")
    work.insert(
        sql.INSERT_TICK,
        [dict(zip(names, (row.workflow, at, state, why, work.now), strict=True)) for at, state, why in ticks],
    )
    following = declared.next(now)
    work.change(sql.ADVANCE, b_workflow=row.workflow, b_handled_until=now, b_next_at=following)
    for waiting in work.rows(sql.WAITING_TICKS, b_workflow=row.workflow)[: -declared.limit]:
        _move(work, row.workflow, waiting.at, "skipped", f"{declared.limit} later ticks wait, too")


def _next_turn(work: Transaction, workflow: str, now: datetime) -> _Turn | None:
    """The next tick that is to start a run; those before it that are to be skipped are. None: nothing now."""
    row = work.first(sql.LOCK_SCHEDULE, b_workflow=workflow)
    if row is None or row.paused:
        return None
    declared = Schedule.from_text(row.declared)
    for waiting in work.rows(sql.WAITING_TICKS, b_workflow=workflow):
        verdict = _judge(work, workflow, declared, waiting.at, now)
        if verdict.action is Action.SKIP:
            _move(work, workflow, waiting.at, "skipped", verdict.reason)
        elif verdict.action is Action.WAIT:
            _hold_back(work, row, waiting, verdict.reason, now)
            return None
        else:
            return _Turn(declared, waiting.at, verdict)
    work.change(sql.WAKE, b_workflow=workflow, b_at=row.next_at, b_error=None)
    return None


def _hold_back(work: Transaction, schedule: Any, waiting: Any, reason: str | None, now: datetime) -> None:
    """Let a tick wait for a reason, and be looked at again soon."""
    if reason != waiting.reason:
        _move(work, schedule.workflow, waiting.at, "waiting", reason)
    wake_at = now + _LOOK_AGAIN if schedule.next_at is None else min(now + _LOOK_AGAIN, schedule.next_at)
    work.change(sql.WAKE, b_workflow=schedule.workflow, b_at=wake_at, b_error=None)


def _judge(work: Transaction, workflow: str, declared: Schedule, at: datetime, now: datetime) -> Verdict:
    running = [run.run_id for run in work.rows(sql.RUNNING_RUNS, b_workflow=workflow)]
    unsuccessful = None
    if declared.overrun is Overrun.DELAY_UNTIL_SUCCESS:
        before = work.first(sql.DAY_BEFORE, b_workflow=workflow, b_at=at)
        newest = before and work.first(sql.NEWEST_RUN, b_workflow=workflow, b_date=before.date)
        if newest and newest.state != RunState.SUCCEEDED:
            unsuccessful = newest.run_id
    verdict = judge_tick(declared, at, now, running, unsuccessful)
    if verdict.action in (Action.START, Action.ABORT_AND_START):
        try:
            work.refuse_if_aborted(workflow)
        except AbortedError as error:
            return Verdict(Action.WAIT, str(error))
    return verdict


def _start(work: Transaction, *, now: datetime, turn: _Turn, definition: Definition, lease: timedelta) -> bool:
    """Make the run of a tick, unless another scheduler was first, or it is not the tick's turn any more.

    False if the tick has to wait for the end of a run of its day that does other work.
    """
    workflow = definition.workflow
    if _next_turn(work, workflow, now) != turn:
        return True
    running = work.rows(sql.RUNNING_RUNS, b_workflow=workflow)
    newest = work.latest_run(definition)
    if newest is not None and newest.state == RunState.RUNNING and newest.run_id not in {r.run_id for r in running}:
        if newest.digest != definition.digest:
            schedule, waiting = (
                work.first(each, b_workflow=workflow) for each in (sql.LOCK_SCHEDULE, sql.WAITING_TICKS)
            )
            reason = f"waits for the end of {newest.run_id}, which somebody had started and which does other work"
            _hold_back(work, schedule, waiting, reason, now)
            return False
        _move(work, workflow, turn.at, "joined", "somebody had started the run of that day", newest.run_id)
        return True
    wait = timedelta(0)
    if turn.verdict.action is Action.ABORT_AND_START:
        for run in running:
            locked = work.first(LOCK_RUN, b_run_id=run.run_id)
            if locked.state == RunState.RUNNING:
                work.abort(run.run_id, locked.fence, f"stopped by the schedule's tick of {turn.at.isoformat()}")
                wait = lease + GRACE  # until the worker that had it knows, and its jobs have ended
    serial = 1 if newest is None else newest.serial + 1
    made = work.create_run(definition, serial, f"schedule@{turn.at.isoformat()}", wait)
    work.change(sql.WAIT_UNTIL, b_run_id=made.run_id, b_until=work.now + parse_duration(turn.declared.wait))
    _move(work, workflow, turn.at, "started", turn.verdict.reason, made.run_id)
    return True


def _move(
    work: Transaction, workflow: str, at: datetime, state: str, reason: str | None, run_id: str | None = None
) -> None:
    values = {"b_workflow": workflow, "b_at": at, "b_state": state, "b_reason": reason, "b_run_id": run_id}
    work.change(sql.MOVE_TICK, **values, b_now=work.now)

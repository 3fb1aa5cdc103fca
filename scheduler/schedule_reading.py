"""What people and pages ask about schedules: how each stands, when it comes due next, what became of its ticks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any

from pinflow.database import fetch
from pinflow.scheduler import schedule_statements as sql
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.store import Store


@dataclass(frozen=True)
class TickInfo:
    """A tick and what became of it: waiting, started, joined, skipped, missed."""

    at: datetime
    state: str
    run_id: str | None
    reason: str | None


@dataclass(frozen=True)
class ScheduleInfo:
    """A schedule as it stands: `on`, `paused`, or `not declared` when no usable module declares it."""

    workflow: str
    cron: str
    timezone: str
    state: str
    next: tuple[datetime, ...]
    waiting: int
    last: TickInfo | None
    error: str | None
    catch_up: str
    overrun: str


@dataclass(frozen=True)
class Coming:
    """A tick that is to come: in UTC, by the clock of the schedule's zone, and the day of the run that it starts."""

    workflow: str
    at: datetime
    local: datetime
    date: date


def list_schedules(store: Store, declared: Mapping[str, Schedule], *, count: int = 1) -> list[ScheduleInfo]:
    """All schedules that are declared or known, by workflow, each with its next `count` ticks (none when paused)."""
    rows = {row.workflow: row for row in fetch(store.engine, sql.SCHEDULES)}
    waiting: dict[str, int] = {row.workflow: row.waiting for row in fetch(store.engine, sql.WAITING_COUNTS)}
    now = store.clock()
    found = []
    for name in sorted(rows.keys() | declared.keys()):
        row = rows.get(name)
        known = declared.get(name) or Schedule.from_text(rows[name].declared)
        paused = row.paused if row is not None else not known.active
        state = "not declared" if name not in declared else "paused" if paused else "on"
        found.append(
            ScheduleInfo(
                workflow=name,
                cron=known.cron,
                timezone=known.timezone,
                state=state,
                next=tuple(islice(known.ticks(now), count)) if state == "on" else (),
                waiting=waiting.get(name, 0),
                last=next(iter(last_ticks_of(store, name, 1)), None),
                error=row.error if row is not None else None,
                catch_up=known.catch_up,
                overrun=known.overrun,
            )
        )
    return found


def coming_ticks(workflow: str, declared: Schedule, after: datetime, count: int) -> list[Coming]:
    """The next `count` ticks of a schedule, as if it was on."""
    from pinflow.scheduler.cron import zone_of

    zone = zone_of(declared.timezone)
    return [
        Coming(workflow, at, at.astimezone(zone), declared.day_of(at)) for at in islice(declared.ticks(after), count)
    ]


def last_ticks_of(store: Store, workflow: str, count: int) -> list[TickInfo]:
    """The last `count` ticks of a workflow's schedule, the newest first."""
    rows: Any = fetch(store.engine, sql.LAST_TICKS, {"b_workflow": workflow, "b_limit": count})
    return [TickInfo(row.at, row.state, row.run_id, row.reason) for row in rows]

"""A scheduler in a process of its own, so that a test can kill it, its clock faster than the wall's: DATABASE BEGAN."""

import sys
import time
from datetime import UTC, datetime, timedelta

from pinflow.database import open_database
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.store import Store
from pinflow.scheduler.ticks import fire_due
from pinflow.scheduler.timetable import Timetable

START = datetime(2026, 3, 28, 23, tzinfo=UTC)
"""Hours before the clocks change in Europe."""
SPEED = 600
SCHEDULE = Schedule("*/5 * * * *", timezone="Europe/Berlin", overrun="start_new", catch_up="all", limit=10_000)
JOBS = [Job("a", call="m:f"), Job("b", call="m:f", after=["a"])]
TABLE = Timetable(
    {"demo": SCHEDULE}, lambda name, day, _given: define(Workflow(name, "o", lambda _d, _p: [Stage("s", JOBS)]), day)
)


def clock_since(began: float) -> datetime:
    """What time it is for all schedulers of a test that began then."""
    return START + timedelta(seconds=(time.time() - began) * SPEED)


def main() -> None:
    engine, began = open_database(sys.argv[1]), float(sys.argv[2])
    with Store(engine, clock=lambda: clock_since(began)) as store:
        print("ready", flush=True)
        while True:
            fire_due(store, TABLE)
            time.sleep(0.01)


if __name__ == "__main__":
    main()

"""Days of many workflows under a clock of their own: nothing is stuck, no tick is lost, memory does not grow.

The store, the schedules and the runs are real; only the work of the jobs is left out: an attempt ends when the
simulation says so. Workers die in the middle of runs, schedulers are many and are replaced.
"""

import heapq
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import psutil
import pytest
import sqlalchemy as sa

from pinflow.database import fetch, open_database
from pinflow.scheduler import tables
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.records import Claim, Lease, Outcome
from pinflow.scheduler.schedule_tables import schedule, tick
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.scheduler.ticks import fire_due
from pinflow.scheduler.timetable import Timetable

START = datetime(2026, 3, 28, tzinfo=UTC)
"""A day before the clocks change in Europe."""
SLOTS = 4


class Simulation:
    def __init__(self, url: str, workflows: int, jobs: int) -> None:
        self.now = START
        self.random = Random(7)
        self.engine = open_database(url)
        self.stores = [self.new_store() for _ in range(3)]
        chains = self.jobs(jobs)
        names = [f"w{n:03}" for n in range(workflows)]
        self.workflows = {name: Workflow(name, "o", lambda _day, _given: [Stage("s", chains)]) for name in names}
        self.table = Timetable({name: self.every_six_hours(n) for n, name in enumerate(self.workflows)}, self.define)
        self.heap: list[tuple[datetime, int, str, Claim | None]] = []
        self.order = count()
        self.leases: dict[str, Lease] = {}
        self.crashes = 0
        self.memory: list[int] = []

    def new_store(self) -> Store:
        return Store(self.engine, clock=lambda: self.now, is_dead=lambda _driver: False)

    def define(self, name: str, day: date, given: object) -> Definition:
        return define(self.workflows[name], day, {})

    @staticmethod
    def jobs(number: int) -> list[Job]:
        """Chains of four, so that some wait and some run side by side; each third may fail and is tried again."""
        after = {n: [f"j{n - 1}"] if n % 4 else [] for n in range(number)}
        return [Job(f"j{n}", call="m:f", after=after[n], retries=3 if n % 3 == 0 else 1) for n in range(number)]

    @staticmethod
    def every_six_hours(number: int) -> Schedule:
        cron = f"{number % 60} {number // 60 % 6}/6 * * *"
        return Schedule(cron, timezone="Europe/Berlin", days_before=0, overrun="delay", catch_up="all")

    def at(self, moment: datetime, run_id: str, claim: Claim | None = None) -> None:
        heapq.heappush(self.heap, (moment, next(self.order), run_id, claim))

    def run(self, hours: int) -> None:
        end = START + timedelta(hours=hours)
        due: datetime | None = START
        while self.now < end or self.heap:
            if self.heap and (due is None or self.heap[0][0] < due or self.now >= end):
                moment, _, run_id, claim = heapq.heappop(self.heap)
                self.now = max(self.now, moment)
                self.step(run_id, claim)
                continue
            if due is None or due >= end:
                self.now = end
                continue
            self.now = max(self.now, due)
            due = self.fire()

    def fire(self) -> datetime | None:
        """One of the schedulers looks; now and then another one is started in its place."""
        which = self.random.randrange(len(self.stores))
        if self.random.random() < 0.05:
            self.stores[which].close()
            self.stores[which] = self.new_store()
        following = fire_due(self.stores[which], self.table)
        query = sa.select(tables.run.c.run_id).where(
            tables.run.c.state == "running", tables.run.c.driver.startswith("schedule@")
        )
        for row in fetch(self.engine, query):
            self.take(row.run_id)
        if self.now.minute == 0:
            self.memory.append(psutil.Process().memory_info().rss)
        return following

    def take(self, run_id: str) -> None:
        lease = self.stores[0].take_over(run_id, f"worker-{next(self.order)}").lease
        assert lease is not None, run_id
        self.leases[run_id] = lease
        self.claim(run_id, [], SLOTS)

    def claim(self, run_id: str, outcomes: list[Outcome], free: int) -> None:
        store, lease = self.stores[0], self.leases[run_id]
        advance = store.advance(lease, outcomes, free)
        for claim in advance.claims:
            self.at(self.now + timedelta(seconds=self.random.uniform(5, 600)), run_id, claim)
        if advance.next_retry is not None:
            self.at(advance.next_retry, run_id)
        if not advance.claims and store.close_run(lease) is not None:
            del self.leases[run_id]

    def step(self, run_id: str, claim: Claim | None) -> None:
        """An attempt has ended, a retry is due, or the worker has died meanwhile."""
        lease = self.leases.get(run_id)
        if lease is None or (claim is not None and claim.fence < lease.fence):
            return
        if self.random.random() < 0.001:
            self.crashes += 1
            self.now += timedelta(seconds=20)
            self.take(run_id)
            return
        if claim is None:
            self.claim(run_id, [], 1)
            return
        if self.random.random() < 0.02 and claim.failures < 1:
            retry_at = self.now + timedelta(seconds=30)
            self.claim(run_id, [Outcome(claim, AttemptState.FAILED, "by chance", 1, retry_at=retry_at)], 1)
        else:
            self.claim(run_id, [Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)], 1)


def ticks_wanted(number: int, hours: int) -> int:
    """How often the clock of Berlin shows a workflow's time, or jumps over it, after the start and before the end."""
    zone = ZoneInfo("Europe/Berlin")
    start, end = ((START + timedelta(hours=h)).astimezone(zone).replace(tzinfo=None) for h in (0, hours))
    first = datetime(START.year, START.month, START.day, number // 60 % 6, number % 60)
    return sum(start < first + timedelta(hours=6 * n) < end for n in range(hours))


def check(made: Simulation, hours: int, workflows: int, jobs: int) -> None:
    made.run(hours)
    each = {f"w{number:03}": ticks_wanted(number, hours) for number in range(workflows)}
    runs = fetch(made.engine, sa.select(tables.run.c.state, sa.func.count()).group_by(tables.run.c.state))
    done = fetch(made.engine, sa.select(tables.job.c.state, sa.func.count()).group_by(tables.job.c.state))
    ticks = fetch(made.engine, sa.select(tick.c.state, sa.func.count()).group_by(tick.c.state))
    wanted = sum(each.values())
    assert {row[0]: row[1] for row in runs} == {"succeeded": wanted}
    assert {row[0]: row[1] for row in done} == {"succeeded": wanted * jobs}
    assert {row[0]: row[1] for row in ticks} == {"started": wanted}
    assert made.leases == {}
    assert Counter(row.workflow for row in fetch(made.engine, sa.select(tables.run.c.workflow))) == each
    assert all(row.next_at > made.now - timedelta(hours=6) for row in fetch(made.engine, sa.select(schedule)))


def test_a_day_of_twelve_workflows(tmp_path: Path) -> None:
    made = Simulation(f"sqlite:///{tmp_path / 'pinflow.db'}", 12, 8)
    check(made, 24, 12, 8)


@pytest.mark.soak
def test_48_hours_of_500_workflows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pinflow.db"
    made = Simulation(f"sqlite:///{file}", 500, 20)
    check(made, 48, 500, 20)
    first, last = made.memory[len(made.memory) // 4], made.memory[-1]
    size = file.stat().st_size
    with capsys.disabled():
        print(
            f"\nstore {size / 1e6:.0f} MB; {made.crashes} crashes; memory {first / 1e6:.0f}, then {last / 1e6:.0f} MB"
        )
    assert made.crashes > 20
    assert last < first * 1.1 + 5e6
    assert size < 400e6

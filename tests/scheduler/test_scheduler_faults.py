"""Schedulers that are killed or frozen, with real processes: each tick starts one run, whatever happens."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest
import sqlalchemy as sa

from pinflow.database import fetch, open_database
from pinflow.scheduler import tables
from pinflow.scheduler.schedule_tables import tick
from pinflow.scheduler.store import Store
from pinflow.scheduler.ticks import declare, fire_due
from tests.scheduler.fire import SCHEDULE, START, TABLE, clock_since
from tests.scheduler.stories import check_stories

FEW = 5
SCRIPT = str(Path(__file__).parent / "fire.py")


def start(url: str, began: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, SCRIPT, url, str(began)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


Disturb = Callable[["list[subprocess.Popen[str]]", Callable[[], "subprocess.Popen[str]"]], object]


def kill_one(running: "list[subprocess.Popen[str]]", new: Callable[[], "subprocess.Popen[str]"]) -> None:
    killed = running.pop(0)
    killed.kill()
    killed.communicate()
    running.append(new())


def freeze_one(running: "list[subprocess.Popen[str]]", _new: Callable[[], "subprocess.Popen[str]"]) -> None:
    """For longer than a tick or two take; the next is the other."""
    running.append(running.pop(0))
    running[-1].send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    running[-1].send_signal(signal.SIGCONT)


def disturb_schedulers(disturb: Disturb, url: str, times: int, seed: int) -> None:
    chance = random.Random(seed)
    engine, began = open_database(url), time.time()
    with Store(engine, clock=lambda: START) as store:
        declare(store, TABLE.schedules, START)
    running = [start(url, began), start(url, began)]
    try:
        for _ in range(times):
            time.sleep(chance.random() * 0.5)
            disturb(running, lambda: start(url, began))
        while len(due(clock_since(began))) <= FEW:  # machines on which processes start at once are done too soon
            time.sleep(0.05)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    end = clock_since(began)
    with Store(engine, clock=lambda: end) as store:
        fire_due(store, TABLE)
    check(engine, end)
    engine.dispose()


def due(end: datetime) -> list[datetime]:
    return list(takewhile(lambda at: at <= end, SCHEDULE.ticks(START)))


def check(engine: sa.Engine, end: datetime) -> None:
    wanted = due(end)
    ticks = fetch(engine, tick.select().order_by(tick.c.at))
    assert [row.at for row in ticks] == wanted
    assert len(wanted) > FEW
    assert {row.state for row in ticks} == {"started"}
    runs = fetch(engine, sa.select(tables.run.c.run_id, tables.run.c.state))
    assert sorted(row.run_id for row in ticks) == sorted(row.run_id for row in runs)
    assert Counter(row.state for row in runs) == {"running": len(wanted)}
    jobs = fetch(engine, sa.select(tables.job.c.run_id, sa.func.count()).group_by(tables.job.c.run_id))
    assert {row[1] for row in jobs} == {2}
    events = fetch(engine, sa.select(tables.event.c.run_id).where(tables.event.c.job.is_(None)))
    assert Counter(row.run_id for row in events) == dict.fromkeys((row.run_id for row in runs), 1)
    check_stories(engine)


def test_kill_9_of_one_of_two_schedulers(database_url: str) -> None:
    disturb_schedulers(kill_one, database_url, 3, seed=1)


@pytest.mark.soak
def test_kill_9_of_one_of_two_schedulers_at_many_random_moments(database_url: str) -> None:
    disturb_schedulers(kill_one, database_url, 50, seed=2)


def test_a_frozen_scheduler_that_goes_on_starts_no_tick_again(database_url: str) -> None:
    disturb_schedulers(freeze_one, database_url, 3, seed=3)


@pytest.mark.soak
def test_frozen_schedulers_that_go_on_start_no_tick_again(database_url: str) -> None:
    disturb_schedulers(freeze_one, database_url, 50, seed=4)


@pytest.mark.parametrize("jump", [timedelta(hours=-30), timedelta(days=3)])
def test_a_clock_that_jumps_starts_no_tick_twice_and_leaves_no_lease_for_ever(make_store, make, clock, jump) -> None:
    first, second = make_store(), make_store()
    opened = first.open_run(make({"a": [], "b": ["a"]}), "first")
    (claim,) = first.advance(opened.lease, [], 1).claims
    clock.advance(jump.total_seconds())
    lease = second.open_run(make({"a": [], "b": ["a"]}), "second").lease
    if jump < timedelta(0):
        # its lease is held for longer then, but it lives, and goes on
        assert lease is None
        first.renew(opened.lease, [(claim, 1)])
        clock.advance(16)
        assert second.take_over(opened.run_id, "second").lease is not None
    else:
        assert lease is not None
        assert [claim.job for claim in second.advance(lease, [], 2).claims] == ["a"]

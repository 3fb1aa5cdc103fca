"""What a real server does to a store: locks held by others, deadlocks, connections lost before and after a commit."""

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from pinflow import database
from pinflow.database import fetch, open_database
from pinflow.errors import PinflowError
from pinflow.scheduler import declare, reading, tables
from pinflow.scheduler.backfills import BackfillRequest, end_day, get_backfill, open_backfill, take_day
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.records import Claim, Outcome
from pinflow.scheduler.schedule_tables import schedule
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.scheduler.ticks import fire_due
from pinflow.scheduler.timetable import Timetable
from tests.mariadb import MariaDb
from tests.scheduler.stories import check_story

pytestmark = pytest.mark.mariadb
JOBS = {"a": [], "b": ["a"], "c": []}
CHAIN = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"], "e": ["d"]}


class Proxy:
    """Passes bytes between a client and the server; ends the connection at the next COMMIT, before or after it."""

    def __init__(self, port: int) -> None:
        self.cut: str | None = None
        self.cuts = 0
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, to_server: bool = False) -> None:
        try:
            while data := source.recv(1 << 16):
                if to_server and self.cut and data[4:] == b"\x03COMMIT":
                    when, self.cut, self.cuts = self.cut, None, self.cuts + 1
                    if when == "after":
                        # The client never hears of it: its direction is closed first.
                        source.shutdown(socket.SHUT_RDWR)
                        target.sendall(data)
                        time.sleep(0.2)
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(mariadb: MariaDb) -> Iterator[Proxy]:
    proxy = Proxy(mariadb.port)
    yield proxy
    proxy.close()


@pytest.fixture
def name(mariadb: MariaDb) -> str:
    return mariadb.create().rpartition("/")[2]


@pytest.fixture
def new_store(mariadb: MariaDb, name: str) -> Iterator[Callable[..., Store]]:
    made: list[Store] = []

    def new(port: int | None = None) -> Store:
        made.append(Store(open_database(f"mysql://root@127.0.0.1:{port or mariadb.port}/{name}")))
        return made[-1]

    yield new
    for store in made:
        store.close()
        store.engine.dispose()


@pytest.fixture
def other(mariadb: MariaDb, name: str, new_store: Callable[..., Store]) -> Iterator[pymysql.cursors.Cursor]:
    """A session of somebody else."""
    with mariadb.connect(name) as connection, connection.cursor() as cursor:
        yield cursor


def ok(claim: Claim) -> Outcome:
    return Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)


def states(store: Store, run_id: str) -> dict[str, str]:
    return {job.name: job.state.value for job in reading.get_run(store, run_id).jobs}


def story(store: Store, run_id: str) -> Counter[tuple[str | None, str]]:
    return Counter((event.job, event.state) for _, event in store.events(run_id))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_at_the_commit_repeats_nothing(new_store, proxy, make, when):
    store, direct = new_store(proxy.port), new_store()

    def cutting(verb, *arguments):
        proxy.cut = when
        result = verb(*arguments)
        assert proxy.cut is None
        return result

    opened = cutting(store.open_run, make(JOBS), "w")
    assert opened.lease is not None
    step = cutting(store.advance, opened.lease, [], 2)
    assert sorted(c.job for c in step.claims) == ["a", "c"]
    cutting(store.renew, opened.lease, [(c, 1) for c in step.claims])
    last = cutting(store.advance, opened.lease, [ok(c) for c in step.claims], 2)
    assert [c.job for c in last.claims] == ["b"]
    cutting(store.advance, opened.lease, [ok(c) for c in last.claims], 2)
    assert cutting(store.close_run, opened.lease) is not None
    assert proxy.cuts == 6
    assert [run.run_id for run in reading.list_runs(direct)] == ["demo-2015-05-18-1"]
    assert set(states(direct, opened.run_id).values()) == {"succeeded"}
    assert [len(reading.attempts(direct, opened.run_id, job)) for job in "abc"] == [1, 1, 1]
    # Each transition is told once: three starts, three ends, b gets ready, and the run's two.
    assert set(story(direct, opened.run_id).values()) == {1}
    assert sum(story(direct, opened.run_id).values()) == 9
    check_story(direct.engine, opened.run_id)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_at_the_commit_loses_no_day_of_a_backfill(new_store, proxy, when):
    store, direct = new_store(proxy.port), new_store()
    number = open_backfill(store, BackfillRequest("demo", date(2015, 5, 1), date(2015, 5, 2)))[0].number
    for day in (date(2015, 5, 1), date(2015, 5, 2)):
        proxy.cut = when
        assert take_day(store, number, "w").date == day
        assert proxy.cut is None
        proxy.cut = when
        end_day(store, number, day, "succeeded", None, driver="w")
        assert proxy.cut is None
    assert [(day.state, day.driver) for day in get_backfill(direct, number).days] == [("succeeded", None)] * 2
    assert get_backfill(direct, number).state == "succeeded"


def test_a_value_that_the_server_refuses_holds_up_no_other_schedule(new_store, make, monkeypatch):
    # as if the declaration were not checked
    monkeypatch.setattr(declare, "LONGEST_OWNER", 300)
    store, moments = new_store(), [datetime(2015, 5, 18, 12, tzinfo=UTC), datetime(2015, 5, 19, 2, tzinfo=UTC)]

    def define(name: str, _day: object, _parameters: object) -> Definition:
        owner = "o" * 300 if name == "broken" else "o"
        return replace(make(JOBS), workflow=name, owner=owner)

    both = Timetable({"broken": Schedule("0 2 * * *"), "demo": Schedule("0 2 * * *")}, define)
    for moment in moments:
        fire_due(store, both, moment)
    assert [run.run_id for run in reading.list_runs(store)] == ["demo-2015-05-18-1"]
    errors = {row.workflow: row.error for row in fetch(store.engine, sa.select(schedule))}
    assert errors["demo"] is None
    assert "Data too long for column 'owner'" in errors["broken"]


def test_while_the_server_is_away_no_schedule_is_blamed(own_mariadb, make, monkeypatch):
    engine = open_database(own_mariadb.create())
    began = datetime(2015, 5, 18, 12, tzinfo=UTC)

    def define(_name: str, _day: object, _parameters: object) -> Definition:
        own_mariadb.kill()
        return make(JOBS)

    nightly = Timetable({"demo": Schedule("0 2 * * *")}, define)
    with Store(engine) as store:
        fire_due(store, nightly, began)
        whole = partial(store.transact, patience=timedelta(seconds=1))

        def transact(*arguments: Any) -> Any:
            try:
                return whole(*arguments)
            except PinflowError:
                own_mariadb.start()
                raise

        monkeypatch.setattr(store, "transact", transact)
        with pytest.raises(PinflowError, match="see that its server runs"):
            fire_due(store, nightly, began + timedelta(days=1))
        assert fetch(engine, sa.select(schedule.c.error))[0].error is None
    engine.dispose()


def test_a_deadlock_is_tried_again(new_store, other, make, mariadb):
    store = new_store()
    opened = store.open_run(make(JOBS), "w")
    claims = store.advance(opened.lease, [], 2).claims
    # The other has changed more rows, so the server ends the store's transaction, not this one.
    other.executemany(
        "INSERT INTO worker (worker, slots, started_at) VALUES (%s, 1, NOW(6))", [(f"w{n}",) for n in range(500)]
    )
    other.execute("SELECT * FROM job WHERE run_id = %s AND name = 'a' FOR UPDATE", (opened.run_id,))
    before = deadlocks(mariadb)
    ended: list[object] = []
    thread = threading.Thread(target=lambda: ended.append(store.advance(opened.lease, [ok(c) for c in claims], 2)))
    thread.start()
    until(lambda: is_waiting(mariadb))
    other.execute("SELECT * FROM run WHERE run_id = %s FOR UPDATE", (opened.run_id,))
    other.connection.rollback()
    thread.join(20)
    assert deadlocks(mariadb) == before + 1
    assert len(ended) == 1
    check_story(store.engine, opened.run_id)
    assert states(store, opened.run_id) == {"a": "succeeded", "b": "running", "c": "succeeded"}


def meet_others(store: Store, definition: Definition, server: MariaDb, name: str, seed: int) -> None:
    """Drive a run to its end while others lock its rows in any order, for short and for too long."""
    stop = threading.Event()

    def disturb(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        with server.connect(name) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                # what has changed more rows goes on, so that the store has to give way
                cursor.executemany(
                    "INSERT INTO worker (worker, slots, started_at) VALUES (%s, 1, NOW(6))",
                    [(f"{number}-{row}",) for row in range(100)],
                )
                for table in chance.sample(["run", "job", "attempt"], 3):
                    with contextlib.suppress(pymysql.err.OperationalError):
                        cursor.execute(f"SELECT * FROM {table} LIMIT {chance.randint(1, 9)} FOR UPDATE")
                    time.sleep(chance.uniform(0, 0.01))
                if chance.random() < 0.02:
                    time.sleep(database.LOCK_SECONDS + 0.2)
                connection.rollback()
                time.sleep(0.01)

    opened = store.open_run(definition, "w")
    others = [threading.Thread(target=disturb, args=[number]) for number in range(4)]
    for other in others:
        other.start()
    try:
        claims: list[Claim] = []
        while store.close_run(opened.lease) is None:
            claims = store.advance(opened.lease, [ok(claim) for claim in claims], 2).claims
    finally:
        stop.set()
        for other in others:
            other.join()
    assert set(states(store, opened.run_id).values()) == {"succeeded"}
    assert [len(reading.attempts(store, opened.run_id, job)) for job in definition.nodes] == [1] * len(definition.nodes)
    check_story(store.engine, opened.run_id)


def meet_others_often(new_store, make, server: MariaDb, name: str, monkeypatch, times: int) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 1)
    store, before, seeds = new_store(), deadlocks(server), count()
    while (seed := next(seeds)) < times or deadlocks(server) == before:
        assert seed < 200 * times, "there was no deadlock"
        meet_others(store, make(CHAIN, seed=seed), server, name, seed)


def test_deadlocks_and_locks_of_others_in_the_middle_of_runs(new_store, make, mariadb, name, monkeypatch):
    meet_others_often(new_store, make, mariadb, name, monkeypatch, 3)


@pytest.mark.soak
def test_deadlocks_and_locks_of_others_in_the_middle_of_many_runs(new_store, make, mariadb, name, monkeypatch):
    meet_others_often(new_store, make, mariadb, name, monkeypatch, 50)


def test_a_lock_that_is_held_for_long_is_waited_for(new_store, other, make):
    store = new_store()
    opened = store.open_run(make(JOBS), "w")
    other.execute("SELECT * FROM run FOR UPDATE")
    threading.Timer(database.LOCK_SECONDS + 1, other.connection.rollback).start()
    start = time.monotonic()
    assert len(store.advance(opened.lease, [], 2).claims) == 2
    assert time.monotonic() - start > database.LOCK_SECONDS


def test_what_a_frozen_process_has_locked_is_free_before_long(new_store, make, monkeypatch):
    store = new_store()
    opened = store.open_run(make(JOBS), "w")
    monkeypatch.setattr(database, "IDLE_SECONDS", 2)
    frozen = open_database(store.engine.url.render_as_string(hide_password=False))
    with frozen.connect() as connection:
        connection.execute(sa.select(tables.run).with_for_update()).all()
        assert len(store.advance(opened.lease, [], 2).claims) == 2
        with pytest.raises(sa.exc.DBAPIError) as late:
            connection.execute(sa.select(tables.run)).all()
    assert database.is_lost(late.value)
    frozen.dispose()


def test_a_connection_that_the_server_ended_is_made_again(new_store, other, make):
    store = new_store()
    opened = store.open_run(make(JOBS), "w")
    other.execute("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = DATABASE()")
    ends = [row[0] for row in other.fetchall()]
    assert ends
    for session in ends:
        other.execute(f"KILL {session}")
    assert len(store.advance(opened.lease, [], 2).claims) == 2
    assert reading.get_run(store, opened.run_id).jobs


def test_a_store_whose_connections_the_server_ended_closes_without_a_word(new_store, other, make, caplog):
    store = new_store()
    store.submit(make(JOBS))
    other.execute("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = DATABASE()")
    ends = [row[0] for row in other.fetchall()]
    assert len(ends) >= 2
    for session in ends:
        other.execute(f"KILL {session}")
    store.close()
    assert caplog.records == []


def test_a_server_that_stays_away_is_given_up(own_mariadb, make):
    engine = open_database(own_mariadb.create())
    with Store(engine) as store:
        lease = store.open_run(make(JOBS), "w").lease
        own_mariadb.kill()
        with pytest.raises(PinflowError, match="see that its server runs"):
            store.release(lease)
        own_mariadb.start()
        store.release(lease)
    engine.dispose()


def test_times_are_those_of_the_server(new_store, make):
    store = new_store()
    with store.engine.connect() as connection:
        # The sessions of this store live in the past; a worker's own clock has no say.
        connection.exec_driver_sql("SET TIMESTAMP = 1431993600.125")
        moment = datetime.fromtimestamp(1431993600.125, UTC)
        assert database.now(connection) == moment
    writer, _ = store._connect()
    writer.exec_driver_sql("SET TIMESTAMP = 1431993600.125")
    writer.rollback()
    opened = store.open_run(make(JOBS), "w")
    run = reading.get_run(store, opened.run_id)
    assert run.created_at == moment
    assert store.events(opened.run_id)[0][1].at == moment
    with store.engine.connect() as connection:
        until = connection.execute(sa.select(tables.run.c.lease_until)).scalar()
    assert until == moment + timedelta(seconds=15)


@pytest.mark.parametrize("clients", [4])
def test_of_many_that_open_the_same_day_at_once_one_gets_it(new_store, make, clients):
    stores = [new_store() for _ in range(clients)]
    for round_ in range(10):
        definition = make(JOBS, round=round_)
        with ThreadPoolExecutor(clients) as pool:
            calls = [pool.submit(store.open_run, definition, f"w{n}") for n, store in enumerate(stores)]
        opened = [call.result() for call in calls]
        assert len({o.run_id for o in opened}) == 1
        (lease,) = [o.lease for o in opened if o.lease]
        stores[0].abort(lease, [], "next")
    assert len(reading.list_runs(stores[0])) == 10


def test_a_run_that_another_makes_meanwhile_is_found(new_store, other, make, mariadb):
    store = new_store()
    old = store.open_run(make(JOBS), "w")
    store.abort(old.lease, [], "stopped")
    other.execute("CREATE TEMPORARY TABLE newer AS SELECT * FROM run")
    other.execute(
        "UPDATE newer SET run_id = 'newer', serial = 2, state = 'running', lease_until = NOW(6) + INTERVAL 1 DAY"
    )
    other.connection.commit()
    other.execute("SELECT * FROM run FOR UPDATE")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(store.open_run, make(JOBS), "w")
        until(lambda: is_waiting(mariadb))
        other.execute("INSERT INTO run SELECT * FROM newer")
        other.connection.commit()
    assert call.result()[:3] == ("newer", False, None)


def kill_the_server(server: MariaDb, folder: Path, url: str, moments: list[float], away: float = 0.3) -> None:
    folder.mkdir()
    here = Path(__file__).parent
    command = [sys.executable, str(here / "drive.py"), url, str(folder / "logs"), str(folder / "notes"), "tree", "0.3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for moment in moments:
            time.sleep(moment)
            server.kill()
            time.sleep(away)
            server.start()
        out, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (0, ""), out
    assert out.splitlines()[-1] == "driven demo-2015-05-18-1 succeeded"
    engine = open_database(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(tables.attempt.c.job, tables.attempt.c.state)).all()
    check_story(engine, "demo-2015-05-18-1")
    engine.dispose()
    assert sorted(rows) == [(job, "succeeded") for job in "abcdefgh"]
    notes = [line.split()[0] for line in (folder / "notes").read_text().splitlines()]
    assert sorted(notes) == list("abcdefgh")


def test_the_server_is_killed_and_started_in_the_middle_of_a_run(own_mariadb, tmp_path):
    for number, moments in enumerate([[0.05], [0.25], [0.1, 0.4]]):
        kill_the_server(own_mariadb, tmp_path / str(number), own_mariadb.create(), moments)


def test_the_server_is_away_for_a_minute_in_the_middle_of_a_run(own_mariadb, tmp_path):
    kill_the_server(own_mariadb, tmp_path / "run", own_mariadb.create(), [0.2], away=60)


@pytest.mark.soak
def test_the_server_is_killed_many_times(own_mariadb, tmp_path):
    for number in range(50):
        moments = [0.02 * number % 0.7, 0.03 * number % 0.4]
        kill_the_server(own_mariadb, tmp_path / str(number), own_mariadb.create(), moments)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_waiting(server: MariaDb) -> bool:
    with server.connect("information_schema") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM innodb_trx WHERE trx_state = 'LOCK WAIT'")
        return cursor.fetchone()[0] > 0


def deadlocks(server: MariaDb) -> int:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        return int(cursor.fetchone()[1])

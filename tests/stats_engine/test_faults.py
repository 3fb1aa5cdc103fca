"""Servers that go away and processes that are killed: no statistic is lost or counted twice, and no mail is lost."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import sqlalchemy as sa
from aiosmtpd.smtp import SMTP, Envelope, Session

from pinflow.database import open_database
from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.mail import mail_channel
from pinflow.stats_engine.outbox import CLAIM, deliver
from pinflow.stats_engine.record import mark_published, notify, record
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import ALERTS, JOB_STATS, MAILS, METADATA, STAT_COUNTS
from tests.mariadb import MariaDb
from tests.stats_engine.test_outbox import Inbox, free_port, smtp_server

HIGH = Alert("high(users)", "users", "warning", "users are many", value=90, high=50)
DELIVER = """
import os, signal, sys
from datetime import datetime
from pinflow.database import open_database
from pinflow.stats_engine import outbox
from pinflow.stats_engine.mail import mail_channel

url, mail, now, die = sys.argv[1:]
if die:
    outbox._finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
print("started", flush=True)
engine = open_database(url).execution_options(writes=True)
outbox.deliver(engine, [mail_channel(mail, "pinflow@localhost")], datetime.fromisoformat(now))
"""


def _post(database: sa.Engine, key: JobKey, number: int, now: datetime) -> None:
    notify(database, replace(key, run_id=f"run-{number}"), f"late {number}", "body\n", "warning", "late", now)


def _waiting(database: sa.Engine) -> int:
    query = sa.select(sa.func.count()).select_from(MAILS).where(MAILS.c.state == "waiting")
    with database.connect() as connection:
        return connection.scalar(query) or 0


def test_a_mail_server_that_is_away_for_an_hour(database: sa.Engine, key: JobKey, now: datetime) -> None:
    """An alert every ten minutes, a try every minute: within an hour after the server is back all have come, once."""
    inbox, port = Inbox(), free_port()
    channels = [mail_channel(f"smtp://127.0.0.1:{port}", "pinflow@localhost")]
    for minute in range(60):
        if minute % 10 == 0:
            _post(database, key, minute, now + timedelta(minutes=minute))
        assert deliver(database, channels, now + timedelta(minutes=minute)).sent == 0
    assert _waiting(database) == 6
    with smtp_server(inbox, port):
        for minute in range(60, 121):
            deliver(database, channels, now + timedelta(minutes=minute))
    assert _waiting(database) == 0
    assert Counter(m["Subject"] for m in inbox.messages()) == {f"[pinflow] late {n}": 1 for n in range(0, 60, 10)}


@pytest.fixture
def start(database: sa.Engine) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a process that delivers the outbox."""
    started = []

    def run(mail: str, now: datetime, *, die: bool = False) -> "subprocess.Popen[str]":
        url = database.url.render_as_string(hide_password=False)
        arguments = [sys.executable, "-c", DELIVER, url, mail, now.isoformat(), "x" if die else ""]
        started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_killed_between_the_servers_answer_and_the_commit(
    database: sa.Engine, key: JobKey, now: datetime, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    inbox, port = Inbox(), free_port()
    for number in range(2):
        _post(database, key, number, now)
    with smtp_server(inbox, port) as url:
        assert start(url, now, die=True).wait(60) == -signal.SIGKILL
        assert len(inbox.envelopes) == 1
        assert start(url, now + CLAIM / 2).wait(60) == 0
        assert len(inbox.envelopes) == 2
        assert start(url, now + CLAIM * 2).wait(60) == 0
    assert sorted(Counter(m["Message-ID"] for m in inbox.messages()).values()) == [1, 2]
    assert _waiting(database) == 0


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(
    database: sa.Engine, key: JobKey, now: datetime, start: Callable[..., "subprocess.Popen[str]"], seed: int
) -> None:
    class Slow(Inbox):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
            time.sleep(0.01)
            return await super().handle_DATA(server, session, envelope)

    inbox, port = Slow(), free_port()
    for number in range(30):
        _post(database, key, number, now)
    with smtp_server(inbox, port) as url:
        process = start(url, now)
        assert process.stdout is not None
        process.stdout.readline()
        while not inbox.envelopes and process.poll() is None:
            time.sleep(0.001)
        time.sleep(Random(seed).uniform(0, 0.3))
        process.kill()
        process.wait()
        seen = len(inbox.envelopes)
        assert start(url, now + CLAIM * 2).wait(60) == 0
    found = Counter(m["Message-ID"] for m in inbox.messages())
    assert len(found) == 30
    assert sum(found.values()) <= 31, seen
    assert _waiting(database) == 0


def _key(key: JobKey, number: int) -> JobKey:
    return replace(key, run_id=f"run-{number}")


def _is_whole(database: sa.Engine, keys: list[JobKey]) -> None:
    """Each run has its statistics once, its alert once and its mail once; the date has one open alert."""
    with database.connect() as connection:
        counts = connection.execute(sa.select(STAT_COUNTS.c.run_id, STAT_COUNTS.c.name, STAT_COUNTS.c.value)).all()
        alerts = connection.execute(sa.select(ALERTS.c.run_id, ALERTS.c.state)).all()
        mails = connection.scalar(sa.select(sa.func.count()).select_from(MAILS))
        stats = connection.scalars(sa.select(JOB_STATS.c.run_id)).all()
    runs = sorted(key.run_id for key in keys)
    assert sorted(stats) == runs
    assert sorted(tuple(row) for row in counts) == sorted((run, f"n{i}", i) for run in runs for i in range(20))
    assert sorted(row.run_id for row in alerts) == runs
    assert mails == len(runs)
    assert [row.state for row in alerts].count("open") == 1


STATISTICS = Statistics(counts={f"n{number}": number for number in range(20)})


def test_runs_of_one_date_that_finish_together(database: sa.Engine, key: JobKey, now: datetime) -> None:
    url = database.url.render_as_string(hide_password=False)
    for meeting in range(5):
        keys = [_key(replace(key, job=f"job-{meeting}"), number) for number in range(4)]
        together = threading.Barrier(len(keys))

        def finish(one: JobKey, together: threading.Barrier = together) -> None:
            engine = open_database(url).execution_options(writes=True)
            together.wait()
            record(engine, one, STATISTICS, [HIGH], now)
            mark_published(engine, one)
            engine.dispose()

        with ThreadPoolExecutor(len(keys)) as pool:
            list(pool.map(finish, keys))
        _is_whole(database, keys)
        with database.begin() as connection:
            assert connection.scalar(sa.select(sa.func.sum(JOB_STATS.c.published))) == 1
            for table in METADATA.sorted_tables:
                connection.execute(table.delete())


@pytest.mark.mariadb
def test_a_database_that_is_restarted_while_statistics_are_recorded(own_mariadb: MariaDb, key: JobKey) -> None:
    engine = open_database(own_mariadb.create()).execution_options(writes=True)
    METADATA.create_all(engine)
    keys = [_key(key, number) for number in range(60)]
    done = threading.Event()

    def work() -> None:
        for one in keys:
            record(engine, one, STATISTICS, [HIGH], datetime.now(UTC))
            mark_published(engine, one)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    kills, chance = 0, Random(1)
    while not done.wait(chance.uniform(0.05, 0.3)) and kills < 6:
        own_mariadb.kill()
        own_mariadb.start()
        kills += 1
    worker.join(120)
    assert done.is_set()
    assert kills > 1
    _is_whole(engine, keys)
    with engine.connect() as connection:
        assert connection.scalars(sa.select(JOB_STATS.c.run_id).where(JOB_STATS.c.published)).all() == [keys[-1].run_id]
    engine.dispose()


@pytest.mark.mariadb
def test_a_database_that_is_away_while_mails_are_sent(own_mariadb: MariaDb, key: JobKey, now: datetime) -> None:
    """The server is killed while a mail is at the mail server: the answer is noted when the database is back."""
    engine = open_database(own_mariadb.create()).execution_options(writes=True)
    METADATA.create_all(engine)
    for number in range(5):
        _post(engine, key, number, now)

    class Killing(Inbox):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
            if len(self.envelopes) == 2:
                own_mariadb.kill()
                threading.Thread(target=own_mariadb.start).start()
            return await super().handle_DATA(server, session, envelope)

    inbox, port = Killing(), free_port()
    with smtp_server(inbox, port) as url:
        assert deliver(engine, [mail_channel(url, "pinflow@localhost")], now).sent == 5
    assert Counter(m["Subject"] for m in inbox.messages()) == {f"[pinflow] late {number}": 1 for number in range(5)}
    assert _waiting(engine) == 0
    engine.dispose()

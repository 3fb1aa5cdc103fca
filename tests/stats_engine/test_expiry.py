from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from pinflow.stats_engine import expiry
from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.expiry import forget, forget_mails
from pinflow.stats_engine.record import record
from pinflow.stats_engine.tables import ALERTS, DELIVERIES, JOB_STATS, MAILS, STATISTICS


def _rows(database: sa.Engine, table: sa.Table) -> list[tuple[str, str]]:
    with database.connect() as connection:
        query = sa.select(table.c.job, table.c.date, table.c.run_id).distinct()
        return sorted((row.job, row.date) for row in connection.execute(query))


def test_mails_that_nobody_waits_for_go(database: sa.Engine, key: JobKey, now: datetime, monkeypatch) -> None:
    monkeypatch.setattr(expiry, "MAILS_AT_ONCE", 2)
    long_ago = now - timedelta(days=400)
    for number, state in enumerate(["sent", "sent", "refused", "waiting", "sent"]):
        when = now if number == 4 else long_ago
        row = {"message_id": f"<{number}>", "recipient": "a", "subject": "s", "body": "b", "state": state}
        delivery = {"message_id": f"<{number}>", "channel": "mail", "state": state, "attempts": 1, "next_at": when}
        with database.begin() as connection:
            connection.execute(MAILS.insert(), row | {"created_at": when})
            connection.execute(DELIVERIES.insert(), delivery)
    before = now - timedelta(days=365)
    assert forget_mails(database, before, dry_run=True) == 3
    assert forget_mails(database, before) == 3
    with database.connect() as connection:
        for table in (MAILS, DELIVERIES):
            assert sorted(connection.scalars(sa.select(table.c.message_id))) == ["<3>", "<4>"]
    assert forget_mails(database, before) == 0


def test_what_is_old_goes_and_its_alerts_stay(database: sa.Engine, key: JobKey, now: datetime, monkeypatch) -> None:
    monkeypatch.setattr(expiry, "ATTEMPTS_AT_ONCE", 2)
    stats = StatsEngine()
    stats.incr_count("c")
    stats.add_sum("s", 1)
    stats.add_to_histogram("h", 1)
    stats.add_item("i", "a", 1)
    stats.add_distinct("d", "a")
    long_ago = now - timedelta(days=400)
    alert = Alert(rule="r", name="c", degree="warning", message="m")
    for number in range(5):
        old = replace(key, date=f"2014-03-{number + 1:02}", run_id=f"run-{number}")
        record(database, old, stats.statistics(), [alert], long_ago, [stats.statistics()] * 2)
    made_again = replace(key, date="2014-03-01", run_id="again")
    record(database, made_again, stats.statistics(), [], now)
    recent = replace(key, job="other")
    record(database, recent, stats.statistics(), [], long_ago)

    before = now - timedelta(days=365)
    assert forget(database, before, dry_run=True) == {"read_events": 5}
    assert len(_rows(database, JOB_STATS)) == 7
    assert forget(database, before) == {"read_events": 5}
    for table in (JOB_STATS, *STATISTICS):
        assert _rows(database, table) == [("other", key.date), ("read_events", "2014-03-01")]
    assert len(_rows(database, ALERTS)) == 5
    assert forget(database, before) == {}

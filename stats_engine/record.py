"""Keeping a job's statistics, alerts and mails in SQL: all of them in one transaction, or none (ST-03)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pinflow.database import Database, transact
from pinflow.errors import PinflowError
from pinflow.stats_engine import rules
from pinflow.stats_engine.alerts import Alert, JobKey, Mail, mail_about, message_id
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import (
    ALERTS,
    JOB_STATS,
    MAILS,
    STAT_COUNTS,
    STAT_DISTINCTS,
    STAT_HISTOGRAMS,
    STAT_ITEMS,
    STAT_SUMS,
    STATISTICS,
)


def record(database: Database, key: JobKey, statistics: Statistics, alerts: Sequence[Alert], now: datetime) -> None:
    """Keep the statistics of an attempt with its alerts and the mail about them.

    Replaces what the same key recorded before, so that it may be called again after a crash. Alerts of earlier
    attempts for the same workflow, job and date are resolved; one that fires again counts as a repeat. An
    alert muted at `now` sends no mail.
    """

    def replace(connection: sa.Connection) -> None:
        _replace_statistics(connection, key, statistics, now)
        loud = _replace_alerts(connection, key, alerts, now)
        if loud:
            _post(connection, mail_about(key, loud), now)

    transact(database, replace)


def mark_published(database: Database, key: JobKey) -> None:
    """Make this attempt the published one of its workflow, job and date; PinflowError when it was not recorded."""
    same_date = sa.and_(*(JOB_STATS.c[name] == getattr(key, name) for name in ("workflow", "job", "date")))

    def mark(connection: sa.Connection) -> None:
        chosen = sa.and_(JOB_STATS.c.run_id == key.run_id, JOB_STATS.c.attempt == key.attempt)
        changed = connection.execute(JOB_STATS.update().where(same_date, chosen).values(published=True))
        if changed.rowcount == 0:
            raise PinflowError(
                f"attempt {key.attempt} of {key.job} in {key.run_id} has no statistics; record them before publishing"
            )
        connection.execute(JOB_STATS.update().where(same_date, sa.not_(chosen)).values(published=False))

    transact(database, mark)


def is_recorded(database: Database, key: JobKey) -> bool:
    """Whether this attempt's statistics are kept."""
    query = sa.select(JOB_STATS.c.attempt).where(_is_key(JOB_STATS, key))
    return transact(database, lambda connection: connection.execute(query).first()) is not None


def notify(
    database: Database, key: JobKey, subject: str, body: str, degree: rules.Degree, rule_name: str, now: datetime
) -> None:
    """Raise an alert that no statistic shows, such as input missing at its deadline, with a mail to the owner.

    Calling it again for the same key and rule changes the alert's message and sends nothing more.
    """
    alert = Alert(rule=rule_name, name=rule_name, degree=degree, message=subject)
    mail = Mail(message_id(key, [alert]), key.owner, f"[pinflow] {' '.join(subject.split())}", body)

    def raise_(connection: sa.Connection) -> None:
        same = sa.and_(_is_key(ALERTS, key), ALERTS.c.rule == rule_name)
        changed = connection.execute(ALERTS.update().where(same).values(message=subject, changed_at=now))
        if changed.rowcount == 0:
            connection.execute(ALERTS.insert(), _alert_row(key, alert, now))
        _post(connection, mail, now)

    transact(database, raise_)


def _is_key(table: sa.Table, key: JobKey) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == value for name, value in key.columns().items()))


def _replace_statistics(connection: sa.Connection, key: JobKey, statistics: Statistics, now: datetime) -> None:
    if is_recorded(connection, key):
        for table in (JOB_STATS, *STATISTICS):
            connection.execute(table.delete().where(_is_key(table, key)))
    connection.execute(JOB_STATS.insert(), _job_row(key, statistics, now))
    rows = {
        STAT_COUNTS: [{"name": name, "value": value} for name, value in statistics.counts.items()],
        STAT_SUMS: [{"name": name, "value": float(value)} for name, value in statistics.sums.items()],
        STAT_HISTOGRAMS: _histogram_rows(statistics),
        STAT_ITEMS: _item_rows(statistics),
        STAT_DISTINCTS: [{"name": name} | found.estimate()._asdict() for name, found in statistics.distincts.items()],
    }
    first = key.columns()
    for table, found in rows.items():
        if found:
            connection.execute(table.insert(), [first | row for row in found])


def _job_row(key: JobKey, statistics: Statistics, now: datetime) -> dict[str, Any]:
    counts = (rules.OUTPUT_ROWS, rules.OUTPUT_BYTES, rules.INPUT_BYTES)
    return key.columns() | {
        "owner": key.owner,
        "published": False,
        **{name: statistics.counts.get(name) for name in counts},
        "seconds": statistics.sums.get(rules.SECONDS),
        "recorded_at": now,
    }


def _histogram_rows(statistics: Statistics) -> list[dict[str, Any]]:
    return [
        {"name": name, "low": low, "high": high, "count": count}
        for name, histogram in statistics.histograms.items()
        for low, high, count in histogram.rows()
    ]


def _item_rows(statistics: Statistics) -> list[dict[str, Any]]:
    return [
        {"name": name, "side": side, "rank": rank, "item": item, "value": value}
        for name, found in statistics.items.items()
        for side, items in (("top", found.top), ("bottom", found.bottom))
        for rank, (item, value) in enumerate(items, start=1)
    ]


def _alert_row(key: JobKey, alert: Alert, now: datetime) -> dict[str, Any]:
    extra = {"owner": key.owner, "state": "open", "repeats": 0, "created_at": now, "changed_at": now}
    return key.columns() | asdict(alert) | extra | {"muted_until": None}


def _replace_alerts(connection: sa.Connection, key: JobKey, alerts: Sequence[Alert], now: datetime) -> list[Alert]:
    """Write this attempt's alerts; gives those that are not muted."""
    known = _known_alerts(connection, key, now)
    muted = {row.rule: row.muted_until for row in known if row.muted_until and row.muted_until > now}
    earlier = _resolve_earlier(connection, key, known, now)
    loud = []
    for alert in alerts:
        row = _alert_row(key, alert, now) | {"repeats": earlier[alert.rule]}
        if alert.rule in muted:
            row |= {"state": "muted", "muted_until": muted[alert.rule]}
        else:
            loud.append(alert)
        connection.execute(ALERTS.insert(), row)
    return loud


def _known_alerts(connection: sa.Connection, key: JobKey, now: datetime) -> Sequence[sa.Row[Any]]:
    """What the job raised for this date, and on any date where it is muted still; the longest mute last."""
    counts = sa.or_(ALERTS.c.date == key.date, ALERTS.c.muted_until > now)
    found = sa.select(ALERTS).where(ALERTS.c.workflow == key.workflow, ALERTS.c.job == key.job, counts)
    return connection.execute(found.order_by(ALERTS.c.muted_until)).all()


def _resolve_earlier(
    connection: sa.Connection, key: JobKey, known: Sequence[sa.Row[Any]], now: datetime
) -> Counter[str]:
    """How often each rule has fired before for this date; what was open is resolved, this attempt's own goes."""
    same_date = [row for row in known if (row.date, row.step) == (key.date, key.step)]
    own = [row for row in same_date if (row.run_id, row.attempt) == (key.run_id, key.attempt)]
    if own:
        connection.execute(ALERTS.delete().where(_is_key(ALERTS, key)))
    if len(same_date) > len(own):
        place = [ALERTS.c[name] == getattr(key, name) for name in ("workflow", "job", "date", "step")]
        pending = ALERTS.c.state.in_(("open", "acknowledged", "muted"))
        connection.execute(ALERTS.update().where(*place, pending).values(state="resolved", changed_at=now))
    return Counter(row.rule for row in same_date if row not in own)


def _post(connection: sa.Connection, mail: Mail, now: datetime) -> None:
    known = sa.select(MAILS.c.message_id).where(MAILS.c.message_id == mail.message_id)
    if connection.execute(known).first() is None:
        state = {"state": "waiting", "attempts": 0, "created_at": now, "next_at": now}
        connection.execute(MAILS.insert(), asdict(mail) | state)

"""Keeping a job's statistics, alerts and mails in SQL: all of them in one transaction, or none (ST-03)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pinflow.database import Database, transact
from pinflow.errors import PinflowError
from pinflow.stats_engine import rules
from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.allowance import within_64_bits
from pinflow.stats_engine.raising import alert_row, post, raise_alerts, resolve_earlier
from pinflow.stats_engine.record_statements import INSERT, LOCK_ATTEMPTS, PUBLISH, RECORDED_AT, places
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import (
    ALERTS,
    JOB_STATS,
    STAT_COUNTS,
    STAT_DISTINCTS,
    STAT_HISTOGRAMS,
    STAT_ITEMS,
    STAT_SUMS,
    STATISTICS,
)


def record(
    database: Database,
    key: JobKey,
    statistics: Statistics,
    alerts: Sequence[Alert],
    now: datetime,
    steps: Sequence[Statistics] = (),
) -> frozenset[str]:
    """Keep the statistics of an attempt with its alerts and the mail about them; see `raising.raise_alerts`.

    `steps` has those of each step of a job that has several, in their order: rows whose `step` counts from 1 (ST-20).
    Replaces what the same key recorded before, so that it may be called again after a crash. Attempts that end
    together are kept one after the other. Gives the rules whose alerts were accepted before: no reason to stop.
    """

    def keep(connection: sa.Connection) -> frozenset[str]:
        _forget(connection, key)
        for number, counted in enumerate((statistics, *steps)):
            _insert(connection, replace(key, step=number), within_64_bits(counted), now)
        _await_others(connection, key)
        return raise_alerts(connection, key, alerts, now)

    return transact(database, keep)


def _await_others(connection: sa.Connection, key: JobKey) -> None:
    """Let attempts of the same job and date that are being recorded end; of two that meet here, one begins again."""
    LOCK_ATTEMPTS.run(connection, places(key))


def mark_published(database: Database, key: JobKey, *, fine_at: datetime | None = None) -> None:
    """Make this attempt the published one of its workflow, job and date; PinflowError when it was not recorded.

    That resolves what other attempts raised for the date before this one was recorded, or before `fine_at`, when a
    run found that the result still stands.
    """

    def mark(connection: sa.Connection) -> None:
        recorded_at = _recorded_at(connection, key)
        if recorded_at is None:
            raise PinflowError(
                f"attempt {key.attempt} of {key.job} in {key.run_id} has no statistics; record them before publishing"
            )
        PUBLISH.run(connection, places(key))
        resolve_earlier(connection, key, fine_at or recorded_at)

    transact(database, mark)


def is_recorded(database: Database, key: JobKey) -> bool:
    """Whether this attempt's statistics are kept."""
    return transact(database, lambda connection: _recorded_at(connection, key)) is not None


def _recorded_at(connection: sa.Connection, key: JobKey) -> datetime | None:
    rows = RECORDED_AT.run(connection, places(key)).rows
    return rows[0].recorded_at if rows else None


def notify(
    database: Database,
    key: JobKey,
    subject: str,
    body: str,
    degree: rules.Degree,
    rule_name: str,
    now: datetime,
    commands: Sequence[tuple[str, str]] = (),
    log: str = "",
) -> None:
    """Raise an alert that no statistic shows, such as input missing at its deadline, with a mail to the owner.

    With `commands`, pairs of a purpose and what to type, the mail is a notice like those of rules, `body` what follows
    from it, `log` the end of what the job wrote. Calling it again for the same key and rule changes the alert's message
    and sends nothing more.
    """
    alert = Alert(rule=rule_name, name=rule_name, degree=degree, message=subject)

    def raise_(connection: sa.Connection) -> None:
        same = _is_alert(key, rule_name)
        changed = connection.execute(ALERTS.update().where(same).values(message=subject, changed_at=now))
        if changed.rowcount == 0:
            connection.execute(ALERTS.insert(), alert_row(key, alert, now))
        text, content = body, None
        if commands:
            text, content = _noticed(connection, key, rule_name, body, commands, log)
        post(connection, key, [alert], f"[pinflow] {' '.join(subject.split())}", text, content, now)

    transact(database, raise_)


def _noticed(
    connection: sa.Connection, key: JobKey, rule_name: str, body: str, commands: Sequence[tuple[str, str]], log: str
) -> tuple[str, str]:
    """A mail's text and content about one row of the table of alerts."""
    from pinflow.stats_engine.notice import notice_about  # few attempts have news
    from pinflow.stats_engine.notice_text import text_of

    row = connection.execute(sa.select(ALERTS).where(_is_alert(key, rule_name))).one()
    notice = notice_about(row, body, commands, log)
    return text_of(notice), notice.to_json()


def _is_alert(key: JobKey, rule_name: str) -> sa.ColumnElement[bool]:
    same = key.columns() | {"rule": rule_name}
    return sa.and_(*(ALERTS.c[name] == value for name, value in same.items()))


def _forget(connection: sa.Connection, key: JobKey) -> None:
    """Remove what the same attempt recorded before, of all its steps."""
    if _recorded_at(connection, key):
        attempt = {name: value for name, value in key.columns().items() if name != "step"}
        for table in (JOB_STATS, *STATISTICS):
            connection.execute(table.delete().where(*(table.c[name] == value for name, value in attempt.items())))


def _insert(connection: sa.Connection, key: JobKey, statistics: Statistics, now: datetime) -> None:
    INSERT[JOB_STATS].run(connection, _job_row(key, statistics, now))
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
            INSERT[table].run(connection, [first | row for row in found])


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

"""Reading what was recorded: a job's statistics, alerts and their handling."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from pinflow.database import fetch, transact
from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.stats_engine.alerts import AlertState
from pinflow.stats_engine.distincts import Estimate
from pinflow.stats_engine.rules import Degree
from pinflow.stats_engine.statistics import Histogram, Item, Items, Statistics
from pinflow.stats_engine.tables import (
    ALERTS,
    JOB_STATS,
    KEY_COLUMNS,
    MAILS,
    STAT_COUNTS,
    STAT_DISTINCTS,
    STAT_HISTOGRAMS,
    STAT_ITEMS,
    STAT_SUMS,
)

FROM_SQL = "sql"
"""The bucketizer of histograms read from SQL: the tables keep the bounds, not how they were made."""


@dataclass(frozen=True)
class JobInfo:
    """The row of job_stats: which attempt it was and what it read and wrote."""

    workflow: str
    run_id: str
    job: str
    attempt: int
    step: int
    date: str
    owner: str
    published: bool
    output_rows: int | None
    output_bytes: int | None
    input_bytes: int | None
    seconds: float | None
    recorded_at: datetime


class JobStatistics(NamedTuple):
    """An attempt of a job and its statistics but for distinct counts, of which the tables keep estimates alone."""

    info: JobInfo
    statistics: Statistics


@dataclass(frozen=True)
class AlertRow:
    """A row of alerts."""

    id: int
    workflow: str
    run_id: str
    job: str
    attempt: int
    step: int
    date: str
    rule: str
    name: str
    degree: Degree
    value: float | None
    forecast: float | None
    deviation: float | None
    low: float | None
    high: float | None
    learning: bool
    message: str
    owner: str
    state: AlertState
    repeats: int
    created_at: datetime
    changed_at: datetime
    muted_until: datetime | None


def job_statistics(
    engine: sa.Engine, job: str, date: str | None = None, *, workflow: str | None = None
) -> JobStatistics:
    """The published attempt's statistics of a job on a date; without one that is published, the last recorded.

    Without `date`, the last date recorded. UnknownNameError for a job or a date that has none.
    """
    table = JOB_STATS
    wanted = [table.c.job == job, table.c.step == 0]
    if workflow is not None:
        wanted.append(table.c.workflow == workflow)
    with engine.connect() as connection:
        dates = list(connection.scalars(sa.select(table.c.date).where(*wanted).distinct()))
        if not dates:
            known = connection.scalars(sa.select(table.c.job).distinct()).all()
            raise UnknownNameError("job with statistics", job, known, "pinflow workflows")
        if date is not None and date not in dates:
            raise UnknownNameError(f"date with statistics of {job}", date, dates, f"pinflow stats {job}")
        best = (table.c.published.desc(), table.c.recorded_at.desc(), table.c.attempt.desc())
        chosen = sa.select(table).where(*wanted, table.c.date == (date or max(dates))).order_by(*best).limit(1)
        row = connection.execute(chosen).mappings().one()
        return JobStatistics(JobInfo(**row), _statistics(connection, row))


def distinct_counts(engine: sa.Engine, info: JobInfo) -> dict[str, Estimate]:
    """The distinct counts of an attempt by name."""
    with engine.connect() as connection:
        found = _rows(connection, asdict(info), STAT_DISTINCTS, "name")
        return {row.name: Estimate(row.estimate, row.low, row.high) for row in found}


def list_alerts(
    engine: sa.Engine,
    *,
    job: str | None = None,
    date: str | None = None,
    states: Collection[AlertState] | None = None,
    limit: int = 100,
) -> list[AlertRow]:
    """Alerts, the newest first."""
    wanted = [ALERTS.c[name] == value for name, value in (("job", job), ("date", date)) if value is not None]
    if states is not None:
        wanted.append(ALERTS.c.state.in_(states))
    query = sa.select(ALERTS).where(*wanted).order_by(ALERTS.c.created_at.desc(), ALERTS.c.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [AlertRow(**row) for row in connection.execute(query).mappings()]


class Notices(NamedTuple):
    """What someone who ran a workflow should know: alerts of the run, and mails of any run that could not be sent."""

    alerts: int
    unsent_mails: int


def notices(engine: sa.Engine, run_id: str) -> Notices:
    """Count them."""
    alerts = sa.select(sa.func.count()).select_from(ALERTS).where(ALERTS.c.run_id == run_id)
    mails = sa.select(sa.func.count()).select_from(MAILS).where(MAILS.c.state == "waiting")
    counted = sa.select(alerts.scalar_subquery().label("alerts"), mails.scalar_subquery().label("unsent_mails"))
    (row,) = fetch(engine, counted)
    return Notices(row.alerts, row.unsent_mails)


def acknowledge(engine: sa.Engine, alert: int, now: datetime) -> None:
    """Say that someone knows of an alert. ConfigurationError when there is none, or it is resolved."""
    _change(engine, alert, {"state": "acknowledged", "changed_at": now})


def mute(engine: sa.Engine, alert: int, until: datetime, now: datetime) -> None:
    """Send no mail about this alert's workflow, job and rule until a time; a fatal rule still stops the job."""
    _change(engine, alert, {"state": "muted", "muted_until": until, "changed_at": now})


def _change(engine: sa.Engine, alert: int, values: Mapping[str, Any]) -> None:
    pending = sa.and_(ALERTS.c.id == alert, ALERTS.c.state != "resolved")
    change = ALERTS.update().where(pending).values(**values)
    if transact(engine, lambda connection: connection.execute(change).rowcount) == 0:
        raise ConfigurationError(f"no alert {alert} is open; see the open ones with: pinflow alerts")


def _rows(connection: sa.Connection, key: Mapping[Any, Any], table: sa.Table, *order: str) -> sa.CursorResult[Any]:
    same = [table.c[name] == key[name] for name in KEY_COLUMNS]
    return connection.execute(sa.select(table).where(*same).order_by(*(table.c[name] for name in order)))


def _statistics(connection: sa.Connection, key: Mapping[Any, Any]) -> Statistics:
    buckets: dict[str, dict[tuple[float, float], int]] = {}
    for row in _rows(connection, key, STAT_HISTOGRAMS, "name", "low", "high"):
        buckets.setdefault(row.name, {})[row.low, row.high] = row._mapping["count"]
    lists: dict[str, dict[str, list[Item]]] = {}
    for row in _rows(connection, key, STAT_ITEMS, "name", "side", "rank"):
        lists.setdefault(row.name, {"top": [], "bottom": []})[row.side].append(Item(row.item, row.value))
    return Statistics(
        counts={row.name: row.value for row in _rows(connection, key, STAT_COUNTS, "name")},
        sums={row.name: row.value for row in _rows(connection, key, STAT_SUMS, "name")},
        histograms={name: _histogram(found) for name, found in buckets.items()},
        items={name: _items(found["top"], found["bottom"]) for name, found in lists.items()},
    )


def _histogram(buckets: dict[tuple[float, float], int]) -> Histogram:
    return Histogram(FROM_SQL, buckets, min(low for low, _ in buckets), max(high for _, high in buckets))


def _items(top: list[Item], bottom: list[Item]) -> Items:
    return Items(max(len(top), len(bottom)), tuple(top), tuple(bottom))

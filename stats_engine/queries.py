"""Reading what was recorded: a job's statistics, alerts, what people did about them, and mails that wait."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from pinflow.database import fetch
from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.stats_engine.alerts import AlertState
from pinflow.stats_engine.distincts import Estimate
from pinflow.stats_engine.rules import Degree
from pinflow.stats_engine.states import PENDING
from pinflow.stats_engine.statistics import Histogram, Item, Items, Statistics
from pinflow.stats_engine.tables import (
    ALERT_CHANGES,
    ALERTS,
    DELIVERIES,
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


@dataclass(frozen=True)
class AlertChange:
    """A change of an alert's state: by whom and why."""

    at: datetime
    person: str
    before: AlertState
    state: AlertState
    why: str


@dataclass(frozen=True)
class WaitingMail:
    """A mail that a channel has not taken; None where it was not tried yet.

    `state` is waiting, or refused for good: then it is tried again only when somebody says so.
    """

    message_id: str
    state: str
    recipient: str
    subject: str
    created_at: datetime
    channel: str | None
    attempts: int | None
    next_at: datetime | None
    error: str | None


def job_statistics(
    engine: sa.Engine,
    job: str,
    date: str | None = None,
    *,
    workflow: str | None = None,
    run_id: str | None = None,
    step: int = 0,
) -> JobStatistics:
    """The published attempt's statistics of a job on a date; without one that is published, the last recorded.

    Without `date`, the last date recorded; with `run_id`, those of this run alone; with `step`, those of a step.
    UnknownNameError for a job, a date or a run that has none.
    """
    table = JOB_STATS
    wanted = [table.c.job == job, table.c.step == 0]
    if workflow is not None:
        wanted.append(table.c.workflow == workflow)
    with engine.connect() as connection:
        if run_id is not None:
            runs = connection.scalars(sa.select(table.c.run_id).where(*wanted).distinct()).all()
            if run_id not in runs:
                raise UnknownNameError(f"run with statistics of {job}", run_id, runs, "pinflow runs")
            wanted.append(table.c.run_id == run_id)
        dates = list(connection.scalars(sa.select(table.c.date).where(*wanted).distinct()))
        if not dates:
            known = connection.scalars(sa.select(table.c.job).distinct()).all()
            raise UnknownNameError("job with statistics", job, known, "pinflow workflows")
        if date is not None and date not in dates:
            raise UnknownNameError(f"date with statistics of {job}", date, dates, f"pinflow stats {job}")
        best = (table.c.published.desc(), table.c.recorded_at.desc(), table.c.attempt.desc())
        chosen = sa.select(table).where(*wanted, table.c.date == (date or max(dates))).order_by(*best).limit(1)
        row = connection.execute(chosen).mappings().one()
        if not step:
            return JobStatistics(JobInfo(**row), _statistics(connection, row))
        found = _steps(connection, row)
        if step > len(found):
            known = [str(number) for number in range(1, len(found) + 1)]
            raise UnknownNameError(f"step of {job}", str(step), known, f"pinflow stats {job}")
        return found[step - 1]


def step_statistics(engine: sa.Engine, info: JobInfo) -> list[JobStatistics]:
    """The statistics of each step of an attempt, in their order; none for a job of one step (ST-20)."""
    with engine.connect() as connection:
        return _steps(connection, asdict(info))


def _steps(connection: sa.Connection, key: Mapping[Any, Any]) -> list[JobStatistics]:
    same = [JOB_STATS.c[name] == key[name] for name in KEY_COLUMNS if name != "step"]
    found = connection.execute(sa.select(JOB_STATS).where(*same, JOB_STATS.c.step > 0).order_by(JOB_STATS.c.step))
    return [JobStatistics(JobInfo(**row), _statistics(connection, row)) for row in found.mappings().all()]


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
    """What someone who ran a workflow should know: the run's alerts that nobody has dealt with, and mails not sent."""

    alerts: int
    unsent_mails: int


def notices(engine: sa.Engine, run_id: str) -> Notices:
    """Count them."""
    pending = (ALERTS.c.run_id == run_id, ALERTS.c.state.in_(PENDING))
    alerts = sa.select(sa.func.count()).select_from(ALERTS).where(*pending)
    mails = sa.select(sa.func.count()).select_from(MAILS).where(MAILS.c.state != "sent")
    counted = sa.select(alerts.scalar_subquery().label("alerts"), mails.scalar_subquery().label("unsent_mails"))
    (row,) = fetch(engine, counted)
    return Notices(row.alerts, row.unsent_mails)


def alert_row(engine: sa.Engine, number: int) -> AlertRow:
    """One alert; ConfigurationError when there is none of that number."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(ALERTS).where(ALERTS.c.id == number)).mappings().first()
    if row is None:
        raise ConfigurationError(f"there is no alert {number}; see: pinflow alerts list --all")
    return AlertRow(**row)


def alert_changes(engine: sa.Engine, number: int) -> list[AlertChange]:
    """What happened to an alert, the oldest first."""
    names = AlertChange.__dataclass_fields__
    query = sa.select(*(ALERT_CHANGES.c[name] for name in names)).where(ALERT_CHANGES.c.alert_id == number)
    with engine.connect() as connection:
        return [AlertChange(**row) for row in connection.execute(query.order_by(ALERT_CHANGES.c.id)).mappings()]


def waiting_mails(engine: sa.Engine) -> list[WaitingMail]:
    """The mails that some channel has not taken, with why, the oldest first."""
    joined = MAILS.outerjoin(
        DELIVERIES, sa.and_(DELIVERIES.c.message_id == MAILS.c.message_id, DELIVERIES.c.state != "sent")
    )
    columns = [MAILS.c[name] for name in ("message_id", "recipient", "subject", "created_at")]
    columns += [DELIVERIES.c[name] for name in ("channel", "attempts", "next_at", "error")]
    state = sa.func.coalesce(DELIVERIES.c.state, MAILS.c.state).label("state")
    query = sa.select(*columns, state).select_from(joined).where(MAILS.c.state != "sent").order_by(MAILS.c.created_at)
    with engine.connect() as connection:
        return [WaitingMail(**row) for row in connection.execute(query).mappings()]


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

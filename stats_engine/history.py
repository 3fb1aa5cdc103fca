"""A job's past, as rules and forecasts take it: for each date the values of the run that was published last."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from pinflow.database import Database, transact
from pinflow.stats_engine.baseline import ExpectedChange, Observation, ValueState
from pinflow.stats_engine.expectations import expected_changes
from pinflow.stats_engine.tables import (
    ALERTS,
    JOB_STATS,
    KEY_COLUMNS,
    STAT_COUNTS,
    STAT_DISTINCTS,
    STAT_HISTOGRAMS,
    STAT_SUMS,
)

LONGEST = timedelta(days=800)
"""Older runs are not looked at; as far as forecasts look back."""
DRIFT = "drift("
"""How the `rule` of alerts about a slow change begins; they say nothing against the value of a single day."""


@dataclass(frozen=True)
class History:
    """What a job's published runs gave, by statistic and date.

    `dates` are those that have a published run, ascending; a date without one is not there. `values` has what was
    counted; `states` says on which dates a statistic alarmed, and whether that was accepted; `changes` are those that
    the owner expects.
    """

    dates: tuple[date, ...] = ()
    values: Mapping[str, Mapping[date, float]] = field(default_factory=dict)
    states: Mapping[str, Mapping[date, ValueState]] = field(default_factory=dict)
    changes: Mapping[str, tuple[ExpectedChange, ...]] = field(default_factory=dict)

    def value(self, name: str, day: date) -> float | None:
        """The value of a statistic in the published run of a day; None when there is none.

        A run that did not count the name counted 0, but those before the first that ever did knew nothing of it.
        """
        counted = self.values.get(name, {})
        if day in counted:
            return counted[day]
        return 0.0 if counted and day > min(counted) else None

    def observations(self, name: str, of: str = "") -> list[Observation]:
        """The values of a statistic, or of its share of another, ready for a forecast; shares of nothing are None."""
        subject = f"{name} / {of}" if of else name
        states = self.states.get(subject, {})
        first = min(self.values.get(name, {}), default=date.max)
        return [
            Observation(day, self._of(day, name, of), states.get(day, "good")) for day in self.dates if day >= first
        ]

    def _of(self, day: date, name: str, of: str) -> float | None:
        value = self.value(name, day)
        if not of or value is None:
            return value
        whole = self.value(of, day)
        return value / whole if whole else None


NO_HISTORY = History()


def read_history(
    database: Database, workflow: str, job: str, names: Collection[str], before: date, step: int = 0
) -> History:
    """The history of a job's statistics `names` before a date: two queries, however many names there are.

    With `step`, that of a step of a job that has several.
    """
    first = before - min(LONGEST, before - date.min)
    mine = _published(workflow, [job], first, before, step)

    def read(connection: sa.Connection) -> History:
        rows = connection.execute(_everything(mine, names)).all()
        return _collect(rows, expected_changes(connection, workflow, job))

    return transact(database, read)


def numbers_of(
    database: Database, workflow: str, wanted: Mapping[str, Collection[str]], day: date
) -> dict[str, dict[str, float]]:
    """The day's numbers of the published runs of several jobs, 0 for a name that was not counted.

    `wanted` has the names by job. A job that has published nothing that day is left out. One query for all.
    """
    mine = _published(workflow, wanted, day, day + timedelta(days=1))
    names = {name for group in wanted.values() for name in group}
    rows = transact(database, lambda connection: connection.execute(_everything(mine, names)).all())
    numbers = {job: dict.fromkeys(wanted[job], 0.0) for job, _, name, *_ in rows if name is None}
    for job, _, name, value, state in rows:
        if state is None and name in numbers[job]:
            numbers[job][name] = float(value)
    return numbers


def newest_day(database: Database, workflow: str, job: str) -> date | None:
    """The last date that a job has published; None before the first."""
    mine = _published(workflow, [job], date.min, date.max)
    query = sa.select(sa.func.max(JOB_STATS.c.date)).where(mine)
    found = transact(database, lambda connection: connection.scalar(query))
    return None if found is None else date.fromisoformat(found)


def names_counted(database: Database, workflow: str, job: str, step: int = 0) -> set[str]:
    """The names of all statistics that a job, or a step of it, ever had, but for lists of items."""
    tables = (STAT_COUNTS, STAT_SUMS, STAT_HISTOGRAMS, STAT_DISTINCTS)
    names = [sa.select(t.c.name).where(t.c.workflow == workflow, t.c.job == job, t.c.step == step) for t in tables]
    return set(transact(database, lambda connection: connection.scalars(sa.union(*names)).all()))


def _published(workflow: str, jobs: Iterable[str], first: date, before: date, step: int = 0) -> sa.ColumnElement[bool]:
    runs = JOB_STATS.c
    return sa.and_(
        runs.workflow == workflow,
        runs.job.in_(list(jobs)),
        runs.step == step,
        runs.published,
        runs.date < before.isoformat(),
        runs.date >= first.isoformat(),
    )


def _everything(mine: sa.ColumnElement[bool], names: Collection[str]) -> sa.CompoundSelect[Any]:
    """Rows of (job, date, name, value, state): runs, values and alerts on them, each with what it has."""
    no_text, no_value = sa.cast(sa.null(), sa.String(255)), sa.cast(sa.null(), sa.Double)
    runs = JOB_STATS.c
    parts = [sa.select(runs.job, runs.date, no_text.label("name"), no_value, no_text.label("state")).where(mine)]
    for table, value in (
        (STAT_COUNTS, STAT_COUNTS.c.value),
        (STAT_SUMS, STAT_SUMS.c.value),
        (STAT_DISTINCTS, STAT_DISTINCTS.c.estimate),
        (STAT_HISTOGRAMS, sa.func.sum(STAT_HISTOGRAMS.c["count"])),
    ):
        found = sa.select(runs.job, runs.date, table.c.name, sa.cast(value, sa.Double), no_text)
        found = found.join(table, _same_run(table)).where(mine, table.c.name.in_(names))
        parts.append(found.group_by(runs.job, runs.date, table.c.name) if table is STAT_HISTOGRAMS else found)
    alerts = sa.select(runs.job, runs.date, ALERTS.c.name, no_value, ALERTS.c.state).join(ALERTS, _same_run(ALERTS))
    return sa.union_all(*parts, alerts.where(mine, sa.not_(ALERTS.c.rule.startswith(DRIFT))))


def _same_run(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == JOB_STATS.c[name] for name in KEY_COLUMNS))


def _collect(rows: Iterable[Any], changes: Mapping[str, tuple[ExpectedChange, ...]]) -> History:
    dates: list[date] = []
    values: dict[str, dict[date, float]] = {}
    states: dict[str, dict[date, ValueState]] = {}
    for row in rows:
        _, day_text, name, value, state = row
        day = date.fromisoformat(day_text)
        if name is None:
            dates.append(day)
        elif state is None:
            values.setdefault(name, {})[day] = float(value)
        elif state == "accepted":
            states.setdefault(name, {})[day] = "accepted"
        else:
            states.setdefault(name, {}).setdefault(day, "alarmed")
    return History(tuple(sorted(dates)), values, states, changes)

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


def read_history(database: Database, workflow: str, job: str, names: Collection[str], before: date) -> History:
    """The history of a job's statistics `names` before a date: two queries, however many names there are."""
    mine = _published(workflow, job, before)

    def read(connection: sa.Connection) -> History:
        rows = connection.execute(_everything(mine, list(names))).all()
        return _collect(rows, expected_changes(connection, workflow, job))

    return transact(database, read)


def _published(workflow: str, job: str, before: date) -> sa.ColumnElement[bool]:
    runs = JOB_STATS.c
    return sa.and_(
        runs.workflow == workflow,
        runs.job == job,
        runs.step == 0,
        runs.published,
        runs.date < before.isoformat(),
        runs.date >= (before - LONGEST).isoformat() if before - date.min > LONGEST else sa.true(),
    )


def _everything(mine: sa.ColumnElement[bool], names: list[str]) -> sa.CompoundSelect[Any]:
    """Rows of (date, name, value, state): the dates, their values, and the alerts on them, each with what it has."""
    no_text, no_value = sa.cast(sa.null(), sa.String(255)), sa.cast(sa.null(), sa.Double)
    dates = sa.select(JOB_STATS.c.date, no_text.label("name"), no_value.label("value"), no_text.label("state"))
    parts: list[sa.Select[Any]] = [dates.where(mine)]
    for table, column in ((STAT_COUNTS, "value"), (STAT_SUMS, "value"), (STAT_DISTINCTS, "estimate")):
        value = sa.cast(table.c[column], sa.Double)
        parts.append(sa.select(table.c.date, table.c.name, value, no_text).join(JOB_STATS, _same_run(table)))
    histogram = STAT_HISTOGRAMS
    total = sa.cast(sa.func.sum(histogram.c["count"]), sa.Double)
    counted = sa.select(histogram.c.date, histogram.c.name, total, no_text).join(JOB_STATS, _same_run(histogram))
    parts.append(counted.group_by(histogram.c.date, histogram.c.name))
    wanted = [part.where(mine, part.selected_columns.name.in_(names)) for part in parts[1:]]
    alerts = sa.select(ALERTS.c.date, ALERTS.c.name, no_value, ALERTS.c.state).join(JOB_STATS, _same_run(ALERTS))
    return sa.union_all(parts[0], *wanted, alerts.where(mine, sa.not_(ALERTS.c.rule.startswith(DRIFT))))


def _same_run(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == JOB_STATS.c[name] for name in KEY_COLUMNS))


def _collect(rows: Iterable[Any], changes: Mapping[str, tuple[ExpectedChange, ...]]) -> History:
    dates: list[date] = []
    values: dict[str, dict[date, float]] = {}
    states: dict[str, dict[date, ValueState]] = {}
    for row in rows:
        name, value, state = row[1:]
        day = date.fromisoformat(row[0])
        if name is None:
            dates.append(day)
        elif state is None:
            values.setdefault(name, {})[day] = float(value)
        elif state == "accepted":
            states.setdefault(name, {})[day] = "accepted"
        else:
            states.setdefault(name, {}).setdefault(day, "alarmed")
    return History(tuple(sorted(dates)), values, states, changes)

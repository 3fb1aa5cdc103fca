"""Known changes, told beforehand, so that forecasts expect them (ST-23)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import isfinite
from typing import Any

import sqlalchemy as sa

from pinflow.database import Database, transact
from pinflow.errors import ConfigurationError
from pinflow.stats_engine.baseline import ExpectedChange
from pinflow.stats_engine.tables import EXPECTATIONS


@dataclass(frozen=True)
class Expectation:
    """From `from_date` on, to `to_date` or for good, a statistic is `factor` times what it was.

    ConfigurationError for a factor that is not above 0, an end before the start, and no reason.
    """

    workflow: str
    job: str
    name: str
    from_date: date
    to_date: date | None
    factor: float
    why: str

    def __post_init__(self) -> None:
        if not (isfinite(self.factor) and self.factor > 0):
            raise ConfigurationError(f"a change by the factor {self.factor!r} cannot be expected; give one above 0")
        if self.to_date is not None and self.to_date < self.from_date:
            raise ConfigurationError(f"a change cannot end on {self.to_date}, before it begins on {self.from_date}")
        if not self.why.strip():
            raise ConfigurationError("say why the change is expected, for those who read it later: --why '…'")

    def changes(self) -> tuple[ExpectedChange, ...]:
        """What a forecast is told: the change, and the change back after the last day."""
        begin = ExpectedChange(self.from_date, self.factor)
        if self.to_date is None:
            return (begin,)
        return begin, ExpectedChange(self.to_date + timedelta(days=1), 1 / self.factor)


@dataclass(frozen=True)
class StoredExpectation:
    """A row of `expectations`."""

    id: int
    expectation: Expectation
    created_at: datetime


def expect(database: Database, expectation: Expectation, now: datetime) -> int:
    """Keep an expectation; gives its id."""
    row = {name: getattr(expectation, name) for name in Expectation.__dataclass_fields__}
    days = {name: day and day.isoformat() for name, day in row.items() if name in ("from_date", "to_date")}
    insert = EXPECTATIONS.insert().values(**row | days, created_at=now)

    def keep(connection: sa.Connection) -> int:
        key = connection.execute(insert).inserted_primary_key
        return int(key[0]) if key else 0

    return transact(database, keep)


def forget(database: Database, number: int) -> None:
    """Remove an expectation; ConfigurationError when there is none with this id."""
    gone = EXPECTATIONS.delete().where(EXPECTATIONS.c.id == number)
    if transact(database, lambda connection: connection.execute(gone).rowcount) == 0:
        raise ConfigurationError(f"there is no expectation {number}; see those that there are with: pinflow expect")


def list_expectations(
    database: Database, *, workflow: str | None = None, job: str | None = None
) -> Sequence[StoredExpectation]:
    """What is expected, the newest first."""
    query = sa.select(EXPECTATIONS).order_by(EXPECTATIONS.c.id.desc())
    for column, wanted in ((EXPECTATIONS.c.workflow, workflow), (EXPECTATIONS.c.job, job)):
        if wanted is not None:
            query = query.where(column == wanted)
    rows = transact(database, lambda connection: connection.execute(query).mappings().all())
    return [StoredExpectation(row["id"], _expectation(row), row["created_at"]) for row in rows]


def expected_changes(database: Database, workflow: str, job: str) -> Mapping[str, tuple[ExpectedChange, ...]]:
    """What forecasts of a job are told, by the name of the statistic."""
    found: dict[str, tuple[ExpectedChange, ...]] = {}
    for stored in list_expectations(database, workflow=workflow, job=job):
        name = stored.expectation.name
        found[name] = (*found.get(name, ()), *stored.expectation.changes())
    return found


def _expectation(row: Mapping[Any, Any]) -> Expectation:
    values = {name: row[name] for name in Expectation.__dataclass_fields__}
    days = {
        name: text and date.fromisoformat(text) for name, text in values.items() if name in ("from_date", "to_date")
    }
    return Expectation(**values | days)

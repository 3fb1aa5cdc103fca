"""What people do about alerts; each change of a state is kept with who made it, when and why."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pinflow.database import Database, transact
from pinflow.errors import ConfigurationError
from pinflow.stats_engine.states import Verb, after
from pinflow.stats_engine.tables import ALERT_CHANGES, ALERTS

PINFLOW = "pinflow"
"""Who made the changes that nobody made."""


def act(
    database: Database, numbers: Sequence[int], verb: Verb, *, person: str, why: str, now: datetime, until: datetime
) -> None:
    """Do the same to some alerts, to all or to none; `until` counts for `mute` alone.

    A mute is about the rule: no mail is sent of it, for this job on any date, `until` then; a fatal rule still stops
    the job. To unmute one alert so unmutes all of its rule. ConfigurationError for an alert that is not there or whose
    state the verb does not lead from.
    """

    def change(connection: sa.Connection) -> None:
        _end_mutes(connection, now)
        for number in numbers:
            row = connection.execute(sa.select(ALERTS).where(ALERTS.c.id == number).with_for_update()).first()
            if row is None:
                raise ConfigurationError(f"there is no alert {number}; see: pinflow alerts list --all")
            move(connection, row, verb, person=person, why=why, now=now, until=until if verb == "mute" else None)
            if verb == "unmute":
                _unmute_others(connection, row, person, why, now)

    transact(database, change)


def end_mutes(database: Database, now: datetime) -> None:
    """Open the alerts whose mute is over."""
    transact(database, lambda connection: _end_mutes(connection, now))


def _end_mutes(connection: sa.Connection, now: datetime) -> None:
    over = sa.select(ALERTS).where(ALERTS.c.state == "muted", ALERTS.c.muted_until <= now)
    for row in connection.execute(over).all():
        move(connection, row, "unmute", person=PINFLOW, why="the time of the mute is over", now=now)


def move(
    connection: sa.Connection,
    row: Any,
    verb: Verb,
    *,
    person: str,
    why: str,
    now: datetime,
    until: datetime | None = None,
) -> None:
    """Change the state of one row of the table of alerts, and keep that it was."""
    state = after(row.id, row.state, verb)
    values: dict[str, Any] = {"state": state, "changed_at": now}
    if verb in ("mute", "unmute"):
        values["muted_until"] = until
    same = sa.and_(ALERTS.c.id == row.id, ALERTS.c.state == row.state)
    if connection.execute(ALERTS.update().where(same).values(**values)).rowcount != 1:
        raise ConfigurationError(f"alert {row.id} was changed by another; see: pinflow alerts show {row.id}")
    note(connection, row.id, row.state, state, person=person, why=why, now=now)


def note(
    connection: sa.Connection, number: int, before: str, state: str, *, person: str, why: str, now: datetime
) -> None:
    """Keep that the state of an alert was changed."""
    values = {"alert_id": number, "at": now, "person": person, "before": before, "state": state, "why": why}
    connection.execute(ALERT_CHANGES.insert(), values)


def _unmute_others(connection: sa.Connection, row: Any, person: str, why: str, now: datetime) -> None:
    same = [ALERTS.c[name] == getattr(row, name) for name in ("workflow", "job", "rule")]
    muted = sa.select(ALERTS).where(*same, ALERTS.c.state == "muted")
    for other in connection.execute(muted).all():
        move(connection, other, "unmute", person=person, why=why, now=now)
    connection.execute(ALERTS.update().where(*same).values(muted_until=None))

"""Statistics and mails are forgotten after a time; alerts stay."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pinflow.database import fetch, transact
from pinflow.stats_engine.tables import DELIVERIES, JOB_STATS, KEY_COLUMNS, MAILS, STATISTICS

ATTEMPTS_AT_ONCE = 50
"""Of so many attempts the rows go in one transaction, so that others do not wait for long."""
MAILS_AT_ONCE = 500


def forget(engine: sa.Engine, before: datetime, *, dry_run: bool = False) -> dict[str, int]:
    """Remove the statistics of attempts that worked on a day, and were recorded, before a time.

    Gives how many attempts of each job went, or with `dry_run` would go. May be stopped and called again.
    """
    old = sa.and_(JOB_STATS.c.date < before.date().isoformat(), JOB_STATS.c.recorded_at < before)
    keys = fetch(engine, sa.select(*(JOB_STATS.c[name] for name in KEY_COLUMNS)).where(old))
    if not dry_run:
        for start in range(0, len(keys), ATTEMPTS_AT_ONCE):
            _delete(engine, keys[start : start + ATTEMPTS_AT_ONCE])
    return dict(sorted(Counter(key.job for key in keys if key.step == 0).items()))


def forget_mails(engine: sa.Engine, before: datetime, *, dry_run: bool = False) -> int:
    """Remove the mails from before a time that were sent, or refused for good; gives how many. Others wait on."""
    old = sa.and_(MAILS.c.created_at < before, MAILS.c.state.in_(("sent", "refused")))
    found = [row.message_id for row in fetch(engine, sa.select(MAILS.c.message_id).where(old))]
    for start in range(0, 0 if dry_run else len(found), MAILS_AT_ONCE):
        _delete_mails(engine, found[start : start + MAILS_AT_ONCE])
    return len(found)


def _delete_mails(engine: sa.Engine, numbers: Sequence[str]) -> None:
    def delete(connection: sa.Connection) -> None:
        for table in (DELIVERIES, MAILS):
            connection.execute(table.delete().where(table.c.message_id.in_(numbers)))

    transact(engine.execution_options(writes=True), delete)


def _delete(engine: sa.Engine, keys: Sequence[sa.Row[Any]]) -> None:
    values = [{f"b_{name}": value for name, value in key._mapping.items()} for key in keys]

    def delete(connection: sa.Connection) -> None:
        # the row that says that there are any goes last
        for table in (*STATISTICS, JOB_STATS):
            same = sa.and_(*(table.c[name] == sa.bindparam(f"b_{name}") for name in KEY_COLUMNS))
            connection.execute(table.delete().where(same), values)

    transact(engine.execution_options(writes=True), delete)

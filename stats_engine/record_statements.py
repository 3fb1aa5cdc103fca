"""The statements that each job's process runs to keep its statistics and to publish them, prepared once."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as b

from pinflow.prepared import Prepared, is_one_of
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.states import PENDING
from pinflow.stats_engine.tables import ALERTS, JOB_STATS, KEY_COLUMNS, STATISTICS


def places(key: JobKey) -> dict[str, Any]:
    """The values of the parameters `b_…` that say which attempt is meant."""
    return {f"b_{name}": value for name, value in key.columns().items()}


def _same(table: sa.Table, *names: str) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == b(f"b_{name}") for name in names))


# When an attempt was recorded; no row if it was not.
RECORDED_AT = Prepared(sa.select(JOB_STATS.c.recorded_at).where(_same(JOB_STATS, *KEY_COLUMNS)))
# A row of an attempt, and of what it counted.
INSERT = {table: Prepared(sa.insert(table).inline(), table.columns.keys()) for table in (JOB_STATS, *STATISTICS)}
# The attempts of a job and date, which nobody else changes until the transaction ends.
LOCK_ATTEMPTS = Prepared(
    sa.select(JOB_STATS.c.attempt).where(_same(JOB_STATS, "workflow", "job", "date")).with_for_update()
)
# Make one attempt the published one of its job and date.
PUBLISH = Prepared(
    sa.update(JOB_STATS)
    .where(_same(JOB_STATS, "workflow", "job", "date"))
    .values(published=_same(JOB_STATS, "run_id", "attempt"))
)
# What a job raised for a date, and on any date where it is muted still at `b_now`; the longest mute last.
KNOWN_ALERTS = Prepared(
    sa.select(ALERTS)
    .where(_same(ALERTS, "workflow", "job"), sa.or_(_same(ALERTS, "date"), ALERTS.c.muted_until > b("b_now")))
    .order_by(ALERTS.c.muted_until, ALERTS.c.id)
)
# What other attempts raised for a date before `b_before` and is not done with.
EARLIER_ALERTS = Prepared(
    sa.select(ALERTS).where(
        _same(ALERTS, "workflow", "job", "date", "step"),
        sa.not_(_same(ALERTS, "run_id", "attempt")),
        is_one_of(ALERTS.c.state, PENDING),
        ALERTS.c.created_at < b("b_before"),
    )
)

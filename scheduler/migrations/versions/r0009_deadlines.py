"""Deadlines of runs, how long jobs usually take, after how long one is slow; backfills that workers go on with."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from pinflow.database import Real, UtcDateTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make what an upgrade that was stopped did not make."""
    _add("run", sa.Column("due_at", UtcDateTime), sa.Column("warned_at", UtcDateTime))
    _add("job", sa.Column("expected_seconds", Real), sa.Column("warn_seconds", Real))
    _add("job", sa.Column("warned_at", UtcDateTime))
    _add("backfill", sa.Column("detached", sa.Integer, nullable=False, server_default="0"))


def _add(table: str, *columns: "sa.Column[Any]") -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in known:
            op.add_column(table, column)

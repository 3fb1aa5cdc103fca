"""Schedules with their ticks, and backfills with their days."""

import sqlalchemy as sa
from alembic import op

from pinflow.database import LongText, UtcDateTime

revision = "0007"
down_revision = "0006"

_TABLES: dict[str, list[sa.schema.SchemaItem]] = {
    "schedule": [
        sa.Column("workflow", sa.String(100), primary_key=True),
        sa.Column("declared", LongText, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("handled_until", UtcDateTime, nullable=False),
        sa.Column("next_at", UtcDateTime),
        sa.Column("wake_at", UtcDateTime),
        sa.Column("error", LongText),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    ],
    "tick": [
        sa.Column("workflow", sa.String(100), primary_key=True),
        sa.Column("at", UtcDateTime, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(128)),
        sa.Column("reason", LongText),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'started', 'joined', 'skipped', 'missed')", name="tick_state"),
    ],
    "backfill": [
        sa.Column("backfill", sa.Integer, primary_key=True),
        sa.Column("workflow", sa.String(100), nullable=False),
        sa.Column("first", sa.String(10), nullable=False),
        sa.Column("last", sa.String(10), nullable=False),
        sa.Column("max_runs", sa.Integer, nullable=False),
        sa.Column("reverse", sa.Boolean, nullable=False),
        sa.Column("reprocess", sa.String(16), nullable=False),
        sa.Column("rebuild", sa.Boolean, nullable=False),
        sa.Column("parameters", LongText, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("finished_at", UtcDateTime),
        sa.CheckConstraint("state IN ('running', 'succeeded', 'failed', 'cancelled')", name="backfill_state"),
    ],
    "backfill_day": [
        sa.Column("backfill", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("date", sa.String(10), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(128)),
        sa.Column("driver", sa.String(128)),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'succeeded', 'failed', 'kept', 'cancelled')", name="backfill_day_state"
        ),
    ],
}
_INDEXES = {
    "schedule_wake": ("schedule", ["wake_at"]),
    "tick_waiting": ("tick", ["workflow", "state", "at"]),
    "backfill_of": ("backfill", ["workflow", "state"]),
}


def upgrade() -> None:
    """Make what an upgrade that was stopped did not make."""
    there = sa.inspect(op.get_bind())
    for name, items in _TABLES.items():
        if not there.has_table(name):
            op.create_table(name, *items)
    for name, (table, columns) in _INDEXES.items():
        if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
            op.create_index(name, table, columns)

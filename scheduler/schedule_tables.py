"""The tables of schedules and backfills, beside those of runs; meant to be read by people, too."""

import sqlalchemy as sa
from sqlalchemy import Column, Integer, String

from pinflow.database import LongText, UtcDateTime
from pinflow.scheduler.tables import metadata

__all__ = ["backfill", "backfill_day", "metadata", "schedule", "tick"]

schedule = sa.Table(
    "schedule",
    metadata,
    Column("workflow", String(100), primary_key=True),
    Column("declared", LongText, nullable=False, doc="the declaration as JSON"),
    Column("paused", sa.Boolean, nullable=False),
    Column("handled_until", UtcDateTime, nullable=False, doc="ticks up to then are in `tick`, or were not to run"),
    Column("next_at", UtcDateTime, doc="the next tick"),
    Column("wake_at", UtcDateTime, doc="when a scheduler looks at it next"),
    Column("error", LongText, doc="why the run of a due tick cannot be made"),
    Column("changed_at", UtcDateTime, nullable=False),
    sa.Index("schedule_wake", "wake_at"),
)

tick = sa.Table(
    "tick",
    metadata,
    Column("workflow", String(100), primary_key=True),
    Column("at", UtcDateTime, primary_key=True),
    Column("state", String(16), nullable=False),
    sa.CheckConstraint("state IN ('waiting', 'started', 'joined', 'skipped', 'missed')", name="tick_state"),
    Column("run_id", String(128)),
    Column("reason", LongText),
    Column("changed_at", UtcDateTime, nullable=False),
    sa.Index("tick_waiting", "workflow", "state", "at"),
)

backfill = sa.Table(
    "backfill",
    metadata,
    Column("backfill", Integer, primary_key=True),
    Column("workflow", String(100), nullable=False),
    Column("first", String(10), nullable=False),
    Column("last", String(10), nullable=False),
    Column("max_runs", Integer, nullable=False),
    Column("reverse", sa.Boolean, nullable=False),
    Column("reprocess", String(16), nullable=False),
    Column("rebuild", sa.Boolean, nullable=False),
    Column("parameters", LongText, nullable=False),
    Column("state", String(16), nullable=False),
    sa.CheckConstraint("state IN ('running', 'succeeded', 'failed', 'cancelled')", name="backfill_state"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("detached", Integer, nullable=False, server_default="0", doc="1: workers go on with it"),
    sa.Index("backfill_of", "workflow", "state"),
)

backfill_day = sa.Table(
    "backfill_day",
    metadata,
    Column("backfill", Integer, primary_key=True, autoincrement=False),
    Column("date", String(10), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    sa.CheckConstraint(
        "state IN ('waiting', 'running', 'succeeded', 'failed', 'kept', 'cancelled')", name="backfill_day_state"
    ),
    Column("run_id", String(128)),
    Column("driver", String(128), doc="the process that works on it"),
)

"""Runs that any worker may take jobs of, pools, signals, and workers that stay."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

_MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql")


def upgrade() -> None:
    """Make all changes; an upgrade that was stopped in between goes on with what it left."""
    _add("run", _count("shared"), sa.Column("wait_until", _MOMENT))
    _add("job", sa.Column("pool", sa.String(100)), _count("crashes"), _count("anew"))
    _add("worker", _count("generation"), sa.Column("pools", _TEXT), sa.Column("lease_until", _MOMENT))
    there = sa.inspect(op.get_bind())
    if all(index["name"] != "run_state" for index in there.get_indexes("run")):
        op.create_index("run_state", "run", ["state", "shared"])
    tables = there.get_table_names()
    if "signals" not in tables:
        _create_signals()
    if "pool" not in tables:
        op.create_table(
            "pool",
            sa.Column("name", sa.String(100), primary_key=True),
            sa.Column("slots", sa.Integer, nullable=False),
        )


def _count(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")


def _add(table: str, *columns: "sa.Column[Any]") -> None:
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in known:
            op.add_column(table, column)


def _create_signals() -> None:
    op.create_table(
        "signals",
        sa.Column("scope", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("action", sa.String(16), primary_key=True),
        sa.Column("job", sa.String(100), primary_key=True),
        sa.Column("generation", sa.Integer),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.CheckConstraint("scope IN ('all', 'workflow', 'run')", name="signals_scope"),
        sa.CheckConstraint("action IN ('pause', 'drain', 'abort', 'disable', 'exit')", name="signals_action"),
    )

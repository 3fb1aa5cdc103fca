"""Views of the totals of jobs and views of their steps; mails that are refused for good."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_VIEWS = {
    "counts": "value",
    "sums": "value",
    "histograms": "low, high, count",
    "items": "side, rank, item, value",
    "distincts": "estimate, low, high",
}
_KEY = ("workflow", "run_id", "job", "attempt", "step", "date")
_CHECKS = {"mails": "mail_state", "deliveries": "delivery_state"}
_STATES = "CHECK (state IN ('waiting', 'sent', 'refused'))"
_COLUMNS = {
    "mails": """
        message_id VARCHAR(255) NOT NULL, recipient VARCHAR(255) NOT NULL, subject TEXT NOT NULL,
        body TEXT NOT NULL, content TEXT, state VARCHAR(10) NOT NULL, created_at VARCHAR(27) NOT NULL,
        sent_at VARCHAR(27), PRIMARY KEY (message_id)
    """,
    "deliveries": """
        message_id VARCHAR(255) NOT NULL, channel VARCHAR(255) NOT NULL, state VARCHAR(10) NOT NULL,
        attempts INTEGER NOT NULL, next_at VARCHAR(27) NOT NULL, sent_at VARCHAR(27), error TEXT,
        PRIMARY KEY (message_id, channel)
    """,
}
_INDEXES = {
    "mails": ("mails_waiting", "state, created_at"),
    "deliveries": ("deliveries_due", "channel, state, next_at"),
}


def upgrade() -> None:
    """Make all views anew and allow the state; done again, it changes nothing."""
    dialect = op.get_bind().dialect
    for kind, columns in _VIEWS.items():
        _make_view(f"v_{kind}", f"stat_{kind}", f"name, {columns}", "j.step = 0", dialect)
        _make_view(f"v_step_{kind}", f"stat_{kind}", f"step, name, {columns}", "j.step > 0", dialect)
    for table, check in _CHECKS.items():
        if dialect.name == "sqlite":
            _make_again(table, check)
        else:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {check}, ADD CONSTRAINT {check} {_STATES}")


def _make_view(name: str, table: str, columns: str, steps: str, dialect: sa.Dialect) -> None:
    quote = dialect.identifier_preparer.quote_identifier
    chosen = ", ".join(f"s.{quote(column)}" for column in f"workflow, job, date, {columns}".split(", "))
    same = " AND ".join(f"s.{quote(column)} = j.{quote(column)}" for column in _KEY)
    op.execute(f"DROP VIEW IF EXISTS {name}")
    source = f"{table} s JOIN job_stats j ON {same} WHERE j.published AND {steps}"
    op.execute(f"CREATE VIEW {name} AS SELECT {chosen} FROM {source}")


def _make_again(table: str, check: str) -> None:
    """SQLite cannot change a constraint; all of it happens in one transaction there."""
    index, indexed = _INDEXES[table]
    op.execute(f"DROP INDEX {index}")
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_before")
    op.execute(f"CREATE TABLE {table} ({_COLUMNS[table]}, CONSTRAINT {check} {_STATES})")
    op.execute(f"INSERT INTO {table} SELECT * FROM {table}_before")
    op.execute(f"DROP TABLE {table}_before")
    op.execute(f"CREATE INDEX {index} ON {table} ({indexed})")

"""The table of distinct counts and its view."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_KEY = ("workflow", "job", "date", "run_id", "attempt", "step", "name")
_VIEW = """
    VIEW v_distincts AS SELECT s.workflow, s.job, s.date, s.step, s.name, s.estimate, s.low, s.high
    FROM stat_distincts s JOIN job_stats j
    ON s.workflow = j.workflow AND s.run_id = j.run_id AND s.job = j.job AND s.attempt = j.attempt
    WHERE j.published AND j.step = 0
"""


def upgrade() -> None:
    """Make both; an upgrade that was stopped in between begins with what it left."""
    connection = op.get_bind()
    if "stat_distincts" not in sa.inspect(connection).get_table_names():
        _create_table(connection)
    if connection.dialect.name == "sqlite":
        op.execute(_VIEW.replace("VIEW", "CREATE VIEW IF NOT EXISTS", 1))
    else:
        op.execute(_VIEW.replace("VIEW", "CREATE OR REPLACE VIEW", 1))


def _create_table(connection: sa.Connection) -> None:
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    texts = {"workflow": 100, "run_id": 150, "job": 100, "date": 10, "name": 255}
    types: dict[str, sa.types.TypeEngine[Any]] = {name: sa.String(length) for name, length in texts.items()}
    types |= {"attempt": sa.Integer(), "step": sa.Integer()}
    op.create_table(
        "stat_distincts",
        *(
            sa.Column(
                name, sa.String(texts[name]) if name in texts else sa.Integer, nullable=False, autoincrement=False
            )
            for name in ("workflow", "run_id", "job", "attempt", "step", "date", "name")
        ),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("estimate", "low", "high")),
        sa.PrimaryKeyConstraint(*_KEY),
        sqlite_with_rowid=False,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin",
    )

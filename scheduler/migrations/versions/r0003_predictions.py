"""Alerts say what was forecast, and may be accepted; changes may be expected."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_STATES = "state IN ('open', 'acknowledged', 'accepted', 'muted', 'resolved')"
_KEPT = (
    "id, workflow, run_id, job, attempt, step, date, rule, name, degree, value, low, high, message, owner, state, "
    "repeats, created_at, changed_at, muted_until"
)
_ALERTS = f"""
    CREATE TABLE alerts (
        id INTEGER NOT NULL, workflow VARCHAR(100) NOT NULL, run_id VARCHAR(150) NOT NULL, job VARCHAR(100) NOT NULL,
        attempt INTEGER NOT NULL, step INTEGER NOT NULL, date VARCHAR(10) NOT NULL, rule VARCHAR(700) NOT NULL,
        name VARCHAR(600) NOT NULL, degree VARCHAR(10) NOT NULL, value DOUBLE, forecast DOUBLE, deviation DOUBLE,
        low DOUBLE, high DOUBLE, learning BOOLEAN DEFAULT '0' NOT NULL, message TEXT NOT NULL,
        owner VARCHAR(255) NOT NULL, state VARCHAR(12) NOT NULL, repeats INTEGER NOT NULL,
        created_at VARCHAR(27) NOT NULL, changed_at VARCHAR(27) NOT NULL, muted_until VARCHAR(27), PRIMARY KEY (id),
        CONSTRAINT alert_state CHECK ({_STATES}),
        CONSTRAINT alert_degree CHECK (degree IN ('warning', 'fatal'))
    )
"""
_EXPECTATIONS = """
    CREATE TABLE expectations (
        id INTEGER NOT NULL {serial}, workflow VARCHAR(100) NOT NULL, job VARCHAR(100) NOT NULL,
        name VARCHAR(255) NOT NULL, from_date VARCHAR(10) NOT NULL, to_date VARCHAR(10), factor DOUBLE NOT NULL,
        why {text} NOT NULL, created_at {stamp} NOT NULL, PRIMARY KEY (id)
    ) {options}
"""
_WORDS = {
    "sqlite": {"serial": "", "text": "TEXT", "stamp": "VARCHAR(27)", "options": ""},
    "mysql": {
        "serial": "AUTO_INCREMENT",
        "text": "MEDIUMTEXT",
        "stamp": "DATETIME(6)",
        "options": "ENGINE=InnoDB CHARSET=utf8mb4 COLLATE {collation}",
    },
}


def upgrade() -> None:
    """Make both changes; an upgrade that was stopped in between leaves out what it did."""
    connection = op.get_bind()
    columns = {column["name"] for column in sa.inspect(connection).get_columns("alerts")}
    if "forecast" not in columns:
        _change_alerts(connection.dialect)
    if "expectations" not in sa.inspect(connection).get_table_names():
        collation = "utf8mb4_nopad_bin" if getattr(connection.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
        words = {name: word.format(collation=collation) for name, word in _WORDS[connection.dialect.name].items()}
        op.execute(_EXPECTATIONS.format(**words))
        op.create_index("expectations_of_job", "expectations", ["workflow", "job"])


def _change_alerts(dialect: sa.Dialect) -> None:
    """In one statement on a server; SQLite, which cannot change a constraint, gets the table anew."""
    if dialect.name == "mysql":
        op.execute(
            "ALTER TABLE alerts DROP CONSTRAINT alert_state, ADD COLUMN forecast DOUBLE AFTER value, "
            "ADD COLUMN deviation DOUBLE AFTER forecast, ADD COLUMN learning BOOLEAN NOT NULL DEFAULT '0' AFTER high, "
            f"ADD CONSTRAINT alert_state CHECK ({_STATES})"
        )
        return
    op.execute("DROP INDEX alerts_of_job")
    op.execute("ALTER TABLE alerts RENAME TO alerts_before")
    op.execute(_ALERTS)
    op.execute(f"INSERT INTO alerts ({_KEPT}) SELECT {_KEPT} FROM alerts_before")
    op.execute("DROP TABLE alerts_before")
    op.create_index("alerts_of_job", "alerts", ["workflow", "job", "date"])

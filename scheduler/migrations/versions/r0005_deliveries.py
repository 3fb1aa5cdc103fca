"""Several channels for each mail, and who changed an alert, when and why.

What was known of a mail's delivery moves into a row of `deliveries`, for the channel `mail`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_WORDS = {
    "sqlite": {"text": "TEXT", "stamp": "VARCHAR(27)", "serial": "INTEGER NOT NULL"},
    "mysql": {"text": "MEDIUMTEXT", "stamp": "DATETIME(6)", "serial": "INTEGER NOT NULL AUTO_INCREMENT"},
}
_TABLES = {
    "alert_changes": """
        id {serial}, alert_id INTEGER NOT NULL, at {stamp} NOT NULL, person VARCHAR(255) NOT NULL,
        `before` VARCHAR(12) NOT NULL, state VARCHAR(12) NOT NULL, why {text} NOT NULL, PRIMARY KEY (id)
    """,
    "deliveries": """
        message_id VARCHAR(255) NOT NULL, channel VARCHAR(255) NOT NULL, state VARCHAR(10) NOT NULL,
        attempts INTEGER NOT NULL, next_at {stamp} NOT NULL, sent_at {stamp}, error {text},
        PRIMARY KEY (message_id, channel),
        CONSTRAINT delivery_state CHECK (state IN ('waiting', 'sent'))
    """,
    "mails": """
        message_id VARCHAR(255) NOT NULL, recipient VARCHAR(255) NOT NULL, subject {text} NOT NULL,
        body {text} NOT NULL, content {text}, state VARCHAR(10) NOT NULL, created_at {stamp} NOT NULL,
        sent_at {stamp}, PRIMARY KEY (message_id),
        CONSTRAINT mail_state CHECK (state IN ('waiting', 'sent'))
    """,
}
_INDEXES = {
    "alert_changes": ("alert_changes_of_alert", "alert_id"),
    "deliveries": ("deliveries_due", "channel, state, next_at"),
    "mails": ("mails_waiting", "state, created_at"),
}


def upgrade() -> None:
    """Make the tables and move the mails; an upgrade that was stopped in between begins with what it left."""
    connection = op.get_bind()
    if "mails_before" not in sa.inspect(connection).get_table_names():
        op.rename_table("mails", "mails_before")
    if connection.dialect.name == "sqlite":
        op.execute("DROP INDEX IF EXISTS mails_due")
    for name, columns in _TABLES.items():
        op.execute(f"DROP TABLE IF EXISTS {name}")
        op.execute(f"CREATE TABLE {name} ({columns.format(**_WORDS[connection.dialect.name])}) {_options(connection)}")
        index, indexed = _INDEXES[name]
        op.execute(f"CREATE INDEX {index} ON {name} ({indexed})")
    op.execute(
        "INSERT INTO mails (message_id, recipient, subject, body, state, created_at, sent_at) "
        "SELECT message_id, recipient, subject, body, state, created_at, sent_at FROM mails_before"
    )
    op.execute(
        "INSERT INTO deliveries (message_id, channel, state, attempts, next_at, sent_at, error) "
        "SELECT message_id, 'mail', state, attempts, next_at, sent_at, error FROM mails_before"
    )
    op.drop_table("mails_before")


def _options(connection: sa.Connection) -> str:
    if connection.dialect.name == "sqlite":
        return ""
    collation = "utf8mb4_nopad_bin" if getattr(connection.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return f"ENGINE=InnoDB CHARSET=utf8mb4 COLLATE {collation}"

"""The first schema: the tables of the scheduler and of the statistics, and the views.

Databases made before there were revisions have some or all of it already; those tables are left alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = (
    "workflow VARCHAR(100) NOT NULL, run_id VARCHAR(150) NOT NULL, job VARCHAR(100) NOT NULL, "
    "attempt INTEGER NOT NULL, step INTEGER NOT NULL, date VARCHAR(10) NOT NULL"
)
_WORDS = {
    "sqlite": {
        "text": "TEXT",
        "time": "DATETIME",
        "stamp": "VARCHAR(27)",
        "real": "FLOAT",
        "serial": "INTEGER NOT NULL",
        "big_serial": "INTEGER NOT NULL",
        "options": "",
        "clustered": "WITHOUT ROWID",
    },
    "mysql": {
        "text": "MEDIUMTEXT",
        "time": "DATETIME(6)",
        "stamp": "DATETIME(6)",
        "real": "DOUBLE",
        "serial": "INTEGER NOT NULL AUTO_INCREMENT",
        "big_serial": "BIGINT NOT NULL AUTO_INCREMENT",
        "options": "ENGINE=InnoDB CHARSET=utf8mb4 COLLATE {collation}",
        "clustered": "ENGINE=InnoDB CHARSET=utf8mb4 COLLATE {collation}",
    },
}
_TABLES = {
    "workflow": """
        name VARCHAR(100) NOT NULL, owner VARCHAR(255) NOT NULL, description {text} NOT NULL,
        digest VARCHAR(64) NOT NULL, last_run_id VARCHAR(128) NOT NULL, PRIMARY KEY (name)
    """,
    "run": """
        run_id VARCHAR(128) NOT NULL, workflow VARCHAR(100) NOT NULL, date VARCHAR(10) NOT NULL,
        serial INTEGER NOT NULL, state VARCHAR(16) NOT NULL, reason {text}, driver VARCHAR(128) NOT NULL,
        fence BIGINT NOT NULL, lease_until {time}, created_at {time} NOT NULL, started_at {time} NOT NULL,
        finished_at {time}, parameters {text} NOT NULL, digest VARCHAR(64) NOT NULL, definition {text} NOT NULL,
        PRIMARY KEY (run_id), CONSTRAINT run_state CHECK (state IN ('running', 'succeeded', 'failed', 'aborted')),
        UNIQUE (workflow, date, serial)
    """,
    "job": """
        run_id VARCHAR(128) NOT NULL, name VARCHAR(100) NOT NULL, stage VARCHAR(100) NOT NULL,
        kind VARCHAR(16) NOT NULL, owner VARCHAR(255) NOT NULL, position INTEGER NOT NULL,
        priority INTEGER NOT NULL, state VARCHAR(16) NOT NULL, reason {text}, exit_code INTEGER,
        unmet INTEGER NOT NULL, attempts INTEGER NOT NULL, failures INTEGER NOT NULL, fence BIGINT,
        not_before {time}, started_at {time}, finished_at {time}, PRIMARY KEY (run_id, name),
        CONSTRAINT job_state CHECK (state IN ('waiting', 'ready', 'running', 'polling', 'succeeded', 'skipped',
        'failed', 'upstream_failed', 'aborted'))
    """,
    "dependency": """
        run_id VARCHAR(128) NOT NULL, after VARCHAR(100) NOT NULL, job VARCHAR(100) NOT NULL,
        PRIMARY KEY (run_id, after, job)
    """,
    "attempt": """
        fence BIGINT NOT NULL, run_id VARCHAR(128) NOT NULL, job VARCHAR(100) NOT NULL, attempt INTEGER NOT NULL,
        state VARCHAR(16) NOT NULL, reason {text}, exit_code INTEGER, `signal` INTEGER,
        worker VARCHAR(128) NOT NULL, pid INTEGER, lease_until {time}, started_at {time} NOT NULL,
        finished_at {time}, user_seconds {real}, system_seconds {real}, peak_bytes BIGINT,
        log VARCHAR(255) NOT NULL, result {text}, PRIMARY KEY (fence),
        CONSTRAINT attempt_state CHECK (state IN ('running', 'succeeded', 'skipped', 'failed', 'aborted', 'lost'))
    """,
    "event": """
        id {big_serial}, run_id VARCHAR(128) NOT NULL, job VARCHAR(100), attempt INTEGER, at {time} NOT NULL,
        `before` VARCHAR(16), state VARCHAR(16) NOT NULL, detail {text}, PRIMARY KEY (id)
    """,
    "worker": """
        worker VARCHAR(128) NOT NULL, zygote VARCHAR(128), slots INTEGER NOT NULL, started_at {time} NOT NULL,
        PRIMARY KEY (worker)
    """,
    "fence": """
        last BIGINT NOT NULL, PRIMARY KEY (last)
    """,
    "job_stats": """
        {key}, owner VARCHAR(255) NOT NULL, published BOOLEAN NOT NULL, output_rows BIGINT, output_bytes BIGINT,
        input_bytes BIGINT, seconds DOUBLE, recorded_at {stamp} NOT NULL,
        PRIMARY KEY (workflow, run_id, job, attempt, step, date)
    """,
    "stat_counts": """
        {key}, name VARCHAR(255) NOT NULL, value BIGINT NOT NULL,
        PRIMARY KEY (workflow, job, date, run_id, attempt, step, name)
    """,
    "stat_sums": """
        {key}, name VARCHAR(255) NOT NULL, value DOUBLE NOT NULL,
        PRIMARY KEY (workflow, job, date, run_id, attempt, step, name)
    """,
    "stat_histograms": """
        {key}, name VARCHAR(255) NOT NULL, low DOUBLE NOT NULL, high DOUBLE NOT NULL, count BIGINT NOT NULL,
        PRIMARY KEY (workflow, job, date, run_id, attempt, step, name, low, high)
    """,
    "stat_items": """
        {key}, name VARCHAR(255) NOT NULL, side VARCHAR(6) NOT NULL, `rank` INTEGER NOT NULL, item {text} NOT NULL,
        value DOUBLE NOT NULL, PRIMARY KEY (workflow, job, date, run_id, attempt, step, name, side, `rank`)
    """,
    "alerts": """
        id {serial}, {key}, rule VARCHAR(700) NOT NULL, name VARCHAR(600) NOT NULL, degree VARCHAR(10) NOT NULL,
        value DOUBLE, low DOUBLE, high DOUBLE, message {text} NOT NULL, owner VARCHAR(255) NOT NULL,
        state VARCHAR(12) NOT NULL, repeats INTEGER NOT NULL, created_at {stamp} NOT NULL,
        changed_at {stamp} NOT NULL, muted_until {stamp}, PRIMARY KEY (id),
        CONSTRAINT alert_state CHECK (state IN ('open', 'acknowledged', 'muted', 'resolved')),
        CONSTRAINT alert_degree CHECK (degree IN ('warning', 'fatal'))
    """,
    "mails": """
        message_id VARCHAR(255) NOT NULL, recipient VARCHAR(255) NOT NULL, subject {text} NOT NULL,
        body {text} NOT NULL, state VARCHAR(10) NOT NULL, attempts INTEGER NOT NULL, created_at {stamp} NOT NULL,
        next_at {stamp} NOT NULL, sent_at {stamp}, error {text}, PRIMARY KEY (message_id),
        CONSTRAINT mail_state CHECK (state IN ('waiting', 'sent'))
    """,
}
_CLUSTERED = ("stat_counts", "stat_sums", "stat_histograms", "stat_items")
_INDEXES = {
    "run_created": ("run", "created_at"),
    "job_claim": ("job", "run_id, state, priority, position"),
    "attempt_job": ("attempt", "run_id, job, attempt"),
    "event_run": ("event", "run_id, id"),
    "job_stats_of_job": ("job_stats", "job, date"),
    "alerts_of_job": ("alerts", "workflow, job, date"),
    "mails_due": ("mails", "state, next_at"),
}
_VIEWS = {
    "v_counts": ("stat_counts", "value"),
    "v_sums": ("stat_sums", "value"),
    "v_histograms": ("stat_histograms", "low, high, count"),
    "v_items": ("stat_items", "side, rank, item, value"),
}


def upgrade() -> None:
    """Make what is not there."""
    connection = op.get_bind()
    there = sa.inspect(connection).get_table_names()
    words = _words(connection.dialect)
    for name, columns in _TABLES.items():
        if name in there:
            continue
        options = words["clustered" if name in _CLUSTERED else "options"]
        op.execute(f"CREATE TABLE {name} ({columns.format(key=_KEY, **words)}) {options}")
        for index, (table, indexed) in _INDEXES.items():
            if table == name:
                kind = "UNIQUE INDEX" if index == "attempt_job" else "INDEX"
                op.execute(f"CREATE {kind} {index} ON {table} ({indexed})")
    if "fence" not in there:
        op.execute("INSERT INTO fence (last) VALUES (0)")
    for name, (table, columns) in _VIEWS.items():
        op.execute(f"DROP VIEW IF EXISTS {name}")
        op.execute(_view(name, table, columns, connection.dialect))


def _words(dialect: sa.Dialect) -> dict[str, str]:
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return {name: word.format(collation=collation) for name, word in _WORDS[dialect.name].items()}


def _view(name: str, table: str, columns: str, dialect: sa.Dialect) -> str:
    quote = dialect.identifier_preparer.quote_identifier
    chosen = ", ".join(f"s.{quote(column)}" for column in f"workflow, job, date, step, name, {columns}".split(", "))
    same = " AND ".join(f"s.{quote(key)} = j.{quote(key)}" for key in ("workflow", "run_id", "job", "attempt"))
    source = f"{table} s JOIN job_stats j ON {same}"
    return f"CREATE VIEW {name} AS SELECT {chosen} FROM {source} WHERE j.published AND j.step = 0"

"""The SQL tables of statistics, alerts and mails, made to be read at a MySQL or SQLite prompt (ST-03, ST-24).

Every table begins with the same six columns, so that any two join on them. `step` is the step of a job that
has several, 0 for its totals.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pinflow.database import LongText, of_server

METADATA = sa.MetaData()

KEY_COLUMNS = ("workflow", "run_id", "job", "attempt", "step", "date")


class UtcTime(sa.types.TypeDecorator[datetime]):
    """Timezone-aware times: DATETIME(6) in UTC, on SQLite text that sorts: `2015-05-19T00:12:00.000000Z`."""

    impl = sa.String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """The column's type in a database."""
        return of_server(dialect, "DATETIME", fsp=6) or dialect.type_descriptor(sa.String(27))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | str | None:
        """To what the database takes, in UTC."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "mysql" else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:
        """To a time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) else datetime.fromisoformat(value)


def _key(*, primary: bool) -> list[sa.Column[Any]]:
    lengths = {"workflow": 100, "run_id": 150, "job": 100, "date": 10}
    types: dict[str, Any] = {name: sa.String(length) for name, length in lengths.items()}
    return [
        sa.Column(name, types.get(name, sa.Integer()), primary_key=primary, nullable=False, autoincrement=False)
        for name in KEY_COLUMNS
    ]


def _statistic(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table of statistics, clustered so that one job's history is one range."""
    order = ["workflow", "job", "date", "run_id", "attempt", "step", "name"]
    extra = [column.name for column in columns if column.info.get("key")]
    return sa.Table(
        name,
        METADATA,
        *_key(primary=False),
        sa.Column("name", sa.String(255), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint(*order, *extra),
        sqlite_with_rowid=False,
    )


_IN_KEY = {"key": True}

JOB_STATS = sa.Table(
    "job_stats",
    METADATA,
    *_key(primary=True),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("published", sa.Boolean, nullable=False),
    sa.Column("output_rows", sa.BigInteger),
    sa.Column("output_bytes", sa.BigInteger),
    sa.Column("input_bytes", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("recorded_at", UtcTime, nullable=False),
    sa.Index("job_stats_of_job", "job", "date"),
)
"""One row for each attempt of a job whose statistics were recorded, and for each step of one that has several."""

STAT_COUNTS = _statistic("stat_counts", sa.Column("value", sa.BigInteger, nullable=False))
STAT_SUMS = _statistic("stat_sums", sa.Column("value", sa.Double, nullable=False))
STAT_HISTOGRAMS = _statistic(
    "stat_histograms",
    sa.Column("low", sa.Double, nullable=False, info=_IN_KEY),
    sa.Column("high", sa.Double, nullable=False, info=_IN_KEY),
    sa.Column("count", sa.BigInteger, nullable=False),
)
STAT_ITEMS = _statistic(
    "stat_items",
    sa.Column("side", sa.String(6), nullable=False, info=_IN_KEY),
    sa.Column("rank", sa.Integer, nullable=False, info=_IN_KEY),
    sa.Column("item", LongText, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
)
STAT_DISTINCTS = _statistic(
    "stat_distincts",
    sa.Column("estimate", sa.Double, nullable=False),
    sa.Column("low", sa.Double, nullable=False),
    sa.Column("high", sa.Double, nullable=False),
)
STATISTICS = (STAT_COUNTS, STAT_SUMS, STAT_HISTOGRAMS, STAT_ITEMS, STAT_DISTINCTS)

ALERTS = sa.Table(
    "alerts",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    *_key(primary=False),
    sa.Column("rule", sa.String(700), nullable=False),
    sa.Column("name", sa.String(600), nullable=False),
    sa.Column("degree", sa.String(10), nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("forecast", sa.Double),
    sa.Column("deviation", sa.Double),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.Column("learning", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("message", LongText, nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("repeats", sa.Integer, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("muted_until", UtcTime),
    sa.Index("alerts_of_job", "workflow", "job", "date"),
    sa.CheckConstraint("state IN ('open', 'acknowledged', 'accepted', 'muted', 'resolved')", name="alert_state"),
    sa.CheckConstraint("degree IN ('warning', 'fatal')", name="alert_degree"),
)
"""One row for each rule that fired in an attempt; `repeats` counts earlier ones of the same job, date and rule.

`low` and `high` are the rule's bounds, or the forecast's band; `deviation` is (value - forecast) / forecast.
"""

EXPECTATIONS = sa.Table(
    "expectations",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("workflow", sa.String(100), nullable=False),
    sa.Column("job", sa.String(100), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("from_date", sa.String(10), nullable=False),
    sa.Column("to_date", sa.String(10)),
    sa.Column("factor", sa.Double, nullable=False),
    sa.Column("why", LongText, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index("expectations_of_job", "workflow", "job"),
)
"""One row for each change that an owner expects: from a day on, to another or for good, `factor` times as much."""

ALERT_CHANGES = sa.Table(
    "alert_changes",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("alert_id", sa.Integer, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("person", sa.String(255), nullable=False),
    sa.Column("before", sa.String(12), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("why", LongText, nullable=False),
    sa.Index("alert_changes_of_alert", "alert_id"),
)
"""One row for each change of an alert's state: when, by whom (`pinflow` itself has that name) and why."""

MAILS = sa.Table(
    "mails",
    METADATA,
    sa.Column("message_id", sa.String(255), primary_key=True),
    sa.Column("recipient", sa.String(255), nullable=False),
    sa.Column("subject", LongText, nullable=False),
    sa.Column("body", LongText, nullable=False),
    sa.Column("content", LongText),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("sent_at", UtcTime),
    sa.Index("mails_waiting", "state", "created_at"),
    sa.CheckConstraint("state IN ('waiting', 'sent', 'refused')", name="mail_state"),
)
"""The outbox: a mail is written with its alerts and waits here until every channel has taken it.

`body` is its text, `content` what it says as JSON (none for a plain mail).
"""

DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("message_id", sa.String(255), primary_key=True),
    sa.Column("channel", sa.String(255), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", UtcTime, nullable=False),
    sa.Column("sent_at", UtcTime),
    sa.Column("error", LongText),
    sa.Index("deliveries_due", "channel", "state", "next_at"),
    sa.CheckConstraint("state IN ('waiting', 'sent', 'refused')", name="delivery_state"),
)
"""One row for each mail and channel: the server or folder of the setting `mail`, and each webhook."""

_VIEWED = {
    "counts": ("value",),
    "sums": ("value",),
    "histograms": ("low", "high", "count"),
    "items": ("side", "rank", "item", "value"),
    "distincts": ("estimate", "low", "high"),
}
VIEWS = {
    f"v_{'step_' if of_steps else ''}{kind}": (f"stat_{kind}", of_steps, columns)
    for kind, columns in _VIEWED.items()
    for of_steps in (False, True)
}
"""Views of the published attempt's numbers: workflow, job, date, name and the table's own columns.

Those called `v_…` have the totals of jobs; those called `v_step_…`, with `step`, each step of jobs that have several.
"""


@sa.event.listens_for(METADATA, "after_create")
def _create_views(_target: sa.MetaData, connection: sa.Connection, **_: Any) -> None:
    for name in VIEWS:
        connection.execute(sa.text(view_text(name, connection.dialect)))


@sa.event.listens_for(METADATA, "before_drop")
def _drop_views(_target: sa.MetaData, connection: sa.Connection, **_: Any) -> None:
    for name in VIEWS:
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {name}"))


def view_text(name: str, dialect: sa.Dialect) -> str:
    """The statement that makes a view."""
    table, of_steps, columns = VIEWS[name]
    quote = dialect.identifier_preparer.quote_identifier
    first = ("workflow", "job", "date", *(["step"] if of_steps else []), "name")
    chosen = ", ".join(f"s.{quote(column)}" for column in (*first, *columns))
    same = " AND ".join(f"s.{quote(column)} = j.{quote(column)}" for column in KEY_COLUMNS)
    create = "CREATE VIEW IF NOT EXISTS" if dialect.name == "sqlite" else "CREATE OR REPLACE VIEW"
    steps = "j.step > 0" if of_steps else "j.step = 0"
    return f"{create} {name} AS SELECT {chosen} FROM {table} s JOIN job_stats j ON {same} WHERE j.published AND {steps}"

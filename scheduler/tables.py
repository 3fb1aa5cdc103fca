"""The scheduler's tables, meant to be read by people with an SQL prompt, and how a database is opened.

Times are UTC. `job` has the present state; `attempt` and `event` are its history, never changed once ended.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.exc import SQLAlchemyError

from pinflow.errors import PinflowError
from pinflow.scheduler.states import AttemptState, JobState, RunState

BUSY_SECONDS = 30


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A timezone-aware datetime, stored as UTC text with microseconds, so that texts sort as times do."""

    impl = sa.types.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware in, naive UTC to the database."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC from the database, aware out."""
        return value and value.replace(tzinfo=UTC)


def _state(kind: type[AttemptState] | type[JobState] | type[RunState], table: str) -> list[Any]:
    names = ", ".join(f"'{state.value}'" for state in kind)
    return [
        Column("state", String(16), nullable=False),
        sa.CheckConstraint(f"state IN ({names})", name=f"{table}_state"),
    ]


metadata = MetaData()

workflow = Table(
    "workflow",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("last_run_id", String(128), nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("workflow", String(100), nullable=False),
    Column("date", String(10), nullable=False),
    Column("serial", Integer, nullable=False),
    *_state(RunState, "run"),
    Column("reason", Text),
    Column("driver", String(128), nullable=False),
    Column("fence", sa.BigInteger, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("parameters", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("definition", Text, nullable=False),
    sa.UniqueConstraint("workflow", "date", "serial"),
    sa.Index("run_created", "created_at"),
)

job = Table(
    "job",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("stage", String(100), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("position", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    *_state(JobState, "job"),
    Column("reason", Text),
    Column("exit_code", Integer),
    Column("unmet", Integer, nullable=False, doc="how many of the jobs before it are not done"),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False, doc="attempts that count towards the retries"),
    Column("fence", sa.BigInteger, doc="of the last attempt"),
    Column("not_before", UtcDateTime, doc="of a retry or of the next poll"),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    sa.Index("job_claim", "run_id", "state", "priority", "position"),
)

dependency = Table(
    "dependency",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("after", String(100), primary_key=True),
    Column("job", String(100), primary_key=True),
)

attempt = Table(
    "attempt",
    metadata,
    Column("fence", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", String(128), nullable=False),
    Column("job", String(100), nullable=False),
    Column("attempt", Integer, nullable=False),
    *_state(AttemptState, "attempt"),
    Column("reason", Text),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("worker", String(128), nullable=False),
    Column("pid", Integer),
    Column("lease_until", UtcDateTime),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("user_seconds", sa.Float),
    Column("system_seconds", sa.Float),
    Column("peak_bytes", sa.BigInteger),
    Column("log", String(255), nullable=False, doc="below the folder of logs"),
    Column("result", Text, doc="JSON that the job left"),
    sa.Index("attempt_job", "run_id", "job", "attempt", unique=True),
)

event = Table(
    "event",
    metadata,
    Column("id", sa.BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("run_id", String(128), nullable=False),
    Column("job", String(100)),
    Column("attempt", Integer),
    Column("at", UtcDateTime, nullable=False),
    Column("before", String(16)),
    Column("state", String(16), nullable=False),
    Column("detail", Text),
    sa.Index("event_run", "run_id", "id"),
)

worker = Table(
    "worker",
    metadata,
    Column("worker", String(128), primary_key=True),
    Column("zygote", String(128), doc="the process that forks its jobs"),
    Column("slots", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
)

fence = Table("fence", metadata, Column("last", sa.BigInteger, primary_key=True, autoincrement=False))


def open_database(url: str) -> Engine:
    """An engine whose transactions suit the store; SQLite files are made with their folder, in WAL mode.

    A connection with the execution option `writes` begins its transactions with BEGIN IMMEDIATE.
    """
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database not in (None, "", ":memory:"):
            _make_folder(Path(engine.url.database or ""))
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def create_all(engine: Engine) -> None:
    """Make the tables that are missing; two processes may do so at once."""
    try:
        with engine.connect() as connection:
            if connection.dialect.has_table(connection, attempt.name):
                return
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            metadata.create_all(connection)
            if connection.execute(sa.select(fence.c.last)).first() is None:
                connection.execute(sa.insert(fence).values(last=0))
    except SQLAlchemyError as error:
        raise database_error(engine, error) from error


def database_error(engine: Engine, error: SQLAlchemyError) -> PinflowError:
    """What to tell a user when the database fails."""
    cause = getattr(error, "orig", None) or error
    return PinflowError(
        f"the database {engine.url.render_as_string()} cannot be used: {cause}. Nothing that was stored before is "
        "lost; make room or repair it, then give the same command again (pinflow doctor checks it)"
    )


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PinflowError(
            f"cannot make the folder {file.parent} for the database: {error}; choose another with --home"
        ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

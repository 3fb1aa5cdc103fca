"""The database of scheduler and statistics: how one is opened, what time it is there, and what is tried again.

SQLite files and MySQL or MariaDB servers behave alike to their callers: times are UTC with microseconds, names and
ids are compared byte by byte, and a transaction that had to give way is repeated.
"""

import random
import shlex
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Dialect, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles

from pinflow.errors import ConfigurationError, DamagedFileError, PinflowError

BUSY_SECONDS = 30
"""How long a statement waits for another's lock of an SQLite file before it is given up, and tried again."""
LOCK_SECONDS = 5
"""How long a statement waits for another's lock: less than a driver's lease."""
IDLE_SECONDS = 20
"""How long a server waits for the next statement: what a process that froze has locked is free then."""
ANSWER_SECONDS = 60.0
"""How long a server may take to answer before its connection counts as lost."""
PATIENCE = timedelta(minutes=3)
"""How long a server that went away, or a file that another process has locked, is waited for."""

Database = Engine | Connection
"""An engine: the call is a transaction of its own. A connection: it joins the caller's."""

Result = TypeVar("Result")

_COMPILED: Any = sa.util.LRUCache(1000)
_CONTENDED = frozenset({1020, 1205, 1213})
# Refused or lost connections, a server that stops or that is only being started.
_LOST = frozenset({0, 1040, 1053, 1152, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031})
_DUPLICATE = 1062
_BUSY_PAUSE = (0.0005, 0.0015)
_SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_GRANT = "Type as an administrator of the server: GRANT ALL ON `{database}`.* TO '{user}'@'%'"
_LOGIN = "Correct user and password of the URL in the setting database"
_ADVICE = {
    1044: _GRANT,
    1045: _LOGIN,
    1049: "Type as an administrator of the server: CREATE DATABASE `{database}`",
    1142: _GRANT,
    1698: _LOGIN,
}
"""What to do about errors of a server by their code; docs/how-to/mysql.md has the same commands."""
_EXAMPLE = "mysql+pymysql://user:password@host:3306/pinflow"


class LongText(sa.types.TypeDecorator[str]):
    """Text of any length; MySQL's plain TEXT ends at 64 KB."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """The column's type in a database."""
        return of_server(dialect, "MEDIUMTEXT") or dialect.type_descriptor(sa.Text())


class Real(sa.types.TypeDecorator[float]):
    """A number of 64 bits; MySQL's plain FLOAT has 32."""

    impl = sa.Float
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """The column's type in a database."""
        return of_server(dialect, "DOUBLE", asdecimal=False) or dialect.type_descriptor(sa.Float())


def of_server(dialect: Dialect, name: str, **options: Any) -> sa.types.TypeEngine[Any] | None:
    """A type that only MySQL and MariaDB have, imported for these alone; None for another database."""
    if dialect.name != "mysql":
        return None
    from sqlalchemy.dialects import mysql

    return dialect.type_descriptor(getattr(mysql, name)(**options))


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A timezone-aware datetime, stored in UTC as DATETIME(6), on SQLite as text that sorts as times do."""

    impl = sa.types.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """The column's type in a database."""
        return of_server(dialect, "DATETIME", fsp=6) or dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware in, naive UTC to the database."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC from the database, aware out."""
        return value and value.replace(tzinfo=UTC)


class server_now(sa.sql.functions.FunctionElement[datetime]):  # noqa: N801 - as SQL functions are written
    """The time at which a server began the statement; NULL on SQLite, which has no clock of its own."""

    type = UtcDateTime()
    inherit_cache = True


class told(sa.sql.functions.FunctionElement[int]):  # noqa: N801 - as SQL functions are written
    """A number that an UPDATE stores; a server also tells it as the cursor's `lastrowid`."""

    type = sa.BigInteger()
    inherit_cache = True


def open_database(url: str, *, answer_seconds: float = ANSWER_SECONDS) -> Engine:
    """An engine whose transactions suit the store; no connection is made yet.

    SQLite files are made with their folder, in WAL mode; a connection with the execution option `writes` begins its
    transactions with BEGIN IMMEDIATE. MySQL and MariaDB are read with READ COMMITTED. Raises `ConfigurationError`
    for a URL that names neither.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    return sa.create_engine(
        parsed,
        isolation_level="READ COMMITTED",
        paramstyle="format",
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 10,
            "read_timeout": answer_seconds,
            "write_timeout": answer_seconds,
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}, wait_timeout = {IDLE_SECONDS}, "
            f"sql_mode = '{_SQL_MODE}'",
        },
    )


_NOW = sa.select(server_now())


def now(connection: Connection) -> datetime:
    """The database's time: that of its server, for a file that of this machine."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.execute(_NOW).scalar_one()
    return moment


def clock_of(engine: Engine) -> datetime:
    """The database's time, asked outside of any transaction."""
    if engine.dialect.name == "sqlite":
        return datetime.now(UTC)

    def attempt() -> datetime:
        with engine.connect() as connection:
            return now(connection)

    return repeat(attempt)


def transact(database: Database, work: Callable[[Connection], Result]) -> Result:
    """Do `work` in a transaction, and again when the database gave it up; it must bear being done twice."""
    if isinstance(database, Connection):
        return work(database)

    def attempt() -> Result:
        with database.begin() as connection:
            return work(connection)

    return repeat(attempt)


def let_go(connection: Connection) -> None:
    """Give a connection back; one to a server, which may have ended it since its last use, is closed without a word."""
    if connection.dialect.name != "sqlite" and not connection.closed:
        connection.invalidate()
    connection.close()


def fetch(engine: Engine, statement: Any, values: dict[str, Any] | None = None) -> Sequence[sa.Row[Any]]:
    """All rows that a query gives; raises `PinflowError` when the database cannot be read."""

    def attempt() -> Sequence[sa.Row[Any]]:
        with engine.connect() as connection:
            return connection.execute(statement, values or {}).all()

    try:
        return repeat(attempt)
    except SQLAlchemyError as error:
        raise database_error(engine, error) from error


def repeat(
    call: Callable[[], Result],
    *,
    patience: timedelta = PATIENCE,
    passes: Callable[[BaseException], bool] | None = None,
) -> Result:
    """Call again, with growing pauses, while it fails for a reason that `passes`; the last error is raised.

    By default those are deadlocks, lock timeouts, files that are locked and lost connections.
    """
    passes = passes or is_passing
    try:
        return call()
    except SQLAlchemyError as error:
        if not passes(error):
            raise
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    # The first pause is short: of two that met in a deadlock the other has ended by now.
    pauses = wait_random_exponential(multiplier=0.02, max=1.0)
    stop = stop_after_delay(patience)
    return Retrying(retry=retry_if_exception(passes), wait=pauses, stop=stop, reraise=True)(call)


def is_lost(error: BaseException) -> bool:
    """Whether a connection was refused or lost; what was asked of it may have been done or not."""
    return isinstance(error, DBAPIError) and (error.connection_invalidated or _code(error) in _LOST)


def is_locked(error: BaseException) -> bool:
    """Whether another process kept the lock of an SQLite file for too long: it froze, or copies or compacts it."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction may succeed if it is done again."""
    contended = isinstance(error, DBAPIError) and _code(error) in _CONTENDED
    return contended or is_lost(error) or is_locked(error)


def is_race(error: BaseException) -> bool:
    """As `is_passing`, or another transaction was first to insert the same key."""
    return is_passing(error) or (isinstance(error, IntegrityError) and _code(error) == _DUPLICATE)


def database_error(engine: Engine, error: SQLAlchemyError) -> PinflowError:
    """What to tell a user when the database fails."""
    cause = getattr(error, "orig", None) or error
    place = f"the database {engine.url.render_as_string()} cannot be used: {cause}"
    if type(cause) is sqlite3.DatabaseError:
        return DamagedFileError(
            f"{place}. Move the file away and run each day again: datasets and serving rows are there still, the runs "
            "and statistics of before lie in the file moved away"
        )
    told = _ADVICE.get(_code(error)) if isinstance(error, DBAPIError) else None
    if told:
        todo = told.format(database=engine.url.database, user=engine.url.username or "USER")
        return PinflowError(f"{place}. {todo}; then give the same command again (pinflow doctor checks it)")
    return PinflowError(
        f"{place}. Nothing that was stored before is lost; {_advice(engine, error)}, then give the same command again "
        "(pinflow doctor checks it)"
    )


def _advice(engine: Engine, error: SQLAlchemyError) -> str:
    if is_lost(error):
        return "see that its server runs and that this machine and user may reach it"
    if is_locked(error):
        file = shlex.quote(str(engine.url.database))
        return f"type: fuser -v {file}, which tells who has it open; end who holds it, or let it go on (kill -CONT PID)"
    return "make room, or see that it may be written"


def _parse(url: str) -> URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:  # a port that is no number is the latter
        raise ConfigurationError(
            f"the database {url.rpartition('@')[2]!r} is no SQLAlchemy URL; write sqlite:///FILE or {_EXAMPLE}"
        ) from error
    shown = parsed.render_as_string()
    if parsed.get_backend_name() == "sqlite":
        return parsed
    if parsed.drivername not in ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"):
        raise ConfigurationError(f"the database {shown} is of no kind that works; write sqlite:///FILE or {_EXAMPLE}")
    if not parsed.database:
        raise ConfigurationError(f"{shown} names no database of the server; write {_EXAMPLE}")
    return parsed.set(drivername="mysql+pymysql").update_query_dict({"charset": "utf8mb4"})


def _open_sqlite(url: URL) -> Engine:
    if url.database not in (None, "", ":memory:"):
        _make_folder(Path(url.database or ""))
    engine = sa.create_engine(url, execution_options={"compiled_cache": _COMPILED})
    engine.dialect = _sqlite_dialect()
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


@cache
def _sqlite_dialect() -> Dialect:
    """One for all files: what a process has compiled is known by it."""
    engine = sa.create_engine("sqlite://")
    engine.connect().close()
    engine.dispose()
    return engine.dialect


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PinflowError(
            f"cannot make the folder {file.parent} for the database: {error}; choose another with --home"
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    _execute_when_free(connection, "PRAGMA journal_mode = WAL", connection.execute)
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN")
        return
    driver: Any = connection.connection.driver_connection
    _execute_when_free(driver, "BEGIN IMMEDIATE", connection.exec_driver_sql)


def _execute_when_free(driver: sqlite3.Connection, statement: str, last: Callable[[str], object]) -> None:
    """Execute a statement as soon as other processes let it; `last` does if they do not in time, or if it is wrong.

    SQLite's own waiting backs off to 100 ms, so that one that has waited long loses to those that come; and it does not
    wait at all to switch a new file to WAL while another process writes to it.
    """
    driver.execute("PRAGMA busy_timeout = 0")
    end = time.monotonic() + BUSY_SECONDS
    try:
        while time.monotonic() < end:
            try:
                driver.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            time.sleep(random.uniform(*_BUSY_PAUSE))
        last(statement)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _code(error: DBAPIError) -> Any:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


@compiles(server_now, "sqlite")
def _no_server(_element: server_now, _compiler: Any, **_options: Any) -> str:
    return "NULL"


@compiles(server_now, "mysql")
def _utc_timestamp(_element: server_now, _compiler: Any, **_options: Any) -> str:
    return "utc_timestamp(6)"


@compiles(told, "sqlite")
def _untold(element: told, compiler: Any, **options: Any) -> str:
    return f"{compiler.process(element.clauses, **options)}"


@compiles(told, "mysql")
def _last_insert_id(element: told, compiler: Any, **options: Any) -> str:
    return f"last_insert_id({compiler.process(element.clauses, **options)})"


@compiles(sa.schema.CreateTable, "mysql")
def _create_table(element: sa.schema.CreateTable, compiler: Any, **options: Any) -> str:
    text: str = compiler.visit_create_table(element, **options)
    # binary, and keeping spaces at the end apart
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    return f"{text.rstrip()} ENGINE=InnoDB CHARSET=utf8mb4 COLLATE={collation}\n"

"""The schema of the database: made when the database is empty, checked at each start, brought forward by `upgrade`.

`REVISIONS` are those of scheduler/migrations in order; the last is what the tables of the scheduler and of the
statistics are now. Alembic is needed to upgrade only, so nothing else imports it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pinflow.database import database_error
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.scheduler import tables
from pinflow.scheduler.schedule_tables import metadata

UNNUMBERED = "0000"
"""Has tables, but no revision: from before there were any."""
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
HEAD = REVISIONS[-1]
VERSION_TABLE = "pinflow_version"
FENCE = "claims"
"""The name of the row of `fence`."""

_VERSION = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
_CREATING = "creating"
_LOCK_SECONDS = 50


class State(NamedTuple):
    """Which revision a database has (None: it is empty) and what that means: current, empty, older or newer."""

    revision: str | None

    @property
    def name(self) -> str:
        """One word for it."""
        if self.revision is None:
            return "empty"
        if self.revision == HEAD:
            return "current"
        return "older" if self.revision in (UNNUMBERED, *REVISIONS) else "newer"


def prepare(engine: Engine) -> None:
    """See that the schema is the one that this pinflow needs; an empty database gets it.

    Several processes may do so at once. Raises `ConfigurationError` for an older schema, with the command that
    upgrades it, and for a newer one.
    """
    state = state_of(engine)
    if state.revision in (None, UNNUMBERED):  # or another process is making the tables right now
        _, state = upgrade(engine, only_empty=True)
    check(engine, state)


def check(engine: Engine, state: State) -> None:
    """Raise `ConfigurationError` for a schema that is older or newer than this pinflow's."""
    if state.name in ("older", "newer"):
        raise ConfigurationError(_refusal(engine, state))


def upgrade(engine: Engine, *, only_empty: bool = False) -> tuple[State, State]:
    """Bring the schema forward to this pinflow's; gives what it was and what it is. `ConfigurationError` if newer.

    With `only_empty` tables are made for an empty database, and any other is left alone. On SQLite it happens in one
    transaction; elsewhere each revision that is done is noted, and an upgrade that was stopped goes on from there.
    """
    try:
        with _alone(engine) as connection:
            before = _state(connection)
            if before.name == "empty":
                _create(connection)
            elif not only_empty and before.name == "older":
                _migrate(connection)
            elif not only_empty:
                check(engine, before)
            return before, _state(connection)
    except SQLAlchemyError as error:
        raise database_error(engine, error) from error


def state_of(engine: Engine) -> State:
    """The state of a database, which is only read. `PinflowError` when it cannot be."""
    try:
        with engine.connect() as connection:
            return _state(connection)
    except SQLAlchemyError as error:
        raise database_error(engine, error) from error


def _state(connection: Connection) -> State:
    if connection.dialect.has_table(connection, VERSION_TABLE):
        revision = connection.scalar(sa.select(_VERSION.c.version_num))
        if revision is not None:
            return State(None if revision == _CREATING else revision)
    ours = {name for each in _all_tables() for name in each.tables}
    there = ours.intersection(sa.inspect(connection).get_table_names())
    return State(UNNUMBERED if there else None)


def _all_tables() -> tuple[sa.MetaData, sa.MetaData]:
    from pinflow.stats_engine.tables import METADATA  # most commands do without

    return metadata, METADATA


def _create(connection: Connection) -> None:
    """Make all tables; those that a creation left behind that was killed, which nobody has used, are made again."""
    if connection.dialect.has_table(connection, VERSION_TABLE):
        for each in _all_tables():
            each.drop_all(connection)
        _VERSION.drop(connection)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=_CREATING))
    for each in _all_tables():
        each.create_all(connection)
    connection.execute(tables.fence.insert().values(name=FENCE, last=0))
    connection.execute(_VERSION.update().values(version_num=HEAD))


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, while no other process changes the schema."""
    with engine.connect().execution_options(writes=True) as connection, _locked(connection), connection.begin():
        yield connection


@contextmanager
def _locked(connection: Connection) -> Iterator[None]:
    """Hold a server's lock until the transaction within has been committed; on SQLite that locks by itself."""
    if connection.dialect.name == "sqlite":
        yield
        return
    name = sa.select(sa.func.concat("pinflow ", sa.func.md5(sa.func.database()))).scalar_subquery()
    if connection.scalar(sa.select(sa.func.get_lock(name, _LOCK_SECONDS))) != 1:
        raise PinflowError("another process is changing the schema of the database; try again when it has ended")
    connection.rollback()
    try:
        yield
    finally:
        with suppress(SQLAlchemyError):
            connection.scalar(sa.select(sa.func.release_lock(name)))
            connection.rollback()


def _refusal(engine: Engine, state: State) -> str:
    shown = engine.url.render_as_string()
    if state.name == "newer":
        return (
            f"the database {shown} was made by a newer pinflow: its schema is {state.revision}, this pinflow knows "
            f"those up to {HEAD}; use the newer pinflow, or another database"
        )
    return (
        f"the database {shown} has the older schema {state.revision}, this pinflow needs {HEAD}; stop what works on "
        "it, keep a copy, then type: pinflow db upgrade"
    )

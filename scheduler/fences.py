"""Fences: numbers by which an attempt, or a driver, is known from those before it."""

from datetime import datetime

from sqlalchemy.engine import Connection, Engine

from pinflow import database
from pinflow.scheduler import statements as sql


class Fences:
    """Gives numbers that all come from one row of the database, each once.

    Where a server has the row it is raised over a connection of its own, which commits at once: others wait for it
    only so long. SQLite does it within the transaction of `writer`.
    """

    def __init__(self, engine: Engine, writer: Connection) -> None:
        self._connection = writer
        if engine.dialect.name != "sqlite":
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection.exec_driver_sql("SET SESSION wait_timeout = DEFAULT")  # it never holds a lock

    @property
    def invalidated(self) -> bool:
        """Whether the connection was lost."""
        return self._connection.invalidated

    def close(self) -> None:
        """Give the connection back."""
        database.let_go(self._connection)

    def take(self, count: int, now: datetime) -> range:
        """`count` numbers, each higher than any taken before, also from a database that was deleted since."""
        least = int(now.timestamp() * 1_000_000) + count - 1
        last = sql.RAISE_FENCE.run(self._connection, {"b_count": count, "b_least": least}).last_id
        if self._connection.dialect.name == "sqlite":
            last = sql.LAST_FENCE.run(self._connection, {}).rows[0][0]
        return range(last - count + 1, last + 1)

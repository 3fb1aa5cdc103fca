"""Statements that are compiled once, and then go to the database's driver as they are.

SQLAlchemy builds and compiles them, and knows how values are stored. What it does around each single execution costs
more than a small statement itself; those that run for every job do without that.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError

_REQUIRED = object()


class Done(NamedTuple):
    """What a statement gave: its rows, how many it changed, and the id that the driver tells of the last one."""

    rows: Sequence[Any]
    changed: int
    last_id: int


class _Form(NamedTuple):
    """A statement as a dialect has it: its text, each parameter (name, default, conversion), and what makes a row."""

    text: str
    parameters: list[tuple[str, Any, Callable[[Any], Any] | None]]
    row: Callable[[Sequence[Any]], Any] | None

    def bind(self, values: Mapping[str, Any]) -> list[Any]:
        """The parameters in their order, as the driver takes them; `KeyError` for one that is not given."""
        found = []
        for name, default, convert in self.parameters:
            value = values[name] if default is _REQUIRED else values.get(name, default)
            found.append(convert(value) if convert else value)
        return found


class Prepared:
    """A statement whose text does not depend on its values; of an INSERT with the columns that it fills."""

    def __init__(self, statement: sa.Executable, columns: Sequence[str] | None = None) -> None:
        self._statement: Any = statement
        self._columns = columns
        self._forms: dict[str, _Form] = {}

    def run(self, connection: Connection, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Done:
        """Execute it in the connection's transaction, which begins now if it has not; once for each of several values.

        Raises what SQLAlchemy would; a connection that was lost is invalidated.
        """
        form = self._forms.get(connection.dialect.name) or self._prepare(connection.dialect)
        if not connection.in_transaction():
            connection.begin()
        cursor: Any = connection.connection.cursor()
        errors: Any = connection.dialect.loaded_dbapi.Error
        try:
            if isinstance(values, Mapping):
                cursor.execute(form.text, form.bind(values))
            elif len(values) == 1:
                cursor.execute(form.text, form.bind(values[0]))
            else:
                cursor.executemany(form.text, [form.bind(each) for each in values])
            rows = [form.row(row) for row in cursor.fetchall()] if form.row else []
            return Done(rows, cursor.rowcount, cursor.lastrowid)
        except errors as error:
            is_lost = connection.dialect.is_disconnect(error, connection.connection, cursor)
            if is_lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                form.text, None, error, errors, connection_invalidated=is_lost, dialect=connection.dialect
            ) from error
        except BaseException as error:
            if not isinstance(error, Exception):  # what the server answers now is not what is asked next
                connection.invalidate(error)
            raise
        finally:
            cursor.close()

    def _prepare(self, dialect: Dialect) -> _Form:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        parameters = []
        for name in compiled.positiontup:
            bound = compiled.binds[name]
            default = _REQUIRED if bound.required or self._columns is not None else bound.value
            parameters.append((name, default, bound.type.dialect_impl(dialect).bind_processor(dialect)))
        form = self._forms[dialect.name] = _Form(compiled.string, parameters, self._row(dialect))
        return form

    def _row(self, dialect: Dialect) -> Callable[[Sequence[Any]], Any] | None:
        if not isinstance(self._statement, sa.Select):
            return None
        columns = self._statement.selected_columns
        kind = namedtuple("Row", columns.keys(), rename=True)  # type: ignore[misc]
        convert = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        if not any(convert):
            return kind._make

        def row(values: Sequence[Any]) -> Any:
            return kind._make(f(value) if f else value for f, value in zip(convert, values, strict=True))

        return row


def execute(connection: Connection, statement: Any, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Done:
    """Execute a statement of either kind."""
    if isinstance(statement, Prepared):
        return statement.run(connection, values)
    found: Any = connection.execute(statement, values)
    return Done(found.all() if found.returns_rows else [], found.rowcount, 0)


def is_one_of(column: sa.Column[str], states: Iterable[str]) -> sa.ColumnElement[bool]:
    """Whether a column holds one of the constants: as part of the text, which then need not be made anew each time."""
    return column.in_([sa.literal_column(f"'{state}'") for state in states])

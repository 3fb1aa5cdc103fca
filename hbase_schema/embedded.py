"""The embedded table store: one SQLite file, a SQL table per table, a SQL row per row, whole periods in segments.

WAL: readers never wait for a writer; writers wait for each other. `key` is the row key;
`cells` are the row's cells as `packing` packs them.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

from pinflow.errors import ConfigurationError, DamagedFileError, PinflowError
from pinflow.hbase_schema import segments
from pinflow.hbase_schema.batch import CollectingBatch
from pinflow.hbase_schema.blocks import Block
from pinflow.hbase_schema.embedded_file import connect, create_file
from pinflow.hbase_schema.packing import pack_cells, unpack_cells
from pinflow.hbase_schema.store import KEY_ONLY, Cells, ending_with, scan_range
from pinflow.hbase_schema.tables import TABLES, Section

Mutation = tuple[bytes, bytes | Sequence[bytes] | None]
"""A row key, and the packed cells to put, or the columns to delete (None: all)."""

# Keys end with a date of 10 bytes, over which there is an index.
_END = 10
_PUT = "INSERT INTO {table} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET cells = merge_cells(cells, excluded.cells)"
_SUFFIX_FILTER = re.compile(re.escape(ending_with(b"SUFFIX")).replace(b"SUFFIX", rb"([A-Za-z0-9_-]+)"))


class EmbeddedStore:
    """A table store in the file `path`; the contract is that of `store.Store`."""

    loads_periods = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None

    def create_tables(self) -> None:
        """Make the file with its tables where it is not there yet; many processes may do so at once."""
        with self.explained():
            if not self.path.exists():
                create_file(self.path)
            if self.reading() is None:
                raise PinflowError(
                    f"{self.path} is no serving store; move it away and run again: pinflow run analytics"
                )

    def table(self, name: str) -> "EmbeddedTable":
        """The table of that name."""
        if name not in TABLES:
            raise ConfigurationError(f"there is no table {name!r}; known: {', '.join(TABLES)}")
        return EmbeddedTable(self, name)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def bulk_load(
        self,
        section: Section,
        suffixes: Sequence[bytes],
        blocks: Iterable[Block],
        publish: Callable[[], None] | None = None,
    ) -> list[int]:
        """Replace the rows of whole periods, and publish them, in one transaction; on disk when it returns."""
        with self.explained(), segments.staged(self.writing(), blocks), self.transaction(durable=True) as connection:
            segments.clear(connection, section, suffixes)
            vanished = segments.load(connection, section, suffixes)
            if publish:
                publish()
            return vanished

    def reading(self) -> sqlite3.Connection | None:
        """The connection; None as long as nothing was ever written."""
        if self._connection is None and self.path.exists():
            connection = connect(self.path)
            if not self._has_tables(connection):
                connection.close()
                return None
            self._connection = connection
        return self._connection

    def writing(self) -> sqlite3.Connection:
        """The connection; raises `PinflowError` before `create_tables`."""
        connection = self.reading()
        if connection is None:
            raise PinflowError(f"the serving store {self.path} has no tables; make them with: pinflow run analytics")
        return connection

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection within one writing transaction: all of it is stored, or nothing. Within another it joins that.

        With `durable` it, and all that was stored before, is on disk afterwards.
        """
        connection = self.writing()
        joins = connection.in_transaction
        if joins:
            yield connection
            return
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what SQLite and the file system say into pinflow's errors."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            text = f"cannot use the serving store {self.path}: {error}"
            if isinstance(error, ValueError) or type(error) is sqlite3.DatabaseError:
                raise DamagedFileError(f"{text}; move it away and run the workflow again") from error
            raise PinflowError(f"{text}. See: pinflow doctor") from error

    @staticmethod
    def _has_tables(connection: sqlite3.Connection) -> bool:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return set(TABLES) <= {name for (name,) in rows}


class EmbeddedTable:
    """One table of an `EmbeddedStore`; the contract is that of `store.Table`."""

    def __init__(self, store: EmbeddedStore, name: str) -> None:
        self.store = store
        self.name = name

    def row(self, row: bytes, columns: Sequence[bytes] | None = None) -> Cells:
        """The cells of one row."""
        found = self._select("key = ?", [row], 1)
        if found:
            return _chosen(found[0][1], columns)
        with self.store.explained():
            connection = self.store.reading()
            packed = segments.find(connection, self.name, row) if connection else None
            return _chosen(unpack_cells(packed), columns) if packed else {}

    def rows(self, rows: Sequence[bytes], columns: Sequence[bytes] | None = None) -> list[tuple[bytes, Cells]]:
        """Those of `rows` that exist."""
        return [(row, cells) for row in rows if (cells := self.row(row, columns))]

    def scan(
        self,
        row_start: bytes | None = None,
        row_stop: bytes | None = None,
        row_prefix: bytes | None = None,
        columns: Sequence[bytes] | None = None,
        filter: bytes | None = None,
        batch_size: int = 1000,
        limit: int | None = None,
    ) -> Iterator[tuple[bytes, Cells]]:
        """Rows in order of their keys, a page at a time."""
        start, stop = scan_range(row_start, row_stop, row_prefix)
        left = limit
        for key, found in self._merged(start, stop, filter, batch_size):
            if cells := _chosen(found, columns):
                yield key, dict.fromkeys(cells, b"") if filter else cells
                left = None if left is None else left - 1
                if left == 0:
                    return

    def _merged(
        self, start: bytes, stop: bytes | None, filter: bytes | None, size: int
    ) -> Iterator[tuple[bytes, Cells]]:
        """Rows of the ordinary table and of the segments, in order."""
        with self.store.explained():
            connection = self.store.reading()
            found = segments.segments(connection, self.name, _ending(filter)) if connection else []
        condition, values = _condition(filter)
        if stop is not None:
            condition, values = f"{condition} AND key < ?", [*values, stop]
        ordinary = _paged(lambda at: self._select(f"{condition} AND key >= ?", [*values, at], size), start, size)
        loaded = (_paged(partial(self._segment_page, segment, stop, size), start, size) for segment in found)
        return merge(ordinary, *loaded, key=itemgetter(0))

    def _segment_page(
        self, segment: segments.Segment, stop: bytes | None, size: int, start: bytes
    ) -> list[tuple[bytes, Cells]]:
        with self.store.explained():
            rows = segments.page(self.store.writing(), self.name, segment, start, stop, size)
            return [(key, unpack_cells(packed)) for key, packed in rows]

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """Store cells of a row; they and all that was stored before are on disk when it returns."""
        with self.store.explained(), self.store.transaction(durable=True), self.batch() as batch:
            batch.put(row, data)

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """Remove a row, or some of its columns."""
        with self.batch() as batch:
            batch.delete(row, columns)

    def batch(self, batch_size: int | None = None) -> "EmbeddedBatch":
        """Collects mutations; each time they are sent is one transaction."""
        return EmbeddedBatch(self, batch_size)

    def apply(self, mutations: Sequence[Mutation]) -> None:
        """Store puts (packed cells) and deletes (columns, None: all) in one transaction."""
        with self.store.explained(), self.store.transaction() as connection:
            segments.dissolve(connection, self.name, (row for row, _ in mutations))
            for is_put, group in groupby(mutations, key=lambda mutation: isinstance(mutation[1], bytes)):
                if is_put:
                    connection.executemany(_PUT.format(table=self.name), group)
                else:
                    self._remove(connection, group)

    def _remove(self, connection: sqlite3.Connection, mutations: Iterable[Mutation]) -> None:
        for row, columns in mutations:
            left: Cells = {}
            if columns is not None and not isinstance(columns, bytes):
                cells = self.row(row)
                left = {column: value for column, value in cells.items() if not _matches(column, columns)}
            if left:
                connection.execute(f"UPDATE {self.name} SET cells = ? WHERE key = ?", [pack_cells(left), row])
            else:
                connection.execute(f"DELETE FROM {self.name} WHERE key = ?", [row])

    def _select(self, condition: str, values: Sequence[bytes], limit: int) -> list[tuple[bytes, Cells]]:
        with self.store.explained():
            connection = self.store.reading()
            if connection is None:
                return []
            statement = f"SELECT key, cells FROM {self.name} WHERE {condition} ORDER BY key LIMIT {limit}"
            return [(key, unpack_cells(packed)) for key, packed in connection.execute(statement, values)]


class EmbeddedBatch(CollectingBatch):
    """Mutations of an `EmbeddedTable`; the contract is that of `store.Batch`."""

    def __init__(self, table: EmbeddedTable, batch_size: int | None) -> None:
        super().__init__(batch_size)
        self._table = table
        self._mutations: list[Mutation] = []

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """Store cells of a row."""
        if data:
            self._add(row, pack_cells(data), len(data))

    def put_packed(self, row: bytes, packed: bytes, cells: int) -> None:
        """Store cells of a row that are packed already."""
        if packed:
            self._add(row, packed, cells)

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """Remove a row, or some of its columns."""
        self._add(row, None if columns is None else list(columns), 1)

    def send(self) -> None:
        """Store what was given since the last time."""
        if self._mutations:
            self._table.apply(self._mutations)
        self._mutations = []
        self._cells = 0

    def _add(self, row: bytes, change: bytes | Sequence[bytes] | None, cells: int) -> None:
        self._mutations.append((row, change))
        self._added(cells)


def _paged(
    fetch: Callable[[bytes], list[tuple[bytes, Cells]]], start: bytes, size: int
) -> Iterator[tuple[bytes, Cells]]:
    """All rows from `start`, a page at a time; nothing stays open between two pages."""
    while True:
        page = fetch(start)
        yield from page
        if len(page) < size:
            return
        start = page[-1][0] + b"\0"


def _ending(filter: bytes | None) -> bytes:
    match = _SUFFIX_FILTER.fullmatch(filter or b"")
    return match[1] if match else b""


def _condition(filter: bytes | None) -> tuple[str, list[bytes]]:
    if filter is None or filter == KEY_ONLY:
        return "TRUE", []
    match = _SUFFIX_FILTER.fullmatch(filter)
    if not match:
        raise ConfigurationError(f"the embedded store cannot filter by {filter!r}; valid: KEY_ONLY, ending_with(…)")
    suffix = match[1]
    condition = f"substr(key, -{len(suffix)}) = ?"
    if len(suffix) < _END:
        return condition, [suffix]
    return f"substr(key, -10) = ? AND {condition}", [suffix[-_END:], suffix]


def _chosen(cells: Cells, columns: Sequence[bytes] | None) -> Cells:
    if columns is None:
        return cells
    return {column: value for column, value in cells.items() if _matches(column, columns)}


def _matches(column: bytes, columns: Sequence[bytes]) -> bool:
    family = column.partition(b":")[0]
    return column in columns or family in columns or family + b":" in columns

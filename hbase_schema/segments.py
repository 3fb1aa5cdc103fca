"""Segments of the embedded store: the rows of whole periods, each loaded at once and never changed.

A segment is a SQL table of blocks of rows, each a head (the key up to where the aggregation starts) with its cells.
No head starts with another, so rows are in the order of their keys. The catalog says which period of which section
a segment holds; periods with equal rows share one. A period is replaced by another segment in one transaction, so
readers see the old rows or the new ones. A single put or delete in a period that lies in a segment first moves its
rows into the ordinary table.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, takewhile
from typing import NamedTuple

from pinflow.hbase_schema.blocks import Block, PackedRow, heads_of, rows_of
from pinflow.hbase_schema.tables import AUDIENCES, DATA_START, Section

SCHEMA = """
CREATE TABLE period_segments (
    name TEXT, suffix BLOB, section TEXT, segment INTEGER NOT NULL, PRIMARY KEY (name, suffix, section)
) WITHOUT ROWID;
CREATE TABLE last_segment (number INTEGER NOT NULL);
INSERT INTO last_segment VALUES (0);
"""
_SUFFIX = re.compile(rb"_(?:daily|weekly|biweekly|monthly)_\d{4}-\d{2}-\d{2}\Z")
_MISSING = "no such table"
_FROM = "head >= coalesce((SELECT max(head) FROM {table} WHERE head <= ?), x'')"


class Segment(NamedTuple):
    """Where the rows of one period of one section lie."""

    suffix: bytes
    section: str
    number: int


def segments(connection: sqlite3.Connection, name: str, ending: bytes = b"") -> list[Segment]:
    """The segments of a table whose periods end with `ending`."""
    found = connection.execute("SELECT suffix, section, segment FROM period_segments WHERE name = ?", [name])
    return [Segment(*row) for row in found if row[0].endswith(ending)]


@contextmanager
def staged(connection: sqlite3.Connection, blocks: Iterable[Block]) -> Iterator[None]:
    """Keep the blocks, sorted by head, in a temporary table for `load`.

    Outside of a transaction, other writers do not wait while they are made.
    """
    connection.execute("CREATE TEMP TABLE staged (head, rows, heads, cells)")
    try:
        connection.execute("SAVEPOINT staging")
        try:
            connection.executemany("INSERT INTO staged VALUES (?, ?, ?, ?)", blocks)
        finally:
            if connection.in_transaction:  # a full disk ends it
                connection.execute("RELEASE staging")
        yield
    finally:
        connection.execute("DROP TABLE IF EXISTS temp.staged")


def load(connection: sqlite3.Connection, section: Section, suffixes: Sequence[bytes]) -> list[int]:
    """Make the rows that are `staged` those of these periods; gives for each how many of before vanished.

    Called in a transaction. Without rows the periods have none afterwards.
    """
    number = _next_number(connection)
    connection.execute(
        f"CREATE TABLE segment_{number} "
        "(head BLOB PRIMARY KEY, rows INTEGER NOT NULL, heads BLOB NOT NULL, cells BLOB NOT NULL)"
    )
    connection.execute(f"INSERT INTO segment_{number} SELECT * FROM staged")
    vanished = _vanished(connection, section, suffixes, number)
    for suffix in suffixes:
        connection.execute(
            "INSERT OR REPLACE INTO period_segments VALUES (?, ?, ?, ?)", [section.table, suffix, section.name, number]
        )
    if connection.execute(f"SELECT 1 FROM segment_{number} LIMIT 1").fetchone() is None:
        connection.execute("DELETE FROM period_segments WHERE segment = ?", [number])
    _drop_unused(connection)
    return vanished


def dissolve(connection: sqlite3.Connection, name: str, keys: Iterable[bytes]) -> None:
    """Move the periods that these keys belong to into the ordinary table; called in a transaction."""
    found = segments(connection, name)
    if not found:
        return
    touched = set(map(period_of, keys))
    for segment in found:
        if segment.suffix in touched:
            rows = _rows(connection, name, segment, b"")
            connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", rows)
            connection.execute("DELETE FROM period_segments WHERE name = ? AND suffix = ?", [name, segment.suffix])
    _drop_unused(connection)


def clear(connection: sqlite3.Connection, section: Section, suffixes: Sequence[bytes]) -> None:
    """Remove the rows of these periods that lie in the ordinary table; called in a transaction."""
    for suffix in suffixes:
        condition = "substr(key, -10) = ? AND substr(key, -?) = ? AND key >= ? AND is_audience(key) = ?"
        values = [suffix[-10:], len(suffix), suffix, DATA_START, section == AUDIENCES]
        connection.execute(f"DELETE FROM {section.table} WHERE {condition}", values)


def find(connection: sqlite3.Connection, name: str, key: bytes) -> bytes | None:
    """The packed cells of one row, if it lies in a segment."""
    suffix = period_of(key)
    for segment in segments(connection, name, suffix) if suffix else ():
        if segment.suffix == suffix:
            found, cells = next(_rows(connection, name, segment, key), (b"", None))
            if found == key:
                return cells
    return None


def page(
    connection: sqlite3.Connection, name: str, segment: Segment, start: bytes, stop: bytes | None, size: int
) -> list[PackedRow]:
    """At most `size` rows of a segment with keys from `start` (inclusive) to `stop` (exclusive), in order."""
    rows = _rows(connection, name, segment, start)
    return list(islice(takewhile(lambda row: stop is None or row[0] < stop, rows), size))


def period_of(key: bytes) -> bytes | None:
    """The suffix of a key that a segment can hold."""
    match = _SUFFIX.search(key) if key >= DATA_START else None
    return match[0] if match else None


def _rows(connection: sqlite3.Connection, name: str, segment: Segment, start: bytes) -> Iterator[PackedRow]:
    """Keys from `start` on, with their packed cells."""
    rest = segment.suffix[1:]
    for heads, cells in _blocks(connection, name, segment, start):
        for head, packed in rows_of(heads, cells):
            if (key := head + rest) >= start:
                yield key, packed


def _blocks(connection: sqlite3.Connection, name: str, segment: Segment, start: bytes) -> sqlite3.Cursor:
    """Heads and cells of the blocks that can hold keys from `start` on.

    When the segment was replaced meanwhile, those of the one in its place.
    """
    table = f"segment_{segment.number}"
    statement = f"SELECT heads, cells FROM {table} WHERE {_FROM.format(table=table)} ORDER BY head"
    try:
        return connection.execute(statement, [start])
    except sqlite3.OperationalError as error:
        if not str(error).startswith(_MISSING):
            raise
    for found in segments(connection, name, segment.suffix):
        if found.section == segment.section and found.suffix == segment.suffix and found.number != segment.number:
            return _blocks(connection, name, found, start)
    return connection.execute("SELECT 1 WHERE FALSE")


def _next_number(connection: sqlite3.Connection) -> int:
    """A number that no segment had before: a reader still asks for one that was dropped meanwhile."""
    (number,) = connection.execute("UPDATE last_segment SET number = number + 1 RETURNING number").fetchone()
    return int(number)


def _vanished(connection: sqlite3.Connection, section: Section, suffixes: Sequence[bytes], number: int) -> list[int]:
    """How many rows each period has now that the new segment lacks."""
    known = [segment for segment in segments(connection, section.table) if segment.section == section.name]
    old = {segment.suffix: segment.number for segment in known if segment.suffix in suffixes}
    new = _heads(connection, number) if old else set()
    gone = {number: len(_heads(connection, number) - new) for number in set(old.values())}
    return [gone[old[suffix]] if suffix in old else 0 for suffix in suffixes]


def _heads(connection: sqlite3.Connection, number: int) -> set[bytes]:
    blocks = connection.execute(f"SELECT heads FROM segment_{number}")
    return {head for (heads,) in blocks for head in heads_of(heads)}


def _drop_unused(connection: sqlite3.Connection) -> None:
    used = {number for (number,) in connection.execute("SELECT segment FROM period_segments")}
    named: Iterator[tuple[str]] = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'segment_[0-9]*'"
    )
    for (name,) in list(named):
        if int(name.removeprefix("segment_")) not in used:
            connection.execute(f"DROP TABLE {name}")

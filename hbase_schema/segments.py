"""Segments of the embedded store: the rows of whole periods, each loaded at once and never changed.

A segment is a SQL table of heads (what stands before the aggregation in a key) and packed cells. The catalog says
which period of which section it holds; periods with equal rows share one. A period is replaced by another segment
in one transaction, so readers see the old rows or the new ones. A single put or delete in a period that lies in a
segment first moves its rows into the ordinary table.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pinflow.hbase_schema.tables import AUDIENCES, DATA_START, Section

SCHEMA = """
CREATE TABLE period_segments (
    name TEXT, suffix BLOB, section TEXT, segment INTEGER NOT NULL, PRIMARY KEY (name, suffix, section)
) WITHOUT ROWID;
"""
_SUFFIX = re.compile(rb"_(?:daily|weekly|biweekly|monthly)_\d{4}-\d{2}-\d{2}\Z")
_MISSING = "no such table"

PackedRow = tuple[bytes, bytes]
"""A row's key, or its head, and its packed cells."""


class Segment(NamedTuple):
    """Where the rows of one period of one section lie."""

    suffix: bytes
    section: str
    number: int


def segments(connection: sqlite3.Connection, name: str, ending: bytes = b"") -> list[Segment]:
    """The segments of a table whose periods end with `ending`."""
    found = connection.execute("SELECT suffix, section, segment FROM period_segments WHERE name = ?", [name])
    return [Segment(*row) for row in found if row[0].endswith(ending)]


def load(
    connection: sqlite3.Connection, section: Section, suffixes: Sequence[bytes], rows: Iterable[PackedRow]
) -> list[int]:
    """Make `rows`, sorted by head, the rows of these periods; gives for each how many rows of before vanished.

    Called in a transaction. Without rows the periods have none afterwards.
    """
    number = _next_number(connection)
    connection.execute(f"CREATE TABLE segment_{number} (head BLOB PRIMARY KEY, cells BLOB NOT NULL) WITHOUT ROWID")
    connection.executemany(f"INSERT INTO segment_{number} VALUES (?, ?)", rows)
    vanished = []
    for suffix in suffixes:
        vanished.append(_vanished(connection, section, suffix, number))
        connection.execute(
            "INSERT OR REPLACE INTO period_segments VALUES (?, ?, ?, ?)", [section.table, suffix, section.name, number]
        )
    if connection.execute(f"SELECT 1 FROM segment_{number} LIMIT 1").fetchone() is None:
        connection.execute("DELETE FROM period_segments WHERE segment = ?", [number])
    _drop_unused(connection)
    return vanished


def dissolve(connection: sqlite3.Connection, name: str, keys: Iterable[bytes]) -> None:
    """Move the periods that these keys belong to into the ordinary table; called in a transaction."""
    known = {segment.suffix: segment for segment in segments(connection, name)}
    if not known:
        return
    touched = {suffix for key in keys if (suffix := period_of(key)) in known}
    for segment in segments(connection, name):
        if segment.suffix in touched:
            connection.execute(
                f"INSERT INTO {name} SELECT CAST(head || ? AS BLOB), cells FROM segment_{segment.number}",
                [segment.suffix],
            )
            connection.execute("DELETE FROM period_segments WHERE name = ? AND suffix = ?", [name, segment.suffix])
    _drop_unused(connection)


def clear(connection: sqlite3.Connection, section: Section, suffixes: Sequence[bytes]) -> None:
    """Remove the rows of these periods that lie in the ordinary table; called in a transaction."""
    for suffix in suffixes:
        condition = "substr(key, -10) = ? AND substr(key, -?) = ? AND key >= ? AND (substr(key, 4, 2) = ?) = ?"
        is_audience = section == AUDIENCES
        values = [suffix[-10:], len(suffix), suffix, DATA_START, b"a:", is_audience]
        connection.execute(f"DELETE FROM {section.table} WHERE {condition}", values)


def find(connection: sqlite3.Connection, name: str, key: bytes) -> bytes | None:
    """The packed cells of one row, if it lies in a segment."""
    suffix = period_of(key)
    if suffix is None:
        return None
    head = key.removesuffix(suffix)
    for segment in segments(connection, name, suffix):
        if segment.suffix != suffix:
            continue
        for _, cells in _select(connection, name, segment, "head = ?", [head], 1):
            return cells
    return None


def page(
    connection: sqlite3.Connection, name: str, segment: Segment, start: bytes, stop: bytes | None, size: int
) -> list[PackedRow]:
    """At most `size` rows of a segment with keys from `start` (inclusive) to `stop` (exclusive), in order."""
    # A head below `start` can only belong to a key at or behind it when it is a part of `start`.
    parts = [start[:length] for length in range(len(start))] if not start.startswith(b"!") else []
    marks = ", ".join("?" * len(parts))
    rows = _select(connection, name, segment, f"head IN ({marks})", parts, len(parts)) if parts else []
    rows += _select(connection, name, segment, "head >= ?", [start], size)
    keyed = ((head + segment.suffix, cells) for head, cells in rows)
    found = sorted((key, cells) for key, cells in keyed if key >= start)
    return [row for row in found if stop is None or row[0] < stop][:size]


def period_of(key: bytes) -> bytes | None:
    """The suffix of a key that a segment can hold."""
    match = _SUFFIX.search(key) if key >= DATA_START else None
    return match[0] if match else None


def _select(
    connection: sqlite3.Connection, name: str, segment: Segment, condition: str, values: Sequence[bytes], limit: int
) -> list[PackedRow]:
    """Rows of a segment; when it was replaced meanwhile, of the one in its place."""
    statement = f"SELECT head, cells FROM segment_{segment.number} WHERE {condition} ORDER BY head LIMIT {limit}"
    try:
        return connection.execute(statement, values).fetchall()
    except sqlite3.OperationalError as error:
        if not str(error).startswith(_MISSING):
            raise
    for found in segments(connection, name, segment.suffix):
        if found.section == segment.section and found.suffix == segment.suffix and found.number != segment.number:
            return _select(connection, name, found, condition, values, limit)
    return []


def _next_number(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute(
        "SELECT max(CAST(substr(name, 9) AS INTEGER)) FROM sqlite_master WHERE name GLOB 'segment_[0-9]*'"
    ).fetchone()
    return (last or 0) + 1


def _vanished(connection: sqlite3.Connection, section: Section, suffix: bytes, number: int) -> int:
    """How many rows the period has now that the new segment lacks."""
    for segment in segments(connection, section.table, suffix):
        if segment.suffix == suffix and segment.section == section.name:
            (count,) = connection.execute(
                f"SELECT count(*) FROM segment_{segment.number} o WHERE NOT EXISTS "
                f"(SELECT 1 FROM segment_{number} n WHERE n.head = o.head)"
            ).fetchone()
            return int(count)
    return 0


def _drop_unused(connection: sqlite3.Connection) -> None:
    used = {number for (number,) in connection.execute("SELECT segment FROM period_segments")}
    named: Iterator[tuple[str]] = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'segment_[0-9]*'"
    )
    for (name,) in list(named):
        if int(name.removeprefix("segment_")) not in used:
            connection.execute(f"DROP TABLE {name}")

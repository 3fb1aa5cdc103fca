"""Marker rows: which periods may have rows, and which of them readers may see.

A period's marker row is there before its first row, and carries the version only after its last one.
"""

from collections.abc import Iterator
from datetime import date

from pinflow.hbase_schema.store import Store
from pinflow.hbase_schema.tables import (
    MARKER_PREFIX,
    METRICS,
    Marker,
    Section,
    marker_key,
    marker_prefix,
    parse_marker,
)


def read_marker(store: Store, section: Section, aggregation: str, start: date) -> Marker | None:
    """The marker row of one period; None when nothing was ever written for it."""
    key = marker_key(section, aggregation, start)
    cells = store.table(section.table).row(key)
    return parse_marker(key, _qualifiers(section, cells)) if cells else None


def begin(store: Store, section: Section, aggregation: str, start: date) -> None:
    """Say that the period may have rows from now on; a version that is there stays."""
    store.table(section.table).put(marker_key(section, aggregation, start), {section.family + b"begun": b"1"})


def publish(store: Store, section: Section, marker: Marker) -> None:
    """Let readers see the period, under the marker's version."""
    values = {b"version": marker.version or "", b"rows": str(marker.rows), b"fence": str(marker.fence)}
    cells = {section.family + qualifier: str(value).encode() for qualifier, value in values.items()}
    store.table(section.table).put(marker_key(section, marker.aggregation, marker.start), cells)


def withdraw(store: Store, section: Section, aggregation: str, start: date) -> None:
    """Hide the period from readers; the marker row goes on to say that it may have rows."""
    store.table(section.table).delete(marker_key(section, aggregation, start), [section.family + b"version"])


def forget(store: Store, section: Section, aggregation: str, start: date) -> None:
    """Remove the marker row of a period that has no rows left."""
    store.table(section.table).delete(marker_key(section, aggregation, start))


def all_markers(store: Store, section: Section) -> Iterator[Marker]:
    """Marker rows of a section, of published periods and of others."""
    prefix = MARKER_PREFIX + section.name.encode() + b"_"
    for key, cells in store.table(section.table).scan(row_prefix=prefix):
        yield parse_marker(key, _qualifiers(section, cells))


def published(
    store: Store, section: Section, aggregation: str, first: date | None = None, last: date | None = None
) -> dict[date, Marker]:
    """The markers of the published periods that start on `first` to `last`, in order of their dates."""
    prefix = marker_prefix(section, aggregation)
    start, stop = date_range(prefix, first, last)
    found = store.table(section.table).scan(row_start=start, row_stop=stop)
    markers = (parse_marker(key, _qualifiers(section, cells)) for key, cells in found)
    return {marker.start: marker for marker in markers if marker.version is not None}


def date_range(prefix: bytes, first: date | None, last: date | None) -> tuple[bytes, bytes]:
    """First key and end of a scan of the keys that are `prefix` and a date from `first` to `last`."""
    start = (first or date.min).isoformat().encode()
    stop = (last or date.max).isoformat().encode() + b"\0"
    return prefix + start, prefix + stop


def _qualifiers(section: Section, cells: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {column.removeprefix(section.family): value for column, value in cells.items()}


def last_published_day(store: Store, section: Section = METRICS) -> date | None:
    """The last day whose daily rows of `section` are published."""
    return max(published(store, section, "daily"), default=None)

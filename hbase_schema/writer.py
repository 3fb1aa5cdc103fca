"""Writing a period: its rows, the removal of those that vanished, and the marker row last.

A writer that dies in between leaves the marker as it was: readers of a new period see nothing of it, readers of a
rebuilt one go on under the old version, with old and new rows mixed, until the period is written again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from pinflow.errors import PinflowError, StaleFenceError
from pinflow.hbase_schema import markers
from pinflow.hbase_schema.blocks import Block
from pinflow.hbase_schema.keys import is_audience, period_suffix
from pinflow.hbase_schema.packing import unpack_cells
from pinflow.hbase_schema.periods import check_start, period_end
from pinflow.hbase_schema.store import Store, Table, ending_with
from pinflow.hbase_schema.tables import AUDIENCES, DATA_START, METRICS, SECTIONS, Marker, Row, Section

if TYPE_CHECKING:
    import polars as pl

BATCH_CELLS = 20_000
# Rows of top lists have over a thousand columns each: a page of them must stay small.
_PAGE_ROWS = 200


class WriteResult(NamedTuple):
    """What `write_period` did; the deleted ones are those that earlier versions had and this one lacks."""

    rows: int
    cells: int
    deleted_rows: int
    deleted_cells: int


class ExpiredPeriod(NamedTuple):
    """A period that `expire` removed, or would remove."""

    section: str
    aggregation: str
    start: date
    rows: int


def write_period(
    store: Store,
    section: Section,
    aggregation: str,
    start: date,
    rows: Iterable[Row],
    *,
    version: str,
    fence: int | None = None,
    batch_cells: int = BATCH_CELLS,
) -> WriteResult:
    """Make `rows` the published rows of one period of `section`, under `version`.

    `rows` come sorted by key and are read once; memory holds one batch. Rows, and cells of a row, that the store
    has for this period and `rows` lack are deleted. Raises `StaleFenceError` when a writer with a higher fence has
    published the period; `PinflowError` on rows out of order or of another period or section, leaving the
    marker as it was.
    """
    check_start(aggregation, start)
    store.create_tables()
    before = _checked_marker(store, section, aggregation, start, fence)
    stored: Iterator[tuple[bytes, set[bytes]]] = iter(())
    if before is None:
        markers.begin(store, section, aggregation, start)
    else:
        stored = _stored_rows(store.table(section.table), section, aggregation, start)
    checked = _checked(rows, section, period_suffix(aggregation, start))
    result = _write_rows(store.table(section.table), checked, stored, batch_cells)
    _publish(store, section, aggregation, start, version, result.rows, fence)
    return result


def write_periods(
    store: Store,
    section: Section,
    starts: Mapping[str, date],
    parts: Iterable["pl.DataFrame"],
    *,
    version: str,
    fence: int | None = None,
) -> dict[str, WriteResult]:
    """Make packed rows (see `rows`) those of one period of each aggregation in `starts`, as `write_period` does.

    `parts` hold the rows, sorted in each part and from part to part; they may be gone through more than once.
    A store that can load whole periods gets the rows once, together with the markers: its readers never see a period
    half old, half new, and a writer whose fence was overtaken leaves nothing. A period longer than a day belongs to
    the runs of all its days: one that a writer with a higher fence has published is superseded, and missing in what
    is given. Raises `StaleFenceError` when that is so of the day itself.
    """
    from pinflow.hbase_schema.rows import period_rows  # readers need no Polars

    for aggregation, start in starts.items():
        check_start(aggregation, start)
    if store.loads_periods:
        store.create_tables()
        return _load_periods(store, section, starts, parts, version, fence)
    results = {}
    for aggregation, start in starts.items():
        made = (row for part in parts for row in period_rows(part, aggregation, start))
        with _unless_superseded(aggregation):
            results[aggregation] = write_period(store, section, aggregation, start, made, version=version, fence=fence)
    return results


def _load_periods(
    store: Store,
    section: Section,
    starts: Mapping[str, date],
    parts: Iterable["pl.DataFrame"],
    version: str,
    fence: int | None,
) -> dict[str, WriteResult]:
    from pinflow.hbase_schema.rows import blocks

    def counted() -> Iterator[Block]:
        for part in parts:
            written.update(rows=part.height, cells=int(part["cells"].sum()))
            yield from blocks(part)

    def publish() -> None:
        for aggregation, start in wanted.items():
            _publish(store, section, aggregation, start, version, written["rows"], fence)

    while wanted := _not_superseded(store, section, starts, fence):
        written = Counter[str]()
        suffixes = [period_suffix(aggregation, start) for aggregation, start in wanted.items()]
        # the markers count within the transaction: overtaken before it, all is undone and looked at again
        with suppress(StaleFenceError):
            vanished = store.bulk_load(section, suffixes, counted(), publish)
            results = (WriteResult(written["rows"], written["cells"], gone, 0) for gone in vanished)
            return dict(zip(wanted, results, strict=True))
    return {}


def _not_superseded(store: Store, section: Section, starts: Mapping[str, date], fence: int | None) -> dict[str, date]:
    """Those of `starts` that no higher fence has published; raises `StaleFenceError` when one has the day."""
    wanted = {}
    for aggregation, start in starts.items():
        with _unless_superseded(aggregation):
            _checked_marker(store, section, aggregation, start, fence)
            wanted[aggregation] = start
    return wanted


@contextmanager
def _unless_superseded(aggregation: str) -> Iterator[None]:
    """Ends the block when a higher fence has published the period; of a day that is an error."""
    try:
        yield
    except StaleFenceError:
        if aggregation == "daily":
            raise


def expire(store: Store, before: date, *, dry_run: bool = False) -> list[ExpiredPeriod]:
    """Remove the periods whose last day is before `before` (AN-26), published or not; `dry_run` only counts them."""
    gone = []
    for section in SECTIONS:
        for marker in list(markers.all_markers(store, section)):
            if period_end(marker.aggregation, marker.start) < before:
                rows = _expire_period(store, section, marker, dry_run)
                gone.append(ExpiredPeriod(section.name, marker.aggregation, marker.start, rows))
    return gone


def _expire_period(store: Store, section: Section, marker: Marker, dry_run: bool) -> int:
    table = store.table(section.table)
    count = sum(1 for _ in _stored_rows(table, section, marker.aggregation, marker.start))
    if dry_run:
        return count
    markers.withdraw(store, section, marker.aggregation, marker.start)
    if store.loads_periods:
        store.bulk_load(section, [period_suffix(marker.aggregation, marker.start)], [])
    else:
        with table.batch(BATCH_CELLS) as batch:
            for key, _ in _stored_rows(table, section, marker.aggregation, marker.start):
                batch.delete(key)
    markers.forget(store, section, marker.aggregation, marker.start)
    return count


def _write_rows(
    table: Table,
    rows: Iterator[Row],
    stored: Iterator[tuple[bytes, set[bytes]]],
    batch_cells: int,
) -> WriteResult:
    """Merge the new rows with the stored ones, both sorted by key; `stored` is never read ahead of what is written.

    The scan behind `stored` fetches its next page only when all its earlier rows are at or before the row being
    written, so it never meets rows of this writer.
    """
    count = cells = deleted_rows = deleted_cells = 0
    with table.batch(batch_cells) as batch:
        old = next(stored, None)
        for key, packed, number in rows:
            while old is not None and old[0] < key:
                batch.delete(old[0])
                deleted_rows += 1
                old = next(stored, None)
            if old is not None and old[0] == key:
                if vanished := old[1].difference(unpack_cells(packed)):
                    batch.delete(key, sorted(vanished))
                    deleted_cells += len(vanished)
                old = next(stored, None)
            batch.put_packed(key, packed, number)
            count += 1
            cells += number
        while old is not None:
            batch.delete(old[0])
            deleted_rows += 1
            old = next(stored, None)
    return WriteResult(count, cells, deleted_rows, deleted_cells)


def _stored_rows(table: Table, section: Section, aggregation: str, start: date) -> Iterator[tuple[bytes, set[bytes]]]:
    """Key and columns of the rows that the store has for a period of `section`."""
    suffix = period_suffix(aggregation, start)
    for key, cells in table.scan(row_start=DATA_START, filter=ending_with(suffix), batch_size=_PAGE_ROWS):
        if _belongs(key, section):
            yield key, set(cells)


def _belongs(key: bytes, section: Section) -> bool:
    if section in (METRICS, AUDIENCES):
        return is_audience(key) == (section == AUDIENCES)
    return True


def _checked(rows: Iterable[Row], section: Section, suffix: bytes) -> Iterator[Row]:
    last = b""
    for row in rows:
        key = row.key
        if not key.endswith(suffix) or not _belongs(key, section):
            raise PinflowError(f"the row {key!r} is no row of {section.name} that ends with {suffix.decode()!r}")
        if key <= last:
            raise PinflowError(f"rows must come sorted, each key once: {key!r} came after {last!r}")
        last = key
        if row.packed:
            yield row


def _publish(
    store: Store, section: Section, aggregation: str, start: date, version: str, rows: int, fence: int | None
) -> None:
    before = _checked_marker(store, section, aggregation, start, fence)
    kept_fence = before.fence if before else 0
    marker = Marker(section.name, aggregation, start, version, rows, kept_fence if fence is None else fence)
    markers.publish(store, section, marker)


def _checked_marker(store: Store, section: Section, aggregation: str, start: date, fence: int | None) -> Marker | None:
    """The period's marker; raises `StaleFenceError` when it is of a higher fence."""
    marker = markers.read_marker(store, section, aggregation, start)
    if marker is not None and fence is not None and marker.fence > fence:
        raise StaleFenceError(
            f"{marker.section} {marker.aggregation} {marker.start} was published by a later attempt "
            f"(fence {marker.fence}, this one has {fence})"
        )
    return marker

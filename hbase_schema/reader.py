"""Reading what is served: metrics, top lists, audiences, and which subjects there are.

A subject is `d:DOMAIN` or `p:OWNER`. Only published periods are seen; one that isn't published is told from one
without rows: metrics list it as missing, top lists and audiences are None.
"""

from collections.abc import Iterator
from datetime import date
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple

from pinflow.errors import ConfigurationError
from pinflow.hbase_schema import markers
from pinflow.hbase_schema.keys import (
    AUDIENCE,
    BUCKETS,
    SUBJECT_KINDS,
    escape,
    parse_key,
    row_key,
    series_prefix,
    subject_prefix,
    unescape,
)
from pinflow.hbase_schema.periods import check_aggregation, period_end, period_start
from pinflow.hbase_schema.store import KEY_ONLY, Store, Table, next_prefix
from pinflow.hbase_schema.tables import (
    AUDIENCE_KINDS,
    AUDIENCES,
    METRICS,
    OTHER,
    TOP_ITEMS,
    Marker,
    Number,
    decode_item,
    decode_number,
    list_prefix,
    parse_audience_qualifier,
)

last_published_day = markers.last_published_day


class MetricRow(NamedTuple):
    """The metrics of a subject in one period; `date` is its first day."""

    date: date
    platform: str
    aggregation: str
    metrics: dict[str, Number]

    def as_json(self) -> dict[str, Any]:
        """The row with its date as text, ready for JSON."""
        return {**self._asdict(), "date": self.date.isoformat()}


class MetricSeries(NamedTuple):
    """Rows by date. A period in neither `rows` nor `missing` is published, but has nothing of the subject.

    `missing` are the periods between the first and the last one asked for (or published) that aren't published.
    """

    rows: list[MetricRow]
    missing: list[date]


class TopItem(NamedTuple):
    """An entry of a top list; `_other`, with rank None, is the sum of what was cut."""

    rank: int | None
    id: str
    value: Number


def metrics(
    store: Store,
    subject: str,
    platform: str = "all",
    aggregation: str = "daily",
    first: date | None = None,
    last: date | None = None,
) -> MetricSeries:
    """The metrics of a subject in the periods that hold a day from `first` to `last`; None: all that are published."""
    prefix = series_prefix(check_subject(subject), platform, aggregation)
    since = period_start(aggregation, first) if first else None
    seen = markers.published(store, METRICS, aggregation, since, last)
    start, stop = markers.date_range(prefix, since, last)
    rows = []
    for key, cells in store.table(METRICS.table).scan(row_start=start, row_stop=stop):
        day = parse_key(key).date
        if day in seen:
            values = {_qualifier(column).decode(): decode_number(value) for column, value in cells.items()}
            rows.append(MetricRow(day, platform, aggregation, dict(sorted(values.items()))))
    return MetricSeries(rows, list(_missing(aggregation, seen, since, last)))


def top(
    store: Store,
    subject: str,
    items: str,
    by: str,
    *,
    platform: str = "all",
    aggregation: str = "daily",
    day: date,
) -> list[TopItem] | None:
    """The top list of a subject in the period that holds `day`, best first, `_other` last; None: not published."""
    start = period_start(aggregation, day)
    key = row_key(check_subject(subject), platform, aggregation, start)
    prefix = list_prefix(items, by)
    marker = markers.read_marker(store, TOP_ITEMS, aggregation, start)
    if marker is None or marker.version is None:
        return None
    found = []
    for column, value in sorted(store.table(TOP_ITEMS.table).row(key).items()):
        qualifier = _qualifier(column)
        if qualifier.startswith(prefix):
            rank = qualifier.removeprefix(prefix).decode()
            found.append(TopItem(None if rank == OTHER else int(rank), *decode_item(value)))
    return found


def orders(store: Store, subject: str) -> set[str]:
    """What the stored top lists of a subject are ordered by: event types and rankings."""
    rows = store.table(TOP_ITEMS.table).scan(row_prefix=subject_prefix(check_subject(subject)))
    return {_qualifier(column).split(b"/")[1].decode() for _, cells in rows for column in cells}


def audience(
    store: Store, subject: str, platform: str = "all", aggregation: str = "daily", *, day: date
) -> dict[str, dict[str, Number]] | None:
    """Distinct users of a subject by country, metro and gender in the period that holds `day`; None: not published."""
    start = period_start(aggregation, day)
    key = row_key(AUDIENCE + check_subject(subject), platform, aggregation, start)
    marker = markers.read_marker(store, AUDIENCES, aggregation, start)
    if marker is None or marker.version is None:
        return None
    found: dict[str, dict[str, Number]] = {kind: {} for kind in AUDIENCE_KINDS}
    for column, value in sorted(store.table(AUDIENCES.table).row(key).items()):
        kind, name = parse_audience_qualifier(_qualifier(column))
        found.setdefault(kind, {})[name] = decode_number(value)
    return found


def subjects(store: Store, prefix: str = "", limit: int | None = None) -> list[str]:
    """Subjects with published metrics whose text starts with `prefix`, sorted; `limit` takes the first by row key.

    Costs one small scan for each of the 256 buckets of the row key and one for each subject found.
    """
    seen = _published_periods(store)
    if not seen or limit == 0:
        return []
    table = store.table(METRICS.table)
    buckets = [_subjects_of_bucket(table, bucket, escape(prefix), seen) for bucket in BUCKETS]
    return sorted(unescape(part[:-1]) for part in islice(merge(*buckets), limit))


def is_known(store: Store, subject: str) -> bool:
    """Whether a subject has published metrics."""
    seen = _published_periods(store)
    rows = store.table(METRICS.table).scan(row_prefix=subject_prefix(subject), filter=KEY_ONLY)
    return any((key.aggregation, key.date) in seen for key in (parse_key(row) for row, _ in rows))


def check_subject(subject: str) -> str:
    """`subject` itself; raises `ConfigurationError` unless it starts with `d:` or `p:`."""
    if not subject.startswith(SUBJECT_KINDS):
        raise ConfigurationError(
            f"{subject!r} is not a subject; write d:DOMAIN or p:OWNER, such as d:example.com. See: pinflow subjects"
        )
    return subject


def _published_periods(store: Store) -> set[tuple[str, date]]:
    found = markers.all_markers(store, METRICS)
    return {(marker.aggregation, marker.start) for marker in found if marker.version is not None}


def _subjects_of_bucket(table: Table, bucket: bytes, prefix: bytes, seen: set[tuple[str, date]]) -> Iterator[bytes]:
    """Escaped subjects of one bucket and a `_`, in order; behind the first published row of one comes the next."""
    start: bytes | None = bucket + b"_" + prefix
    stop = next_prefix(bucket + b"_" + prefix)
    while start is not None:
        row = next(table.scan(row_start=start, row_stop=stop, filter=KEY_ONLY, limit=1, batch_size=1), None)
        if row is None:
            return
        key = parse_key(row[0])
        if key.userparam.startswith(AUDIENCE):
            start = next_prefix(b"%s_%s" % (bucket, AUDIENCE.encode()))
        elif (key.aggregation, key.date) in seen:
            yield escape(key.userparam) + b"_"
            start = next_prefix(subject_prefix(key.userparam))
        else:
            start = row[0] + b"\0"


def _missing(aggregation: str, seen: dict[date, Marker], first: date | None, last: date | None) -> Iterator[date]:
    check_aggregation(aggregation)
    day = first or min(seen, default=None)
    end = last or max(seen, default=None)
    while day is not None and end is not None and day <= end:
        if day not in seen:
            yield day
        following = period_end(aggregation, day).toordinal() + 1
        if following > date.max.toordinal():
            return
        day = date.fromordinal(following)


def _qualifier(column: bytes) -> bytes:
    return column.partition(b":")[2]

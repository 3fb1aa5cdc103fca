"""The two tables, their columns, the marker rows and the values of cells (AN-21, AN-22).

Each table has one column family: families of unequal size in one table would be flushed and split together.
"""

import json
from datetime import date
from typing import NamedTuple

from pinflow.errors import ConfigurationError, DamagedFileError
from pinflow.hbase_schema.keys import encode_text, period_suffix


class Row(NamedTuple):
    """A row key, its cells as `packing.pack_cells` packs them, and their number."""

    key: bytes
    packed: bytes
    cells: int


Number = int | float

TABLES = {"analytics_metrics": "m", "analytics_topitems": "t"}
"""Name of each table and its one column family."""

AUDIENCE_KINDS = ("country", "metro", "gender")
OTHER = "_other"

_EXACT = 2**53


class Section(NamedTuple):
    """What is written and published together for a period: it has its own marker row in its table."""

    name: str
    table: str

    @property
    def family(self) -> bytes:
        """`m:` or `t:`, what every column of the table starts with."""
        return f"{TABLES[self.table]}:".encode()


METRICS = Section("metrics", "analytics_metrics")
AUDIENCES = Section("audience", "analytics_metrics")
TOP_ITEMS = Section("topitems", "analytics_topitems")
SECTIONS = (METRICS, AUDIENCES, TOP_ITEMS)

# '!' sorts before every hex digit: a scan of data rows that starts at DATA_START meets no marker.
MARKER_PREFIX = b"!period_"
DATA_START = b"0"


class Marker(NamedTuple):
    """The marker row of a period; readers see the period only when `version` is set."""

    section: str
    aggregation: str
    start: date
    version: str | None
    rows: int
    fence: int


def marker_prefix(section: Section, aggregation: str) -> bytes:
    """What the marker rows of a section's periods start with; the date of the period follows."""
    return b"%s%s_%s_" % (MARKER_PREFIX, section.name.encode(), aggregation.encode())


def marker_key(section: Section, aggregation: str, start: date) -> bytes:
    """Key of the marker row of one period.

    >>> marker_key(METRICS, "daily", date(2015, 5, 18))
    b'!period_metrics_daily_2015-05-18'
    """
    return MARKER_PREFIX + section.name.encode() + period_suffix(aggregation, start)


def parse_marker(key: bytes, qualifiers: dict[bytes, bytes]) -> Marker:
    """The marker that a row of the table holds."""
    try:
        name, aggregation, day = key.removeprefix(MARKER_PREFIX).decode().split("_")
        version = qualifiers.get(b"version")
        return Marker(
            name,
            aggregation,
            date.fromisoformat(day),
            None if version is None else version.decode(),
            int(qualifiers.get(b"rows", b"0")),
            int(qualifiers.get(b"fence", b"0")),
        )
    except ValueError:
        raise DamagedFileError(f"the marker row {key!r} cannot be read: {qualifiers!r}") from None


def parse_audience_qualifier(qualifier: bytes) -> tuple[str, str]:
    """Attribute and value of an audience column."""
    kind, _, value = qualifier.decode().partition("/")
    return kind, value


def list_prefix(items: str, by: str) -> bytes:
    """What the columns of one top list start with; the rank follows.

    >>> list_prefix("pins", "repin")
    b'pins/repin/'
    """
    for name in (items, by):
        if not name or "/" in name:
            raise ConfigurationError(f"a top list cannot be named by {name!r}; use a name without '/'")
    return encode_text(f"{items}/{by}/")


def decode_number(data: bytes) -> Number:
    """The number that a metric's cell holds: int when it is whole."""
    try:
        return int(data)
    except ValueError:
        pass
    try:
        return _whole(float(data))
    except ValueError:
        raise DamagedFileError(f"a cell holds {data!r}, which is not a number") from None


def decode_item(data: bytes) -> tuple[str, Number]:
    """Id and value of a top list's cell."""
    try:
        item, value = json.loads(data)
        return str(item), _whole(value)
    except (ValueError, TypeError):
        raise DamagedFileError(f"a cell holds {data!r}, which is not JSON of the form [id, value]") from None


def _whole(value: Number) -> Number:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value

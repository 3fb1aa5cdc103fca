"""The table store, in happybase's own terms; `open_store` gives the one that a URL names.

A store holds tables; a table holds rows sorted by key (bytes); a row holds cells: column (`family:qualifier`) to
value, all bytes. A row without cells does not exist. A store belongs to one thread.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from pinflow.config import hide_secrets
from pinflow.errors import ConfigurationError
from pinflow.hbase_schema.blocks import Block
from pinflow.hbase_schema.tables import Section

Cells = dict[bytes, bytes]

KEY_ONLY = b"KeyOnlyFilter()"
"""Filter of `Table.scan`: every row with its columns, but with empty values."""


def ending_with(suffix: bytes) -> bytes:
    """Filter of `Table.scan`: as `KEY_ONLY`, and only rows whose key ends with `suffix` (letters, digits, `_`, `-`).

    >>> ending_with(b"_daily_2015-05-18").decode()
    "KeyOnlyFilter() AND RowFilter(=, 'regexstring:_daily_2015-05-18$')"
    """
    return KEY_ONLY + b" AND RowFilter(=, 'regexstring:%s$')" % suffix


class Batch(Protocol):
    """Mutations that are sent together; used as a context manager, it sends what is left at the end of the block.

    Mutations of one row keep their order. When the block raises, nothing more is sent (happybase would send the
    rest). Whether a batch that failed was stored in part is unknown: send the same mutations again.
    """

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """As `Table.put`."""

    def put_packed(self, row: bytes, packed: bytes, cells: int) -> None:
        """As `put`, of a number of cells as `packing.pack_cells` packs them."""

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """As `Table.delete`."""

    def send(self) -> None:
        """Store what was given since the last time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Table(Protocol):
    """One table. `columns` is a list of columns (`b"m:like"`) or of families (`b"m"`, `b"m:"`); None means all."""

    def row(self, row: bytes, columns: Sequence[bytes] | None = None) -> Cells:
        """The cells of one row; empty when there is no such row."""

    def rows(self, rows: Sequence[bytes], columns: Sequence[bytes] | None = None) -> list[tuple[bytes, Cells]]:
        """Key and cells of those of `rows` that exist, in the order asked."""

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
        """Rows in order of their keys: from `row_start` (inclusive) to `row_stop` (exclusive), or below `row_prefix`.

        Rows are fetched `batch_size` at a time. Nothing stays open between two fetches, so that the scan may be
        read slowly, left early, and mixed with writes; a row stored behind the place it has reached will be seen.
        `filter` is None, `KEY_ONLY` or what `ending_with` gives. Rows without any of the asked columns are left out.
        """

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """Store cells of a row; other cells of it stay, equal columns are replaced. Durable when it returns.

        On HBase a put within the same millisecond as a delete of the cell may stay hidden.
        """

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """Remove a row, or some of its columns; what is not there is no error."""

    def batch(self, batch_size: int | None = None) -> Batch:
        """Collects mutations; `batch_size` is the number of cells after which they are sent, None: at the end."""


class Store(Protocol):
    """An open store, usable as a context manager. `loads_periods`: whether it has `bulk_load`."""

    loads_periods: bool

    def create_tables(self) -> None:
        """Make the tables of `tables.TABLES` that are not there yet."""

    def table(self, name: str) -> Table:
        """The table of that name; it isn't asked for before it is used."""

    def bulk_load(
        self,
        section: Section,
        suffixes: Sequence[bytes],
        blocks: Iterable[Block],
        publish: Callable[[], None] | None = None,
    ) -> list[int]:
        """Replace all rows of whole periods of a section, named by their `period_suffix`, at once.

        `blocks` hold the rows sorted by head (the key up to where the aggregation starts); all periods get the same.
        What `publish` then stores comes into sight together with them; when it raises, nothing was done. Gives for
        each period how many of its rows vanished.
        """

    def close(self) -> None:
        """Give back files and sockets; calls afterwards open them anew."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_store(url: str, *, patience: float = 180.0) -> Store:
    """The store at `url`: the path of a file (embedded; made at the first write) or `hbase://host:port`.

    `patience` is for how many seconds a call is tried again while HBase cannot be reached. Nothing is opened or
    connected before the first call. Raises `ConfigurationError` on another kind of URL.
    """
    if url.startswith("hbase://"):
        # happybase takes 0.1 s to import
        from pinflow.hbase_schema.hbase import HBaseStore
        from pinflow.hbase_schema.hbase_address import parse_address

        return HBaseStore(parse_address(url), patience=patience)
    if "://" in url or not url:
        raise ConfigurationError(
            f"`serving` cannot be {hide_secrets(url)!r}; valid: the path of a file, or hbase://host:port"
        )
    from pinflow.hbase_schema.embedded import EmbeddedStore

    return EmbeddedStore(url)


def next_prefix(prefix: bytes) -> bytes | None:
    r"""The first key behind all that start with `prefix`; None when there is no end.

    >>> next_prefix(b"a:"), next_prefix(b"a\xff")
    (b'a;', b'b')
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def scan_range(row_start: bytes | None, row_stop: bytes | None, row_prefix: bytes | None) -> tuple[bytes, bytes | None]:
    """First key and end of a scan; raises `ConfigurationError` when a prefix and a range are given."""
    if row_prefix is None:
        return row_start or b"", row_stop
    if row_start is not None or row_stop is not None:
        raise ConfigurationError("a scan takes row_prefix, or row_start and row_stop, not both")
    return row_prefix, next_prefix(row_prefix)

"""HBase through its Thrift server, by happybase: what `store.Store` promises, over connections that break.

The Thrift server drops sockets that were idle for 60 s, and a connection that raised once may answer the next
call with the answer of the last one. So each failure closes the connection, and the call is made again on a new
one: every call of the interface can be repeated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import tenacity
from happybase.connection import Connection
from thriftpy2.thrift import TException

from pinflow.errors import ConfigurationError, PinflowError
from pinflow.hbase_schema.blocks import Block
from pinflow.hbase_schema.packing import unpack_cells
from pinflow.hbase_schema.store import Cells, scan_range
from pinflow.hbase_schema.tables import TABLES, Section

Result = TypeVar("Result")

FAMILY_OPTIONS = {"max_versions": 1, "bloom_filter_type": "ROW", "block_cache_enabled": True}
"""Options of the column families; HBase's Thrift defaults are 3 versions, no bloom filter and no block cache."""

DEFAULT_PORT = 9090
_TIMEOUT_MILLISECONDS = 60_000
_HOPELESS = ("TableNotFoundException", "NoSuchColumnFamilyException")


def parse_address(url: str) -> tuple[str, int]:
    """Host and port of `hbase://host:port`.

    >>> parse_address("hbase://localhost")
    ('localhost', 9090)
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.path.strip("/") or parts.query:
        raise ConfigurationError(
            f"`serving` cannot be {url!r}; valid: hbase://host:port, such as hbase://localhost:9090"
        )
    return host, port or DEFAULT_PORT


def connect(host: str, port: int) -> Any:
    """A happybase connection that gives up waiting for an answer after a minute."""
    return Connection(host, port, timeout=_TIMEOUT_MILLISECONDS)  # type: ignore[no-untyped-call]


class HBaseStore:
    """The tables of the HBase behind the Thrift server at `host` and `port`.

    A call is tried again for `patience` seconds; `connect` opens a connection.
    """

    def __init__(self, host: str, port: int, *, patience: float, connect: Callable[[str, int], Any] = connect) -> None:
        self._host = host
        self._port = port
        self._connect = connect
        self._connection: Any = None
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_can_pass),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
            stop=tenacity.stop_after_delay(patience),
            before_sleep=lambda _: self.close(),
            reraise=True,
        )

    def create_tables(self) -> None:
        """Make the tables that are not there yet, in one region each; docs/reference/serving.md has split ones."""
        there = self.call(lambda connection: set(connection.tables()))
        for name, family in TABLES.items():
            if name.encode() not in there:
                self.call(partial(_create, name=name, family=family))

    def table(self, name: str) -> "HBaseTable":
        """The table of that name."""
        return HBaseTable(self, name)

    def call(self, function: Callable[[Any], Result]) -> Result:
        """What `function` gives for an open connection; raises `PinflowError` when HBase stays away."""
        try:
            result: Result = self._retrying(self._call, function)
            return result
        except (TException, OSError) as error:
            self.close()
            raise PinflowError(
                f"HBase at {self._host}:{self._port} fails: {type(error).__name__}: {_text(error)[:300]}. "
                "See: pinflow doctor"
            ) from error
        except BaseException:
            self.close()
            raise

    def _call(self, function: Callable[[Any], Result]) -> Result:
        if self._connection is None:
            self._connection = self._connect(self._host, self._port)
        return function(self._connection)

    def bulk_load(
        self,
        section: Section,
        suffixes: Sequence[bytes],
        blocks: Iterable[Block],
        publish: Callable[[], None] | None = None,
    ) -> list[int] | None:
        """HBase loads by batches only."""
        return None

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (TException, OSError):
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class HBaseTable:
    """One table of an `HBaseStore`; the contract is that of `store.Table`."""

    def __init__(self, store: HBaseStore, name: str) -> None:
        self._store = store
        self._name = name

    def call(self, function: Callable[[Any], Result]) -> Result:
        """What `function` gives for happybase's table."""
        return self._store.call(lambda connection: function(connection.table(self._name)))

    def row(self, row: bytes, columns: Sequence[bytes] | None = None) -> Cells:
        """The cells of one row."""
        return self.call(lambda table: dict(table.row(row, columns)))

    def rows(self, rows: Sequence[bytes], columns: Sequence[bytes] | None = None) -> list[tuple[bytes, Cells]]:
        """Those of `rows` that exist."""
        found = self.call(lambda table: dict(table.rows(list(rows), columns)))
        return [(row, dict(found[row])) for row in rows if row in found]

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
        """Rows in order of their keys; each page is a scan of its own that starts behind the last row."""
        start, stop = scan_range(row_start, row_stop, row_prefix)
        left = limit
        while left is None or left > 0:
            size = batch_size if left is None else min(batch_size, left)
            page = self._page(start, stop, columns, filter, size)
            yield from page
            if len(page) < size:
                return
            left = None if left is None else left - len(page)
            start = page[-1][0] + b"\0"

    def _page(
        self, start: bytes, stop: bytes | None, columns: Sequence[bytes] | None, filter: bytes | None, size: int
    ) -> list[tuple[bytes, Cells]]:
        def read(table: Any) -> list[tuple[bytes, Cells]]:
            # one more than the limit spares a round trip that only learns of the end
            found = table.scan(
                row_start=start, row_stop=stop, columns=columns, filter=filter, batch_size=size + 1, limit=size
            )
            return [(key, dict(cells)) for key, cells in found]

        return self.call(read)

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """Store cells of a row."""
        with self.batch() as batch:
            batch.put(row, data)

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """Remove a row, or some of its columns."""
        with self.batch() as batch:
            batch.delete(row, columns)

    def batch(self, batch_size: int | None = None) -> "HBaseBatch":
        """Collects mutations."""
        return HBaseBatch(self, batch_size)


class HBaseBatch:
    """Mutations of an `HBaseTable`, kept until they are stored, so that they can be sent again."""

    def __init__(self, table: HBaseTable, batch_size: int | None) -> None:
        self._table = table
        self._size = batch_size
        self._mutations: list[tuple[bytes, dict[bytes, bytes] | None, list[bytes] | None]] = []
        self._cells = 0

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """Store cells of a row."""
        if data:
            self._add((row, dict(data), None), len(data))

    def put_packed(self, row: bytes, packed: bytes, cells: int) -> None:
        """Store cells of a row that are packed already."""
        self.put(row, unpack_cells(packed))

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """Remove a row, or some of its columns."""
        self._add((row, None, None if columns is None else list(columns)), 1)

    def send(self) -> None:
        """Store what was given since the last time."""
        if self._mutations:
            self._table.call(self._send)
        self._mutations = []
        self._cells = 0

    def _send(self, table: Any) -> None:
        batch = table.batch()
        for row, data, columns in self._mutations:
            if data is not None:
                batch.put(row, data)
            else:
                batch.delete(row, columns)
        batch.send()

    def _add(self, mutation: tuple[bytes, dict[bytes, bytes] | None, list[bytes] | None], cells: int) -> None:
        self._mutations.append(mutation)
        self._cells += cells
        if self._size is not None and self._cells >= self._size:
            self.send()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.send()


def _create(connection: Any, name: str, family: str) -> None:
    try:
        connection.create_table(name, {family: dict(FAMILY_OPTIONS)})
    except TException as error:
        if type(error).__name__ != "AlreadyExists":
            raise


def _can_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    if type(error).__name__ == "IllegalArgument" or any(name in _text(error) for name in _HOPELESS):
        return False
    return isinstance(error, TException | OSError)


def _text(error: BaseException) -> str:
    message = getattr(error, "message", None) or str(error)
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)

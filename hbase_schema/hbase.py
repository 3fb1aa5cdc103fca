"""HBase through its Thrift servers, by happybase: what `store.Store` promises, over connections that break.

The Thrift server drops sockets that were idle for 60 s, and a connection that raised once may answer the next
call with the answer of the last one. So each failure closes the connection, and the call is made again on a new
one, of the next server where there are several: every call of the interface can be repeated.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, Self, TypeVar

from happybase.table import TScan  # type: ignore[attr-defined]
from thriftpy2.thrift import TException

from pinflow.errors import PinflowError
from pinflow.hbase_schema.blocks import Block
from pinflow.hbase_schema.hbase_address import Address, Host, connect
from pinflow.hbase_schema.hbase_batch import HBaseBatch, Request, family_or_column
from pinflow.hbase_schema.hbase_creation import SPLITS, create_table
from pinflow.hbase_schema.store import KEY_ONLY, Cells, scan_range
from pinflow.hbase_schema.tables import TABLES, Section
from pinflow.storage_remote import retrying

Result = TypeVar("Result")

_HOPELESS = {
    "TableNotFoundException": "make the tables with: pinflow doctor",
    "NoSuchColumnFamilyException": "this table is not pinflow's; set another prefix: hbase://host:port?prefix=NAME_",
    "AccessDeniedException": "grant the Thrift server's user RW, and C to make tables, in the HBase shell",
    "TableNotEnabledException": "enable the table in the HBase shell",
    "NamespaceNotFoundException": "make the namespace in the HBase shell with: create_namespace 'NAME'",
    "IllegalArgument": "see: pinflow doctor",
}
"""What does not pass by waiting, and what to do."""


class HBaseStore:
    """The tables of the HBase at `address`.

    A call is tried again for `patience` seconds; `connect` opens a connection to a host of the address.
    """

    loads_periods = False

    def __init__(self, address: Address, *, patience: float, connect: Callable[[Address, Host], Any] = connect) -> None:
        self.address = address
        self._connect = connect
        self._host = random.randrange(len(address.hosts))
        self._connection: Any = None
        self._there: set[str] = set()
        self._retrying = retrying(_can_pass, patience).copy(before_sleep=lambda _: self._fail_over())

    def create_tables(self) -> None:
        """Make the tables that are not there yet, see `hbase_creation`."""
        for name in TABLES:
            if not self.is_there(name):
                self._create(name)

    def table(self, name: str) -> "HBaseTable":
        """The table of that name."""
        return HBaseTable(self, name)

    def is_there(self, name: str) -> bool:
        """Whether there is the table; asked until it is."""
        if name not in self._there:
            found = {table.decode(errors="replace") for table in self.call(lambda connection: connection.tables())}
            self._there = {table for table in TABLES if self.address.prefix + table in found}
        return name in self._there

    def regions(self, name: str) -> list[tuple[bytes, bytes]]:
        """Where each region of a table starts and ends, in order; an end of b"" is open."""
        found = self.call(lambda connection: connection.table(self.address.prefix + name).regions())
        return sorted((region["start_key"], region["end_key"]) for region in found)

    def mutate(self, name: str, request: Request) -> None:
        """Store the mutations of one request; the table is made when it is missing."""
        if not self.is_there(name):
            self._create(name)
        table = (self.address.prefix + name).encode()
        self.call(lambda connection: connection.client.mutateRows(table, request, {}))

    def call(self, function: Callable[[Any], Result]) -> Result:
        """What `function` gives for an open connection; raises `PinflowError` when HBase stays away."""
        try:
            result: Result = self._retrying(self._call, function)
            return result
        except (TException, OSError) as error:
            self.close()
            text = f"HBase at {self.address} fails: {type(error).__name__}: {_text(error)[:300]}"
            raise PinflowError(f"{text}. {_advice(error) or 'See: pinflow doctor'}") from error
        except BaseException:
            self.close()
            raise

    def _call(self, function: Callable[[Any], Result]) -> Result:
        if self._connection is None:
            self._connection = self._connect(self.address, self.address.hosts[self._host])
        return function(self._connection)

    def _fail_over(self) -> None:
        self.close()
        self._host = (self._host + 1) % len(self.address.hosts)

    def _create(self, name: str) -> None:
        self.call(lambda connection: create_table(connection, self.address, name))

    def bulk_load(
        self,
        section: Section,
        suffixes: Sequence[bytes],
        blocks: Iterable[Block],
        publish: Callable[[], None] | None = None,
    ) -> list[int]:
        """HBase takes rows by batches only: raises `PinflowError`."""
        raise PinflowError("HBase does not load whole periods at once; write them with `writer.write_period`")

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
    """One table of an `HBaseStore`; the contract is that of `store.Table`. A table that is not there has no rows."""

    def __init__(self, store: HBaseStore, name: str) -> None:
        self._store = store
        self.name = name

    def row(self, row: bytes, columns: Sequence[bytes] | None = None) -> Cells:
        """The cells of one row."""
        return self._read(lambda table: dict(table.row(row, _columns(columns))), {})

    def rows(self, rows: Sequence[bytes], columns: Sequence[bytes] | None = None) -> list[tuple[bytes, Cells]]:
        """Those of `rows` that exist."""
        found: dict[bytes, Cells] = self._read(lambda table: dict(table.rows(list(rows), _columns(columns))), {})
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
        left = limit
        for start, stop in _bounded(*scan_range(row_start, row_stop, row_prefix), filter):
            while left is None or left > 0:
                size = batch_size if left is None else min(batch_size, left)
                page = self._page(start, stop, columns, filter, size)
                yield from page
                left = None if left is None else left - len(page)
                if len(page) < size:
                    break
                start = page[-1][0] + b"\0"

    def _page(
        self, start: bytes, stop: bytes | None, columns: Sequence[bytes] | None, filter: bytes | None, size: int
    ) -> list[tuple[bytes, Cells]]:
        # One more than is wanted: the region server tells of the end at once. happybase's scan would ask once more.
        wanted = TScan(startRow=start, stopRow=stop, columns=_columns(columns), filterString=filter, caching=size + 1)

        def read(table: Any) -> list[tuple[bytes, Cells]]:
            client = table.connection.client
            scanner = client.scannerOpenWithScan(table.name, wanted, {})
            found = client.scannerGetList(scanner, size)
            client.scannerClose(scanner)
            return [(row.row, {column: cell.value for column, cell in row.columns.items()}) for row in found]

        return self._read(read, [])

    def _read(self, function: Callable[[Any], Result], nothing: Result) -> Result:
        store, name = self._store, self.name
        if not store.is_there(name):
            return nothing
        return store.call(lambda connection: function(connection.table(store.address.prefix + name)))

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """Store cells of a row."""
        with self.batch() as batch:
            batch.put(row, data)

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """Remove a row, or some of its columns."""
        with self.batch() as batch:
            batch.delete(row, columns)

    def batch(self, batch_size: int | None = None) -> HBaseBatch:
        """Collects mutations."""
        return HBaseBatch(lambda request: self._store.mutate(self.name, request), TABLES[self.name], batch_size)


def _columns(columns: Sequence[bytes] | None) -> list[bytes] | None:
    return None if columns is None else [family_or_column(column) for column in columns]


def _bounded(start: bytes, stop: bytes | None, filter: bytes | None) -> Iterator[tuple[bytes, bytes | None]]:
    """The parts of a scan: one that picks few rows of many is made region by region, each within the time of a call."""
    cuts = [cut for cut in SPLITS if cut > start and (stop is None or cut < stop)]
    parts = cuts if filter not in (None, KEY_ONLY) else []
    yield from pairwise([start, *parts, stop])


def _can_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    return isinstance(error, TException | OSError) and not _advice(error)


def _advice(error: BaseException) -> str:
    text = f"{type(error).__name__} {_text(error)}"
    return next((advice for name, advice in _HOPELESS.items() if name in text), "")


def _text(error: BaseException) -> str:
    message = getattr(error, "message", None) or str(error)
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)

"""Mutations for HBase: collected by row, sent sorted, all cells of a row together, and kept until they are stored.

HBase applies the puts of one request before its deletes, and a delete hides what is put in the same millisecond. So a
request never deletes what it puts, and between a delete and the next put some time passes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from happybase.batch import BatchMutation, Mutation  # type: ignore[attr-defined]

from pinflow.hbase_schema.batch import CollectingBatch
from pinflow.hbase_schema.packing import unpack_cells

Request = list[Any]
"""Rows (`BatchMutation`) of one call of the Thrift server."""

REQUEST_CELLS = 5_000
# A server with the framed transport drops a connection at 2 MiB.
REQUEST_BYTES = 1_000_000
_MILLISECONDS = 0.002

Changes = dict[bytes, bytes | None]
"""By column, or by family without a colon: the value to put, None to delete."""


class HBaseBatch(CollectingBatch):
    """The contract is that of `store.Batch`; `send` stores one request, `family` is the table's."""

    def __init__(self, send: Callable[[Request], None], family: str, batch_size: int | None) -> None:
        super().__init__(batch_size)
        self._send = send
        self._family = family.encode()
        self._rows: dict[bytes, Changes] = {}

    def put(self, row: bytes, data: Mapping[bytes, bytes]) -> None:
        """Store cells of a row."""
        if data:
            self._put(row, dict(data))

    def put_packed(self, row: bytes, packed: bytes, cells: int) -> None:
        """Store cells of a row that are packed already."""
        if packed:
            self._put(row, unpack_cells(packed))

    def delete(self, row: bytes, columns: Sequence[bytes] | None = None) -> None:
        """Remove a row, or some of its columns."""
        names = [self._family] if columns is None else [family_or_column(column) for column in columns]
        changes = self._rows.setdefault(row, {})
        for name in names:
            if b":" not in name:
                for column in [column for column in changes if column.startswith(name + b":")]:
                    del changes[column]
            changes[name] = None
        self._added(len(names))

    def send(self) -> None:
        """Store what was given since the last time."""
        for request in _requests(self._rows):
            self._send(request)
        if any(None in changes.values() for changes in self._rows.values()):
            time.sleep(_MILLISECONDS)
        self._rows = {}
        self._cells = 0

    def _put(self, row: bytes, data: dict[bytes, bytes]) -> None:
        changes = self._rows.get(row)
        if changes is None:
            self._rows[row] = {**data}
        else:
            if self._family in changes or any(changes.get(column, b"") is None for column in data):
                self.send()
                changes = self._rows.setdefault(row, {})
            changes.update(data)
        self._added(len(data))


def family_or_column(name: bytes) -> bytes:
    """A column as it is; a family as HBase tells it from a column, without its colon."""
    return name[:-1] if name.find(b":") == len(name) - 1 else name


def _requests(rows: Mapping[bytes, Changes]) -> Iterator[Request]:
    request: Request = []
    cells = size = 0
    for row in sorted(rows):
        changes = rows[row]
        row_size = len(row) + sum(map(len, changes)) + sum(map(len, filter(None, changes.values())))
        if request and (cells + len(changes) > REQUEST_CELLS or size + row_size > REQUEST_BYTES):
            yield request
            request, cells, size = [], 0, 0
        mutations = [
            Mutation(isDelete=value is None, column=column, value=value, writeToWAL=True)
            for column, value in changes.items()
        ]
        request.append(BatchMutation(row=row, mutations=mutations))
        cells += len(changes)
        size += row_size
    if request:
        yield request

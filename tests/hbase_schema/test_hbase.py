"""The connection handling of the HBase adapter, against a connection that fails on demand."""

from typing import Any

import pytest
from thriftpy2.transport import TTransportException

from pinflow.errors import PinflowError
from pinflow.hbase_schema.hbase import HBaseStore, parse_address


class Connection:
    """As happybase's: broken for good after its first failure."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.broken = False

    def table(self, name: str) -> "Connection":
        return self

    def row(self, row: bytes, columns: Any) -> dict[bytes, bytes]:
        self.server.calls += 1
        if self.broken or self.server.failures:
            self.broken = True
            raise self.server.failures.pop(0) if self.server.failures else BrokenPipeError()
        return {b"m:a": row}

    def batch(self) -> "Connection":
        self.sent: list[bytes] = []
        return self

    def put(self, row: bytes, data: dict[bytes, bytes]) -> None:
        self.sent.append(row)

    def send(self) -> None:
        self.row(b"", None)
        self.server.stored.extend(self.sent)

    def close(self) -> None:
        self.server.closed += 1


class Server:
    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.calls = self.opened = self.closed = 0
        self.stored: list[bytes] = []

    def connect(self, host: str, port: int) -> Connection:
        self.opened += 1
        return Connection(self)


def opened(server: Server, patience: float = 30.0) -> HBaseStore:
    return HBaseStore("host", 9090, patience=patience, connect=server.connect)


@pytest.mark.parametrize("failure", [TTransportException(4, "TSocket read 0 bytes"), BrokenPipeError(), TimeoutError()])
def test_a_dropped_connection_is_opened_again(failure: Exception) -> None:
    server = Server([failure])
    with opened(server) as store:
        assert store.table("t").row(b"k") == {b"m:a": b"k"}
    assert (server.calls, server.opened, server.closed) == (2, 2, 2)


def test_a_batch_is_sent_again_whole() -> None:
    server = Server([ConnectionResetError()])
    with opened(server).table("t").batch(2) as batch:
        for row in (b"a", b"b", b"c"):
            batch.put(row, {b"m:a": b"1"})
    assert server.stored == [b"a", b"b", b"c"]


def test_patience_ends_with_a_clear_message() -> None:
    server = Server([ConnectionRefusedError("refused")])
    with pytest.raises(PinflowError, match=r"HBase at host:9090 fails: ConnectionRefusedError.*pinflow doctor"):
        opened(server, patience=0.0).table("t").row(b"k")


def test_what_cannot_pass_is_not_tried_again() -> None:
    server = Server([OSError("TableNotFoundException: analytics_metrics")])
    with pytest.raises(PinflowError, match="TableNotFoundException"):
        opened(server).table("t").row(b"k")
    assert server.calls == 1


def test_other_errors_close_the_connection_too() -> None:
    server = Server([KeyError("x")])
    store = opened(server)
    with pytest.raises(KeyError):
        store.table("t").row(b"k")
    assert store.table("t").row(b"k")
    assert server.opened == 2


def test_addresses() -> None:
    assert parse_address("hbase://db.example.com:9091") == ("db.example.com", 9091)

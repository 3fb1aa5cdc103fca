"""The connection handling of the HBase adapter, against a connection that fails on demand."""

from pathlib import Path
from typing import Any

import pytest
from thriftpy2.thrift import TApplicationException
from thriftpy2.transport import TTransportException

from pinflow.errors import ConfigurationError, PinflowError
from pinflow.hbase_schema.hbase import HBaseStore
from pinflow.hbase_schema.hbase_address import Address, Host, parse_address
from pinflow.hbase_schema.hbase_batch import HBaseBatch
from pinflow.hbase_schema.hbase_creation import shell_lines

TABLE = "analytics_metrics"


class Connection:
    """As happybase's: broken for good after its first failure; it is its own table and Thrift client."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.client = self
        self.broken = False

    def table(self, name: str) -> "Connection":
        self.server.tables_asked.append(name)
        return self

    def tables(self) -> list[bytes]:
        return [TABLE.encode(), b"test_" + TABLE.encode()] if self.server.has_tables else []

    def create_table(self, name: str, families: dict[str, Any]) -> None:
        self.server.created.append((name, families))
        compression = next(iter(families.values()))["compression"]
        if compression not in self.server.compressions:
            raise TApplicationException(0, f"DoNotRetryIOException: no {compression} at checkCompression")

    def row(self, row: bytes, columns: Any) -> dict[bytes, bytes]:
        self.server.calls += 1
        if self.broken or self.server.failures:
            self.broken = True
            raise self.server.failures.pop(0) if self.server.failures else BrokenPipeError()
        return {b"m:a": row}

    def mutateRows(self, table: bytes, request: list[Any], attributes: dict[str, str]) -> None:  # noqa: N802
        self.row(b"", None)
        self.server.requests.append(
            [(row.row, [(m.column, None if m.isDelete else m.value) for m in row.mutations]) for row in request]
        )

    def close(self) -> None:
        self.server.closed += 1


class Server:
    def __init__(self, failures: list[Exception], *, has_tables: bool = True) -> None:
        self.failures = failures
        self.has_tables = has_tables
        self.calls = self.closed = 0
        self.opened: list[Host] = []
        self.tables_asked: list[str] = []
        self.created: list[tuple[str, dict[str, Any]]] = []
        self.compressions = {"GZ", "NONE"}
        self.requests: list[Any] = []

    def connect(self, address: Address, host: Host) -> Connection:
        self.opened.append(host)
        return Connection(self)


def opened(server: Server, patience: float = 30.0, url: str = "hbase://host") -> HBaseStore:
    return HBaseStore(parse_address(url), patience=patience, connect=server.connect)


@pytest.mark.parametrize("failure", [TTransportException(4, "TSocket read 0 bytes"), BrokenPipeError(), TimeoutError()])
def test_a_dropped_connection_is_opened_again(failure: Exception) -> None:
    server = Server([failure])
    with opened(server) as store:
        assert store.table(TABLE).row(b"k") == {b"m:a": b"k"}
    assert (server.calls, len(server.opened), server.closed) == (2, 2, 2)


def test_each_failure_goes_to_the_next_server() -> None:
    server = Server([BrokenPipeError(), BrokenPipeError()])
    hosts = [("a", 1), ("b", 2), ("c", 9090)]
    with opened(server, url="hbase://a:1,b:2,c") as store:
        store.table(TABLE).row(b"k")
    first = hosts.index(server.opened[0])
    assert server.opened == [hosts[(first + step) % 3] for step in range(3)]


def test_a_batch_is_sent_again_whole_and_sorted() -> None:
    server = Server([ConnectionResetError()])
    with opened(server).table(TABLE).batch(4) as batch:
        for row in (b"c", b"a", b"b"):
            batch.put(row, {b"m:y": b"1", b"m:x": b"2"})
    cells = [(b"m:y", b"1"), (b"m:x", b"2")]
    assert server.requests == [[(b"a", cells), (b"c", cells)], [(b"b", cells)]]


def test_a_request_never_deletes_what_it_puts() -> None:
    requests: list[Any] = []
    batch = HBaseBatch(requests.append, "m", None)
    batch.put(b"k", {b"m:a": b"1", b"m:b": b"1"})
    batch.delete(b"k", [b"m:a"])
    batch.put(b"k", {b"m:b": b"2"})
    assert requests == []
    batch.put(b"k", {b"m:a": b"3"})
    batch.delete(b"k")
    batch.send()
    found = [[(m.column, m.isDelete, m.value) for m in request[0].mutations] for request in requests]
    assert found == [[(b"m:a", True, None), (b"m:b", False, b"2")], [(b"m", True, None)]]


def test_large_batches_are_cut_between_rows() -> None:
    requests: list[Any] = []
    with HBaseBatch(requests.append, "m", None) as batch:
        for number in range(5):
            batch.put(b"%d" % number, {b"m:%d" % column: b"x" for column in range(2_000)})
        batch.put(b"large", {b"m:a": b"x" * 2_000_000})
        batch.put(b"small", {b"m:a": b"x"})
    assert [[row.row for row in request] for request in requests] == [
        [b"0", b"1"],
        [b"2", b"3"],
        [b"4"],
        [b"large"],
        [b"small"],
    ]


def test_patience_ends_with_a_clear_message() -> None:
    server = Server([ConnectionRefusedError("refused")])
    with pytest.raises(PinflowError, match=r"HBase at host:9090 fails: ConnectionRefusedError.*pinflow doctor"):
        opened(server, patience=0.0).table(TABLE).row(b"k")


@pytest.mark.parametrize(
    ("text", "advice"),
    [("NoSuchColumnFamilyException: q", "prefix"), ("org.apache.hadoop.hbase.security.AccessDeniedException", "grant")],
)
def test_what_cannot_pass_is_not_tried_again(text: str, advice: str) -> None:
    server = Server([OSError(text)])
    with pytest.raises(PinflowError, match=f"{text}.*{advice}"):
        opened(server).table(TABLE).row(b"k")
    assert server.calls == 1


def test_other_errors_close_the_connection_too() -> None:
    server = Server([KeyError("x")])
    store = opened(server)
    with pytest.raises(KeyError):
        store.table(TABLE).row(b"k")
    assert store.table(TABLE).row(b"k")
    assert len(server.opened) == 2


def test_the_first_write_makes_the_table_with_the_best_compression_there_is() -> None:
    server = Server([], has_tables=False)
    store = opened(server, url="hbase://host?prefix=test_&ttl=2d")
    assert store.table(TABLE).row(b"k") == {}
    assert list(store.table(TABLE).scan()) == []
    assert server.created == []
    store.table(TABLE).put(b"k", {b"m:a": b"1"})
    names, families = zip(*server.created, strict=True)
    assert names == (f"test_{TABLE}",) * 2
    assert [family["m"]["compression"] for family in families] == ["SNAPPY", "GZ"]
    del families[-1]["m"]["compression"]
    assert families[-1]["m"] == {
        "max_versions": 1,
        "bloom_filter_type": "ROW",
        "block_cache_enabled": True,
        "time_to_live": 172_800,
    }


def test_tables_have_the_prefix() -> None:
    server = Server([])
    opened(server, url="hbase://host?prefix=test_").table(TABLE).row(b"k")
    assert server.tables_asked == [f"test_{TABLE}"]


def test_addresses() -> None:
    assert parse_address("hbase://db.example.com:9091") == Address((("db.example.com", 9091),))
    assert parse_address(
        "hbase://a,b:1?thrift2=c:2&prefix=prod:&ttl=400d&transport=framed&protocol=compact"
    ) == Address((("a", 9090), ("b", 1)), ("c", 2), "prod:", 400 * 86_400, "framed", "compact")


@pytest.mark.parametrize("rest", ["", "a,", "a:x", "a/t", "a?ttl=9", "a?transport=http", "a?thrift2=", "a?no=1", "a?x"])
def test_bad_addresses_are_refused_with_what_is_valid(rest: str) -> None:
    with pytest.raises(ConfigurationError, match="thrift2=host:port"):
        parse_address(f"hbase://{rest}")


def test_the_shell_lines_are_in_the_documentation() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "how-to", "hbase.md").read_text()
    for line in shell_lines(parse_address("hbase://localhost")):
        assert f"    {line}\n" in page

"""What only a real HBase can show: how tables are made, how fast it is, and how rows spread over its regions."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest

from pinflow.hbase_schema.hbase import HBaseStore
from pinflow.hbase_schema.hbase_address import Address, connect, parse_address
from pinflow.hbase_schema.keys import series_prefix
from pinflow.hbase_schema.reader import metrics, subjects, top
from pinflow.hbase_schema.rows import metric_rows
from pinflow.hbase_schema.tables import METRICS, TABLES
from pinflow.hbase_schema.writer import write_periods
from tests.engines import variables

pytestmark = pytest.mark.hbase

CELLS_PER_SECOND = 60_000
SCAN_MILLISECONDS = 3.0
LARGEST_TO_MEAN = 1.5
SUBJECTS = 20_000
PATIENCE_SECONDS = 300


@pytest.fixture
def address() -> Iterator[Address]:
    """An HBase without our tables; those that a test makes are removed."""
    given = parse_address(variables("hbase")["PINFLOW_SERVING"] + "&prefix=real_")
    drop(given)
    yield given
    drop(given)


def drop(address: Address) -> None:
    connection = connect(address, address.hosts[0])
    for name in set(connection.tables()) & {f"{address.prefix}{name}".encode() for name in TABLES}:
        connection.delete_table(name, disable=True)
    connection.close()


def family(address: Address, name: str) -> dict[str, Any]:
    connection = connect(address, address.hosts[0])
    try:
        (found,) = connection.table(address.prefix + name).families().values()
        return dict(found)
    finally:
        connection.close()


def frame(count: int, columns: int) -> pl.DataFrame:
    names = [f"d:site{number}.example.com" for number in range(count)]
    values = {f"metric_{column}": [number % 997 + 1 for number in range(count)] for column in range(columns)}
    return metric_rows(pl.DataFrame({"subject": names, "platform": ["all"] * count, **values}), list(values))


@pytest.mark.parametrize("over", ["thrift1", "thrift2"])
def test_the_first_write_makes_tables_with_an_explicit_schema(address: Address, over: str) -> None:
    given = replace(address, ttl=40 * 86_400, thrift2=address.thrift2 if over == "thrift2" else None)
    with HBaseStore(given, patience=PATIENCE_SECONDS) as store:
        assert subjects(store) == []
        assert metrics(store, "d:a").rows == []
        assert top(store, "d:a", "pins", "like", day=date(2015, 5, 18)) is None
        assert store.table("analytics_metrics").rows([b"a", b"b"]) == []
        store.table("analytics_metrics").put(b"a", {b"m:a": b"1"})
        store.create_tables()
        for name in TABLES:
            made = family(given, name)
            assert (made["max_versions"], made["bloom_filter_type"]) == (1, b"ROW")
            assert (made["block_cache_enabled"], made["time_to_live"]) == (True, 40 * 86_400)
            assert made["compression"] in (b"SNAPPY", b"GZ")
            starts = [start for start, _ in store.regions(name)]
            assert starts == ([b"", *(b"%x" % digit for digit in range(1, 16))] if over == "thrift2" else [b""])


def test_two_processes_may_make_the_tables_at_once(address: Address) -> None:
    with HBaseStore(address, patience=PATIENCE_SECONDS) as one, HBaseStore(address, patience=PATIENCE_SECONDS) as other:
        assert not one.is_there("analytics_metrics")
        assert not other.is_there("analytics_metrics")
        one.create_tables()
        other.table("analytics_metrics").put(b"a", {b"m:a": b"1"})
        assert one.table("analytics_metrics").row(b"a") == {b"m:a": b"1"}


def test_rows_spread_evenly_over_the_regions(address: Address) -> None:
    with HBaseStore(address, patience=PATIENCE_SECONDS) as store:
        write_periods(store, METRICS, {"daily": date(2015, 5, 1)}, [frame(SUBJECTS // 10, 1)], version="1")
        table = store.table("analytics_metrics")
        counts = [sum(1 for _ in table.scan(begin or b"0", end or None)) for begin, end in store.regions(table.name)]
    assert len(counts) == 16
    assert sum(counts) == SUBJECTS // 10
    assert max(counts) <= LARGEST_TO_MEAN * statistics.mean(counts)


@pytest.mark.soak
def test_rows_are_written_and_read_fast(address: Address) -> None:
    """On a machine that does nothing else."""
    packed = frame(SUBJECTS, 10)
    with HBaseStore(address, patience=PATIENCE_SECONDS) as store:
        speeds = []
        for day in range(1, 4):
            start = time.monotonic()
            result = write_periods(store, METRICS, {"daily": date(2015, 5, day)}, [packed], version="1")["daily"]
            speeds.append(result.cells / (time.monotonic() - start))
        for day in range(1, 32):
            write_periods(store, METRICS, {"daily": date(2016, 5, day)}, [frame(100, 1)], version="1")
        table = store.table("analytics_metrics")
        prefixes = [series_prefix(f"d:site{number}.example.com", "all", "daily") for number in range(100)]
        times = []
        for prefix in prefixes * 3:
            start = time.monotonic()
            rows = list(table.scan(row_start=prefix + b"2016-05-01", row_stop=prefix + b"2016-05-31"))
            times.append(1_000 * (time.monotonic() - start))
            assert len(rows) == 30
    print(f"{max(speeds):.0f} cells/s, 30 rows in {statistics.median(times):.2f} ms")
    assert max(speeds) >= CELLS_PER_SECOND
    assert statistics.median(times) <= SCAN_MILLISECONDS

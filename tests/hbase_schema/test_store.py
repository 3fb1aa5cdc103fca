"""The conformance suite of `store.Store`: what every implementation must do."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError
from pinflow.hbase_schema.store import KEY_ONLY, Store, Table, ending_with


@pytest.fixture
def table(store: Store) -> Table:
    return store.table("analytics_metrics")


def test_put_adds_columns_and_replaces_equal_ones(table: Table) -> None:
    table.put(b"k", {b"m:a": b"1", b"m:b": b"2"})
    table.put(b"k", {b"m:b": b"3", b"m:c": b""})
    assert table.row(b"k") == {b"m:a": b"1", b"m:b": b"3", b"m:c": b""}
    assert table.row(b"none") == {}


def test_columns_and_families(table: Table) -> None:
    table.put(b"k", {b"m:a": b"1", b"m:b:c": b"2"})
    assert table.row(b"k", [b"m:b:c", b"m:none"]) == {b"m:b:c": b"2"}
    assert len(table.row(b"k", [b"m"])) == len(table.row(b"k", [b"m:"])) == 2
    assert table.row(b"k", [b"m:none"]) == {}


def test_rows_in_the_order_asked(table: Table) -> None:
    for key in (b"a", b"b", b"c"):
        table.put(key, {b"m:x": key})
    assert table.rows([b"c", b"none", b"a"]) == [(b"c", {b"m:x": b"c"}), (b"a", {b"m:x": b"a"})]


def test_delete(table: Table) -> None:
    table.put(b"k", {b"m:a": b"1", b"m:b": b"2"})
    table.delete(b"k", [b"m:a", b"m:none"])
    assert table.row(b"k") == {b"m:b": b"2"}
    table.delete(b"k", [b"m:b"])
    assert list(table.scan()) == []
    table.put(b"l", {b"m:a": b"1"})
    table.delete(b"l")
    table.delete(b"none")
    assert list(table.scan()) == []


def test_tables_are_apart(store: Store) -> None:
    store.table("analytics_metrics").put(b"k", {b"m:a": b"1"})
    store.create_tables()
    assert store.table("analytics_topitems").row(b"k") == {}
    assert store.table("analytics_metrics").row(b"k") == {b"m:a": b"1"}


def test_scan_ranges_and_limits(table: Table) -> None:
    keys = [b"a", b"a\x00", b"a\xff", b"b", b"b\xff\xff", b"c"]
    for key in keys:
        table.put(key, {b"m:x": b"1"})
    for size in (1, 2, 100):
        assert [key for key, _ in table.scan(batch_size=size)] == keys
        assert [key for key, _ in table.scan(batch_size=size, limit=3)] == keys[:3]
        assert [key for key, _ in table.scan(batch_size=size, row_prefix=b"b")] == keys[3:5]
        assert [key for key, _ in table.scan(batch_size=size, row_start=b"a\x00", row_stop=b"b")] == keys[1:3]
    with pytest.raises(ConfigurationError):
        list(table.scan(row_prefix=b"a", row_start=b"a"))


def test_scan_leaves_out_rows_without_the_columns(table: Table) -> None:
    table.put(b"a", {b"m:x": b"1"})
    table.put(b"b", {b"m:y": b"1"})
    table.put(b"c", {b"m:x": b"2", b"m:y": b"2"})
    assert list(table.scan(columns=[b"m:x"], batch_size=1)) == [(b"a", {b"m:x": b"1"}), (b"c", {b"m:x": b"2"})]
    assert [key for key, _ in table.scan(columns=[b"m:x"], limit=2)] == [b"a", b"c"]


def test_key_filters(table: Table) -> None:
    for key in (b"1_daily_2015-05-18", b"2_daily_2015-05-19", b"3_biweekly_2015-05-18", b"4_daily_2015-05-18"):
        table.put(key, {b"m:x": b"1", b"m:y": b"2"})
    assert [cells for _, cells in table.scan(filter=KEY_ONLY)] == [{b"m:x": b"", b"m:y": b""}] * 4
    for size in (1, 100):
        found = table.scan(filter=ending_with(b"_daily_2015-05-18"), batch_size=size)
        assert list(found) == [
            (key, {b"m:x": b"", b"m:y": b""}) for key in (b"1_daily_2015-05-18", b"4_daily_2015-05-18")
        ]
    assert [key[:1] for key, _ in table.scan(filter=ending_with(b"-18"), row_start=b"2")] == [b"3", b"4"]


def test_a_scan_can_be_mixed_with_writes(table: Table) -> None:
    for number in range(10):
        table.put(b"%d" % number, {b"m:x": b"1"})
    for key, _ in table.scan(batch_size=3):
        table.delete(key)
    assert list(table.scan()) == []


def test_a_batch_sends_at_its_end_and_by_size(table: Table) -> None:
    with table.batch() as batch:
        batch.put(b"a", {b"m:x": b"1"})
        assert table.row(b"a") == {}
    assert table.row(b"a") == {b"m:x": b"1"}
    with table.batch(batch_size=2) as batch:
        batch.put(b"b", {b"m:x": b"1"})
        batch.delete(b"a")
        assert [key for key, _ in table.scan()] == [b"b"]


def test_a_batch_that_raises_sends_nothing_more(table: Table) -> None:
    def fail() -> None:
        with table.batch() as batch:
            batch.put(b"a", {b"m:x": b"1"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert table.row(b"a") == {}


def test_a_batch_keeps_the_order_of_a_row(table: Table) -> None:
    table.put(b"a", {b"m:x": b"1", b"m:y": b"1"})
    with table.batch() as batch:
        batch.delete(b"a", [b"m:y"])
        batch.put(b"a", {b"m:x": b"2"})
        batch.put(b"a", {b"m:x": b"3", b"m:z": b"3"})
    assert table.row(b"a") == {b"m:x": b"3", b"m:z": b"3"}


def test_a_closed_store_opens_again(store: Store) -> None:
    store.table("analytics_metrics").put(b"k", {b"m:a": b"1"})
    store.close()
    assert store.table("analytics_metrics").row(b"k") == {b"m:a": b"1"}


BYTES = st.binary(min_size=1, max_size=6)
CELLS = st.dictionaries(BYTES.map(lambda name: b"m:" + name), st.binary(max_size=6), min_size=1, max_size=4)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(BYTES, CELLS, max_size=8))
def test_any_bytes_come_back_in_order(table: Table, rows: dict[bytes, dict[bytes, bytes]]) -> None:
    for key, _ in table.scan():
        table.delete(key)
    with table.batch(3) as batch:
        for key, cells in rows.items():
            batch.put(key, cells)
    assert list(table.scan(batch_size=2)) == sorted(rows.items())

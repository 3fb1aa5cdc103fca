import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, DamagedFileError, PinflowError
from pinflow.hbase_schema.rows import audience_rows, metric_rows, top_rows
from pinflow.hbase_schema.tables import (
    audience_qualifier,
    decode_item,
    decode_number,
    encode_item,
    encode_number,
    list_prefix,
    parse_audience_qualifier,
    rank_suffix,
)

NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(NUMBERS)
def test_numbers_are_json_and_come_back(value: float) -> None:
    assert json.loads(encode_number(value)) == value
    back = decode_number(encode_number(value))
    assert back == value
    assert isinstance(back, int) or not back.is_integer() or abs(back) > 2**53


@given(st.text(), NUMBERS)
def test_items_are_json_and_come_back(item: str, value: float) -> None:
    assert json.loads(encode_item(item, value)) == [item, value]
    assert decode_item(encode_item(item, value)) == (item, value)


def test_numbers_of_other_libraries() -> None:
    assert [encode_number(v) for v in (np.int64(7), np.float32(0.5), np.float64(2.5), True)] == [
        b"7",
        b"0.5",
        b"2.5",
        b"1",
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_lacks(value: float) -> None:
    with pytest.raises(PinflowError, match="finite"):
        encode_number(value)


def test_damaged_cells_are_named() -> None:
    with pytest.raises(DamagedFileError, match="many"):
        decode_number(b"many")
    with pytest.raises(DamagedFileError, match="id, value"):
        decode_item(b'["a"')


@given(st.text())
def test_audience_values_are_any_text(value: str) -> None:
    assert parse_audience_qualifier(audience_qualifier("metro", value)) == ("metro", value)


def test_names_of_lists() -> None:
    assert list_prefix("pins", "repin") + rank_suffix(12) == b"pins/repin/012"
    for wrong in (("pins", "a/b"), ("", "repin")):
        with pytest.raises(ConfigurationError):
            list_prefix(*wrong)
    with pytest.raises(ConfigurationError, match="999"):
        rank_suffix(1000)


def test_rows_from_columns() -> None:
    assert metric_rows([b"b", b"a"], {"like": [1, 2], "pins": [None, 3]}) == [
        (b"a", {b"like": b"2", b"pins": b"3"}),
        (b"b", {b"like": b"1"}),
    ]
    assert audience_rows([b"b", b"a", b"b"], ["country", "country", "metro"], ["US", "DE", "a/b"], [3, 2, 1]) == [
        (b"a", {b"country/DE": b"2"}),
        (b"b", {b"country/US": b"3", b"metro/a/b": b"1"}),
    ]
    found = top_rows([b"k"] * 2, ["pins"] * 2, ["like"] * 2, [1, None], ["x", "_other"], [5, 1.5])
    assert found == [(b"k", {b"pins/like/001": b'["x",5]', b"pins/like/_other": b'["_other",1.5]'})]


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError):
        metric_rows([b"a"], {"like": [1, 2]})

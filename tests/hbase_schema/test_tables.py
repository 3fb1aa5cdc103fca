import json
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError, DamagedFileError
from pinflow.hbase_schema.keys import row_key
from pinflow.hbase_schema.packing import unpack_cells
from pinflow.hbase_schema.rows import audience_rows, metric_rows, top_rows
from pinflow.hbase_schema.tables import decode_item, decode_number, list_prefix, parse_audience_qualifier

NUMBERS = st.one_of(st.integers(-(2**53), 2**53).map(float), st.floats(allow_nan=False, allow_infinity=False))
NAMES = {"subject": ["d:a"], "platform": ["all"]}


def cells_of(packed: pl.DataFrame) -> dict[bytes, bytes]:
    (row,) = unpacked(packed)
    return row[1]


@given(st.integers(-(2**63), 2**63 - 1).filter(bool))
def test_metrics_come_back(value: int) -> None:
    assert cells_of(metric_rows(pl.DataFrame({**NAMES, "like": [value]}), ["like"])) == {b"m:like": b"%d" % value}
    assert decode_number(b"%d" % value) == value


@given(st.text(), NUMBERS)
def test_items_are_json_and_come_back(item: str, value: float) -> None:
    frame = pl.DataFrame({**NAMES, "items": ["pins"], "by": ["x"], "rank": [1], "id": [item], "value": [value]})
    ((column, cell),) = cells_of(top_rows(frame)).items()
    assert column == b"t:pins/x/001"
    assert json.loads(cell) == [item, value]
    back = decode_item(cell)
    assert back == (item, value)
    assert isinstance(back[1], int) == (value.is_integer() and abs(value) <= 2**53)


def test_damaged_cells_are_named() -> None:
    with pytest.raises(DamagedFileError, match="many"):
        decode_number(b"many")
    with pytest.raises(DamagedFileError, match="id, value"):
        decode_item(b'["a"')


@given(st.text())
def test_audience_values_are_any_text(value: str) -> None:
    frame = pl.DataFrame({**NAMES, "dimension": ["metro"], "value": [value], "users": [7]})
    ((column, cell),) = cells_of(audience_rows(frame)).items()
    assert (parse_audience_qualifier(column.removeprefix(b"m:")), cell) == (("metro", value), b"7")


LISTED = st.lists(
    st.tuples(
        st.sampled_from(["d:a", "d:b", "p:ä_%"]),
        st.sampled_from(["all", "web"]),
        st.sampled_from(["like", "hot"]),
        st.none() | st.integers(1, 3),
        st.none() | st.text(max_size=2),
        st.integers(0, 12),
    ),
    unique_by=lambda row: row[:4],
)


@given(LISTED, st.sampled_from([pl.String(), pl.Categorical()]))
def test_lists_of_many_rows_come_back(
    rows: list[tuple[str, str, str, int | None, str | None, int]], dtype: pl.DataType
) -> None:
    columns = {"subject": dtype, "platform": dtype, "by": dtype, "rank": pl.Int64, "id": dtype, "value": pl.Float64}
    ordered = sorted(rows, key=lambda row: row[:2])
    frame = pl.DataFrame(ordered, schema=columns, orient="row").with_columns(items=pl.lit("pins", dtype))
    expected: dict[str, dict[bytes, bytes]] = {}
    for subject, platform, by, rank, item, value in ordered:
        head = row_key(subject, platform, "daily", DAY).decode().removesuffix("daily_2015-05-18")
        place = "_other" if rank is None else f"{rank:03}"
        shown = json.dumps([item, value], ensure_ascii=False, separators=(",", ":"))
        expected.setdefault(head, {})[f"t:pins/{by}/{place}".encode()] = shown.encode()
    found = unpacked(top_rows(frame))
    assert {head: {c: json.loads(v) for c, v in cells.items()} for head, cells, _ in found} == {
        head: {c: json.loads(v) for c, v in cells.items()} for head, cells in expected.items()
    }
    assert [(head, count) for head, _, count in found] == sorted((head, len(cells)) for head, cells in expected.items())


def test_values_without_a_text_leave_no_cell() -> None:
    names = {"subject": ["d:a"] * 3, "platform": ["all"] * 3, "dimension": ["c"] * 3}
    rows = audience_rows(pl.DataFrame({**names, "value": ["X", None, "Y"], "users": [1, 2, None]}))
    assert cells_of(rows) == {b"m:c/X": b"1"}


def test_names_of_lists() -> None:
    assert list_prefix("pins", "repin") == b"pins/repin/"
    for wrong in (("pins", "a/b"), ("", "repin")):
        with pytest.raises(ConfigurationError):
            list_prefix(*wrong)


DAY = date(2015, 5, 18)


def unpacked(rows: pl.DataFrame) -> list[tuple[str, dict[bytes, bytes], int]]:
    packed = (unpack_cells(text.encode()) for text in rows["packed"])
    return list(zip(rows["head"], packed, rows["cells"], strict=True))


def test_rows_from_frames() -> None:
    names = {"subject": ["d:b", "d:a_%"], "platform": ["all", "web_1"]}
    keys = [row_key("d:b", "all", "daily", DAY), row_key("d:a_%", "web_1", "daily", DAY)]
    heads = [key.decode().removesuffix("daily_2015-05-18") for key in keys]
    made = metric_rows(pl.DataFrame({**names, "like": [1, 20], "pins": [0, 3]}), ["like", "pins"])
    expected = [(heads[0], {b"m:like": b"1"}, 1), (heads[1], {b"m:like": b"20", b"m:pins": b"3"}, 2)]
    assert unpacked(made) == sorted(expected)


def test_rows_of_audiences_and_lists() -> None:
    names = {"subject": ["a:d:a"] * 3, "platform": ["all"] * 3}
    columns = {"dimension": ["metro", "country", "country"], "value": ["ü/b", "US", "DE"], "users": [1, 2, 3]}
    ((_, cells, count),) = unpacked(audience_rows(pl.DataFrame({**names, **columns})))
    assert cells == {b"m:country/DE": b"3", b"m:country/US": b"2", "m:metro/ü/b".encode(): b"1"}
    assert count == 3
    lists = {"items": ["pins"] * 3, "by": ["like"] * 3, "rank": [1, 12, None], "id": ['"\\\t', "é\x00", "_other"]}
    frame = pl.DataFrame({**names, **lists, "value": [5.0, 2.5, 1e15]})
    ((_, cells, _),) = unpacked(top_rows(frame))
    assert {column: decode_item(value) for column, value in cells.items()} == {
        b"t:pins/like/001": ('"\\\t', 5),
        b"t:pins/like/012": ("é\x00", 2.5),
        b"t:pins/like/_other": ("_other", 10**15),
    }

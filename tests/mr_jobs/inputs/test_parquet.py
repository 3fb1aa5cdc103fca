from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinflow.errors import InputError
from pinflow.mr_jobs.inputs.canonical import read_events, read_objects
from pinflow.mr_jobs.inputs.splits import InputFile, plan_splits

DAY = datetime(2015, 5, 18, tzinfo=UTC)


def events(count: int) -> dict[str, list]:
    return {
        "event_type": ["like"] * count,
        "timestamp": [1431907200 + i for i in range(count)],
        "user_id": list(range(count)),
        "pin_id": [f"p{i}" for i in range(count)],
        "app": ["web"] * count,
    }


def write(path, columns, **options) -> InputFile:
    pq.write_table(pa.table(columns), path, **options)
    return InputFile(str(path), path.stat().st_size, 0)


def test_splits_hold_whole_row_groups(tmp_path):
    file = write(tmp_path / "a.parquet", events(1000), row_group_size=100)
    for target, number in ((1, 10), (1 << 30, 1)):
        splits = plan_splits([file], target)
        assert len(splits) == number
        found = [parsed for split in splits for parsed in read_events(split, block_bytes=128 * 30)]
        assert [user for parsed in found for user in parsed.frame["user_id"]] == [str(i) for i in range(1000)]
        assert sum(parsed.counts["lines_read"] for parsed in found) == 1000


def test_bad_rows_have_their_number_and_text(tmp_path):
    columns = events(6)
    columns["app"][4] = "all"
    file = write(tmp_path / "a.parquet", columns, row_group_size=2)
    [bad] = [bad for split in plan_splits([file], 1) for parsed in read_events(split) for bad in parsed.bad]
    assert bad.offset == 4
    assert b'"app": "all"' in bad.text


@pytest.mark.parametrize(
    "times",
    [
        pa.array([DAY], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([DAY.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([date(2015, 5, 18)]),
        pa.array([1431907200.0]),
        pa.array(["2015-05-18"]),
    ],
)
def test_kinds_of_timestamps(tmp_path, times):
    file = write(tmp_path / "a.parquet", events(1) | {"timestamp": times})
    [parsed] = read_events(plan_splits([file], 1)[0])
    assert parsed.frame["timestamp"].to_list() == [DAY]
    assert parsed.frame["timestamp"].dtype == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([1.0, 2.5, None]), ["1", "2.5"]),
        (pa.array([Decimal("1.50"), Decimal("100.00"), None]), ["1.5", "100"]),
        (pa.array([10, 200, None], pa.uint8()), ["10", "200"]),
        (pa.array(["a", "b", ""]), ["a", "b"]),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b"]),
        (pa.array([b"a", "é".encode(), None]), ["a", "é"]),
        (pa.array([True, False, None]), ["true", "false"]),
    ],
)
def test_ids_of_any_type_become_text(tmp_path, ids, expected):
    file = write(tmp_path / "a.parquet", {"user_id": ids})
    [parsed] = read_objects("users", plan_splits([file], 1)[0])
    assert parsed.frame["user_id"].to_list() == expected
    assert parsed.counts["bad_lines"] == 1


def test_pins_with_numbers(tmp_path):
    file = write(tmp_path / "a.parquet", {"pin_id": ["p", "q"], "score": [0.1, float("nan")], "n": [1, None]})
    [parsed] = read_objects("pins", plan_splits([file], 1)[0], columns=["n", "score"])
    assert parsed.frame.select("n", "score").rows() == [(1.0, 0.1), (None, None)]


def test_what_cannot_be_read_is_an_input_error(tmp_path):
    whole = write(tmp_path / "a.parquet", {"user_id": [["a"]]})
    with pytest.raises(InputError, match="user_id"):
        list(read_objects("users", plan_splits([whole], 1)[0]))
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-10])
    with pytest.raises(InputError, match=r"b\.parquet"):
        plan_splits([InputFile(str(tmp_path / "b.parquet"), 10, 0)], 1)


def test_columns_that_are_not_there(tmp_path):
    file = write(tmp_path / "a.parquet", {"other": [1, 2]})
    [parsed] = read_objects("users", plan_splits([file], 1)[0])
    assert parsed.counts == {"lines_read": 2, "blank_lines": 0, "bad_lines": 2, "truncated_files": 0}

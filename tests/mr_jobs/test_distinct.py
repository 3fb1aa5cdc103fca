"""Distinct users against Polars' own group_by and n_unique."""

from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pinflow.mr_jobs import codes
from pinflow.mr_jobs.analytics.columns import ALL
from pinflow.mr_jobs.analytics.distinct import Actions
from pinflow.mr_jobs.codes import KEY_BITS, code
from tests.mr_jobs.coded_frames import decoded

BITS = 20
SELECTIONS = {**{f"bit{i}": 1 << i for i in range(BITS)}, **{f"run{i}": 31 << (5 * i) for i in range(BITS // 5)}}
COLUMNS = ("subject", "platform", "value", "user_id")
ODD = ["", " ", "a", "A", "a\x00", "\x00", "é", "e\u0301", "𝄞", "_unknown", "null", "x" * 40, "x" * 41, "d:a+b|c"]

strings = st.sampled_from(ODD) | st.text(max_size=3)
masks = st.sampled_from([0, 1, 1 << (BITS - 1), (1 << BITS) - 1]) | st.integers(0, (1 << BITS) - 1)
rows = st.lists(st.tuples(strings, st.sampled_from(["web", "ipad", ""]), strings, strings, masks), min_size=1)
key_bits = pytest.mark.parametrize("key_bits", [KEY_BITS, BITS], ids=["one key", "many keys"])


def frame_of(drawn: list[tuple[str, str, str, str, int]]) -> pl.DataFrame:
    schema = {**dict.fromkeys(COLUMNS, pl.String), "mask": pl.Int64}
    return pl.DataFrame(drawn, schema=schema, orient="row")


def distinct_users(frame: pl.DataFrame, group: list[str], selections: Mapping[str, int] = SELECTIONS) -> pl.DataFrame:
    columns = {name: code(frame[name]) for name in COLUMNS[:3]}
    actions = Actions(columns, code(frame["user_id"]), frame["mask"].to_numpy(), BITS)
    return decoded(actions.count(group, "platform", selections))


def counted_by_polars(frame: pl.DataFrame, group: list[str]) -> pl.DataFrame:
    both = pl.concat([frame, frame.with_columns(platform=pl.lit(ALL))])
    users = [
        pl.col("user_id").filter(pl.col("mask") & bits != 0).n_unique().cast(pl.Int64).alias(name)
        for name, bits in SELECTIONS.items()
    ]
    return both.group_by(*group, "platform").agg(users).filter(pl.any_horizontal(pl.col(*SELECTIONS) > 0))


@key_bits
@pytest.mark.parametrize("group", [["subject"], ["subject", "value"]], ids=len)
@given(drawn=rows)
def test_users_are_those_that_n_unique_counts(drawn, group, key_bits):
    frame = frame_of(drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "KEY_BITS", key_bits)
        counted = distinct_users(frame, group)
    assert_frame_equal(counted, counted_by_polars(frame, group), check_row_order=False)


@given(values=st.lists(st.none() | strings))
def test_codes_are_dense_and_decode_to_the_column(values):
    column = pl.Series("name", values, dtype=pl.String)
    coded = code(column)
    assert coded.decode(coded.codes).to_list() == values
    assert len(coded.values) == column.n_unique()
    assert coded.values.is_unique().all()


def test_one_user_of_two_apps_is_one_user_of_all():
    frame = frame_of([("s", "web", "v", "u", 1), ("s", "ipad", "v", "u", 2), ("s", "web", "v", "w", 1)])
    counted = distinct_users(frame, ["subject"], {"first": 1, "any": 3})
    assert sorted(counted.rows()) == [("s", "all", 2, 2), ("s", "ipad", 0, 1), ("s", "web", 2, 2)]


@pytest.mark.parametrize("spare", [0, -1], ids=["just fits", "one bit short"])
def test_keys_up_to_the_last_bit(spare, monkeypatch):
    frame = frame_of([(f"s{i % 5}", f"p{i % 3}", f"v{i % 2}", f"u{i % 9}", i * 7919 % (1 << BITS)) for i in range(400)])
    needed = 3 + 2 + 1 + 4 + BITS
    monkeypatch.setattr(codes, "KEY_BITS", needed + spare)
    counted = distinct_users(frame, ["subject", "value"])
    assert_frame_equal(counted, counted_by_polars(frame, ["subject", "value"]), check_row_order=False)


def test_a_platform_of_each_user_takes_no_more_room_than_the_users():
    frame = frame_of([("s" + str(i % 3), f"p{i}", "", f"u{i % 70}", 1) for i in range(200)])
    counted = distinct_users(frame, ["subject"])
    assert_frame_equal(counted, counted_by_polars(frame, ["subject"]), check_row_order=False)


def test_no_actions_have_no_groups():
    assert distinct_users(frame_of([]), ["subject"]).rows() == []

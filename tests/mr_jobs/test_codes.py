"""Texts as integers: codes, keys, orders and sums against Python's own."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.mr_jobs import codes
from pinflow.mr_jobs.codes import (
    SortedRows,
    code,
    pack,
)

TEXTS = st.lists(st.none() | st.sampled_from(["", "a", "b", "ä", "a_", "\U0001f600"]), max_size=60)


def text_order(value: str | None) -> tuple[bool, str]:
    return value is not None, value or ""


@given(TEXTS, st.integers(1, 12), st.sampled_from([pl.String(), pl.Categorical(pl.Categories("texts"))]))
@settings(deadline=None)
def test_codes_stand_for_their_texts(values: list[str | None], repeats: int, dtype: pl.DataType) -> None:
    others = ["b", "z", "ä", "0"]  # categories whose rows are cut off
    column = pl.Series([*others, *(v for v in values for _ in range(repeats))], dtype=dtype)[len(others) :]
    coded = code(column)
    assert coded.values.dtype == pl.String
    assert coded.decode(coded.codes).to_list() == column.to_list()
    assert sorted(set(coded.codes)) == list(range(len(set(values))))
    ordered = coded.in_order()
    assert ordered.values.to_list() == sorted(set(values), key=text_order)
    assert ordered.decode(ordered.codes).to_list() == column.to_list()


@pytest.mark.parametrize("kinds", [3, 5_000, 30_000])
def test_many_texts_are_coded_as_few_are(monkeypatch: pytest.MonkeyPatch, kinds: int) -> None:
    texts = [None if n % 97 == 0 else f"text {n * 7919 % kinds}" for n in range(30_000)]
    column = pl.Series("texts", texts)
    by_hash = code(column)
    monkeypatch.setattr(codes, "text_hashes", lambda texts: np.zeros(len(texts), np.uint64))
    all_alike = code(column)  # a hash that all texts share
    monkeypatch.setattr(codes, "_MOST", 20_000)
    too_many = code(column)
    for coded in (by_hash, all_alike, too_many):
        assert coded.decode(coded.codes).equals(column)
        assert coded.values.n_unique() == len(coded.values) == column.n_unique()
        assert coded.values.name == "texts"


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2**40), st.booleans()), min_size=1))
@settings(deadline=None)
def test_packed_fields_come_back_and_sort_like_tuples(rows: list[tuple[int, int, bool]]) -> None:
    fields = [np.array(column) for column in zip(*rows, strict=True)]
    keys = pack(list(zip(fields, (3, 41, 1), strict=True)))
    assert [(key >> 42, key >> 1 & (1 << 41) - 1, bool(key & 1)) for key in keys.tolist()] == rows
    assert [rows[i] for i in np.argsort(keys, kind="stable")] == sorted(rows)


def test_too_many_bits_are_refused() -> None:
    with pytest.raises(OverflowError, match="do not fit"):
        pack([(np.zeros(1, np.uint64), 40), (np.zeros(1, np.uint64), 25)])


@given(st.lists(st.tuples(*[st.integers(0, 7)] * 3), min_size=1), st.sampled_from([3, 6, 64]), st.booleans())
@settings(deadline=None)
def test_fields_are_sorted_together_in_one_key_or_many(
    rows: list[tuple[int, int, int]], key_bits: int, is_amd: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "KEY_BITS", key_bits)
        patch.setattr(codes, "_is_amd", lambda: is_amd)
        ordered = SortedRows([(np.array(field, np.uint32), 3) for field in zip(*rows, strict=True)])
    assert list(zip(*(ordered.field(i).tolist() for i in range(3)), strict=True)) == sorted(rows)
    for number in (1, 2, 3):
        starts = ordered.starts(number)
        firsts = [i for i, row in enumerate(sorted(rows)) if i == 0 or row[:number] != sorted(rows)[i - 1][:number]]
        assert starts.tolist() == firsts
        assert ordered.chosen(starts).field(0).tolist() == [sorted(rows)[i][0] for i in firsts]

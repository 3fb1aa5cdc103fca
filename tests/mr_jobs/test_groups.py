"""Groups of rows that are equal in some columns."""

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pinflow.mr_jobs.codes import code
from pinflow.mr_jobs.groups import Groups

ROWS = st.lists(st.tuples(st.sampled_from("abc") | st.none(), st.integers(0, 9), st.sampled_from(["", "x"])))


@given(ROWS, st.booleans())
def test_rows_are_in_one_group_when_they_are_equal_in_all_columns(rows: list[tuple], follows: bool) -> None:
    if follows:  # the third column says nothing new
        rows = [(text, number, f"{text}{number}") for text, number, _ in rows]
    texts, numbers, others = ([row[place] for row in rows] for place in range(3))
    columns = [code(pl.Series(column, dtype=pl.String)).codes for column in (texts, others)]
    groups = Groups.of([columns[0], np.array(numbers, np.uint32), columns[1]])
    found = [rows[row] for row in groups.rows]
    assert [found[group] for group in groups.of_row] == rows
    assert dict(zip(found, groups.count().tolist(), strict=True)) == Counter(rows)
    sums = Counter()
    for row in rows:
        sums[row] += row[1]
    totals = groups.total(pl.Series(numbers, dtype=pl.Int64))
    assert dict(zip(found, totals.tolist(), strict=True)) == {row: sums[row] for row in rows}


def test_sparse_groups_are_counted_anew_and_null_is_nothing() -> None:
    groups = Groups.of([np.array([1, 0, 1], np.uint8), np.array([5_000_000, 0, 5_000_000], np.uint32)])
    assert groups.count().tolist() == [groups.of_row.tolist().count(group) for group in range(2)]
    assert groups.of_row[0] == groups.of_row[2] != groups.of_row[1]
    totals = groups.total(pl.Series([1, None, 2]))
    assert [totals[group] for group in groups.of_row] == [3, 0, 3]
    assert groups.count(groups.rows[:0]).tolist() == [0, 0]

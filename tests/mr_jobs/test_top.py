"""Top lists by the column against plain sorting, also when cut in two rounds."""

from itertools import groupby

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.mr_jobs.analytics.top_items import top

Row = tuple[str, str, str, float]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["s1", "s2", "ä"]),
        st.sampled_from(["all", "web"]),
        st.text("ab_", max_size=3),
        st.integers(0, 4).map(float),
    ),
    unique_by=lambda row: row[:3],
    max_size=40,
)
SCHEMA = {"subject": pl.String, "platform": pl.String, "id": pl.String, "value": pl.Float64}
GROUP = ("subject", "platform")


def expected(rows: list[Row], length: int) -> list[tuple[str, str, str, float, int | None]]:
    lists = []
    for group, members in groupby(sorted(rows), key=lambda row: row[:2]):
        ordered = sorted(members, key=lambda row: (-row[3], row[2]))
        lists += [(*row, rank) for rank, row in enumerate(ordered[:length], 1)]
        if ordered[length:]:
            lists.append((*group, "_other", sum(row[3] for row in ordered[length:]), None))
    return lists


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(ROWS, st.integers(1, 5))
@settings(deadline=None)
def test_top_lists_are_sorted_rows(rows: list[Row], length: int) -> None:
    assert top(frame(rows), GROUP, length).rows() == expected(rows, length)


@given(ROWS, st.integers(1, 5), st.integers(2, 4))
@settings(deadline=None)
def test_lists_of_parts_merge_into_those_of_all(rows: list[Row], length: int, parts: int) -> None:
    cut = [top(frame(rows[part::parts]), GROUP, length) for part in range(parts)]
    assert top(pl.concat(cut), GROUP, length).rows() == expected(rows, length)

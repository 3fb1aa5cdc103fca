"""Top lists by the column against plain sorting, also when cut in two rounds."""

import os
from itertools import groupby
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.mr_jobs.analytics import top_items
from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
from pinflow.mr_jobs.analytics.top_items import _totals, pruned, top
from pinflow.mr_jobs.coded import CodedRows, joined
from pinflow.mr_jobs.codes import code
from pinflow.mr_jobs.launch import launch
from pinflow.mr_jobs.spec import JobSpec
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit
from tests.mr_jobs.coded_frames import coded, decoded

Row = tuple[str, str, str, float | None, float | None]
RANKS = ("hot", "new")
VALUES = st.none() | st.integers(0, 4).map(float)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["s1", "s2", "ä"]),
        st.sampled_from(["all", "web"]),
        st.text("ab_", max_size=3) | st.just("_other"),
        VALUES,
        VALUES | st.floats(-2, 2, allow_subnormal=False),
    ),
    unique_by=lambda row: row[:3],
    max_size=40,
)
SCHEMA = {"subject": pl.String, "platform": pl.String, "id": pl.String, "by_like": pl.Float64, "by_rank": pl.Float64}


def expected(rows: list[Row], length: int) -> list[tuple[str, str, str, str, int | None, str, float]]:
    lists = []
    for group, members in groupby(sorted(rows, key=lambda row: row[:2]), key=lambda row: row[:2]):
        listed = list(members)
        for by, place in (("like", 3), ("rank", 4)):
            values = [(-value, row[2]) for row in listed if (value := row[place]) is not None]
            ordered = sorted(values)
            lists += [(*group, "daily", by, rank, id, -value) for rank, (value, id) in enumerate(ordered[:length], 1)]
            if ordered[length:]:
                lists.append((*group, "daily", by, None, "_other", sum(-value for value, _ in ordered[length:])))
    return lists


def totals(rows: list[Row]) -> CodedRows:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return coded(frame.with_columns(aggregations=pl.lit("daily")))


def rounded(lists: CodedRows) -> list[tuple[object, ...]]:
    columns = ("subject", "platform", "aggregations", "by", "rank", "id", pl.col("value").round(9) + 0.0)
    return decoded(lists).select(columns).rows()


@given(ROWS, st.integers(1, 5))
@settings(deadline=None)
def test_top_lists_are_sorted_rows(rows: list[Row], length: int) -> None:
    plain = [(*row[:-1], round(row[-1], 9) + 0.0) for row in expected(rows, length)]
    assert rounded(top(totals(rows), length)) == plain


@given(ROWS, st.integers(1, 5), st.integers(2, 4))
@settings(deadline=None)
def test_parts_pruned_before_they_meet_have_the_same_lists(rows: list[Row], length: int, parts: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_items, "MANY", 1)
        cut = [table for part in range(parts) for table in pruned(totals(rows[part::parts]), length)]
    assert rounded(top(joined(cut), length)) == rounded(top(totals(rows), length))


def test_only_lists_of_large_subjects_are_pruned() -> None:
    rows: list[Row] = [("small", "web", f"i{n}", 1.0, None) for n in range(top_items.MANY * 2)]
    rows += [("large", "web", f"i{n}", float(n), None) for n in range(top_items.MANY * 2 + 1)]
    left = decoded(joined(pruned(totals(rows), 2)))
    assert (
        left.filter(subject="small").rows() == decoded(totals(rows)).select(left.columns).filter(subject="small").rows()
    )
    large = left.filter(subject="large").select("id", "by_like", "by_rank").rows()
    assert large == [("i200", 200.0, None), ("i199", 199.0, None), (None, sum(range(199)), None)]


@pytest.mark.parametrize("many", [top_items.MANY, 0], ids=["whole", "pruned"])
def test_lists_of_batches_that_were_pruned_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(top_items, "MANY", many)
    names = {"domain": pl.String, "pin_id": pl.String, "app": pl.String, **dict.fromkeys(EVENT_TYPES, pl.Int64)}
    lines = []
    for number, domain in enumerate(("a.example", "b.example")):
        rows = [(domain, f"p{pin}", "web", pin + number, *([None] * (len(EVENT_TYPES) - 1))) for pin in range(9)]
        path = tmp_path / f"{number}.parquet"
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)
        files = (DatasetFile(str(path), "2015-05-18", len(rows), 1),)
        lines.append((DatasetSplit("pin_counts", files).to_line(), 1))
    options = ("--date=2015-05-18", "--days=2015-05-18", "--to=parquet", "--top=2")
    job = "pinflow.mr_jobs.analytics.domain_top_pins:DomainTopPins"
    launch(JobSpec(job, options, tuple(lines), str(tmp_path / "_attempt-1"), buckets=1, slots=1), "inline", os.environ)
    found = pl.concat(map(pl.read_parquet, sorted(tmp_path.glob("_attempt-1/*.parquet"))))
    of_all = found.filter(platform="all").select("subject", "rank", "id", "value")
    assert sorted(of_all.rows(), key=str) == sorted(
        [
            *(("d:a.example", 1, "p8", 8.0), ("d:a.example", 2, "p7", 7.0), ("d:a.example", None, "_other", 21.0)),
            *(("d:b.example", 1, "p8", 9.0), ("d:b.example", 2, "p7", 8.0), ("d:b.example", None, "_other", 28.0)),
        ],
        key=str,
    )


COUNTED = st.lists(
    st.tuples(
        st.sampled_from(["s1", "s2"]),
        st.sampled_from(["p1", "p2", "ä"]),
        st.sampled_from(["web", "ios", None]),
        st.sampled_from(["2015-05-18", "2015-05-17", "2015-05-19"]),
        st.tuples(*[st.integers(0, 3) for _ in EVENT_TYPES]),
        st.tuples(*[st.none() | st.floats(-2, 2, allow_subnormal=False) for _ in RANKS]),
    ),
    min_size=1,
    max_size=30,
)


@given(COUNTED)
@settings(deadline=None)
def test_totals_add_up_and_rank_as_on_the_last_day(
    rows: list[tuple[str, str, str | None, str, tuple[int, ...], tuple[float | None, ...]]],
) -> None:
    columns = {name: code(pl.Series([row[i] for row in rows])) for i, name in enumerate(("subject", "id", "platform"))}
    others = {name: pl.Series([row[4][i] for row in rows]) for i, name in enumerate(EVENT_TYPES)}
    others |= {f"rank_{name}": pl.Series([row[5][i] for row in rows], dtype=pl.Float64) for i, name in enumerate(RANKS)}
    found = map(decoded, _totals(CodedRows(columns, others), code(pl.Series([row[3] for row in rows]))))
    for frame, of_platform in zip(found, (True, False), strict=True):
        groups: dict[tuple[str, str, str | None], list[tuple[str, tuple[int, ...], tuple[float | None, ...]]]] = {}
        for subject, item, platform, *measures in rows:
            groups.setdefault((subject, item, platform if of_platform else "all"), []).append(tuple(measures))
        plain = {}
        for key, members in groups.items():
            last_day = max(day for day, _, _ in members)
            last = [ranks for day, _, ranks in members if day == last_day]
            counts = [sum(counts[i] for _, counts, _ in members) or None for i, _ in enumerate(EVENT_TYPES)]
            highest = [max((r[i] for r in last if r[i] is not None), default=None) for i, _ in enumerate(RANKS)]
            plain[key] = (*counts, *highest)
        got = frame.select("subject", "id", "platform", *(f"by_{name}" for name in (*EVENT_TYPES, *RANKS)))
        assert {row[:3]: row[3:] for row in got.rows()} == plain
        assert frame.height == len(plain)

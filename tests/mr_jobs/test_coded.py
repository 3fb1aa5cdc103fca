"""Texts as codes: what is read and written against Polars' own reading of the same files."""

import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pinflow.mr_jobs.batch_job import BatchJob, Parts
from pinflow.mr_jobs.clustering import bucket_of
from pinflow.mr_jobs.clustering import split as split_by_bucket
from pinflow.mr_jobs.coded import (
    CodedRows,
    dtype_of,
    frame_of,
    joined,
    read_rows,
    split_table,
    stacked,
    sum_by_texts,
    sums_by_texts,
    table_of,
)
from pinflow.mr_jobs.coded_files import as_parquet, read_table
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, coalesced, code, spread
from pinflow.mr_jobs.datasets import Part, Published, Warehouse
from pinflow.mr_jobs.output import ParquetOutput
from pinflow.mr_jobs.shuffle import ROWS, Parcel
from pinflow.mr_jobs.splits import DatasetFile, DatasetSplit, bucket_splits, read_split, shares, together
from pinflow.mr_jobs.task import Task
from tests.mr_jobs.coded_frames import coded, decoded

TEXTS = st.lists(st.none() | st.sampled_from(["", "a", "b", "ä", "x" * 40]), min_size=1, max_size=40)
FIRST = pl.DataFrame({"user": ["u1", None, "u2", "u1"], "app": ["web", "web", None, ""], "n": [1, None, 3, 4]})
SECOND = pl.DataFrame({"user": ["u3", "u1"], "app": ["ipad", "web"], "n": [5, 6], "rank_new": [0.5, None]})


def files_of(folder: Path, *frames: pl.DataFrame, exact: bool = True) -> tuple[DatasetFile, ...]:
    files = []
    for number, frame in enumerate(frames):
        path = folder / f"{number}.parquet"
        frame.write_parquet(path, row_group_size=2)
        files.append(DatasetFile(str(path), f"2015-05-1{number}", frame.height, 1, exact))
    return tuple(files)


def as_texts(rows: CodedRows, columns: list[str]) -> pl.DataFrame:
    frame = frame_of(rows.texts).with_columns(**rows.others)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).select(columns)


def test_rows_of_all_days_are_those_that_polars_reads(tmp_path: Path) -> None:
    split = DatasetSplit("d", files_of(tmp_path, FIRST, SECOND))
    columns = ["user", "app", "n", "rank_new", "date"]
    for plain in ([], ["user"]):
        rows = read_rows(split, ["user", "app", "n", "rank_*"], plain)
        assert set(rows.texts) == {"user", "app", "date"} - set(plain)
        assert as_texts(rows, columns).equals(read_split(split).select(columns))


def test_codes_of_any_width_are_read(tmp_path: Path) -> None:
    """Polars stores a column of few, named texts with a byte for each row, and says so in the file."""
    texts = ["b", "a", None, "b", "a"]
    pl.DataFrame({"text": pl.Series(texts, dtype=pl.Enum(["a", "b"]))}).write_parquet(tmp_path / "0.parquet")
    split = DatasetSplit("d", (DatasetFile(str(tmp_path / "0.parquet"), "2015-05-18", 5, 1),))
    coded = read_rows(split, ["text"]).texts["text"]
    assert coded.decode(coded.codes).to_list() == texts
    assert read_rows(split, ["text"], ["text"]).others["text"].cast(pl.String).to_list() == texts


def test_files_of_narrow_codes_have_more_texts_together(tmp_path: Path) -> None:
    names = [[f"{file}-{number}" for number in range(200)] for file in range(2)]
    frames = [pl.DataFrame({"text": pl.Series(texts, dtype=pl.Enum(texts))}) for texts in names]
    coded = read_rows(DatasetSplit("d", files_of(tmp_path, *frames)), ["text"]).texts["text"]
    assert coded.decode(coded.codes).to_list() == names[0] + names[1]


def test_rows_with_and_without_nulls_come_together(tmp_path: Path) -> None:
    texts: list[list[str | None]] = [["a", "b"], ["b", None], []]
    tables = [table_of({"text": code(pl.Series(some, dtype=pl.String))}) for some in texts]
    for number, table in enumerate(tables):
        (tmp_path / f"{number}.parquet").write_bytes(as_parquet(table, ()))
    read = [read_table(str(path), ["text"]) for path in sorted(tmp_path.iterdir())]
    assert [field.nullable for table in read for field in table.schema] == [False, True, False]
    coded = joined(read).texts["text"]
    assert coded.decode(coded.codes).to_list() == ["a", "b", "b", None]


@pytest.mark.parametrize("texts", [[[None, "a"], ["b"]], [["b"], [None, "a"]], [[None], [None, None]]])
def test_nulls_may_come_first_in_each_table(texts: list[list[str | None]]) -> None:
    tables = [table_of({"text": code(pl.Series(some, dtype=pl.String))}) for some in texts]
    coded = joined(tables).texts["text"]
    assert coded.decode(coded.codes).to_list() == [text for some in texts for text in some]


def test_columns_may_have_any_name() -> None:
    rows = CodedRows({"others": Coded.constant("a", 2)}, {"columns": pl.Series([1, 2])})
    assert pl.DataFrame(rows.table().to_pylist()).rows() == [("a", 1), ("a", 2)]


class Frames(CodedJob):
    """A CodedJob that sends frames."""

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.sort("user")


class Tables(CodedJob):
    """A CodedJob that sends tables."""

    def reduce_rows(self, rows: CodedRows) -> pl.DataFrame:
        return decoded(rows).sort("user")


@pytest.mark.parametrize("job", [Frames, Tables])
def test_reduce_gets_what_map_gave(job: type[CodedJob]) -> None:
    parcels = [Parcel(0, ROWS, table_of({"user": code(pl.Series(users))})) for users in (["b", "c"], ["a"])]
    reduced = job(["--to=parquet"]).reduce_bucket(Parts(lambda _: iter(parcels)))
    assert pl.DataFrame(reduced).select(pl.col("user").cast(pl.String)).to_series().to_list() == ["a", "b", "c"]
    assert not len(job(["--to=parquet"]).reduce_bucket(Parts(lambda _: iter(()))))


def test_a_column_of_nulls_alone_is_written_without_rows() -> None:
    table = pa.table({"key": pa.array([], pa.string()), "gone": pa.array([], pa.null())})
    assert pq.read_table(pa.BufferReader(as_parquet(table, ()))).schema.names == ["key", "gone"]


def test_lines_of_other_kinds_come_to_a_job_as_they_are() -> None:
    lines = [b"[Sun Nov 22] error\n", b"[1,2,3]\n"]

    class Raw(BatchJob):
        def read(self, split_line: bytes) -> Iterator[bytes]:
            yield split_line

    assert list(Raw(["--to=parquet"]).batches(iter(lines))) == lines


def test_of_a_coarser_file_only_the_rows_of_the_bucket_are_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [f"u{n}" for n in range(50)], "n": range(50)})
    split = DatasetSplit("d", files_of(tmp_path, frame, exact=False), 1, 4, ("user",))
    rows = read_rows(split, ["n"])
    assert rows.others["n"].to_list() == [n for n, b in enumerate(bucket_of(frame, ["user"], 4)) if b == 1]
    assert rows.height == len(rows.others["n"]) > 0


@given(TEXTS, TEXTS, st.sampled_from([2, 16]))
def test_rows_of_codes_come_to_the_buckets_to_which_texts_come(
    users: list[str | None], apps: list[str | None], buckets: int
) -> None:
    both = pl.DataFrame(list(zip(users, apps, strict=False)), schema={"u": pl.String, "a": pl.String}, orient="row")
    frame = both.with_row_index("n")
    table = table_of({name: code(frame[name]) for name in "ua"}, n=frame["n"]).select(["n", "u", "a"])
    found = list(split_table(table, ["u", "n"], buckets))
    expected = split_by_bucket(frame, ["u", "n"], buckets)
    for (number, piece), (bucket, rows) in zip(found, expected, strict=True):
        assert number == bucket
        assert piece.column_names == table.column_names
        assert pl.DataFrame(piece.to_pylist()).rows() == rows.select("n", "u", "a").rows()
        assert len(piece["u"].combine_chunks().dictionary) == len(set(piece["u"].to_pylist()) - {None})


@pytest.mark.parametrize(("most", "buckets"), [(1000, 2), (40, 4), (10, 16)])
def test_large_buckets_of_many_days_are_read_in_more_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, buckets: int
) -> None:
    monkeypatch.setattr("pinflow.mr_jobs.splits.MOST_ROWS", most)
    warehouse = Warehouse(str(tmp_path))
    days, written = [], []
    for day in ("2015-05-18", "2015-05-19", "2015-05-20"):
        frame = pl.DataFrame({"user": [f"u{n}" for n in range(50)], "n": range(50)})
        days.append(Published("d", day, "_a", 1, "", 50, 1, (), ("user",), 2))
        parts = []
        for bucket, rows in split_by_bucket(frame, ["user"], 2):
            parts.append(Part(f"part-{bucket}.parquet", rows.height, 1 << 20, bucket))
            path = Path(warehouse.path(days[-1]), parts[-1].name)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.write_parquet(path)
        days[-1] = replace(days[-1], parts=tuple(parts))
        written += [(day, *row) for row in frame.iter_rows()]
    splits = bucket_splits(warehouse, days)
    assert {found.buckets for found in splits} == {buckets}
    assert sum(found.size for found in splits) == 3 * 2 << 20
    read = [as_texts(read_rows(found, ["user", "n"]), ["date", "user", "n"]) for found in splits]
    for found, rows in zip(splits, read, strict=True):
        assert set(bucket_of(rows, ["user"], buckets)) <= {found.bucket}
    assert sorted(pl.concat(read).rows()) == sorted(written)


def test_rows_without_a_text_are_left_out(tmp_path: Path) -> None:
    rows = read_rows(DatasetSplit("d", files_of(tmp_path, FIRST)), ["user", "app", "n"]).having("user")
    assert rows.height == 3
    assert as_texts(rows, ["user", "app", "n"]).equals(FIRST.filter(pl.col("user").is_not_null()))
    assert rows.having("date") is rows


@given(TEXTS, TEXTS)
def test_the_first_column_goes_before_the_second(first: list[str | None], second: list[str | None]) -> None:
    both = list(zip(first, second, strict=False))
    columns = [pl.Series([row[n] for row in both], dtype=pl.String) for n in (0, 1)]
    found = coalesced(code(columns[0]), code(columns[1]))
    assert found.decode(found.codes).to_list() == [a if a is not None else b for a, b in both]


@given(TEXTS)
def test_each_row_gets_the_value_of_its_key(texts: list[str | None]) -> None:
    keys = code(pl.Series(texts, dtype=pl.String))
    values = pl.Series([None if text == "a" else f"of {text}" for text in keys.values], dtype=pl.String)
    found = spread(values, keys)
    assert found.decode(found.codes).to_list() == [None if text == "a" else f"of {text}" for text in texts]


@given(TEXTS)
def test_what_fills_gaps_is_the_value_that_is_there_already(texts: list[str | None]) -> None:
    column = pl.Series(texts, dtype=pl.String)
    filled = code(column).filled("b")
    assert filled.decode(filled.codes).to_list() == ["b" if text is None else text for text in texts]
    assert filled.values.is_unique().all()
    prefixed = filled.prefixed("p:")
    assert prefixed.decode(prefixed.codes).to_list() == ["p:b" if text is None else f"p:{text}" for text in texts]


@given(st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from("ab"), st.none() | st.integers(-9, 9))))
@settings(deadline=None)
def test_sums_by_texts(rows: list[tuple[str | None, str, int | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String, "n": pl.Int64}, orient="row")
    totals: Counter[tuple[str | None, str]] = Counter()
    for a, b, number in rows:
        totals[a, b] += number or 0
    expected = sorted(
        ((a, b, n) for (a, b), n in totals.items()), key=lambda row: ((row[0] is not None, row[0] or ""), row[1])
    )
    assert decoded(sums_by_texts(coded(frame).in_order())).rows() == expected


@given(st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from("ab"), st.integers(0, 9)), min_size=1))
@settings(deadline=None)
def test_one_sum_by_texts(rows: list[tuple[str | None, str, int]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String, "n": pl.Int64}, orient="row")
    rows_in_order = coded(frame).in_order()
    assert_frame_equal(decoded(sum_by_texts(rows_in_order)), decoded(sums_by_texts(rows_in_order)))


def test_codes_are_written_as_plain_texts(tmp_path: Path) -> None:
    output = ParquetOutput(Task(0, "attempt", str(tmp_path)), statistics=["user"])
    coded = [frame.with_columns(pl.col(c).cast(dtype_of(c)) for c in ("user", "app")) for frame in (FIRST, FIRST[:2])]
    for frame in (*coded, coded[0].clear()):
        output.write(frame, 0)
    output.close()
    [path] = tmp_path.glob("*.parquet")
    assert pl.read_parquet(path).equals(pl.concat([FIRST, FIRST[:2]]))
    assert pl.read_parquet(path).schema == FIRST.schema
    group = pq.read_metadata(path).row_group(0)
    assert [group.column(n).is_stats_set for n in range(3)] == [True, False, False]
    assert group.column(0).statistics.max == "u2"


def test_categories_last_as_long_as_their_frames() -> None:
    """A task that goes from bucket to bucket holds those of one bucket."""
    for start in (0, 1000):
        column = pl.Series([f"u{n}" for n in range(start, start + 1000)], dtype=dtype_of("of one bucket"))
        assert column.to_physical().max() == 999
        del column
        gc.collect()


def test_rows_with_the_same_values_come_one_after_the_other() -> None:
    rows = coded(FIRST)
    whole = stacked([rows, rows.chosen(np.array([2, 0])), rows.chosen(np.array([], np.intp))])
    assert decoded(whole).equals(pl.concat([FIRST, FIRST[[2, 0]]]))


@given(TEXTS, st.sampled_from(["a", "new", None]))
def test_a_text_more_is_added_once(texts: list[str | None], text: str | None) -> None:
    column, number = code(pl.Series(texts, dtype=pl.String)).including(text)
    assert column.values[number] == text
    assert column.values.is_unique().all()
    assert column.decode(column.codes).to_list() == texts


def test_rows_without_columns_are_none() -> None:
    assert joined([]).height == CodedRows({}, {}).height == 0
    assert CodedRows({}, {"n": pl.Series([1, 2])}).height == 2


def test_small_splits_of_a_dataset_come_together() -> None:
    def line(dataset: str, *rows: int, exact: bool = True) -> bytes:
        files = tuple(DatasetFile(f"{dataset}-{n}", "2015-05-18", n, 1, exact) for n in rows)
        return DatasetSplit(dataset, files).to_line().encode()

    lines = [line("a", 40), line("a", 60), line("a", 1), line("b", 30), line("b", 30), line("b", 2, exact=False)]
    lines += [b"x.parquet\n"]
    wanted = [line("a", 40, 60), *lines[2:]]
    assert list(together(lines, {"a": 100, "b": 50}.__getitem__)) == wanted


@given(sizes=st.lists(st.integers(0, 30), max_size=20))
def test_shares_are_as_large_as_they_may_be(sizes: list[int]) -> None:
    lines = [str(number).encode() for number in range(len(sizes))]
    found = list(shares(lines, lambda line: sizes[int(line)], 20))
    assert [line for share in found for line in share] == lines
    heights = [[sizes[int(line)] for line in share] for share in found]
    assert all(len(share) == 1 or (sum(share) <= 20 and 0 not in share) for share in heights)
    for before, after in pairwise(heights):
        assert 0 in (before[0], after[0]) or sum(before) + after[0] > 20

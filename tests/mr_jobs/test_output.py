"""Parts of a dataset as a task leaves them."""

import io
from pathlib import Path

import polars as pl
import pytest

from pinflow.mr_jobs.coded import table_of
from pinflow.mr_jobs.codes import code
from pinflow.mr_jobs.output import LineOutput, ParquetOutput, Rows
from pinflow.mr_jobs.task import Task

ROW_BYTES = 8


def test_only_the_largest_part_is_written_when_too_much_is_held(tmp_path: Path) -> None:
    output = ParquetOutput(Task(0, "attempt", str(tmp_path)), partition_by="kind", limit=100 * ROW_BYTES)
    for number in range(10):
        many = pl.DataFrame({"kind": ["large"] * 30 + ["small"] * 2, "n": range(number * 32, number * 32 + 32)})
        output.write(many, 3)
    output.close()
    found = {path.relative_to(tmp_path).as_posix(): pl.read_parquet(path) for path in tmp_path.rglob("*.parquet")}
    assert {name: frame.height for name, frame in found.items()} == {
        "kind=large/part-00003.parquet": 120,
        "kind=large/part-00003-1.parquet": 90,
        "kind=large/part-00003-2.parquet": 90,
        "kind=small/part-00003.parquet": 20,
    }
    assert sorted(pl.concat(found.values())["n"]) == list(range(320))


TEXTS = pl.DataFrame({"text": ["b", None, "a"], "n": [1, 2, 3]})
CODED = TEXTS.cast({"text": pl.Categorical()})
TABLE = table_of({"text": code(TEXTS["text"])}, n=TEXTS["n"])


@pytest.mark.parametrize("held", [[TEXTS], [CODED], [TABLE], [TABLE, CODED], [CODED, TABLE, TABLE], [CODED, CODED]])
@pytest.mark.parametrize("statistics", [(), ("text",)])
def test_texts_are_kept_whatever_holds_them(tmp_path: Path, held: list[Rows], statistics: tuple[str, ...]) -> None:
    output = ParquetOutput(Task(0, "attempt", str(tmp_path)), statistics=statistics)
    for rows in held:
        output.write(rows, 2)
    output.finish(1)
    assert not list(tmp_path.iterdir())
    output.finish(2)
    (written,) = tmp_path.iterdir()
    assert pl.read_parquet(written).equals(pl.concat([TEXTS] * len(held)))
    output.write(held[0], 2)
    output.close()
    assert pl.read_parquet(tmp_path / "part-00002-1.parquet").equals(TEXTS)


def test_a_table_is_written_as_lines_and_in_folders(tmp_path: Path) -> None:
    stream = io.BytesIO()
    LineOutput(stream).write(TABLE, 0)
    assert pl.read_ndjson(stream.getvalue()).equals(TEXTS)
    output = ParquetOutput(Task(0, "attempt", str(tmp_path)), partition_by="n")
    output.write(TABLE, 0)
    output.close()
    assert pl.read_parquet(tmp_path / "n=3/part-00000.parquet")["text"].to_list() == ["a"]

"""Parts of a dataset as a task leaves them."""

from pathlib import Path

import polars as pl

from pinflow.mr_jobs.output import ParquetOutput
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

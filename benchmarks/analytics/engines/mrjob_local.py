"""mrjob's own `local` runner, a process for each core, and its output lines as Parquet."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.analytics.engines.mrjob_records import Analytics
from benchmarks.analytics.task import TABLES, Task

ROWS = 100_000


class Writer:
    """A table's Parquet file, written in groups of rows."""

    def __init__(self, task: Task, name: str) -> None:
        table = TABLES[name]
        texts = [(key, pa.string()) for key in table.keys]
        numbers = [(number, pa.float64() if number == "value" else pa.int64()) for number in table.numbers]
        self._schema = pa.schema([*texts, *numbers])
        self._file = pq.ParquetWriter(task.table(name) / "part.parquet", self._schema, compression="zstd")
        self._rows: list[list[Any]] = []

    def add(self, row: list[Any]) -> None:
        """Add a row, its columns in the table's order."""
        self._rows.append(row)
        if len(self._rows) == ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, self._schema.types, strict=True)]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


def compute(task: Task) -> None:
    """Run the job and write all tables of the day."""
    (pins,), (users,) = (map(str, task.folder(kind).iterdir()) for kind in ("pins", "users"))
    arguments = ["-r", "local", "--no-conf", "--local-tmp-dir", str(task.output), "--date", task.day]
    job = Analytics([*arguments, "--pins", pins, "--users", users, task.files("events")])
    writers = {name: Writer(task, name) for name in TABLES}
    with job.make_runner() as runner:
        runner.run()
        for table, row in job.parse_output(runner.cat_output()):
            writers[table].add(row)
    for writer in writers.values():
        writer.close()


if __name__ == "__main__":
    compute(Task.from_arguments())

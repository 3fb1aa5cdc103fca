"""What a task leaves: Parquet parts of a dataset in the task's folder, or JSON lines when it runs by hand."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO, Protocol, TypeAlias

import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.coded_files import COMPRESSION_LEVEL, as_parquet, is_coded, to_table
from pinflow.mr_jobs.sizes import held_bytes
from pinflow.mr_jobs.task import BAD_FOLDER, Task
from pinflow.stats_engine.engine import engine
from pinflow.stats_engine.rules import OUTPUT_ROWS

Rows: TypeAlias = pl.DataFrame | pa.Table
"""A table holds texts as dictionaries, and is written as it is."""

_Part = tuple[str, int]
"""A folder and the number of a part in it."""


class Output(Protocol):
    """Where rows go."""

    def write(self, rows: Rows, number: int) -> None:
        """Add rows to part `number`: the bucket in a reduce task, the partition in a map task."""

    def finish(self, number: int) -> None:
        """Nothing more comes for part `number`: its rows need not be held."""

    def set_aside(self, data: bytes, number: int) -> None:
        """Keep lines that could not be read."""

    def close(self) -> None:
        """Write what is held back."""


class LineOutput:
    """JSON lines on standard output, for a job run by hand."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, rows: Rows, number: int) -> None:
        """One line a row."""
        self._stream.write(pl.DataFrame(rows).write_ndjson().encode())

    def finish(self, number: int) -> None:
        """Nothing is held."""

    def set_aside(self, data: bytes, number: int) -> None:
        """Leave them where they are: nothing commits a file here."""

    def close(self) -> None:
        """Hand over everything."""
        self._stream.flush()


class ParquetOutput:
    """`part-NNNNN.parquet` below the task's output folder, in one folder a value of `partition_by` if there is one.

    Rows are held until they take `limit` bytes; then those of the largest part are written as a file of their own
    (`part-NNNNN-1.parquet`). Categorical columns are written as the texts that they are, with minima and maxima of the
    columns `statistics` alone: those take long, and tell something only where rows are in order. Frames without such
    columns have minima and maxima of all columns, if of any.
    """

    def __init__(
        self,
        task: Task,
        *,
        partition_by: str | None = None,
        limit: int = 128 << 20,
        statistics: Sequence[str] = (),
    ) -> None:
        self._task = task
        self._partition_by = partition_by
        self._limit = limit
        self._statistics = statistics
        self._held: dict[_Part, list[Rows]] = {}
        self._held_bytes: Counter[_Part] = Counter()
        self._files: Counter[_Part] = Counter()
        self._aside: dict[int, list[bytes]] = {}

    def write(self, rows: Rows, number: int) -> None:
        """Hold the rows; write them when there are enough."""
        engine().note_passing(OUTPUT_ROWS, len(rows))
        for folder, held in self._by_folder(rows):
            self._held.setdefault((folder, number), []).append(held)
            self._held_bytes[folder, number] += held_bytes(held)
        while self._held_bytes.total() > self._limit:
            [(largest, _)] = self._held_bytes.most_common(1)
            self._flush(largest)

    def _by_folder(self, rows: Rows) -> Sequence[tuple[str, Rows]]:
        if self._partition_by is None:
            return [("", rows)]
        parts = pl.DataFrame(rows).partition_by(self._partition_by, as_dict=True, include_key=False)
        return [(f"{self._partition_by}={key[0]}/", part) for key, part in parts.items()]

    def _flush(self, part: _Part) -> None:
        folder, number = part
        suffix = f"-{self._files[part]}" if self._files[part] else ""
        self._files[part] += 1
        frames = self._held.pop(part)
        del self._held_bytes[part]
        self._task.write(f"{folder}part-{number:05d}{suffix}.parquet", self._as_parquet(frames))

    def _as_parquet(self, held: Sequence[Rows]) -> bytes:
        frames = [rows for rows in held if isinstance(rows, pl.DataFrame)]
        if len(frames) < len(held):
            tables = [to_table(rows) if isinstance(rows, pl.DataFrame) else rows for rows in held]
            whole = pa.concat_tables(tables, promote_options="default")
            return as_parquet(whole.unify_dictionaries(), self._statistics)
        whole = pl.concat(frames)
        if is_coded(whole):
            return as_parquet(to_table(whole), self._statistics)
        buffer = io.BytesIO()
        whole.write_parquet(
            buffer, compression="zstd", compression_level=COMPRESSION_LEVEL, statistics=bool(self._statistics)
        )
        return buffer.getvalue()

    def finish(self, number: int) -> None:
        """Write what is held of part `number`."""
        for part in [part for part in self._held if part[1] == number]:
            self._flush(part)

    def set_aside(self, data: bytes, number: int) -> None:
        """Keep JSON lines for `_bad/part-NNNNN.jsonl`."""
        self._aside.setdefault(number, []).append(data)

    def close(self) -> None:
        """Write everything that is held."""
        for part in list(self._held):
            self._flush(part)
        for number, lines in self._aside.items():
            self._task.write(f"{BAD_FOLDER}/part-{number:05d}.jsonl", b"".join(lines))


def bad_line(path: str, position: int, reason: str, text: bytes) -> bytes:
    """A line that could not be read, as kept in `_bad/`: its file, byte offset, reason and text."""
    record = {"file": path, "offset": position, "reason": reason, "line": text.decode("utf-8", "backslashreplace")}
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"

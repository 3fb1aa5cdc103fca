"""Jobs that take one record at a time: mrjob's own mapper, combiner and reducer, with statistics and datasets."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import polars as pl

from pinflow.mr_jobs.job import DatasetJob
from pinflow.mr_jobs.native import INPUT_ROWS
from pinflow.mr_jobs.output import Output
from pinflow.mr_jobs.splits import DatasetSplit, read_split
from pinflow.stats_engine import shards
from pinflow.stats_engine.statistics import Statistics

_MARK = "\x00"
STATISTICS_KEY = f"{_MARK}statistics"
ROWS_AT_ONCE = 50_000

Pair = tuple[Any, Any]


class RecordJob(DatasetJob):
    """An mrjob job whose mapper takes one record, for logic that needs Python.

    The last step yields `(key, row)` with `row` a dict of the output's columns, or `(key, value)` with `schema`
    None for a job of plain lines. `self.stats` is the task's engine; what map tasks and earlier steps count reaches
    the tasks that write the output with their pairs, kept apart by step (ST-20).
    """

    schema: ClassVar[dict[str, Any] | None] = None

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._earlier: dict[int, Statistics] = {}

    def records(self, lines: Iterator[bytes]) -> Iterator[Any]:
        """The records of the input lines: by default rows, as dicts, of the dataset splits that they name.

        Called with `--splits`, and always in a class that overrides it; else mrjob's input protocol reads.
        """
        for line in lines:
            yield from read_split(DatasetSplit.from_line(line)).iter_rows(named=True)

    def run_mapper(self, step_num: int = 0) -> None:
        """Run the mapper of one step (called in a task)."""
        if self._is_last(step_num, "mapper"):
            read_lines, _ = self._wrap_protocols(step_num, "mapper")
            self._run_last(self.map_pairs(read_lines(), step_num))
        else:
            super().run_mapper(step_num)

    def map_pairs(self, pairs: Iterable[Pair], step_num: int = 0) -> Iterator[Pair]:
        """All pairs of a map task, then its statistics and those of the step before."""
        shards_seen: list[Pair] = []
        mapped = super().map_pairs(_received(pairs, shards_seen) if step_num else self._counted(pairs), step_num)
        yield from self._given(mapped, shards_seen, step_num, is_last=self._is_last(step_num, "mapper"))

    def _counted(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        number = 0
        for number, pair in enumerate(pairs, start=1):  # noqa: B007 - the last one is their number
            yield pair
        self.stats.incr_count(INPUT_ROWS, number)

    def combine_pairs(self, pairs: Iterable[Pair], step_num: int = 0) -> Iterator[Pair]:
        """All pairs of a combiner, the statistics that pass through it, and its own."""
        shards_seen: list[Pair] = []
        combined = super().combine_pairs(_received(pairs, shards_seen), step_num)
        yield from self._given(combined, shards_seen, step_num, is_last=False)

    def reduce_pairs(self, pairs: Iterable[Pair], step_num: int = 0) -> Iterator[Pair]:
        """All pairs of a reduce task; what its map tasks counted is taken in or handed on."""
        shards_seen: list[Pair] = []
        reduced = super().reduce_pairs(_received(pairs, shards_seen), step_num)
        yield from self._given(reduced, shards_seen, step_num, is_last=self._is_last(step_num, "reducer"))

    def _given(self, pairs: Iterable[Pair], shards_seen: list[Pair], step_num: int, *, is_last: bool) -> Iterator[Pair]:
        if is_last:
            yield from pairs
            self._take_in(shards_seen, step_num)
        else:
            yield from _sent(pairs)
            yield from [*shards_seen, self._statistics_pair(step_num)]

    def _take_in(self, pairs: list[Pair], step_num: int) -> None:
        """Add what map tasks of this step counted to this task's, and keep apart what other steps did."""
        for _, text in pairs:
            number, _, encoded = text.partition(":")
            data = base64.b64decode(encoded)
            if int(number) == step_num:
                self.take_in_statistics(data, "statistics of a map task")
            else:
                counted = shards.decode(data, f"statistics of step {int(number) + 1}")
                known = self._earlier.get(int(number), Statistics())
                self._earlier[int(number)] = known.merge(counted)

    def counted_by_step(self) -> dict[int, Statistics]:
        """What the task of the last step hands in: its own statistics and those of the steps before."""
        own = self.stats.statistics()
        steps = len(self.steps())
        return {0: own} if steps == 1 else {number + 1: n for number, n in self._earlier.items()} | {steps: own}

    def _statistics_pair(self, step_num: int) -> Pair:
        encoded = base64.b64encode(shards.encode(self.stats.statistics())).decode()
        return STATISTICS_KEY, f"{step_num}:{encoded}"

    def run_reducer(self, step_num: int = 0) -> None:
        """Run the reducer of one step (called in a task)."""
        if self._is_last(step_num, "reducer"):
            read_lines, _ = self._wrap_protocols(step_num, "reducer")
            self._run_last(self.reduce_pairs(read_lines(), step_num))
        else:
            super().run_reducer(step_num)

    def _wrap_protocols(self, step_num: int, step_type: str) -> Any:
        read_lines, write_line = super()._wrap_protocols(step_num, step_type)
        reads_itself = self.options.splits or type(self).records is not RecordJob.records
        if step_type == "mapper" and step_num == 0 and reads_itself:
            return self._read_records, write_line
        return read_lines, write_line

    def _read_records(self) -> Iterator[Pair]:
        for record in self.records(self._read_input()):
            yield None, record

    def _run_last(self, pairs: Iterator[Pair]) -> None:
        with self.task_output() as output:
            rows: list[dict[str, Any]] = []
            for _, row in pairs:
                rows.append(row)
                if len(rows) >= ROWS_AT_ONCE:
                    self._write(output, rows)
            self._write(output, rows)

    def _write(self, output: Output, rows: list[dict[str, Any]]) -> None:
        if rows:
            output.write(pl.DataFrame(rows, schema=self.schema, infer_schema_length=None), self.partition)
            rows.clear()

    def _is_last(self, step_num: int, task: str) -> bool:
        steps = self.steps()
        description = steps[step_num].description(step_num)
        return step_num == len(steps) - 1 and (task == "reducer" or "reducer" not in description)


def _sent(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Pairs as they travel: keys that start with the mark get another, so that none is `STATISTICS_KEY`."""
    for key, value in pairs:
        yield (_MARK + key if isinstance(key, str) and key.startswith(_MARK) else key), value


def _received(pairs: Iterable[Pair], statistics: list[Pair]) -> Iterator[Pair]:
    """The pairs that `_sent` was given; those of statistics are put aside."""
    for key, value in pairs:
        if key == STATISTICS_KEY:
            statistics.append((key, value))
        else:
            yield (key[len(_MARK) :] if isinstance(key, str) and key.startswith(_MARK) else key), value

"""Small jobs for the tests on a real Hadoop."""

import os
import signal
import time
from collections.abc import Iterable, Iterator

import polars as pl
from mrjob.job import MRJob
from mrjob.step import MRStep

from pinflow.errors import FatalAlertError
from pinflow.mr_jobs.batch_job import BatchJob


def is_first_attempt() -> bool:
    return os.environ["mapreduce_task_attempt_id"].endswith("_0")


class Totals(BatchJob):
    """The sum and number of `value` by `key`."""

    cluster_by = ("key",)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        self.stats.incr_count("rows_read", batch.height)
        self.stats.add_to_histogram("value", batch["value"])
        return batch.select("key", "value", n=pl.lit(1, pl.Int64))

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.group_by("key").agg(pl.col("value", "n").sum())

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        totals = self.combine(frame)
        self.stats.incr_count("keys", totals.height)
        return totals


class DiesOnce(Totals):
    """The first attempt of reduce task 1 is killed once it has written all its files, also its statistics."""

    def run_reducer(self, step_num: int = 0) -> None:
        super().run_reducer(step_num)
        if self.partition == 1 and is_first_attempt():
            os.kill(os.getpid(), signal.SIGKILL)


class SlowFirst(Totals):
    """The first attempt of map task 0 hangs."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        if self.partition == 0 and is_first_attempt():
            time.sleep(300)
        return super().map(batch)


class Broken(Totals):
    """Fails by itself."""

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        raise RuntimeError("broken on purpose")


class Refusing(Totals):
    """Raises one of pinflow's errors."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        raise FatalAlertError("too much")


class WordsByCount(MRJob):
    """A plain mrjob job: words by how often they occur."""

    def steps(self) -> list[MRStep]:
        return [
            MRStep(mapper=self.words, combiner=self.add, reducer=self.add),
            MRStep(mapper=self.by_count, reducer=self.collect),
        ]

    def words(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        self.increment_counter("text", "lines")
        for word in line.split():
            self.increment_counter("text", "words")
            yield word, 1

    def add(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield word, sum(counts)

    def by_count(self, word: str, count: int) -> Iterator[tuple[int, str]]:
        yield count, word

    def collect(self, count: int, words: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        yield count, sorted(words)

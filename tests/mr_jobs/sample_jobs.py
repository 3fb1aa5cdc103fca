"""Small jobs for the runner's tests: one of each kind."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from mrjob.job import MRJob
from mrjob.step import MRStep

from pinflow import errors
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.record_job import RecordJob

DIE_ONCE = "SAMPLE_DIE_ONCE"
"""Variable that names a file: the first map task to see it missing makes it and kills itself."""


def die_once() -> None:
    path = os.environ.get(DIE_ONCE)
    if path:
        with suppress(FileExistsError):
            Path(path).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)


class Totals(BatchJob):
    """The sum and number of `value` by `key`."""

    cluster_by = ("key",)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        self.stats.incr_count("rows_read", batch.height)
        self.stats.add_to_histogram("value", batch["value"])
        die_once()
        return batch.with_columns(n=pl.lit(1, pl.Int64))

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.group_by("key").agg(pl.col("value", "n").sum())

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        totals = self.combine(frame)
        self.stats.incr_count("keys", totals.height)
        return totals


class Doubled(BatchJob):
    """Maps alone."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        self.stats.incr_count("rows_read", batch.height)
        die_once()
        return batch.with_columns(pl.col("value") * 2)


class WordRows(RecordJob):
    """How often each word occurs, as rows."""

    schema: ClassVar = {"word": pl.String, "n": pl.Int64}

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        self.stats.incr_count("lines_read")
        die_once()
        for word in line.split():
            self.stats.incr_count("words_read")
            yield word, 1

    def combiner(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield word, sum(counts)

    def reducer(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        self.stats.incr_count("words_kept")
        yield word, {"word": word, "n": sum(counts)}


class WordsByCount(MRJob):
    """A plain mrjob job: words by how often they occur."""

    def steps(self) -> list[MRStep]:
        return [
            MRStep(mapper=self.words, combiner=self.add, reducer=self.add),
            MRStep(mapper=self.by_count, reducer=self.collect),
        ]

    def words(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        self.increment_counter("text", "lines")
        die_once()
        for word in line.split():
            self.increment_counter("text", "words")
            yield word, 1

    def add(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield word, sum(counts)

    def by_count(self, word: str, count: int) -> Iterator[tuple[int, str]]:
        self.increment_counter("text", "different words")
        yield count, word

    def collect(self, count: int, words: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        self.increment_counter("text", "counts")
        yield count, sorted(words)


class CountingCombiner(MRJob):
    """A plain mrjob job whose combiner counts too."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        yield line, 1

    def combiner(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        self.increment_counter("text", "combined")
        yield word, sum(counts)

    def reducer(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield word, sum(counts)


class Broken(WordRows):
    """Fails by itself."""

    def reducer(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        raise RuntimeError("broken on purpose")


class Suicidal(WordRows):
    """Is killed in every attempt; leaves a file for each."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        Path(os.environ["SAMPLE_TRACES"], os.environ["mapreduce_task_attempt_id"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
        yield line, 1


class Refusing(WordRows):
    """Raises one of pinflow's errors."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        raise getattr(errors, os.environ["SAMPLE_ERROR"])("too much")
        yield line, 1


class Stopped(WordRows):
    """The system refuses it something."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        code = int(os.environ["SAMPLE_ERRNO"])
        raise OSError(code, os.strerror(code))
        yield line, 1


class Quitting(WordRows):
    """Ends without a word."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        sys.exit(7)
        yield line, 1

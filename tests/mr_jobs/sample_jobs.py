"""Small jobs for the runner's tests: one of each kind."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
from mrjob.job import MRJob
from mrjob.step import MRStep

from pinflow import errors
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.coded import table_of
from pinflow.mr_jobs.codes import code
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


class Fine(Totals):
    """Totals that are read by the month."""

    bytes_a_file = 256


class Aside(Totals):
    """Each map task leaves a file of its own, named by its process, before it dies or goes on."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        Path(os.environ["mapreduce_task_output_dir"], f"aside-{os.getpid()}").touch()
        return super().map(batch)


class TotalsOfTables(Totals):
    """The same, of rows that are sent as tables."""

    def map(self, batch: pl.DataFrame) -> pa.Table:
        rows = super().map(batch)
        return table_of({"key": code(rows["key"])}, value=rows["value"], n=rows["n"])


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


class Halvings(RecordJob):
    """Whole numbers, one a line, halved in each of three steps; a zero is left out."""

    schema: ClassVar = {"value": pl.Int64, "n": pl.Int64}

    def steps(self) -> list[MRStep]:
        return [
            MRStep(mapper=self.read, combiner=self.add, reducer=self.halve),
            MRStep(reducer=self.halve),
            MRStep(mapper=self.keep, reducer=self.row),
        ]

    def read(self, _: None, line: str) -> Iterator[tuple[int, int]]:
        die_once()
        self.stats.incr_count("seen")
        yield int(line), 1

    def add(self, value: int, counts: Iterable[int]) -> Iterator[tuple[int, int]]:
        self.stats.incr_count("combined")
        yield value, sum(counts)

    def halve(self, value: int, counts: Iterable[int]) -> Iterator[tuple[int, int]]:
        number = sum(counts)
        self.stats.add_item("ranks", value, value, size=2)
        self.stats.add_to_histogram("rank", value)
        self.stats.incr_count("values")
        if value // 2:
            yield value // 2, number

    def keep(self, value: int, count: int) -> Iterator[tuple[int, int]]:
        self.stats.incr_count("seen")
        yield value, count

    def row(self, value: int, counts: Iterable[int]) -> Iterator[tuple[int, dict[str, int]]]:
        self.stats.incr_count("values")
        yield value, {"value": value, "n": sum(counts)}


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


class Endless(BatchJob):
    """Counts on for a minute in its map, or, with SAMPLE_REDUCES, in its reduce; leaves its process id."""

    cluster_by = ("key",)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        if "SAMPLE_REDUCES" not in os.environ:
            self._go_on()
        return batch

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        self._go_on()
        return frame

    def _go_on(self) -> None:
        Path(os.environ["SAMPLE_TRACES"], str(os.getpid())).touch()
        for _ in range(6000):
            self.stats.incr_count("steps", 10)
            time.sleep(0.01)


class Vanishing(WordRows):
    """Leaves in the middle, as if all were well."""

    def reducer(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        os._exit(0)
        yield word, {}


class HalfWritten(Totals):
    """The first reduce task to write is killed when half of its files are there."""

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        path = Path(os.environ[DIE_ONCE])
        if not path.exists():
            path.touch()
            folder = Path(os.environ["mapreduce_task_output_dir"])
            (folder / "_stats").mkdir()
            (folder / "part-00000.parquet").write_bytes(b"PAR1 half of a file")
            (folder / "_stats" / "part-00000.thrift.gz").write_bytes(b"half of a shard")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().reduce(frame)


class Leaving(Totals):
    """Leaves in the map task, as if all were well."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        os._exit(0)


class Forking(Totals):
    """Has a process of its own for something."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        forked = os.fork()
        if forked == 0:
            os._exit(3)
        self.stats.incr_count(f"ended with {os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])}")
        return super().map(batch)


class Hungry(Totals):
    """Asks for more memory than there is."""

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        raise MemoryError("no room for a frame")


class Telling(Totals):
    """Tells in the log what its tasks know of themselves."""

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        self._tell()
        return super().map(batch)

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        self._tell()
        return super().reduce(frame)

    def _tell(self) -> None:
        names = ("ismap", "partition", "attempt_id", "output_dir")
        told = {name: os.environ[f"mapreduce_task_{name}"] for name in names} | {"process": os.getpid()}
        with Path(os.environ["SAMPLE_TRACES"]).open("a") as file:
            file.write(f"{json.dumps(told)}\n")


class Quitting(WordRows):
    """Ends without a word."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[str, int]]:
        sys.exit(7)
        yield line, 1

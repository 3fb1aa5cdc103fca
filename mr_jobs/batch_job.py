"""Jobs over frames: `map(batch) -> frame`, shuffled by bucket, `reduce(frame) -> frame`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
from mrjob.step import MRStep

from pinflow.errors import InputError
from pinflow.mr_jobs.clustering import BUCKET_SHARE, split
from pinflow.mr_jobs.coded import split_table
from pinflow.mr_jobs.job import DatasetJob
from pinflow.mr_jobs.local_plan import SMALL_BATCH_BYTES
from pinflow.mr_jobs.native import INPUT_ROWS
from pinflow.mr_jobs.output import Output, Rows
from pinflow.mr_jobs.shuffle import (
    BAD,
    ROWS,
    STATISTICS,
    FileShuffle,
    FileShuffleReader,
    LineShuffle,
    Parcel,
    ShuffleWriter,
    frame_of_tables,
    read_lines,
)
from pinflow.mr_jobs.sizes import held_bytes
from pinflow.mr_jobs.splits import DatasetSplit, read_parquet, read_split
from pinflow.stats_engine import shards
from pinflow.stats_engine.statistics import Statistics


class BatchJob(DatasetJob):
    """An mrjob job that works on Polars frames in place of records.

    A subclass declares `cluster_by` and `reduce` when its rows must meet, or neither for a job of maps alone; it
    may override `read` to parse raw input, and `combine` to shrink rows before the shuffle. Rows with equal
    `cluster_by` values come to `reduce` in one frame together with the rest of their bucket: memory is bounded
    by a bucket, not by the input (AN-16).
    """

    columns: ClassVar[Sequence[str] | None] = None
    reduces_empty: ClassVar[bool] = False
    """Whether `reduce` is also called for a bucket without rows, with a frame without columns."""
    small_bytes: ClassVar[int] = SMALL_BATCH_BYTES
    """Input that one task of this machine does in no time; more is divided over its slots."""
    bucket_share: ClassVar[int] = BUCKET_SHARE
    """The input of a bucket takes one part in so many of a task's memory at most; fewer if the rows that `map` sends
    take far less."""
    bytes_a_file: ClassVar[int | None] = None
    """Of so much input a bucket of the output is made, when many days of it are read together; None: as many buckets
    as the job itself takes."""

    def configure_args(self) -> None:
        """Declare the options of the shuffle between tasks of one machine."""
        super().configure_args()
        self.add_passthru_arg("--shuffle-from", action="append", default=[], help="folders of map tasks' parcels")
        self.add_passthru_arg("--shuffle-to", default="", help="folder for this map task's parcels; else lines")
        self.add_passthru_arg("--finer", type=int, default=1, help="into how many a bucket of the output is divided")
        self.add_passthru_arg("--reduce-buckets", default="", help="buckets of this reduce task, by comma")

    def batches(self, lines: Iterator[bytes]) -> Iterator[Any]:
        """The batches of a map task's input lines."""
        for line in lines:
            yield from self.read(line)

    def read(self, split_line: bytes) -> Iterator[Any]:
        """The batches of one input line: by default the frame of a split of a dataset, or of a Parquet file."""
        text = split_line.decode().strip()
        if text.startswith("["):
            yield read_split(DatasetSplit.from_line(text), self.columns)
        elif text.endswith(".parquet"):
            yield read_parquet(text, self.columns)
        else:
            raise InputError(f"{type(self).__name__} reads paths of Parquet files, one a line; got {text[:80]!r}")

    def rows_of(self, batch: Any) -> int:
        """How many rows a batch has, for the built-in count `input_rows`: those of the frames in it."""
        parts = batch if isinstance(batch, tuple) else (batch,)
        return sum(part.height for part in parts if isinstance(part, pl.DataFrame))

    def map(self, batch: Any) -> Rows | None:
        """Rows for the shuffle (or, without `reduce`, for the output) from one batch.

        Either frames of all batches or tables of all batches, such as `table_of` makes: these are sent without
        `parts`, combined by `combine_table`, and `reduce_bucket` gets them as they came by `Parts.tables`.
        """
        return batch if isinstance(batch, pl.DataFrame) else None

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Fewer rows that mean the same to `reduce`; called on all mapped rows of a task together."""
        return frame

    def combine_table(self, table: pa.Table) -> pa.Table:
        """As `combine`, where `map` gives tables."""
        return table

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of the output from all rows of bucket `self.bucket`."""
        raise NotImplementedError

    def parts(self, frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        """The rows of one bucket of a map task in parts; `reduce_bucket` gets the lower ones first."""
        yield 0, frame

    def reduce_bucket(self, parts: "Parts") -> Rows:
        """Rows of the output from the bucket's parts; by default `reduce` gets them all in one frame."""
        frames = list(parts)
        if not frames and not self.reduces_empty:
            return pl.DataFrame()
        return self.reduce(pl.concat(frames, how="diagonal", rechunk=True) if frames else pl.DataFrame())

    def map_final(self) -> pl.DataFrame | None:
        """More rows after the last batch of a map task."""
        return None

    bucket: int = 0

    def steps(self) -> list[MRStep]:
        """One step; with a reducer when rows must meet."""
        return [MRStep(mapper=self._streaming, reducer=self._streaming if self.cluster_by else None)]

    def _streaming(self, key: Any, value: Any) -> None:
        raise TypeError("a BatchJob works on frames; override map and reduce")

    def set_aside(self, lines: bytes) -> None:
        """Keep lines that could not be read, beside the output."""
        self._aside.append(lines)

    def run_mapper(self, step_num: int = 0) -> None:
        """Read all input lines, map, and send the rows on (called in a task)."""
        self._aside: list[bytes] = []
        if self.cluster_by:
            folder = self.options.shuffle_to
            writer: ShuffleWriter = FileShuffle(Path(folder)) if folder else LineShuffle(self.stdout)
            self._map_to_shuffle(writer)
        else:
            with self.task_output() as output:
                for frame in self._mapped():
                    output.write(frame, self.partition)
                    self._flush_aside(output)
                self._flush_aside(output)

    def _mapped(self) -> Iterator[Rows]:
        for batch in self.batches(self._read_input()):
            self.stats.incr_count(INPUT_ROWS, self.rows_of(batch))
            frame = self.map(batch)
            if frame is not None and len(frame.columns):
                yield frame
        last = self.map_final()
        if last is not None and last.width:
            yield last

    def _flush_aside(self, output: Output) -> None:
        for lines in self._aside:
            output.set_aside(lines, self.partition)
        self._aside.clear()

    def _map_to_shuffle(self, writer: ShuffleWriter) -> None:
        held: list[Rows] = []
        size = 0
        for rows in self._mapped():
            held.append(rows)
            size += held_bytes(rows)
            if size > self.memory // 8:
                self._send(writer, held)
                held, size = [], 0
        self._send(writer, held)
        if self.reduces_empty:  # lines carry only buckets that something was sent to
            for bucket in range(self.options.buckets):
                writer.write(Parcel(bucket, STATISTICS, None, shards.encode(Statistics())))
        number = self.partition % self.options.buckets
        for lines in self._aside:
            writer.write(Parcel(number, BAD, None, lines))
        writer.write(Parcel(number, STATISTICS, None, shards.encode(self.stats.statistics())))
        writer.close()

    def _send(self, writer: ShuffleWriter, held: Sequence[Rows]) -> None:
        buckets = self.options.buckets
        if tables := [rows for rows in held if isinstance(rows, pa.Table)]:
            whole = self.combine_table(pa.concat_tables(tables, promote_options="default"))
            for bucket, table in split_table(whole, self.cluster_by, buckets):
                writer.write(Parcel(bucket, ROWS, table))
        if frames := [rows for rows in held if isinstance(rows, pl.DataFrame)]:
            combined = self.combine(pl.concat(frames, how="diagonal", rechunk=True))
            for bucket, frame in split(combined, self.cluster_by, buckets):
                for part, piece in self.parts(frame):
                    writer.write(Parcel(bucket, ROWS, piece, part=part))

    def run_reducer(self, step_num: int = 0) -> None:
        """Reduce bucket by bucket (called in a task)."""
        with self.task_output() as output:
            for bucket, parts in self._received():
                self.bucket = bucket
                self._take_in(parts, output)
                result = self.reduce_bucket(parts)
                for number, rows in self._pieces(result):
                    output.write(rows, number)
                    output.finish(number)

    def _pieces(self, result: Rows) -> Iterable[tuple[int, Rows]]:
        """What is written, a file each: the bucket, or those that it is divided into."""
        if not len(result.columns):
            return []
        if self.options.finer == 1:
            return [(self.bucket, result)]
        buckets = self.options.buckets * self.options.finer
        if isinstance(result, pa.Table):
            return split_table(result, self.cluster_by, buckets)
        return split(result, self.cluster_by, buckets)

    def _received(self) -> Iterator[tuple[int, "Parts"]]:
        if self.options.shuffle_from:
            reader = FileShuffleReader(Path(folder) for folder in self.options.shuffle_from)
            for bucket in map(int, self.options.reduce_buckets.split(",")):
                yield bucket, Parts(partial(reader.read, bucket))
            return
        for bucket, parcels in groupby(read_lines(self._read_input()), key=attrgetter("bucket")):
            yield bucket, Parts(partial(_chosen, sorted(parcels, key=attrgetter("part"))))

    def _take_in(self, parts: "Parts", output: Output) -> None:
        for parcel in parts.read((STATISTICS, BAD)):
            if parcel.kind == STATISTICS:
                self.take_in_statistics(parcel.data, f"statistics of a map task for bucket {parcel.bucket}")
            else:
                output.set_aside(parcel.data, parcel.bucket)


@dataclass(frozen=True)
class Parts:
    """The rows that came to one bucket, a frame a part, the lowest first. `read` gives its parcels of some kinds."""

    read: Callable[[Sequence[str]], Iterator[Parcel]]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for _, parcels in groupby(self.read([ROWS]), key=attrgetter("part")):
            yield frame_of_tables([parcel.rows for parcel in parcels])

    def tables(self) -> list[pa.Table]:
        """All rows as they came, a table a parcel."""
        return [parcel.rows for parcel in self.read([ROWS]) if isinstance(parcel.rows, pa.Table)]


def _chosen(parcels: Sequence[Parcel], kinds: Sequence[str]) -> Iterator[Parcel]:
    return (parcel for parcel in parcels if parcel.kind in kinds)

"""Stage 4: rows into the serving store, a period at a time, its marker last (AN-13, AN-20)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

import numpy as np
import polars as pl

from pinflow.hbase_schema.keys import BUCKETS
from pinflow.hbase_schema.periods import AGGREGATIONS, period_start
from pinflow.hbase_schema.rows import NAMES, joined
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import Section
from pinflow.hbase_schema.writer import write_periods
from pinflow.mr_jobs.analytics.columns import SEPARATOR
from pinflow.mr_jobs.batch_job import Parts
from pinflow.mr_jobs.clustering import bucket_of
from pinflow.mr_jobs.coded import CodedRows, frame_of
from pinflow.mr_jobs.coded_job import CodedJob

WRITTEN = {
    "section": pl.String,
    "aggregation": pl.String,
    "start": pl.Date,
    **dict.fromkeys(("rows", "cells", "deleted_rows", "deleted_cells"), pl.Int64),
}
PARTS = 16


class Persist(CodedJob):
    """Write the rows of one section of the serving store; each period is one unit, in one reduce task.

    Publishes a row for each period: what was written and what was deleted since it had vanished. Counts
    `rows_read` = `rows_kept` + `rows_left_out`, where a row is left out when none of its aggregations is to be
    written; `rows_written`, `cells_written`, `rows_deleted` and `periods` of what was written; and the periods of
    the day that were not: `periods_left_out` since another run has seen more days (see `--labels`),
    `periods_superseded` since another run of their days has published them under a higher fence.
    """

    section: ClassVar[Section]
    cells: ClassVar[Sequence[str]]
    """The columns that become cells."""
    cluster_by = ("aggregations",)
    reduces_empty = True
    small_bytes = 8 << 20

    def configure_args(self) -> None:
        """Declare where to write and which periods."""
        super().configure_args()
        self.add_passthru_arg("--serving", required=True, help="file or hbase://host:port of the serving store")
        self.add_passthru_arg("--fence", type=int, default=0, help="a period of a higher fence is left alone")
        self.add_passthru_arg("--version", default="", help="what the markers are to say")
        self.add_passthru_arg("--labels", default="daily", help="aggregations to write, those of equal rows joined")

    def rows_together(self, dataset: str) -> int:
        """Few: each becomes many cells."""
        return 1 << 17

    def wanted(self, dataset: str) -> Sequence[str]:
        """What names a row, and its cells."""
        return (*NAMES, "aggregations", *self.cells)

    def map(self, batch: CodedRows) -> pl.DataFrame | None:
        """Packed rows of one file, labelled with those of their aggregations that are to be written."""
        self.stats.incr_count("rows_read", batch.height)
        packed = []
        aggregations = batch.texts["aggregations"]
        for number, label in enumerate(aggregations.values):
            rows = batch.chosen(np.flatnonzero(aggregations.codes == number))
            served = set(label.split(SEPARATOR))
            # rows of more periods than are written together come to each of the labels that divide them
            labels = [wanted for wanted in self._labels() if served.issuperset(wanted.split(SEPARATOR))]
            self.stats.incr_count("rows_kept" if labels else "rows_left_out", rows.height)
            if labels:
                made = self.pack(frame_of(rows.texts).with_columns(**rows.others))
                packed += [made.with_columns(aggregations=pl.lit(wanted)) for wanted in labels]
        return pl.concat(packed) if packed else None

    def parts(self, frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        """Rows of the first sixteenth of all heads, of the second, …: only one is worked on at a time."""
        part = pl.col("head").str.head(2).str.to_integer(base=16) // (len(BUCKETS) // PARTS)
        parts = frame.with_columns(part=part).partition_by("part", as_dict=True, include_key=False)
        yield from ((number, rows) for (number,), rows in parts.items())

    def reduce_bucket(self, parts: Parts) -> pl.DataFrame:
        """Write the periods of the bucket, also those that have no rows."""
        if self.bucket == 0:
            named = {name for label in self._labels() for name in label.split(SEPARATOR)}
            self.stats.incr_count("periods_left_out", len(set(AGGREGATIONS) - named))
        written = []
        for label in self._labels():
            if bucket_of(pl.DataFrame({"aggregations": [label]}), self.cluster_by, self.options.buckets) == self.bucket:
                written += self._write(_Labelled(parts, label), label.split(SEPARATOR))
        return pl.DataFrame(written, schema=WRITTEN)

    def _labels(self) -> list[str]:
        return [label for label in self.options.labels.split(",") if label]

    def pack(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of the store, packed and sorted, as `hbase_schema.rows` makes them."""
        raise NotImplementedError

    def _write(self, packed: Iterable[pl.DataFrame], aggregations: list[str]) -> list[dict[str, object]]:
        day = date.fromisoformat(self.options.date)
        starts = {aggregation: period_start(aggregation, day) for aggregation in aggregations}
        options = {"version": self.options.version, "fence": self.options.fence}
        with open_store(self.options.serving) as store:
            results = write_periods(store, self.section, starts, packed, **options)
        self.stats.incr_count("periods_superseded", len(starts) - len(results))
        for result in results.values():
            self.stats.incr_count("periods")
            self.stats.incr_count("rows_written", result.rows)
            self.stats.incr_count("cells_written", result.cells)
            self.stats.incr_count("rows_deleted", result.deleted_rows)
        return [
            {"section": self.section.name, "aggregation": aggregation, "start": starts[aggregation], **result._asdict()}
            for aggregation, result in results.items()
        ]


@dataclass(frozen=True)
class _Labelled:
    """The packed rows of one label, sorted in each part and from part to part."""

    parts: Parts
    label: str

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return (joined(part.filter(pl.col("aggregations") == self.label)) for part in self.parts)

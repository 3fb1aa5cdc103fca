"""Stage 4: rows into the serving store, a period at a time, its marker last (AN-13, AN-20)."""

from collections.abc import Iterator
from datetime import date
from typing import ClassVar

import polars as pl

from pinflow.hbase_schema.keys import row_keys
from pinflow.hbase_schema.periods import period_start
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.tables import Row, Section
from pinflow.hbase_schema.writer import write_period
from pinflow.mr_jobs.batch_job import BatchJob


class Persist(BatchJob):
    """Write the rows of one section of the serving store; each period is one unit, in one reduce task.

    Publishes a row for each period: what was written and what was deleted since it had vanished. Counts
    `rows_read`, `rows_written`, `cells_written`, `rows_deleted`, `periods`.
    """

    section: ClassVar[Section]
    cluster_by = ("aggregation",)

    def configure_args(self) -> None:
        """Declare where to write and which periods."""
        super().configure_args()
        self.add_passthru_arg("--serving", required=True, help="file or hbase://host:port of the serving store")
        self.add_passthru_arg("--fence", type=int, default=0, help="a period of a higher fence is left alone")
        self.add_passthru_arg("--version", default="", help="what the markers are to say")
        self.add_passthru_arg("--aggregations", default="daily,weekly,biweekly,monthly", help="which periods, by comma")

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        """The rows of the periods that are to be written."""
        chosen = batch.filter(pl.col("aggregation").is_in(self.options.aggregations.split(",")))
        self.stats.incr_count("rows_read", batch.height)
        return chosen.drop("date")

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Write the periods of the bucket."""
        return pl.DataFrame([self._write(*period) for period in self._periods(frame)], orient="row")

    def rows(self, frame: pl.DataFrame, keys: list[bytes]) -> list[Row]:
        """The rows of one period, sorted by key; `keys` has the row key of each row of the frame."""
        raise NotImplementedError

    def _periods(self, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        for (aggregation,), rows in sorted(frame.partition_by("aggregation", as_dict=True).items()):
            yield str(aggregation), rows

    def _write(self, aggregation: str, frame: pl.DataFrame) -> dict[str, object]:
        start = period_start(aggregation, date.fromisoformat(self.options.date))
        keys = row_keys(frame["subject"].to_list(), frame["platform"].to_list(), aggregation, start)
        rows = self.rows(frame, keys)
        with open_store(self.options.serving) as store:
            written = write_period(
                store, self.section, aggregation, start, rows, version=self.options.version, fence=self.options.fence
            )
        self.stats.incr_count("periods")
        self.stats.incr_count("rows_written", written.rows)
        self.stats.incr_count("cells_written", written.cells)
        self.stats.incr_count("rows_deleted", written.deleted_rows)
        return {"section": self.section.name, "aggregation": aggregation, "start": start, **written._asdict()}

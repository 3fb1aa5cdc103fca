"""The job that `benchmarks.batch_jobs` runs many times; apart from its workflow, which is read without Polars."""

import polars as pl

from pinflow.mr_jobs.batch_job import BatchJob


class PinsByBoard(BatchJob):
    """One map and one reduce task."""

    cluster_by = ("board_id",)
    columns = ("board_id",)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame:
        """The number of pins of each board."""
        self.stats.incr_count("rows_read", batch.height)
        return batch.group_by("board_id").agg(pins=pl.len())

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The numbers of all map tasks together."""
        return frame.group_by("board_id").agg(pl.col("pins").sum())

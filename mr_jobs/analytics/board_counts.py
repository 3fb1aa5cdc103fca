"""Stage 2: how often the pins of each board were seen, clicked, repinned …, by app (AN-04)."""

import polars as pl

from pinflow.mr_jobs.analytics.columns import rank_columns, sum_counts, with_all_counts
from pinflow.mr_jobs.batch_job import BatchJob

BOARD_KEYS = ("domain", "owner_id", "board_id", "app")


class BoardCounts(BatchJob):
    """Sum the counts of pins by board; a board's rank is the best of its pins. Counts `boards`."""

    cluster_by = ("board_id",)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame | None:
        """Counts of the boards in one bucket of pins; pins without a board are left out."""
        on_boards = batch.filter(pl.col("board_id").is_not_null())
        self.stats.incr_count("rows_read", batch.height)
        self.stats.incr_count("rows_without_board", batch.height - on_boards.height)
        return on_boards.drop("date", "pin_id") if on_boards.height else None

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Counts by board."""
        ranks = [pl.col(name).max() for name in rank_columns(frame)]
        return with_all_counts(frame).group_by(BOARD_KEYS).agg(*sum_counts(), *ranks)

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Counts of the bucket's boards."""
        counted = self.combine(frame)
        self.stats.incr_count("boards", counted["board_id"].n_unique())
        return counted.sort("board_id", "app")


if __name__ == "__main__":
    BoardCounts.run()

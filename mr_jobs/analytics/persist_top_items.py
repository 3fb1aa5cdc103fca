"""Stage 4: the top lists of domains and profiles into the serving store."""

import polars as pl

from pinflow.hbase_schema.rows import top_rows
from pinflow.hbase_schema.tables import TOP_ITEMS
from pinflow.mr_jobs.analytics.persist import Persist


class PersistTopItems(Persist):
    """A cell an item of a list, and one for its remainder."""

    section = TOP_ITEMS
    cells = ("items", "by", "rank", "id", "value")

    def pack(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of top lists."""
        return top_rows(frame)


if __name__ == "__main__":
    PersistTopItems.run()

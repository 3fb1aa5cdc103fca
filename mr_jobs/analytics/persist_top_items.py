"""Stage 4: the top lists of domains and profiles into the serving store."""

import polars as pl

from pinflow.hbase_schema.rows import top_rows
from pinflow.hbase_schema.tables import TOP_ITEMS, Row
from pinflow.mr_jobs.analytics.persist import Persist


class PersistTopItems(Persist):
    """A cell an item of a list, and one for its remainder."""

    section = TOP_ITEMS

    def rows(self, frame: pl.DataFrame, keys: list[bytes]) -> list[Row]:
        """Rows of top lists."""
        return top_rows(keys, *(frame[name].to_list() for name in ("items", "by", "rank", "id", "value")))


if __name__ == "__main__":
    PersistTopItems.run()

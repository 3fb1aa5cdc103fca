"""Stage 4: the audiences of domains and profiles into the serving store."""

import polars as pl

from pinflow.hbase_schema.rows import audience_rows
from pinflow.hbase_schema.tables import AUDIENCES
from pinflow.mr_jobs.analytics.persist import Persist


class PersistAudience(Persist):
    """A cell a value of country, metro or gender."""

    section = AUDIENCES
    cells = ("dimension", "value", "users")

    def pack(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of audiences."""
        return audience_rows(frame)


if __name__ == "__main__":
    PersistAudience.run()

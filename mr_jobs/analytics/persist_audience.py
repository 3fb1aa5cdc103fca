"""Stage 4: the audiences of domains and profiles into the serving store."""

import polars as pl

from pinflow.hbase_schema.rows import audience_rows
from pinflow.hbase_schema.tables import AUDIENCES, Row
from pinflow.mr_jobs.analytics.persist import Persist


class PersistAudience(Persist):
    """A cell a value of country, metro or gender."""

    section = AUDIENCES

    def rows(self, frame: pl.DataFrame, keys: list[bytes]) -> list[Row]:
        """Rows of audiences."""
        return audience_rows(keys, *(frame[name].to_list() for name in ("dimension", "value", "users")))


if __name__ == "__main__":
    PersistAudience.run()

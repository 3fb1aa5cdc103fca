"""Stage 4: the metrics of domains and profiles into the serving store."""

import polars as pl

from pinflow.hbase_schema.rows import metric_rows
from pinflow.hbase_schema.tables import METRICS as SECTION
from pinflow.hbase_schema.tables import Row
from pinflow.mr_jobs.analytics.persist import Persist
from pinflow.mr_jobs.analytics.subject_metrics import METRICS


class PersistMetrics(Persist):
    """A cell a metric that is not zero."""

    section = SECTION

    def rows(self, frame: pl.DataFrame, keys: list[bytes]) -> list[Row]:
        """Rows of metrics."""
        present = frame.select(pl.when(pl.col(name) > 0).then(pl.col(name)).alias(name) for name in METRICS)
        return metric_rows(keys, present.to_dict(as_series=False))


if __name__ == "__main__":
    PersistMetrics.run()

"""Stage 4: the metrics of domains and profiles into the serving store."""

import polars as pl

from pinflow.hbase_schema.rows import metric_rows
from pinflow.hbase_schema.tables import METRICS
from pinflow.mr_jobs.analytics.persist import Persist
from pinflow.mr_jobs.analytics.subject_metrics import METRICS as METRIC_NAMES


class PersistMetrics(Persist):
    """A cell a metric that is not zero."""

    section = METRICS
    cells = METRIC_NAMES

    def pack(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of metrics."""
        return metric_rows(frame, METRIC_NAMES)


if __name__ == "__main__":
    PersistMetrics.run()

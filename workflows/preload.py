"""What the processes of a run have in common, imported once, in their zygote."""

from pinflow.zygote import Zygote

_ANALYTICS = (
    "audience",
    "board_counts",
    "boards",
    "extract_events",
    "persist_audience",
    "persist_metrics",
    "persist_top_items",
    "pin_counts",
    "pins",
    "read_events",
    "subject_metrics",
    "top_items",
    "user_actions",
    "users",
)
PRELOAD = (
    "polars",
    "pyarrow.parquet",
    "sqlalchemy.dialects.sqlite",
    "pinflow.workflows.mapreduce",
    "pinflow.workflows.conditions",
    "pinflow.stats_engine.thrift_types",
    "pinflow.mr_jobs.local_tasks",
    "pinflow.mr_jobs.inputs.access_log",
    "pinflow.hbase_schema.embedded",
    *(f"pinflow.mr_jobs.analytics.{name}" for name in _ANALYTICS),
)


def start_zygote() -> Zygote:
    """Start the zygote of a run; returns at once, while it still imports."""
    return Zygote.start(PRELOAD)

"""What the processes of a run have in common, imported once, in their zygote."""

from pinflow.config import Settings
from pinflow.zygote import Zygote

_ANALYTICS = (
    "board_counts",
    "boards",
    "domain_audience",
    "domain_metrics",
    "domain_top_boards",
    "domain_top_pins",
    "extract_events",
    "persist_audience",
    "persist_metrics",
    "persist_top_items",
    "pin_counts",
    "pins",
    "profile_audience",
    "profile_metrics",
    "profile_top_boards",
    "profile_top_pins",
    "read_events",
    "user_actions",
    "users",
)
PRELOAD = (
    "polars",
    "polars._utils.parquet",
    "numpy.ma",
    "pyarrow.compute",
    "pyarrow.parquet",
    "thriftpy2.utils",
    "pinflow.workflows.mapreduce",
    "pinflow.workflows.conditions",
    "pinflow.stats_engine.columns",
    "pinflow.stats_engine.judgement",
    "pinflow.stats_engine.packed_buckets",
    "pinflow.stats_engine.thrift_types",
    "pinflow.mr_jobs.local_tasks",
    "pinflow.mr_jobs.inputs.access_log",
    "pinflow.hbase_schema.embedded",
    *(f"pinflow.mr_jobs.analytics.{name}" for name in _ANALYTICS),
)


OF_SCHEME = {
    "s3": ("pinflow.storage_s3",),
    "hdfs": ("pinflow.storage_hdfs",),
    "webhdfs": ("pinflow.storage_hdfs",),
    "swebhdfs": ("pinflow.storage_hdfs",),
    "hbase": ("pinflow.hbase_schema.hbase",),
    "sqlite": ("pinflow.workflows.rehearsal:rehearse",),
    "mysql+pymysql": ("sqlalchemy.dialects.mysql.pymysql", "pymysql"),
}
"""What else is imported or called, by the scheme of a place that is configured."""


def start_zygote(settings: Settings) -> Zygote:
    """Start the zygote of a run; returns at once, while it still imports."""
    places = (settings.input, settings.warehouse, settings.serving, settings.database_url)
    needed = {name for place in places for name in OF_SCHEME.get(place.partition("://")[0], ())}
    return Zygote.start((*PRELOAD, *sorted(needed)))

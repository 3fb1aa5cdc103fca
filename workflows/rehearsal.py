"""What each job's process does once, done before in their zygote: what it took to prepare stays with all of them."""

from datetime import UTC, datetime

import pyarrow as pa

from pinflow.database import open_database
from pinflow.mr_jobs.analytics.pins import Pins
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.engine import StatsEngine
from pinflow.stats_engine.history import numbers_of, read_history
from pinflow.stats_engine.record import is_recorded, mark_published, record
from pinflow.stats_engine.tables import METADATA


def rehearse() -> None:
    """Read a job's options; record an attempt, publish it and look at the past, in memory.

    SQLAlchemy keeps the statements that it compiled, `re` the patterns, Arrow that there is no Pandas.
    """
    Pins(args=[])
    pa.array(["text"])
    now = datetime.now(UTC)
    key = JobKey(workflow="w", run_id="w-2015-05-18-1", job="j", attempt=1, date="2015-05-18", owner="o")
    counted = StatsEngine()
    for name in ("one", "two"):  # one row and many have statements of their own; there is never only one
        counted.incr_count(f"count_{name}")
        counted.add_sum(f"sum_{name}", 1.0)
        counted.add_item("items", name, 1.0)
        counted.add_to_histogram("values", len(counted.statistics().counts))
    engine = open_database("sqlite://")
    with engine.begin() as connection:
        METADATA.create_all(connection)
        record(connection, key, counted.statistics(), [], now)
        mark_published(connection, key)
        is_recorded(connection, key)
        read_history(connection, key.workflow, key.job, ["one"], now.date())
        numbers_of(connection, key.workflow, {key.job: ["one"]}, now.date())
    engine.dispose()

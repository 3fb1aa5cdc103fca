"""Stage 2: the metrics of each domain and profile, of every platform and aggregation (AN-11, AN-23, AN-24).

Everything is a sum over buckets: a pin, board or user lies in one bucket on all days, so distinct ones counted in
each bucket add up, exactly, for a day as for a month.
"""

from collections.abc import Iterator
from datetime import date
from typing import ClassVar

import polars as pl

from pinflow.mr_jobs.analytics.codes import code, sums_by
from pinflow.mr_jobs.analytics.columns import (
    ALL,
    COUNTS,
    EVENT_TYPES,
    DaySet,
    day_sets,
    set_bits,
    sum_counts,
)
from pinflow.mr_jobs.analytics.distinct import Actions
from pinflow.mr_jobs.batch_job import BatchJob
from pinflow.mr_jobs.splits import DatasetSplit, read_split

KEYS = ("subject", "platform", "aggregations")
WIDTH = len(EVENT_TYPES)
USER_BITS = {**{f"{event}_users": 1 << i for i, event in enumerate(EVENT_TYPES)}, "users": (1 << WIDTH) - 1}
USER_METRICS = tuple(USER_BITS)
METRICS = (*COUNTS, *USER_METRICS, "pins", "boards")


class SubjectMetrics(BatchJob):
    """Metrics of the subjects that one column names, from pin counts, board counts and user actions.

    Rows: `subject`, `platform`, `aggregations` and a column a metric. Counts `rows_read` and `subjects`.
    """

    subject: ClassVar[str]
    prefix: ClassVar[str]
    cluster_by = ("subject",)

    def read(self, split_line: bytes) -> Iterator[tuple[str, pl.DataFrame]]:
        """The dataset's name and all rows of one bucket."""
        split = DatasetSplit.from_line(split_line)
        yield split.dataset, read_split(split)

    def map(self, batch: tuple[str, pl.DataFrame]) -> pl.DataFrame | None:
        """What the bucket adds to each subject's metrics."""
        dataset, frame = batch
        self.stats.incr_count("rows_read", frame.height)
        named = frame.filter(pl.col(self.subject).is_not_null()).rename({self.subject: "subject"})
        if named.is_empty():
            return None
        sets = day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))
        if dataset == "user_actions":
            return self._users(named, sets)
        item, metric = ("pin_id", "pins") if dataset == "pin_counts" else ("board_id", "boards")
        sums = sum_counts() if dataset == "pin_counts" else []
        distinct = pl.col(item).n_unique().cast(pl.Int64).alias(metric)
        return pl.concat([self._items(named, days, [*sums, distinct]) for days in sets])

    def _items(self, frame: pl.DataFrame, days: DaySet, metrics: list[pl.Expr]) -> pl.DataFrame:
        aggregations, chosen = days
        rows = frame.filter(pl.col("date").is_in(chosen))
        by_app = rows.group_by("subject", pl.col("app").alias("platform")).agg(metrics)
        over_all = rows.group_by("subject").agg(metrics).with_columns(platform=pl.lit(ALL))
        return pl.concat([by_app, over_all], how="diagonal").with_columns(aggregations=pl.lit(aggregations))

    def _users(self, frame: pl.DataFrame, sets: list[DaySet]) -> pl.DataFrame:
        masks = frame.select(mask=pl.col("mask").cast(pl.Int64) * set_bits(sets, WIDTH))["mask"]
        columns = {"subject": code(frame["subject"]), "platform": code(frame["app"])}
        actions = Actions(columns, code(frame["user_id"]), masks.to_numpy(), len(sets) * WIDTH)
        selections = {
            f"{number}{metric}": bits << (number * WIDTH)
            for number in range(len(sets))
            for metric, bits in USER_BITS.items()
        }
        counts = actions.distinct(["subject"], "platform").count(selections)
        rows = []
        for number, (aggregations, _) in enumerate(sets):
            metrics = [pl.col(f"{number}{metric}").alias(metric) for metric in USER_METRICS]
            rows.append(counts.select("subject", "platform", *metrics, aggregations=pl.lit(aggregations)))
        return pl.concat(rows)

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Sums by subject, platform and aggregation."""
        return sums_by(frame, KEYS, [name for name in METRICS if name in frame.columns])

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The metrics of the bucket's subjects."""
        missing = [pl.lit(0, pl.Int64).alias(name) for name in METRICS if name not in frame.columns]
        metrics = self.combine(frame.with_columns(missing)).filter(pl.any_horizontal(pl.col(METRICS) > 0))
        daily = metrics.filter(pl.col("aggregations").str.starts_with("daily") & (pl.col("platform") == ALL))
        self.stats.incr_count("subjects", daily.height)
        for event in EVENT_TYPES:
            self.stats.incr_count(event, int(daily[event].sum()))
        self.stats.add_item("subjects_by_impression", daily["subject"], daily["impression"])
        self.stats.add_to_histogram("users_per_subject", daily["users"])
        return metrics.with_columns(subject=pl.lit(self.prefix) + pl.col("subject"))

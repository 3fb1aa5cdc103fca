"""Stage 2: the metrics of each domain and profile, of every platform and aggregation (AN-11, AN-23, AN-24).

Everything is a sum over buckets: a pin, board or user lies in one bucket on all days, so distinct ones counted in
each bucket add up, exactly, for a day as for a month.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import ClassVar

import numpy as np
import polars as pl

from pinflow.mr_jobs.analytics.columns import (
    ALL,
    COUNTS,
    EVENT_TYPES,
    DaySet,
    day_sets,
    set_bits,
)
from pinflow.mr_jobs.analytics.distinct import Actions, bits_of, of_days
from pinflow.mr_jobs.coded import CodedRows, categorical, dtype_of
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, code, numbered, sums_by, total

KEYS = ("subject", "platform", "aggregations")
WIDTH = len(EVENT_TYPES)
USER_BITS = {**{f"{event}_users": 1 << i for i, event in enumerate(EVENT_TYPES)}, "users": (1 << WIDTH) - 1}
USER_METRICS = tuple(USER_BITS)
COLUMNS = {"user_actions": ("user_id", "mask"), "pin_counts": ("pin_id", *COUNTS), "board_counts": ("board_id",)}
METRICS = (*COUNTS, *USER_METRICS, "pins", "boards")


class SubjectMetrics(CodedJob):
    """Metrics of the subjects that one column names, from pin counts, board counts and user actions.

    Rows: `subject`, `platform`, `aggregations` and a column a metric. Counts `rows_read` and `subjects`.
    """

    subject: ClassVar[str]
    prefix: ClassVar[str]
    cluster_by = ("subject",)
    bucket_share = 8

    def rows_together(self, dataset: str) -> int:
        """Few of pins and boards, whose counts are wide; many of users."""
        return 1 << 20 if dataset == "user_actions" else 1 << 18

    def wanted(self, dataset: str) -> Sequence[str]:
        """What each of the three datasets adds."""
        return (self.subject, "app", *COLUMNS[dataset])

    def map(self, batch: CodedRows) -> pl.DataFrame | None:
        """What the bucket adds to each subject's metrics."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.having(self.subject)
        if not named.height:
            return None
        sets = day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))
        if batch.dataset == "user_actions":
            return self._users(named, sets)
        metric = "pins" if batch.dataset == "pin_counts" else "boards"
        return pl.concat([self._items(named, metric, days) for days in sets])

    def _items(self, rows: CodedRows, metric: str, days: DaySet) -> pl.DataFrame:
        aggregations, chosen = days
        rows = of_days(rows, chosen)
        keys = self._keys(rows)
        items = Actions(keys, rows.texts[f"{metric[:-1]}_id"], np.ones(rows.height, np.uint8), 1)
        counted = items.count(["subject"], "platform", {metric: 1})
        if rows.others:
            counted = counted.hstack(_sums(keys, rows.others))
        return counted.with_columns(pl.lit(aggregations, dtype_of("aggregations")).alias("aggregations"))

    def _keys(self, rows: CodedRows) -> dict[str, Coded]:
        named = {"subject": rows.texts[self.subject], "platform": rows.texts["app"]}
        return {name: categorical(name, column) for name, column in named.items()}

    def _users(self, rows: CodedRows, sets: list[DaySet]) -> pl.DataFrame:
        masks = rows.others["mask"].to_numpy() * bits_of(rows.texts["date"], set_bits(sets, WIDTH))
        actions = Actions(self._keys(rows), rows.texts["user_id"], masks, len(sets) * WIDTH)
        selections = {
            f"{number}{metric}": bits << (number * WIDTH)
            for number in range(len(sets))
            for metric, bits in USER_BITS.items()
        }
        counts = actions.count(["subject"], "platform", selections)
        frames = []
        for number, (aggregations, _) in enumerate(sets):
            metrics = [pl.col(f"{number}{metric}").alias(metric) for metric in USER_METRICS]
            label = pl.lit(aggregations, dtype_of("aggregations")).alias("aggregations")
            frames.append(counts.select("subject", "platform", *metrics, label))
        return pl.concat(frames)

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Sums by subject, platform and aggregation."""
        return _summed(frame, {name: code(frame[name]) for name in KEYS})

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The metrics of the bucket's subjects."""
        missing = [pl.lit(0, pl.Int64).alias(name) for name in METRICS if name not in frame.columns]
        keys = {name: code(frame[name]).in_order() for name in KEYS}
        summed = _summed(frame, keys).with_columns(missing).select(*KEYS, *METRICS)
        metrics = summed.filter(pl.any_horizontal(pl.col(METRICS) > 0))
        is_daily = pl.col("aggregations").cast(pl.String).str.starts_with("daily")
        daily = metrics.filter(is_daily & (pl.col("platform") == ALL))
        self.stats.incr_count("subjects", daily.height)
        for event in EVENT_TYPES:
            self.stats.incr_count(event, int(daily[event].sum()))
        self.stats.add_item("subjects_by_impression", daily["subject"].cast(pl.String), daily["impression"])
        self.stats.add_to_histogram("users_per_subject", daily["users"])
        subjects = code(metrics["subject"]).prefixed(self.prefix)
        return metrics.with_columns(subjects.decode(subjects.codes).alias("subject"))


def _summed(frame: pl.DataFrame, keys: Mapping[str, Coded]) -> pl.DataFrame:
    return sums_by(keys, {name: frame[name] for name in METRICS if name in frame.columns})


def _sums(keys: Mapping[str, Coded], counts: Mapping[str, pl.Series]) -> pl.DataFrame:
    """The counts by subject and platform, and last by subject alone, in the order of the rows that `Actions` counts."""
    subject, platform = keys.values()
    width = len(platform.values) + 1
    every = subject.codes.astype(np.int64) * width + len(platform.values)
    used, cells = numbered(np.concatenate([every - len(platform.values) + platform.codes, every]))
    kept = np.flatnonzero(np.bincount(cells))
    cells = cells[: len(every)]
    is_all = used[kept] % width == len(platform.values)
    starts = np.flatnonzero(np.roll(is_all, 1))
    sums = {}
    for name in COUNTS:
        sums[name] = total(cells, counts[name], len(used))[kept]
        sums[name][is_all] = np.add.reduceat(sums[name], starts)
    return pl.DataFrame(sums)

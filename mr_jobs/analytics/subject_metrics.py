"""Stage 2: the metrics of each domain and profile, of every platform and aggregation (AN-11, AN-23, AN-24).

Everything is a sum over buckets: a pin, board or user lies in one bucket on all days, so distinct ones counted in
each bucket add up, exactly, for a day as for a month.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.analytics.columns import (
    COUNTS,
    EVENT_TYPES,
    DaySet,
    day_sets,
    set_bits,
)
from pinflow.mr_jobs.analytics.distinct import Actions, bits_of, of_day, of_days
from pinflow.mr_jobs.coded import CodedRows, joined, sums_by_texts
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, numbered, total

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

    def map(self, batch: CodedRows) -> pa.Table | None:
        """What the bucket adds to each subject's metrics."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.having(self.subject)
        if not named.height:
            return None
        sets = day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))
        if batch.dataset == "user_actions":
            found = self._users(named, sets)
        else:
            metric = "pins" if batch.dataset == "pin_counts" else "boards"
            found = [self._items(named, metric, days) for _, days in sets]
        labelled = [_labelled(rows, label).table() for rows, (label, _) in zip(found, sets, strict=True)]
        return pa.concat_tables(labelled)

    def _items(self, rows: CodedRows, metric: str, days: Sequence[str]) -> CodedRows:
        rows = of_days(rows, days)
        keys = self._keys(rows)
        items = Actions(keys, rows.texts[f"{metric[:-1]}_id"], np.ones(rows.height, np.uint8), 1)
        counted = items.count(["subject"], "platform", {metric: 1})
        return replace(counted, others=counted.others | _sums(keys, rows.others)) if rows.others else counted

    def _keys(self, rows: CodedRows) -> dict[str, Coded]:
        return {"subject": rows.texts[self.subject], "platform": rows.texts["app"]}

    def _users(self, rows: CodedRows, sets: Sequence[DaySet]) -> list[CodedRows]:
        masks = rows.others["mask"].to_numpy() * bits_of(rows.texts["date"], set_bits(sets, WIDTH))
        actions = Actions(self._keys(rows), rows.texts["user_id"], masks, len(sets) * WIDTH)
        selections = {
            f"{number}{metric}": bits << (number * WIDTH)
            for number in range(len(sets))
            for metric, bits in USER_BITS.items()
        }
        counts = actions.count(["subject"], "platform", selections)
        return [
            replace(counts, others={metric: counts.others[f"{number}{metric}"] for metric in USER_METRICS})
            for number in range(len(sets))
        ]

    def combine_table(self, table: pa.Table) -> pa.Table:
        """Sums by subject, platform and aggregation."""
        return sums_by_texts(joined([table])).table()

    def reduce_rows(self, rows: CodedRows) -> pa.Table:
        """The metrics of the bucket's subjects."""
        summed = sums_by_texts(rows.in_order())
        counts = {name: summed.others.get(name, pl.Series(np.zeros(summed.height, np.int64))) for name in METRICS}
        is_any = np.logical_or.reduce([count.to_numpy() > 0 for count in counts.values()])
        metrics = replace(summed, others=counts).chosen(np.flatnonzero(is_any)).used()
        self._note(metrics)
        texts = {name: metrics.texts[name] for name in KEYS}
        texts["subject"] = texts["subject"].prefixed(self.prefix)
        return replace(metrics, texts=texts).table()

    def _note(self, metrics: CodedRows) -> None:
        """Count the day's subjects, and their events and users on all platforms."""
        day = of_day(metrics)
        self.stats.incr_count("subjects", day.height)
        for event in EVENT_TYPES:
            self.stats.incr_count(event, int(day.others[event].sum()))
        subjects = day.texts["subject"]
        self.stats.add_item("subjects_by_impression", subjects.decode(subjects.codes), day.others["impression"])
        self.stats.add_to_histogram("users_per_subject", day.others["users"])


def _labelled(rows: CodedRows, aggregations: str) -> CodedRows:
    return replace(rows, texts=rows.texts | {"aggregations": Coded.constant(aggregations, rows.height)})


def _sums(keys: Mapping[str, Coded], counts: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
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
    return {name: pl.Series(column) for name, column in sums.items()}

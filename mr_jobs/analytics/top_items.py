"""Stage 3: the top pins and boards of each domain and profile, by event type and by ranking (AN-12, AN-16).

A bounded priority queue a group, in columns: each bucket keeps at most k rows of a group, the reducer merges them and
cuts to k again. An item lies in one bucket, so its total is complete there and the cut is exact (AN-17). What is cut
is summed into the remainder `_other`.
"""

from datetime import date
from typing import ClassVar

import polars as pl

from pinflow.mr_jobs.analytics.columns import (
    ALL,
    EVENT_TYPES,
    RANK_PREFIX,
    DaySet,
    day_sets,
    rank_columns,
)
from pinflow.mr_jobs.batch_job import BatchJob

GROUP = ("subject", "platform", "aggregations", "by")
OTHER = "_other"
ROW = ("rank", "id", "value")


class TopItems(BatchJob):
    """Top lists of one kind of item for one kind of subject.

    Rows: `subject`, `platform`, `aggregations`, `items`, `by`, `rank` (from 1; null for the remainder), `id`, `value`.
    Order: value descending, then id ascending by code point. Counts `rows_read`, `lists`, `lists_cut`.
    """

    subject: ClassVar[str]
    prefix: ClassVar[str]
    item: ClassVar[str]
    items: ClassVar[str]
    cluster_by = ("subject",)

    def configure_args(self) -> None:
        """Declare the length of the lists."""
        super().configure_args()
        self.add_passthru_arg("--top", type=int, default=100, help="length of the lists")

    def map(self, batch: pl.DataFrame) -> pl.DataFrame | None:
        """The bucket's own top lists and remainders."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.filter(pl.col(self.subject).is_not_null() & pl.col(self.item).is_not_null())
        if named.is_empty():
            return None
        rows = named.rename({self.subject: "subject", self.item: "id", "app": "platform"})
        sets = day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))
        return pl.concat([self._lists(rows, days) for days in sets])

    def _lists(self, rows: pl.DataFrame, days: DaySet) -> pl.DataFrame:
        aggregations, chosen = days
        in_period = rows.filter(pl.col("date").is_in(chosen))
        totals = _totals(in_period, ["subject", "platform", "id"])
        over_all = _totals(in_period, ["subject", "id"]).with_columns(platform=pl.lit(ALL))
        every = pl.concat([totals, over_all], how="diagonal")
        lists = [
            every.filter(condition).select("subject", "platform", "id", pl.lit(by).alias("by"), value=value)
            for by, value, condition in _measures(every)
        ]
        return cut(pl.concat(lists), ("subject", "platform", "by"), self.options.top).with_columns(
            aggregations=pl.lit(aggregations)
        )

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The top lists of the bucket's subjects."""
        merged = cut(frame, GROUP, self.options.top)
        ranked = merged.filter(~pl.col("other")).sort(
            [*GROUP, "value", "id"], descending=[False] * len(GROUP) + [True, False]
        )
        groups = ranked.select(GROUP).to_struct().rle_id()
        first = (
            pl.Series(groups)
            .to_frame("group")
            .with_row_index()
            .with_columns(rank=pl.col("index").cast(pl.Int64) - pl.col("index").cast(pl.Int64).min().over("group") + 1)[
                "rank"
            ]
        )
        others = merged.filter(pl.col("other")).sort(GROUP).with_columns(rank=pl.lit(None, pl.Int64))
        self.stats.incr_count("lists", pl.Series(groups).n_unique())
        self.stats.incr_count("lists_cut", others.height)
        rows = pl.concat([ranked.with_columns(rank=first), others.select(*ranked.columns, "rank")])
        return rows.select(
            (pl.lit(self.prefix) + pl.col("subject")).alias("subject"),
            *("platform", "aggregations"),
            pl.lit(self.items).alias("items"),
            "by",
            *ROW,
        ).sort("subject", maintain_order=True)


def cut(frame: pl.DataFrame, group: tuple[str, ...], length: int) -> pl.DataFrame:
    """At most `length` rows a group, in the total order, and one row `other` with the sum of the rest if there is one.

    Rows that are marked `other` already count to the rest.
    """
    if "other" not in frame.columns:
        frame = frame.with_columns(other=pl.lit(False))
    items, rest = frame.filter(~pl.col("other")), frame.filter(pl.col("other"))
    large = items.group_by(group).len().filter(pl.col("len") > length)
    if large.height:
        crowded = items.join(large, on=group, how="semi", nulls_equal=True)
        ordered = crowded.sort(["value", "id"], descending=[True, False])
        place = pl.int_range(pl.len()).over(group)
        marked = ordered.with_columns(other=place >= length)
        rest = pl.concat([rest, marked.filter(pl.col("other"))])
        small = items.join(large, on=group, how="anti", nulls_equal=True)
        items = pl.concat([small, marked.filter(~pl.col("other"))])
    if rest.is_empty():
        return items
    others = rest.group_by(group).agg(pl.col("value").sum()).with_columns(id=pl.lit(OTHER), other=pl.lit(True))
    return pl.concat([items, others.select(items.columns)])


def _totals(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Counts of the period, and each ranking's value on the last day on which the item had events."""
    ranks = rank_columns(rows)
    counts = [pl.col(event).sum().cast(pl.Float64) for event in EVENT_TYPES]
    if rows["date"].n_unique() == 1:
        return rows.group_by(keys).agg(*counts, *(pl.col(name).max() for name in ranks))
    daily = rows.group_by(*keys, "date").agg(*counts, *(pl.col(name).max() for name in ranks)).sort("date")
    last = [pl.col(name).last() for name in ranks]
    return daily.group_by(keys, maintain_order=True).agg(*(pl.col(event).sum() for event in EVENT_TYPES), *last)


def _measures(frame: pl.DataFrame) -> list[tuple[str, pl.Expr, pl.Expr]]:
    """Name, value and condition of each order: event types with at least one event, rankings that are there."""
    counts = [(event, pl.col(event), pl.col(event) > 0) for event in EVENT_TYPES]
    ranks = [
        (name.removeprefix(RANK_PREFIX), pl.col(name), pl.col(name).is_not_null() & pl.col(name).is_not_nan())
        for name in rank_columns(frame)
    ]
    return counts + ranks

"""Stage 3: the top pins and boards of each domain and profile, by event type and by ranking (AN-12, AN-16).

A bounded priority queue a group, in columns: each bucket keeps at most k rows of a group, the reducer merges them and
cuts to k again. An item lies in one bucket, so its total is complete there and the cut is exact (AN-17). What is cut
is summed into the remainder `_other`.
"""

from collections.abc import Sequence
from datetime import date
from typing import ClassVar

import numpy as np
import polars as pl

from pinflow.mr_jobs.analytics.codes import changes, code, pack, sort_order
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
        return top(pl.concat(lists), ("subject", "platform", "by"), self.options.top).with_columns(
            aggregations=pl.lit(aggregations)
        )

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The top lists of the bucket's subjects."""
        lists = top(frame, GROUP, self.options.top)
        self.stats.incr_count("lists", lists.filter(pl.col("rank") == 1).height)
        self.stats.incr_count("lists_cut", lists["rank"].null_count())
        return lists.select(
            (pl.lit(self.prefix) + pl.col("subject")).alias("subject"),
            *("platform", "aggregations"),
            pl.lit(self.items).alias("items"),
            "by",
            *ROW,
        )


def top(frame: pl.DataFrame, group: Sequence[str], length: int) -> pl.DataFrame:
    """The first `length` rows of each group with their `rank`, and a remainder: `_other`, rank null, sum of the rest.

    Rows come in the order of group, rank. Those of rank null in `frame` count to the rest.
    """
    rest = np.zeros(frame.height, np.bool_)
    if "rank" in frame.columns:
        rest |= frame["rank"].is_null().to_numpy()
    columns = [code(frame[name]).in_order() for name in group]
    keys = pack([*((c.codes, c.bits) for c in columns), (rest.astype(np.uint64), 1)])
    order = sort_order([keys, frame["value"].to_numpy(), code(frame["id"]).in_order().codes], [False, True, False])
    starts = np.flatnonzero(changes(keys[order] >> np.uint64(1)))
    sizes = np.diff(starts, append=len(order))
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    rest = rest[order] | (place >= length)
    values = frame["value"].to_numpy()[order]
    remainders = np.repeat(np.add.reduceat(np.where(rest, values, 0.0), starts), sizes)
    is_remainder = rest & ~(np.append(False, rest[:-1]) & (place > 0))
    ranked = frame[order].with_columns(
        id=pl.when(pl.Series(is_remainder)).then(pl.lit(OTHER)).otherwise("id"),
        value=np.where(rest, remainders, values),
        rank=pl.when(~pl.Series(rest)).then(pl.Series(place + 1)),
    )
    return ranked.filter(~rest | is_remainder)


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
    ranks = [(name.removeprefix(RANK_PREFIX), pl.col(name), pl.col(name).is_not_null()) for name in rank_columns(frame)]
    return counts + ranks

"""Stage 2: how often each pin was seen, clicked, repinned …, by app (AN-04)."""

from collections.abc import Sequence

import polars as pl

from pinflow.mr_jobs.analytics.columns import (
    COUNTS,
    ITEM_KEYS,
    NETWORKS,
    RANK_PREFIX,
    sum_counts,
    with_all_counts,
)
from pinflow.mr_jobs.analytics.distinct import bits_of
from pinflow.mr_jobs.coded import CodedRows
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Grouping
from pinflow.mr_jobs.udfs import rankings


class PinCounts(CodedJob):
    """Count events by domain, owner, board, pin and app; add the value of each ranking that the pin's columns allow.

    Every later count and top list starts from this dataset. It is bucketed by pin, so that a pin's rows of all
    days meet without a shuffle, and distinct pins add up over buckets. Counts `events` and `pins`.
    """

    uses_rankings = True
    cluster_by = ("pin_id",)

    def wanted(self, dataset: str) -> Sequence[str]:
        """All of an event but its user."""
        return ("event_type", *ITEM_KEYS, "network")

    def map(self, batch: CodedRows) -> pl.DataFrame | None:
        """Counts of one block of events, all of one type."""
        if not batch.height:
            return None
        self.stats.incr_count("events", batch.height)
        (event,) = batch.texts["event_type"].values
        networks = {n: bits_of(batch.texts["network"], {n: 1}) for n in NETWORKS}
        groups = Grouping({name: batch.texts[name] for name in ITEM_KEYS}, pl.DataFrame(networks))
        by_network = [pl.col(n).sum().alias(f"{event}_{n}") for n in NETWORKS]
        counts = groups.rows.group_by(groups.names).agg(
            pl.col("row").first(), pl.len().cast(pl.Int64).alias(event), *by_network
        )
        return groups.decode(counts)

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Counts of all blocks together."""
        return with_all_counts(frame).group_by(ITEM_KEYS).agg(sum_counts())

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Counts of the bucket's pins, with their rankings."""
        counted = self.combine(frame)
        per_pin = counted.group_by("pin_id").agg(pl.sum_horizontal(pl.col(COUNTS[::3])).sum().alias("events"))
        self.stats.incr_count("pins", per_pin.height)
        self.stats.add_to_histogram("events_per_pin", per_pin["events"])
        self.stats.add_item("pins_by_events", per_pin["pin_id"], per_pin["events"])
        return self._with_rankings(counted).sort("pin_id", "app")

    def _with_rankings(self, counted: pl.DataFrame) -> pl.DataFrame:
        pins = self.table_bucket("pins", self.bucket)
        values = {r.name: r.value().cast(pl.Float64) for r in rankings() if set(r.columns) <= set(pins.columns)}
        if not values:
            return counted
        ranks = [pl.when(v.is_finite()).then(v).alias(f"{RANK_PREFIX}{name}") for name, v in values.items()]
        return counted.join(pins.select("pin_id", *ranks), on="pin_id", how="left", maintain_order="left")


if __name__ == "__main__":
    PinCounts.run()

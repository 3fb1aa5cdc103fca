"""Stage 2: how often each pin was seen, clicked, repinned …, by app (AN-04)."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.analytics.columns import (
    COUNTS,
    ITEM_KEYS,
    NETWORKS,
    RANK_PREFIX,
    with_all_counts,
)
from pinflow.mr_jobs.analytics.distinct import bits_of
from pinflow.mr_jobs.coded import CodedRows
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.groups import Groups
from pinflow.mr_jobs.udfs import rankings

FROM_PIN = ("pin_id", "domain", "owner_id", "board_id", "app")
"""Keys of a row, the pin first: the next three nearly always follow from it."""


class PinCounts(CodedJob):
    """Count events by domain, owner, board, pin and app; add the value of each ranking that the pin's columns allow.

    Every later count and top list starts from this dataset. It is bucketed by pin, so that a pin's rows of all
    days meet without a shuffle, and distinct pins add up over buckets. Counts `events` and `pins`.
    """

    uses_rankings = True
    cluster_by = ("pin_id",)
    bucket_share = 6
    bytes_a_file = 36 << 20

    def wanted(self, dataset: str) -> Sequence[str]:
        """All of an event but its user."""
        return ("event_type", *ITEM_KEYS, "network")

    def map(self, batch: CodedRows) -> pa.Table | None:
        """Counts of one block of events, all of one type."""
        if not batch.height:
            return None
        self.stats.incr_count("events", batch.height)
        (event,) = batch.texts["event_type"].values
        groups = _groups(batch)
        keys = {name: batch.texts[name].chosen(groups.rows) for name in ITEM_KEYS}
        network = batch.texts["network"]
        counts = {f"{event}_{name}": groups.count(np.flatnonzero(bits_of(network, {name: 1}))) for name in NETWORKS}
        counts[event] = groups.count()
        return CodedRows(keys, {name: pl.Series(count) for name, count in counts.items()}).table()

    def reduce_rows(self, rows: CodedRows) -> pl.DataFrame:
        """Counts of the bucket's pins, with their rankings."""
        groups = _groups(rows)
        keys = {name: rows.texts[name].decode(rows.texts[name].codes[groups.rows]) for name in ITEM_KEYS}
        counts = {name: groups.total(rows.others[name]) for name in COUNTS if name in rows.others}
        counted = with_all_counts(pl.DataFrame(keys | counts))
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


def _groups(rows: CodedRows) -> Groups:
    return Groups.of([rows.texts[name].codes for name in FROM_PIN])


if __name__ == "__main__":
    PinCounts.run()

"""Stage 2: who interacts with a domain or profile, by country, metro and gender (AN-03, AN-06)."""

from datetime import date
from typing import ClassVar

import polars as pl

from pinflow.mr_jobs.analytics.columns import ALL, UNKNOWN, day_sets, set_bits
from pinflow.mr_jobs.batch_job import BatchJob

DIMENSIONS = ("country", "metro", "gender")
KEYS = ("subject", "platform", "aggregations", "dimension", "value")


class Audience(BatchJob):
    """Distinct users by subject, platform, aggregations, dimension and value.

    Users lie in one bucket on all days, so the buckets' counts add up. Counts `rows_read` and `audience_rows`.
    """

    subject: ClassVar[str]
    prefix: ClassVar[str]
    cluster_by = ("subject",)

    def map(self, batch: pl.DataFrame) -> pl.DataFrame | None:
        """What the bucket's users add to each audience."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.filter(pl.col(self.subject).is_not_null())
        if named.is_empty():
            return None
        sets = day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))
        marked = named.select(
            pl.col(self.subject).alias("subject"),
            pl.col("app").alias("platform"),
            "user_id",
            pl.col(DIMENSIONS).fill_null(UNKNOWN),
            bits=set_bits(sets),
        )
        rows = []
        for dimension in DIMENSIONS:
            counted = _count(marked, dimension, len(sets))
            for number, (aggregations, _) in enumerate(sets):
                users = counted.filter(pl.col(f"{number}") > 0).with_columns(users=pl.col(f"{number}"))
                kept = users.drop(str(i) for i in range(len(sets)))
                rows.append(kept.with_columns(aggregations=pl.lit(aggregations)))
        return pl.concat(rows, how="diagonal")

    def combine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Sums of users."""
        return frame.group_by(KEYS).agg(pl.col("users").sum())

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The audiences of the bucket's subjects."""
        audience = self.combine(frame).sort(KEYS)
        self.stats.incr_count("audience_rows", audience.height)
        daily = audience.filter(pl.col("aggregations").str.starts_with("daily") & (pl.col("platform") == ALL))
        genders = daily.filter(pl.col("dimension") == "gender")
        known = genders.filter(pl.col("value") != UNKNOWN)
        self.stats.incr_count("audience_users", int(genders["users"].sum()))
        self.stats.incr_count("audience_users_of_known_gender", int(known["users"].sum()))
        return audience.with_columns(subject=pl.lit(self.prefix) + pl.col("subject"))


def _count(marked: pl.DataFrame, dimension: str, sets: int) -> pl.DataFrame:
    """Users by subject, platform and value, a column for each day set."""
    value = pl.col(dimension).alias("value")
    by_app = marked.group_by("subject", "platform", "user_id", value).agg(pl.col("bits").bitwise_or())
    over_all = by_app.group_by("subject", "user_id", "value").agg(pl.col("bits").bitwise_or())
    every = pl.concat([by_app, over_all.with_columns(platform=pl.lit(ALL))], how="diagonal")
    counts = [(pl.col("bits") // (1 << i) % 2).sum().cast(pl.Int64).alias(str(i)) for i in range(sets)]
    counted = every.group_by("subject", "platform", "value").agg(counts)
    return counted.with_columns(dimension=pl.lit(dimension))

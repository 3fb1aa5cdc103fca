"""Stage 2: who interacts with a domain or profile, by country, metro and gender (AN-03, AN-06)."""

from datetime import date
from typing import ClassVar

import polars as pl

from pinflow.mr_jobs.analytics.codes import code, sums_by
from pinflow.mr_jobs.analytics.columns import ALL, UNKNOWN, day_sets, set_bits
from pinflow.mr_jobs.analytics.distinct import DistinctUsers
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
        columns = {"subject": code(named[self.subject]), "platform": code(named["app"])}
        columns |= {name: code(named[name].fill_null(UNKNOWN)) for name in DIMENSIONS}
        bits = named.select(bits=set_bits(sets))["bits"].to_numpy()
        users = DistinctUsers(columns, code(named["user_id"]), bits, len(sets))
        selections = {str(number): 1 << number for number in range(len(sets))}
        rows = []
        for dimension in DIMENSIONS:
            counted = users.count(["subject", dimension], "platform", selections)
            for number, (aggregations, _) in enumerate(sets):
                kept = counted.filter(pl.col(str(number)) > 0)
                rows.append(
                    kept.select(
                        "subject",
                        "platform",
                        pl.col(dimension).alias("value"),
                        dimension=pl.lit(dimension),
                        users=pl.col(str(number)),
                        aggregations=pl.lit(aggregations),
                    )
                )
        return pl.concat(rows)

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The audiences of the bucket's subjects."""
        audience = sums_by(frame, KEYS, ["users"])
        self.stats.incr_count("audience_rows", audience.height)
        daily = audience.filter(pl.col("aggregations").str.starts_with("daily") & (pl.col("platform") == ALL))
        genders = daily.filter(pl.col("dimension") == "gender")
        known = genders.filter(pl.col("value") != UNKNOWN)
        self.stats.incr_count("audience_users", int(genders["users"].sum()))
        self.stats.incr_count("audience_users_of_known_gender", int(known["users"].sum()))
        return audience.with_columns(subject=pl.lit(self.prefix) + pl.col("subject"))

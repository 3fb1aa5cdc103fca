"""Stage 2: who interacts with a domain or profile, by country, metro and gender (AN-03, AN-06)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import ClassVar

import numpy as np
import polars as pl

from pinflow.mr_jobs.analytics.columns import ALL, UNKNOWN, DaySet, day_sets, set_bits
from pinflow.mr_jobs.analytics.distinct import Actions, bits_of
from pinflow.mr_jobs.coded import CodedRows, categorical, dtype_of
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, code, sum_by

DIMENSIONS = ("country", "metro", "gender")
KEYS = ("subject", "platform", "aggregations", "dimension", "value")


class Audience(CodedJob):
    """Distinct users by subject, platform, aggregations, dimension and value.

    Users lie in one bucket on all days, so the buckets' counts add up. Counts `rows_read` and `audience_rows`.
    """

    subject: ClassVar[str]
    prefix: ClassVar[str]
    cluster_by = ("subject",)

    def rows_together(self, dataset: str) -> int:
        """Many: each batch counts a subject's users, and `reduce` adds its counts to those of others."""
        return 1 << 20

    def wanted(self, dataset: str) -> Sequence[str]:
        """Who interacts with the subject."""
        return (self.subject, "app", "user_id", *DIMENSIONS)

    def map(self, batch: CodedRows) -> pl.DataFrame | None:
        """What the bucket's users add to each audience."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.having(self.subject)
        if not named.height:
            return None
        sets = self._sets()
        columns = {"subject": categorical("subject", named.texts[self.subject])}
        columns |= {"platform": categorical("platform", named.texts["app"])}
        columns |= {name: categorical("value", named.texts[name].filled(UNKNOWN)) for name in DIMENSIONS}
        bits = bits_of(named.texts["date"], set_bits(sets))
        return _audiences(Actions(columns, named.texts["user_id"], bits, len(sets)), sets)

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The audiences of the bucket's subjects."""
        columns = {name: _as_it_is(frame[name]) for name in KEYS}
        labels = [name for name, _ in self._sets()]
        columns["subject"] = columns["subject"].prefixed(self.prefix)
        for name, texts in (("aggregations", labels), ("dimension", DIMENSIONS)):
            columns[name] = replace(columns[name], values=pl.Series(texts, dtype=dtype_of(name)))
        audience = sum_by({name: column.in_order() for name, column in columns.items()}, users=frame["users"])
        self.stats.incr_count("audience_rows", audience.height)
        daily = next((label for label in labels if label.startswith("daily")), "")
        of_day = audience.filter(
            pl.col("aggregations") == daily, pl.col("platform") == ALL, pl.col("dimension") == "gender"
        )
        known = of_day.filter(pl.col("value") != UNKNOWN)
        self.stats.incr_count("audience_users", int(of_day["users"].sum()))
        self.stats.incr_count("audience_users_of_known_gender", int(known["users"].sum()))
        return audience

    def _sets(self) -> list[DaySet]:
        return day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))


def _as_it_is(column: pl.Series) -> Coded:
    """A column of texts as codes; one of numbers from 0 is its own."""
    if column.dtype != pl.UInt8:
        return code(column)
    numbers = column.to_numpy()
    return Coded(numbers, pl.Series(np.arange(int(numbers.max(initial=0)) + 1, dtype=np.uint8)))


def _audiences(actions: Actions, sets: Sequence[DaySet]) -> pl.DataFrame:
    """The audiences of all dimensions; `aggregations` and `dimension` are numbers: narrow columns travel faster."""
    selections = {str(number): 1 << number for number in range(len(sets))}
    counted = [(name, actions.count(["subject", name], "platform", selections)) for name in DIMENSIONS]
    return pl.concat(
        frame.filter(pl.col(str(number)) > 0).select(
            "subject",
            "platform",
            pl.col(name).alias("value"),
            pl.lit(DIMENSIONS.index(name), pl.UInt8).alias("dimension"),
            pl.lit(number, pl.UInt8).alias("aggregations"),
            users=pl.col(str(number)).cast(pl.UInt32),
        )
        for name, frame in counted
        for number in range(len(sets))
    )

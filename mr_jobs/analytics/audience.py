"""Stage 2: who interacts with a domain or profile, by country, metro and gender (AN-03, AN-06)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.analytics.codes import Coded, code, sum_by
from pinflow.mr_jobs.analytics.columns import ALL, UNKNOWN, DaySet, day_sets, set_bits
from pinflow.mr_jobs.analytics.distinct import Actions
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
        sets = self._sets()
        columns = {"subject": code(named[self.subject]), "platform": code(named["app"])}
        columns |= {name: code(named[name].fill_null(UNKNOWN)) for name in DIMENSIONS}
        bits = named.select(bits=set_bits(sets))["bits"].to_numpy()
        return _audiences(Actions(columns, code(named["user_id"]), bits, len(sets)), sets)

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The audiences of the bucket's subjects."""
        names = {"aggregations": [name for name, _ in self._sets()], "dimension": DIMENSIONS}
        numbered = {name: Coded(frame[name].to_numpy(), pl.Series(values)) for name, values in names.items()}
        audience = sum_by({name: numbered.get(name) or code(frame[name]) for name in KEYS}, users=frame["users"])
        self.stats.incr_count("audience_rows", audience.height)
        daily = audience.filter(pl.col("aggregations").str.starts_with("daily") & (pl.col("platform") == ALL))
        genders = daily.filter(pl.col("dimension") == "gender")
        known = genders.filter(pl.col("value") != UNKNOWN)
        self.stats.incr_count("audience_users", int(genders["users"].sum()))
        self.stats.incr_count("audience_users_of_known_gender", int(known["users"].sum()))
        return audience.with_columns(subject=pl.lit(self.prefix) + pl.col("subject"))

    def _sets(self) -> list[DaySet]:
        return day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))


def _audiences(actions: Actions, sets: Sequence[DaySet]) -> pl.DataFrame:
    """The audiences of users with one value in each dimension, then those of the others, who are few: they add up.

    Columns `aggregations` and `dimension` hold numbers: narrow columns travel faster.
    """
    selections = {str(number): 1 << number for number in range(len(sets))}
    of_user, is_plain = _values_of_users(actions)
    plain, others = (_chosen(actions, rows) for rows in (is_plain, ~is_plain))
    counted = []
    if len(plain.masks):
        users = plain.distinct(["subject"], "platform")
        counted += [(name, users.count(selections, **{name: of_user[name]})) for name in DIMENSIONS]
    if len(others.masks):
        counted += [(name, others.distinct(["subject", name], "platform").count(selections)) for name in DIMENSIONS]
    return pl.concat(
        frame.filter(pl.col(str(number)) > 0).select(
            "subject",
            "platform",
            pl.col(name).alias("value"),
            pl.lit(DIMENSIONS.index(name), pl.UInt8).alias("dimension"),
            pl.lit(number, pl.UInt8).alias("aggregations"),
            users=pl.col(str(number)),
        )
        for name, frame in counted
        for number in range(len(sets))
    )


def _values_of_users(actions: Actions) -> tuple[dict[str, Coded], npt.NDArray[np.bool_]]:
    """Each dimension by user, and which rows are of users who have one value in each."""
    users = actions.users.codes
    of_user, is_plain = {}, np.ones(len(actions.users.values), np.bool_)
    for name in DIMENSIONS:
        column = actions.columns[name]
        values = np.empty(len(is_plain), np.uint32)
        values[users] = column.codes
        is_plain[users[values[users] != column.codes]] = False
        of_user[name] = replace(column, codes=values)
    return of_user, is_plain[users]


def _chosen(actions: Actions, rows: npt.NDArray[np.bool_]) -> Actions:
    if rows.all():
        return actions
    columns = {name: replace(column, codes=column.codes[rows]) for name, column in actions.columns.items()}
    users = replace(actions.users, codes=actions.users.codes[rows])
    return replace(actions, columns=columns, users=users, masks=actions.masks[rows])

"""Stage 2: who interacts with a domain or profile, by country, metro and gender (AN-03, AN-06)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from pinflow.mr_jobs.analytics.columns import UNKNOWN, DaySet, day_sets, set_bits
from pinflow.mr_jobs.analytics.distinct import Actions, bits_of, of_day
from pinflow.mr_jobs.coded import CodedRows, stacked, sum_by_texts
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, code

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

    def map(self, batch: CodedRows) -> pa.Table | None:
        """What the bucket's users add to each audience."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.having(self.subject)
        if not named.height:
            return None
        sets = self._sets()
        columns = {"subject": named.texts[self.subject], "platform": named.texts["app"]}
        columns |= {name: named.texts[name].filled(UNKNOWN) for name in DIMENSIONS}
        bits = bits_of(named.texts["date"], set_bits(sets))
        return _audiences(Actions(columns, named.texts["user_id"], bits, len(sets)), len(sets)).table()

    def reduce_rows(self, rows: CodedRows) -> pa.Table:
        """The audiences of the bucket's subjects."""
        labels = [label for label, _ in self._sets()]
        columns = {name: rows.texts[name] for name in ("subject", "platform", "value")}
        columns["subject"] = columns["subject"].prefixed(self.prefix)
        for name, texts in (("aggregations", labels), ("dimension", DIMENSIONS)):
            columns[name] = Coded(rows.others[name].to_numpy(), pl.Series(texts))
        keyed = CodedRows({name: columns[name] for name in KEYS}, {"users": rows.others["users"]})
        audience = sum_by_texts(keyed.in_order())
        self._note(audience)
        return audience.used().table()

    def _note(self, audience: CodedRows) -> None:
        """Count rows, and the day's users on all platforms."""
        self.stats.incr_count("audience_rows", audience.height)
        day = of_day(audience)
        users = day.others["users"].to_numpy() * bits_of(day.texts["dimension"], {"gender": 1})
        is_unknown = bits_of(day.texts["value"], {UNKNOWN: 1})
        self.stats.incr_count("audience_users", int(users.sum()))
        self.stats.incr_count("audience_users_of_known_gender", int((users * (1 - is_unknown)).sum()))

    def _sets(self) -> list[DaySet]:
        return day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))


def _audiences(actions: Actions, sets: int) -> CodedRows:
    """The audiences of all dimensions; `aggregations` and `dimension` are numbers: narrow columns travel faster."""
    selections = {str(number): 1 << number for number in range(sets)}
    texts = code(pl.concat([actions.columns[name].values for name in DIMENSIONS]))
    first, found = 0, []
    for dimension, name in enumerate(DIMENSIONS):
        counted = actions.count(["subject", name], "platform", selections)
        own = texts.codes[first : first + len(actions.columns[name].values)]
        first += len(own)
        named = {column: counted.texts[column] for column in ("subject", "platform")}
        named["value"] = Coded(counted.texts[name].by_row(own), texts.values)
        for number in range(sets):
            rows = CodedRows(named, {"users": counted.others[str(number)].cast(pl.UInt32)})
            kept = rows.chosen(np.flatnonzero(rows.others["users"]))
            numbers = {"dimension": dimension, "aggregations": number}
            others = {n: pl.Series(np.full(kept.height, value, np.uint8)) for n, value in numbers.items()}
            found.append(replace(kept, others=kept.others | others))
    return stacked(found)

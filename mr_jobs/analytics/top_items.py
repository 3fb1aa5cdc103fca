"""Stage 3: the top pins and boards of each domain and profile, by event type and by ranking (AN-12, AN-16).

An item lies in one bucket, so its total is complete in the map task. Totals go to the subject's reduce task, a column a
measure, null where the item is not in that list. Of a subject with very many items the map task keeps the first k of
each list already and sums up the others, which cannot change the result (AN-17).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.analytics.columns import (
    ALL,
    EVENT_TYPES,
    RANK_PREFIX,
    DaySet,
    day_sets,
)
from pinflow.mr_jobs.analytics.distinct import of_days
from pinflow.mr_jobs.coded import CodedRows, categorical, dtype_of
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, SortedRows, code

KEYS = ("subject", "platform", "aggregations", "id")
OTHER = "_other"
ROW = ("rank", "id", "value")
MEASURE = "by_"
MANY = 100
"""A map task cuts the lists of a subject that has more rows than this many times their length."""


class TopItems(CodedJob):
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

    def wanted(self, dataset: str) -> Sequence[str]:
        """The items of the subject, with their measures."""
        return (self.subject, self.item, "app", *EVENT_TYPES, f"{RANK_PREFIX}*")

    def map(self, batch: CodedRows) -> pl.DataFrame | None:
        """The bucket's own top lists and remainders."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.having(self.subject).having(self.item)
        if not named.height:
            return None
        sets = day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))
        totals = [totals for days in sets for totals in self._totals(named, days)]
        return pruned(pl.concat(totals), self.options.top) if totals else None

    def _totals(self, rows: CodedRows, days: DaySet) -> Iterator[pl.DataFrame]:
        """Totals of each platform, and of all platforms together."""
        aggregations, chosen = days
        rows = of_days(rows, chosen)
        named = {"subject": self.subject, "id": self.item, "platform": "app"}
        columns = {name: categorical(name, rows.texts[column]) for name, column in named.items()}
        label = pl.lit(aggregations, dtype_of("aggregations")).alias("aggregations")
        for totals in _totals(columns, rows.texts["date"], rows.others):
            yield totals.select("subject", "platform", label, "id", pl.exclude(*KEYS))

    def reduce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The top lists of the bucket's subjects."""
        lists = top(frame, self.options.top)
        self.stats.incr_count("lists", lists.filter(pl.col("rank") == 1).height)
        self.stats.incr_count("lists_cut", lists["rank"].null_count())
        subjects = code(lists["subject"]).prefixed(self.prefix)
        return lists.select(
            subjects.decode(subjects.codes).alias("subject"),
            *("platform", "aggregations"),
            pl.lit(self.items, dtype_of("items")).alias("items"),
            "by",
            *ROW,
        )


def top(totals: pl.DataFrame, length: int) -> pl.DataFrame:
    """The first `length` items of each list with their `rank`, and a remainder: `_other`, rank null, sum of the rest.

    `totals` has the columns `KEYS` and, named `by_…`, a Float64 column for each measure; a row belongs to the lists of
    its subject, platform and aggregations whose measure is not null. Rows with the id null count to the rest. Gives
    `KEYS` without id, `by` (the measure) and `ROW`, in the order of lists and ranks.
    """
    columns, ids, values = _entries(totals)
    distinct = pl.Series(values).unique().sort(descending=True).to_numpy()
    depth = len(columns)
    rows = SortedRows(
        [
            *((column.codes, column.bits) for column in columns.values()),
            (ids.is_null().view(np.uint8), 1),
            (np.searchsorted(-distinct, -values), max(len(distinct) - 1, 0).bit_length()),
            (ids.codes, ids.bits),
        ]
    )
    starts = rows.starts(depth)
    rank = np.arange(1, len(values) + 1) - np.repeat(starts, np.diff(starts, append=len(values)))
    values, is_rest = distinct[rows.field(depth + 1)], (rows.field(depth) == 1) | (rank > length)
    ends = np.append(starts[1:], len(values))
    first_rest = ends - np.add.reduceat(is_rest, starts, dtype=np.intp)
    remainders = np.add.reduceat(np.where(is_rest, values, 0.0), starts)
    has_rest = first_rest < ends
    values[first_rest[has_rest]] = remainders[has_rest]
    shown = ~is_rest
    shown[first_rest[has_rest]] = True
    shown = np.flatnonzero(shown)
    is_item = pl.Series(~is_rest[shown])
    names = {name: column.decode(rows.field(i, shown)) for i, (name, column) in enumerate(columns.items())}
    return pl.DataFrame(names).with_columns(
        rank=pl.when(is_item).then(pl.Series(rank[shown])),
        id=pl.when(is_item)
        .then(ids.decode(rows.field(depth + 2, shown)))
        .otherwise(pl.lit(OTHER).cast(ids.values.dtype)),
        value=values[shown],
    )


def _entries(totals: pl.DataFrame) -> tuple[dict[str, Coded], Coded, npt.NDArray[np.float64]]:
    """Each item of each list: the columns that name its list, its id, and its value."""
    measures = sorted(name for name in totals.columns if name.startswith(MEASURE))
    rows = [np.flatnonzero(totals[name].is_not_null().to_numpy()) for name in measures]
    row = np.concatenate(rows)
    columns = {name: code(totals[name]).in_order() for name in KEYS}
    columns = {name: replace(column, codes=column.codes[row]) for name, column in columns.items()}
    ids = columns.pop("id")
    measure = np.repeat(np.arange(len(rows), dtype=np.uint32), [len(of_measure) for of_measure in rows])
    names = pl.Series([name.removeprefix(MEASURE) for name in measures], dtype=dtype_of("by"))
    columns["by"] = Coded(measure, names)
    values = [totals[name].to_numpy()[of_measure] for name, of_measure in zip(measures, rows, strict=True)]
    return columns, ids, np.concatenate(values)


def pruned(totals: pl.DataFrame, length: int) -> pl.DataFrame:
    """The totals with the lists of the largest subjects cut: fewer rows that have the same `top`."""
    subjects = code(totals["subject"])
    large = np.bincount(subjects.codes, minlength=len(subjects.values)) > MANY * length
    if not large.any():
        return totals
    is_large = pl.Series(subjects.by_row(large))
    lists = top(totals.filter(is_large), length)
    measures = [name for name in totals.columns if name.startswith(MEASURE)]
    cut = lists.select(
        *("subject", "platform", "aggregations"),
        pl.when(pl.col("rank").is_not_null()).then("id").alias("id"),
        *(pl.when(pl.col("by") == name.removeprefix(MEASURE)).then("value").alias(name) for name in measures),
    )
    return pl.concat([totals.filter(~is_large), cut])


def _totals(columns: Mapping[str, Coded], date: Coded, others: Mapping[str, pl.Series]) -> Iterator[pl.DataFrame]:
    """Of each subject and item: a column a measure, first by platform, then for all platforms.

    Counts are of the period; a ranking's value is the highest on the last day on which the item had events.
    """
    height = len(date.codes)
    if not height:
        return
    fields = [*columns.values(), date.in_order()]
    rows = SortedRows([*((column.codes, column.bits) for column in fields), (np.arange(height), height.bit_length())])
    days, items = rows.starts(4), rows.starts(3)
    order, last = rows.field(4).astype(np.intp), np.append(np.searchsorted(days, items[1:]), len(days)) - 1
    counts = {name: np.add.reduceat(others[name].fill_null(0).to_numpy().take(order), items) for name in EVENT_TYPES}
    ranks = {
        name: np.fmax.reduceat(column.fill_null(np.nan).to_numpy().take(order), days)[last]
        for name, column in others.items()
        if name.startswith(RANK_PREFIX)
    }
    names = {name: column.decode(rows.field(i, items)) for i, (name, column) in enumerate(columns.items())}
    yield _measured(names, counts, ranks)
    starts = np.searchsorted(items, rows.starts(2))
    seen = rows.field(3, days[last])
    is_last = seen == np.repeat(np.maximum.reduceat(seen, starts), np.diff(starts, append=len(seen)))
    counts = {name: np.add.reduceat(column, starts) for name, column in counts.items()}
    ranks = {name: np.fmax.reduceat(np.where(is_last, column, np.nan), starts) for name, column in ranks.items()}
    names = {name: names[name].gather(pl.Series(starts)) for name in ("subject", "id")}
    every = pl.Series([ALL], dtype=dtype_of("platform")).new_from_index(0, len(starts))
    yield _measured(names | {"platform": every}, counts, ranks)


def _measured(
    names: dict[str, pl.Series],
    counts: Mapping[str, npt.NDArray[np.int64]],
    ranks: Mapping[str, npt.NDArray[np.float64]],
) -> pl.DataFrame:
    """The names with a measure for each count and ranking, null where the item is not in its list."""
    measures = {f"{MEASURE}{n}": np.where(count > 0, count, np.nan) for n, count in counts.items()}
    measures |= {f"{MEASURE}{n.removeprefix(RANK_PREFIX)}": value for n, value in ranks.items()}
    columns = [pl.Series(name, values).fill_nan(None) for name, values in measures.items()]
    return pl.select([column.alias(name) for name, column in names.items()]).with_columns(columns)

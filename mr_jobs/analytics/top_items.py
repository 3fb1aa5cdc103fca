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
import pyarrow as pa

from pinflow.mr_jobs.analytics.columns import (
    ALL,
    EVENT_TYPES,
    RANK_PREFIX,
    day_sets,
)
from pinflow.mr_jobs.analytics.distinct import bits_of, of_days
from pinflow.mr_jobs.coded import CodedRows, stacked
from pinflow.mr_jobs.coded_job import CodedJob
from pinflow.mr_jobs.codes import Coded, SortedRows

KEYS = ("subject", "platform", "aggregations", "id")
OTHER = "_other"
LIST = ("subject", "platform", "aggregations", "items", "by")
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

    def map(self, batch: CodedRows) -> pa.Table | None:
        """The bucket's own top lists and remainders."""
        self.stats.incr_count("rows_read", batch.height)
        named = batch.having(self.subject).having(self.item)
        if not named.height:
            return None
        columns = {"subject": self.subject, "id": self.item, "platform": "app"}
        found = []
        sets = day_sets(date.fromisoformat(self.options.date), self.options.days.split(","))
        labels = pl.Series([label for label, _ in sets])
        for number, (_, days) in enumerate(sets):
            rows = of_days(named, days)
            texts = {name: rows.texts[column] for name, column in columns.items()}
            for totals in _totals(replace(rows, texts=texts), rows.texts["date"]):
                label = Coded(np.full(totals.height, number, np.uint32), labels)
                found.append(replace(totals, texts=totals.texts | {"aggregations": label}))
        return pa.concat_tables(pruned(stacked(found), self.options.top)) if found else None

    def reduce_rows(self, rows: CodedRows) -> pa.Table:
        """The top lists of the bucket's subjects."""
        lists = top(rows, self.options.top)
        self.stats.incr_count("lists", int((lists.others["rank"] == 1).sum()))
        self.stats.incr_count("lists_cut", lists.others["rank"].null_count())
        items = Coded.constant(self.items, lists.height)
        texts = lists.texts | {"subject": lists.texts["subject"].prefixed(self.prefix), "items": items}
        return replace(lists, texts=texts).table().select([*LIST, *ROW])


def top(totals: CodedRows, length: int) -> CodedRows:
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
    ids, other = ids.including(OTHER)
    ends = np.append(starts[1:], len(values))
    first_rest = ends - np.add.reduceat(is_rest, starts, dtype=np.intp)
    remainders = np.add.reduceat(np.where(is_rest, values, 0.0), starts)
    has_rest = first_rest < ends
    values[first_rest[has_rest]] = remainders[has_rest]
    shown = ~is_rest
    shown[first_rest[has_rest]] = True
    shown = np.flatnonzero(shown)
    is_item = ~is_rest[shown]
    texts = {name: replace(column, codes=rows.field(i, shown)) for i, (name, column) in enumerate(columns.items())}
    texts["id"] = replace(ids, codes=np.where(is_item, rows.field(depth + 2, shown), np.uint32(other)))
    ranks = pl.Series("rank", rank[shown]).set(~pl.Series(is_item), None)
    return CodedRows(texts, {"rank": ranks, "value": pl.Series(values[shown])}).used()


def _entries(totals: CodedRows) -> tuple[dict[str, Coded], Coded, npt.NDArray[np.float64]]:
    """Each item of each list: the columns that name its list, its id, and its value."""
    measures = sorted(name for name in totals.others if name.startswith(MEASURE))
    rows = [np.flatnonzero(totals.others[name].is_not_null().to_numpy()) for name in measures]
    row = np.concatenate(rows)
    columns = {name: totals.texts[name].in_order().chosen(row) for name in KEYS}
    ids = columns.pop("id")
    measure = np.repeat(np.arange(len(rows), dtype=np.uint32), [len(of_measure) for of_measure in rows])
    columns["by"] = Coded(measure, pl.Series([name.removeprefix(MEASURE) for name in measures]))
    values = [totals.others[name].to_numpy()[of_measure] for name, of_measure in zip(measures, rows, strict=True)]
    return columns, ids, np.concatenate(values)


def pruned(totals: CodedRows, length: int) -> list[pa.Table]:
    """The totals with the lists of the largest subjects cut: fewer rows that have the same `top`."""
    subjects = totals.texts["subject"]
    large = np.bincount(subjects.codes, minlength=len(subjects.values)) > MANY * length
    if not large.any():
        return [totals.table()]
    is_large = subjects.by_row(large)
    lists = top(totals.chosen(np.flatnonzero(is_large)).used(), length)
    is_rest = lists.others["rank"].is_null()
    ids, null = lists.texts["id"].including(None)
    texts = {name: lists.texts[name] for name in totals.texts}
    texts["id"] = replace(ids, codes=np.where(is_rest, np.uint32(null), ids.codes))
    by = lists.texts["by"]
    cut = {}
    for name in totals.others:
        is_measure = bits_of(by, {name.removeprefix(MEASURE): 1}) == 1
        cut[name] = lists.others["value"].set(pl.Series(~is_measure), None)
    return [totals.chosen(np.flatnonzero(~is_large)).table(), CodedRows(texts, cut).table()]


def _totals(rows: CodedRows, date: Coded) -> Iterator[CodedRows]:
    """Of each subject and item: a column a measure, first by platform, then for all platforms.

    Counts are of the period; a ranking's value is the highest on the last day on which the item had events.
    """
    height, columns, others = rows.height, rows.texts, rows.others
    if not height:
        return
    fields = [*columns.values(), date.in_order()]
    ordered = SortedRows(
        [*((column.codes, column.bits) for column in fields), (np.arange(height), height.bit_length())]
    )
    days, items = ordered.starts(4), ordered.starts(3)
    order, last = ordered.field(4).astype(np.intp), np.append(np.searchsorted(days, items[1:]), len(days)) - 1
    counts = {name: np.add.reduceat(others[name].fill_null(0).to_numpy().take(order), items) for name in EVENT_TYPES}
    ranks = {
        name: np.fmax.reduceat(column.fill_null(np.nan).to_numpy().take(order), days)[last]
        for name, column in others.items()
        if name.startswith(RANK_PREFIX)
    }
    names = {name: replace(column, codes=ordered.field(i, items)) for i, (name, column) in enumerate(columns.items())}
    names["platform"], every = names["platform"].including(ALL)
    yield _measured(names, counts, ranks)
    starts = np.searchsorted(items, ordered.starts(2))
    seen = ordered.field(3, days[last])
    is_last = seen == np.repeat(np.maximum.reduceat(seen, starts), np.diff(starts, append=len(seen)))
    counts = {name: np.add.reduceat(column, starts) for name, column in counts.items()}
    ranks = {name: np.fmax.reduceat(np.where(is_last, column, np.nan), starts) for name, column in ranks.items()}
    names = {name: column.chosen(starts) for name, column in names.items()}
    names["platform"] = replace(names["platform"], codes=np.full(len(starts), every, np.uint32))
    yield _measured(names, counts, ranks)


def _measured(
    names: dict[str, Coded],
    counts: Mapping[str, npt.NDArray[np.int64]],
    ranks: Mapping[str, npt.NDArray[np.float64]],
) -> CodedRows:
    """The names with a measure for each count and ranking, null where the item is not in its list."""
    measures = {f"{MEASURE}{n}": np.where(count > 0, count, np.nan) for n, count in counts.items()}
    measures |= {f"{MEASURE}{n.removeprefix(RANK_PREFIX)}": value for n, value in ranks.items()}
    return CodedRows(names, {name: pl.Series(values).fill_nan(None) for name, values in measures.items()})

"""Exact distinct users by sorting packed integers in place of hashing strings (AN-11).

Each string column becomes dense integers, so that a row's codes and its mask fit one uint64. Sorted, equal keys lie
side by side: their masks are OR-ed, and counted, in one pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from pinflow.mr_jobs.analytics.columns import ALL
from pinflow.mr_jobs.coded import CodedRows
from pinflow.mr_jobs.codes import Coded, Integers, Numbers, Places, SortedRows, numbered

Names = Mapping[str, Coded]


@dataclass(frozen=True)
class Actions:
    """Rows of users: columns of groups, the user, and a mask which says which of `bits` bits the row gives to them."""

    columns: Names
    users: Coded
    masks: Integers
    bits: int

    def count(self, group: Sequence[str], over: str, selections: Mapping[str, int]) -> CodedRows:
        """For each selection, the users with any of its bits, by the columns `group` and `over`.

        Column `over` also holds `all`: its values taken together. Rows: the columns, with the values that they have
        here, and an Int64 column for each selection, in the order of the columns' codes, `all` last; groups that no
        selection counts a user of are left out.
        """
        depth = len(group)
        by = [self.columns[name] for name in group]
        each = self.columns[over]
        values = pl.concat([each.values, pl.Series([ALL])])
        fields = [(column.codes, column.bits) for column in (*by, self.users, each)]
        rows, masks = _or_equal(SortedRows([*fields, (self.masks, self.bits)]), depth + 2)
        starts = rows.starts(depth)
        of_group = np.repeat(np.arange(len(starts)) * len(values), np.diff(starts, append=len(masks)))
        users = rows.starts(depth + 1)
        cells = np.concatenate([of_group + rows.field(depth + 1), of_group[users] + (len(values) - 1)])
        masks = np.concatenate([masks, _or_runs(masks, users)])
        cells, counts = _counted(cells, masks, selections)
        number, value = np.divmod(cells, len(values))
        rows = rows.chosen(starts[number])
        texts = {name: replace(c, codes=rows.field(i)) for i, (name, c) in enumerate(zip(group, by, strict=True))}
        texts[over] = Coded(value, values)
        return CodedRows(texts, {name: pl.Series(count) for name, count in counts.items()})


def bits_of(column: Coded, bits: Mapping[str, int]) -> Numbers:
    """The bits of each row's text, 0 for one that has none."""
    return column.by_row(np.array([bits.get(text, 0) for text in column.values], np.int64))


def of_days(rows: CodedRows, days: Sequence[str]) -> CodedRows:
    """The rows of some days."""
    is_chosen = bits_of(rows.texts["date"], dict.fromkeys(days, 1))
    return rows if is_chosen.all() else rows.chosen(np.flatnonzero(is_chosen))


def of_day(rows: CodedRows) -> CodedRows:
    """The rows of the day alone, of all platforms together."""
    aggregations = rows.texts["aggregations"]
    daily = {label: 1 for label in aggregations.values if label.startswith("daily")}
    return rows.chosen(np.flatnonzero(bits_of(aggregations, daily) & bits_of(rows.texts["platform"], {ALL: 1})))


def _or_equal(rows: SortedRows, number: int) -> tuple[SortedRows, Integers]:
    """Rows that differ in the first `number` fields, and the OR of the field after these."""
    starts = rows.starts(number)
    return rows.chosen(starts), _or_runs(rows.field(number), starts)


def _or_runs(masks: Integers, starts: Places) -> Integers:
    """The OR of each run's masks."""
    is_one = (masks == masks[:1]).all()
    return masks[starts] if is_one else np.bitwise_or.reduceat(masks, starts)


def _counted(cells: Numbers, masks: Integers, selections: Mapping[str, int]) -> tuple[Numbers, dict[str, Numbers]]:
    """The distinct cells whose masks a selection takes, and how many of them it takes in each."""
    is_taken = masks & np.bitwise_or.reduce(list(selections.values())) != 0
    if not is_taken.all():
        cells, masks = cells[is_taken], masks[is_taken]
    used, cells = numbered(cells)
    every = np.bincount(cells, minlength=len(used))
    kept = np.flatnonzero(every)
    counts = {}
    for name, selection in selections.items():
        is_chosen = masks & selection != 0
        users = every if is_chosen.all() else np.bincount(cells[is_chosen], minlength=len(used))
        counts[name] = users[kept]
    return used[kept], counts

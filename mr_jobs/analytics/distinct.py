"""Exact distinct users by sorting packed integers in place of hashing strings (AN-11).

Each string column becomes dense integers, so that a row's codes and its mask fit one uint64. Sorted, equal keys lie
side by side: their masks are OR-ed, and counted, in one pass. Where 64 bits don't do, Polars groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.analytics.codes import KEY_BITS, Coded, Integers, Keys, changes, ones, pack, unpack
from pinflow.mr_jobs.analytics.columns import ALL

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DistinctUsers:
    """Counts the distinct users of groups of rows. Each column is coded once, for any number of groupings.

    `masks` says which of `bits` bits a row gives to its user; a user's masks are OR-ed within a group. Keys of more
    than `key_bits` bits are left to Polars.
    """

    columns: Mapping[str, Coded]
    users: Coded
    masks: Integers
    bits: int
    key_bits: int = KEY_BITS

    def count(self, group: Sequence[str], over: str, selections: Mapping[str, int]) -> pl.DataFrame:
        """For each selection, the users with any of its bits, by the columns `group` and `over`.

        Column `over` also holds `all`: its values taken together. Rows: `group`, `over` and an Int64 column for each
        selection; groups of no such user have 0.
        """
        by_each, over_all = self._masks_by_sort(group, over) if self._fits(group, over) else self._group(group, over)
        each = self._select(by_each, [*group, over], selections)
        every = self._select(over_all, group, selections).with_columns(pl.lit(ALL).alias(over))
        return pl.concat([each, every.select(each.columns)])

    def _fits(self, group: Sequence[str], over: str) -> bool:
        columns = sum(self.columns[name].bits for name in (*group, over))
        return columns + self.users.bits + self.bits <= self.key_bits

    def _masks_by_sort(self, group: Sequence[str], over: str) -> "tuple[_MaskCounts, _MaskCounts]":
        """Key `group | user | over | mask`: sorted once, it is in order with `over` and without."""
        groups, last = [self.columns[name] for name in group], self.columns[over]
        keys = pack([*((c.codes, c.bits) for c in (*groups, self.users, last)), (self.masks, self.bits)])
        keys.sort()
        by_each, masks = _or_runs(keys >> np.uint64(self.bits), keys & ones(self.bits))
        over_all, all_masks = _or_runs(by_each >> np.uint64(last.bits), masks)
        grouped = by_each >> np.uint64(last.bits + self.users.bits)
        each = pack([(grouped, 0), (by_each & ones(last.bits), last.bits), (masks, self.bits)])
        every = pack([(over_all >> np.uint64(self.users.bits), 0), (all_masks, self.bits)])
        widths = [c.bits for c in groups]
        return _count_masks(each, [*widths, last.bits], self.bits), _count_masks(every, widths, self.bits)

    def _group(self, group: Sequence[str], over: str) -> "tuple[_MaskCounts, _MaskCounts]":
        names = [f"code{i}" for i in range(len(group) + 1)]
        arrays: list[Integers] = [self.columns[name].codes for name in (*group, over)]
        frame = pl.DataFrame([*map(pl.Series, arrays)], schema=names)
        frame = frame.with_columns(user=pl.Series(self.users.codes), mask=pl.Series(self.masks))
        by_each = frame.group_by(*names, "user").agg(pl.col("mask").bitwise_or())
        over_all = by_each.group_by(*names[:-1], "user").agg(pl.col("mask").bitwise_or())
        return _count_grouped(by_each, names), _count_grouped(over_all, names[:-1])

    def _select(self, counts: "_MaskCounts", group: Sequence[str], selections: Mapping[str, int]) -> pl.DataFrame:
        starts = np.flatnonzero(changes(*counts.codes))
        columns = {
            name: self.columns[name].decode(codes[starts]) for name, codes in zip(group, counts.codes, strict=True)
        }
        for name, selection in selections.items():
            chosen = (counts.masks & selection) != 0
            columns[name] = pl.Series(np.add.reduceat(counts.users * chosen, starts), dtype=pl.Int64)
        return pl.DataFrame(columns)


@dataclass(frozen=True)
class _MaskCounts:
    """How many users have exactly a mask, by group; groups lie together."""

    codes: Sequence[Integers]
    masks: Numbers
    users: Numbers


def _count_masks(keys: Keys, widths: Sequence[int], bits: int) -> _MaskCounts:
    """From a key `group | mask` for each user; the group's columns are `widths` bits wide."""
    keys.sort()
    starts = np.flatnonzero(changes(keys))
    users = np.diff(starts, append=len(keys))
    distinct = keys[starts]
    *codes, masks = unpack(distinct, [*widths, bits])
    return _MaskCounts(codes, masks.astype(np.int64), users)


def _count_grouped(frame: pl.DataFrame, group: Sequence[str]) -> _MaskCounts:
    counts = frame.group_by(*group, "mask").agg(users=pl.len()).sort(group)
    masks, users = (counts[name].cast(pl.Int64).to_numpy() for name in ("mask", "users"))
    return _MaskCounts([counts[name].to_numpy() for name in group], masks, users)


def _or_runs(ordered: Keys, masks: Keys) -> tuple[Keys, Keys]:
    """The distinct keys and the OR of each one's masks."""
    starts = np.flatnonzero(changes(ordered))
    return ordered[starts], np.bitwise_or.reduceat(masks, starts)

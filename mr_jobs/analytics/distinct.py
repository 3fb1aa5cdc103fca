"""Exact distinct users by sorting packed integers in place of hashing strings (AN-11).

Each string column becomes dense integers, so that a row's codes and its mask fit one uint64. Sorted, equal keys lie
side by side: their masks are OR-ed, and counted, in one pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.mr_jobs.analytics.columns import ALL
from pinflow.mr_jobs.codes import Coded, Integers, changes, sorted_fields

Numbers = npt.NDArray[np.int64]
Names = Mapping[str, Coded]


@dataclass(frozen=True)
class Actions:
    """Rows of users: columns of groups, the user, and a mask which says which of `bits` bits the row gives to them."""

    columns: Names
    users: Coded
    masks: Integers
    bits: int

    def distinct(self, group: Sequence[str], over: str) -> "DistinctUsers":
        """Each user once by the columns `group` and `over`, and once by `group` alone, their masks OR-ed."""
        fields = [(c.codes, c.bits) for c in (*(self.columns[name] for name in group), self.users, self.columns[over])]
        *codes, masks = sorted_fields([*fields, (self.masks, self.bits)])
        each, masks = _or_runs(codes, masks)
        every, all_masks = _or_runs(each[:-1], masks)
        names = {name: self.columns[name] for name in (*group, over)}
        return DistinctUsers(names, self.users.bits, self.bits, _Users(each, masks), _Users(every, all_masks))


@dataclass(frozen=True)
class _Users:
    """The codes of groups, then the user, then `over` if it is told apart; and the user's mask there."""

    codes: Sequence[Integers]
    masks: Integers


@dataclass(frozen=True)
class DistinctUsers:
    """Users of groups, for any number of counts."""

    names: Names
    user_bits: int
    bits: int
    by_each: _Users
    over_all: _Users

    def count(self, selections: Mapping[str, int], **of_user: Coded) -> pl.DataFrame:
        """For each selection, the users with any of its bits, by the columns of the groups, `over` and `of_user`.

        `of_user` are columns with a row for each user, by the user's code. Column `over` also holds `all`: its values
        taken together. Rows: the columns and an Int64 column for each selection; groups of no such user have 0.
        """
        *group, over = self.names
        columns = {name: self.names[name] for name in group} | of_user
        number = len(group)
        each, every = self.by_each, self.over_all
        own = [[column.codes[part.codes[number]] for column in of_user.values()] for part in (each, every)]
        by_each = [*each.codes[:number], *own[0], each.codes[number + 1]]
        counted = self._select(by_each, each.masks, columns | {over: self.names[over]}, selections)
        of_all = self._select([*every.codes[:number], *own[1]], every.masks, columns, selections)
        return pl.concat(
            [counted, of_all.with_columns(pl.lit(ALL).cast(counted.schema[over]).alias(over)).select(counted.columns)]
        )

    def _select(
        self, codes: Sequence[Integers], masks: Integers, columns: Names, selections: Mapping[str, int]
    ) -> pl.DataFrame:
        """How many users have exactly a mask, in each group, then how many of these masks each selection takes."""
        fields = [(found, column.bits) for found, column in zip(codes, columns.values(), strict=True)]
        *codes, masks = sorted_fields([*fields, (masks, self.bits)])
        starts = np.flatnonzero(changes(*codes, masks))
        users = np.diff(starts, append=len(masks))
        codes, masks = [found[starts] for found in codes], masks[starts].astype(np.int64)
        starts = np.flatnonzero(changes(*codes))
        counted = {n: column.decode(found[starts]) for (n, column), found in zip(columns.items(), codes, strict=True)}
        for name, selection in selections.items():
            chosen: Numbers = users * ((masks & selection) != 0)
            counted[name] = pl.Series(np.add.reduceat(chosen, starts), dtype=pl.Int64)
        return pl.DataFrame(counted)


def bits_of(column: Coded, bits: Mapping[str, int]) -> Numbers:
    """The bits of each row's text, 0 for one that has none."""
    return np.array([bits.get(text, 0) for text in column.values], np.int64)[column.codes]


def _or_runs(ordered: Sequence[Integers], masks: Integers) -> tuple[list[Integers], Integers]:
    """The distinct rows and the OR of each one's masks."""
    starts = np.flatnonzero(changes(*ordered))
    return [column[starts] for column in ordered], np.bitwise_or.reduceat(masks, starts)

"""Rows that are equal in some columns, found without hashing or sorting what one of the columns says already."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from pinflow.mr_jobs.codes import Integers, Numbers, dense, numbered, total


@dataclass(frozen=True)
class Groups:
    """The number of each row's group, and one row of each group."""

    of_row: Integers
    rows: Integers

    @classmethod
    def of(cls, columns: Sequence[Integers]) -> Self:
        """Groups of the rows that are equal in all columns, which are integers from 0.

        It is fastest when the first column has most values, and others follow from it, as a pin's domain does.
        """
        height = len(columns[0])
        of_row: Integers = np.zeros(height, np.uint32)
        rows: Integers = np.zeros(min(height, 1), np.uint32)
        for column in columns:
            if np.array_equal(column.take(rows).take(of_row), column):
                continue  # nothing new
            _, cells = numbered(of_row.astype(np.int64) * (int(column.max()) + 1) + column)
            of_row, rows = dense(cells, int(cells.max()) + 1)
        return cls(of_row, rows)

    def count(self, rows: Integers | slice = slice(None)) -> Numbers:
        """How many of some rows are in each group."""
        return np.bincount(self.of_row[rows], minlength=len(self.rows))

    def total(self, summed: pl.Series) -> Integers:
        """The sum of integers in each group; null counts as 0, and sums are exact below 2^53."""
        return total(self.of_row, summed, len(self.rows))

"""Columns of text as integers: many group keys fit one uint64, which sorts far faster than texts do (AN-16)."""

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.compute as pc

from pinflow.mr_jobs.hashing import text_hashes

KEY_BITS = 64
_RUN = 4
_SAMPLE = 1 << 12
_MOST = 1 << 20
"""Of more texts a hash without the bits of their places is too short to tell them apart."""
_SPARSE = 8

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.intp]
Integers = npt.NDArray[np.integer[Any]]
Numbers = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)
Field = tuple[Integers, int]
"""An integer of each row, and the bits that hold any of them."""
_ALL_ROWS = slice(None)


@dataclass(frozen=True)
class Coded:
    """A string column as integers: row i holds `values[codes[i]]`. Null is a value like any other."""

    codes: Integers
    values: pl.Series

    @classmethod
    def constant(cls, text: str, height: int) -> Self:
        """The same text in every row."""
        return cls(np.zeros(height, np.uint32), pl.Series([text]))

    @property
    def bits(self) -> int:
        """Bits that hold any code."""
        return max(len(self.values) - 1, 0).bit_length()

    def decode(self, codes: Integers) -> pl.Series:
        """The strings of codes."""
        return self.values.gather(pl.Series(codes.astype(np.uint32, copy=False)))

    def by_row(self, by_value: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """What stands for each row's value, where `by_value` has something for each of `values`."""
        return by_value.take(self.codes)  # half the time of by_value[self.codes]

    def through(self, of_value: "Coded") -> "Coded":
        """The column that gives each row what its value has in another."""
        return replace(of_value, codes=self.by_row(of_value.codes))

    def is_null(self) -> npt.NDArray[np.bool_]:
        """Which rows are null."""
        return self.by_row(self.values.is_null().to_numpy())

    def including(self, text: str | None) -> tuple["Coded", int]:
        """The same column with a text among its values, and the text's code."""
        found = self.values.eq_missing(text).arg_true()
        if len(found):
            return self, int(found[0])
        more = pl.Series([text], dtype=pl.String)
        return replace(self, values=pl.concat([self.values, more])), len(self.values)

    def filled(self, text: str) -> "Coded":
        """The same column with a text in place of null."""
        if not self.values.null_count():
            return self
        filled = code(self.values.fill_null(text))
        return Coded(self.by_row(filled.codes), filled.values)

    def prefixed(self, prefix: str) -> "Coded":
        """The same column with `prefix` before each text."""
        return replace(self, values=prefix + self.values)

    def chosen(self, rows: Integers | slice) -> "Coded":
        """The column of some rows, by their places."""
        return replace(self, codes=_at(self.codes, rows))

    def used(self) -> "Coded":
        """The same column without values that no row holds."""
        codes, rows = dense(self.codes, len(self.values))
        return Coded(codes, self.decode(self.codes[rows]))

    def in_order(self) -> "Coded":
        """The same column with codes in the order of their values (by code point, null first)."""
        order = self.values.arg_sort().to_numpy()
        place = np.empty(len(order), np.uint32)
        place[order] = np.arange(len(order), dtype=np.uint32)
        return replace(self, codes=self.by_row(place), values=self.values.gather(pl.Series(order)))


def code(column: pl.Series) -> Coded:
    """The codes of a column of texts, dense from 0. Runs of equal texts are coded once."""
    if isinstance(column.dtype, pl.Categorical):
        return _code_categories(column)
    starts_run = column.ne_missing(column.shift()).to_numpy().copy()
    starts_run[:1] = True
    starts = np.flatnonzero(starts_run)
    if len(starts) * _RUN > len(column):
        return _code_texts(column)
    coded = _code_texts(column.gather(pl.Series(starts)))
    return replace(coded, codes=np.repeat(coded.codes, np.diff(starts, append=len(column))))


def _code_texts(column: pl.Series) -> Coded:
    texts = column.cast(pl.String)
    if _is_varied(texts) and (coded := _by_hash(texts)):
        return coded
    encoded = pc.dictionary_encode(texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()), "encode")
    return Coded(encoded.indices.to_numpy().view(np.uint32), pl.Series(column.name, encoded.dictionary, pl.String))


def _is_varied(texts: pl.Series) -> bool:
    """Whether a table of the different texts would not fit a cache, so that looking them up may take long.

    In a sample of those that have 130,000 different ones, a 64th is there already.
    """
    if not _SAMPLE * 10 < len(texts) <= _MOST:
        return False
    sample = texts.gather_every(len(texts) // _SAMPLE)
    return sample.n_unique() > len(sample) - _SAMPLE // 64


def _by_hash(texts: pl.Series) -> Coded | None:
    """The texts' codes by sorting hashes; None when two texts have the same one."""
    width = (len(texts) - 1).bit_length()
    rows = np.arange(len(texts), dtype=np.uint64)
    keys = in_order(text_hashes(texts) & ~ones(width) | rows)
    rows = keys & ones(width)
    starts = changes(keys >> np.uint64(width))
    codes = np.empty(len(texts), np.uint32)
    codes[rows] = np.cumsum(starts, dtype=np.uint32) - np.uint32(1)
    coded = Coded(codes, texts.gather(pl.Series(rows[starts])))
    return coded if coded.decode(codes).equals(texts) else None


def _code_categories(column: pl.Series) -> Coded:
    physical = column.to_physical()
    highest = physical.max()
    null = highest + 1 if isinstance(highest, int) else 0
    _, cells = numbered(physical.fill_null(null).cast(pl.Int64).to_numpy())
    codes, row_of = dense(cells, int(cells.max(initial=-1)) + 1)
    return Coded(codes.astype(np.uint32, copy=False), column.gather(pl.Series(row_of)).cast(pl.String))


def dense(cells: Integers, size: int) -> tuple[Integers, Integers]:
    """Numbers below `size`, counted anew without those that are not there, and a place of each that is there."""
    row_of = np.full(size, -1, np.int32)
    row_of[cells] = np.arange(len(cells), dtype=np.int32)
    used = np.flatnonzero(row_of >= 0)
    if len(used) < size:
        place = np.zeros(size, np.uint32)
        place[used] = np.arange(len(used), dtype=np.uint32)
        cells = place.take(cells)
    return cells, row_of[used]


def spread(values: pl.Series, keys: Coded) -> Coded:
    """The column that gives each row the value of its key, where `values` has one for each of `keys.values`."""
    return keys.through(code(values))


def coalesced(first: Coded, second: Coded) -> Coded:
    """The first column where it has a text, else the second."""
    if not first.values.null_count() or second.values.null_count() == len(second.values):
        return first
    if first.values.null_count() == len(first.values):
        return second
    both = code(pl.concat([first.values, second.values]))
    of_first, of_second = both.codes[: len(first.values)], both.codes[len(first.values) :]
    return Coded(np.where(first.is_null(), second.by_row(of_second), first.by_row(of_first)), both.values)


def pack(fields: Sequence[Field]) -> Keys:
    """A key from fields, the highest first; raises `OverflowError` above 64 bits."""
    if sum(bits for _, bits in fields) > KEY_BITS:
        raise OverflowError(f"fields of {[bits for _, bits in fields]} bits do not fit into {KEY_BITS}")
    keys = fields[0][0].astype(np.uint64)
    for field, bits in fields[1:]:
        keys <<= np.uint64(bits)
        np.bitwise_or(keys, field, out=keys, dtype=np.uint64, casting="unsafe")
    return keys


class SortedRows:
    """Rows of fields, sorted by all of them, the first first; kept as the keys that they were packed into."""

    def __init__(self, fields: Sequence[Field]) -> None:
        groups = _groups(fields)
        self._widths = [[bits for _, bits in group] for group in groups]
        keys = [pack(group) for group in groups]
        if len(keys) == 1:
            self._keys = [in_order(keys[0])]
        else:
            order = sort_order(keys)
            self._keys = [key.take(order) for key in keys]

    def starts(self, number: int) -> Places:
        """The first of each run of rows that are equal in the first `number` fields."""
        parts = []
        for key, widths in zip(self._keys, self._widths, strict=True):
            parts.append(key >> np.uint64(sum(widths[number:])) if number < len(widths) else key)
            number -= len(widths)
            if number <= 0:
                break
        return np.flatnonzero(changes(*parts))

    def field(self, number: int, rows: Places | slice = _ALL_ROWS) -> Integers:
        """One of the fields, of some rows, as the narrowest integers that hold it."""
        for key, widths in zip(self._keys, self._widths, strict=True):
            if number < len(widths):
                mask = ones(widths[number])
                narrowest = np.min_scalar_type(mask)
                field: Integers = (_at(key, rows) >> np.uint64(sum(widths[number + 1 :]))).astype(narrowest)
                field &= mask.astype(narrowest)
                return field
            number -= len(widths)
        raise IndexError("there are fewer fields")

    def chosen(self, rows: Places) -> "SortedRows":
        """Only the rows at some places."""
        some = copy(self)
        some._keys = [key.take(rows) for key in self._keys]
        return some


def _at(values: npt.NDArray[Scalar], rows: Integers | slice) -> npt.NDArray[Scalar]:
    return values[rows] if isinstance(rows, slice) else values.take(rows)  # half the time of values[rows]


def in_order(keys: Keys) -> Keys:
    """The keys sorted: by NumPy, or on AMD, where Polars takes half of its time, by Polars."""
    return pl.Series(keys).sort().to_numpy() if _is_amd() else np.sort(keys)


@cache
def _is_amd() -> bool:
    """Whether the processor is one on which NumPy's sort was found slow: an AMD with AVX-512."""
    with suppress(OSError), Path("/proc/cpuinfo").open("rb") as file:
        first = file.read(1 << 12)
        return b"AuthenticAMD" in first and b"avx512f" in first
    return False


def _groups(fields: Sequence[Field]) -> list[list[Field]]:
    """Neighbours together as long as they fit one key."""
    groups: list[list[Field]] = [[]]
    for field in fields:
        if sum(bits for _, bits in groups[-1]) + field[1] > KEY_BITS:
            groups.append([])
        groups[-1].append(field)
    return groups


def sort_order(keys: Sequence[Keys]) -> npt.NDArray[np.uint32]:
    """The places of rows in the order of their keys, the first key first."""
    frame = pl.DataFrame([pl.Series(str(number), key) for number, key in enumerate(keys)])
    return frame.select(pl.arg_sort_by(frame.columns)).to_series().to_numpy()


def changes(*ordered: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """True at the first of each run of rows that are equal in all arrays."""
    found = np.zeros(len(ordered[0]), np.bool_)
    found[:1] = True
    for array in ordered:
        found[1:] |= array[1:] != array[:-1]
    return found


def ones(bits: int) -> np.uint64:
    """A mask of the lowest bits."""
    return np.uint64((1 << bits) - 1)


def numbered(cells: Numbers) -> tuple[Numbers, Numbers]:
    """Numbers in order, of which `cells` are some, and each cell's place in them: few more than there are cells."""
    size = int(cells.max(initial=-1)) + 1
    if size > _SPARSE * len(cells):
        return np.unique(cells, return_inverse=True)
    return np.arange(size), cells


def total(group_of: Integers, summed: pl.Series, groups: int) -> Integers:
    """The sum of integers in each group, given each row's group; null counts as 0, and sums are exact below 2^53."""
    if summed.null_count():
        group_of = group_of[np.flatnonzero(summed.is_not_null().to_numpy())]
        summed = summed.drop_nulls()
    return np.bincount(group_of, weights=summed.to_numpy(), minlength=groups).astype(np.int64)

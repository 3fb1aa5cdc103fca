"""Columns of values, reduced without a Python step per number: numpy for numbers, Polars for texts.

A column is a Polars Series, a numpy array (or what turns into one, such as a pyarrow array) or a list.
Imported by tasks only when they pass a column or enough single values.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pinflow.errors import PinflowError
from pinflow.stats_engine.allowance import LONGEST_ITEM
from pinflow.stats_engine.exact_sums import UNIT_EXPONENT
from pinflow.stats_engine.objects import hashed_value, item_text

if TYPE_CHECKING:
    import polars as pl

_BLOCK = 1 << 16
_FEW_OF, _ENOUGH = 16, 8
"""Of more than 16 rows for each item wanted, 8 are looked at first."""
_LOW_BITS = 26
_SHIFT = 1126
"""A double's mantissa, taken as a whole number of 53 bits, has an exponent of -1126 or more."""


class Amounts(NamedTuple):
    """Whole numbers added up, and how many were null."""

    total: int
    skipped: int


class Extremes(NamedTuple):
    """Objects of a column that may be among the highest or lowest.

    `skipped` rows had no usable value, `dropped` ones that may have been listed a text that is too long.
    """

    top: list[tuple[str, float]]
    bottom: list[tuple[str, float]]
    skipped: int
    dropped: int


class Hashables(NamedTuple):
    """The distinct values of a column as a sketch takes them, and how many rows were null or NaN."""

    values: list[int | float | str]
    skipped: int


def finite(name: str, column: object) -> NDArray[np.float64]:
    """The finite numbers of a column, 0.0 for -0.0. PinflowError when it holds anything but numbers."""
    values = floats(name, column)
    return values[np.isfinite(values)] + 0.0


def floats(name: str, column: object) -> NDArray[np.float64]:
    """The column as doubles; null is NaN. PinflowError when it holds anything but numbers."""
    if (series := _series(column)) is not None:
        return _series_floats(name, series)
    array = np.asarray(column)
    if array.ndim == 1 and array.dtype.kind in "biuf":
        return array.astype(np.float64)
    try:
        return np.array([np.nan if value is None else value for value in array], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PinflowError(f"{name!r} takes numbers, not a column of {array.dtype}: {error}") from error


def exact_units(values: NDArray[np.float64]) -> int:
    """The exact sum of finite doubles in units of 2 ** -1074 (see exact_sums)."""
    return sum(_block_units(values[start : start + _BLOCK]) for start in range(0, len(values), _BLOCK))


def amounts(name: str, column: object) -> Amounts:
    """The exact total of a column of whole numbers or booleans (true counts as 1)."""
    series = _series(column)
    skipped = 0
    if series is not None:
        skipped = series.null_count()
        column = series.drop_nulls().to_numpy()
    array = np.asarray(column)
    if array.dtype.kind == "b":
        return Amounts(int(np.count_nonzero(array)), skipped)
    if array.dtype.kind in "iu":
        high, low = (array >> 32).sum(dtype=np.int64), (array & 0xFFFFFFFF).sum(dtype=np.int64)
        return Amounts((int(high) << 32) + int(low), skipped)
    values = [value for value in array.tolist() if value is not None]
    if any(not isinstance(value, int) for value in values):
        raise PinflowError(f"{name!r} counts whole numbers, not {array.dtype}; use add_sum for other numbers")
    return Amounts(sum(values), skipped + len(array) - len(values))


def name_counts(column: Any) -> dict[str | None, int]:
    """How often each name stands in a column of texts; None counts the nulls."""
    if (series := _series(column)) is not None:
        import polars as pl

        names, counts = series.cast(pl.String).value_counts(name="n").get_columns()
        return dict(zip(names.to_list(), counts.to_list(), strict=True))
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return dict(Counter(values))


def bucket_counts(numbers: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Each bucket number of a column and how often it stands there."""
    if not len(numbers):
        return
    low, high = int(numbers.min()), int(numbers.max())
    if high - low <= 4 * len(numbers) + 65_536:
        counts = np.bincount(numbers - low)
        (found,) = counts.nonzero()
        yield from zip((found + low).tolist(), counts[found].tolist(), strict=True)
    else:
        unique, counts = np.unique(numbers, return_counts=True)
        yield from zip(unique.tolist(), counts.tolist(), strict=True)


def extremes(name: str, items: Any, column: object, size: int, floor: float, ceiling: float) -> Extremes:
    """The `size` objects with the highest values from `floor` up, and with the lowest from `ceiling` down."""
    import polars as pl

    values = floats(name, column)
    if len(items) != len(values):
        raise PinflowError(f"{name!r}: {len(items)} objects but {len(values)} values; give as many")
    texts = _texts(items)
    usable = np.isfinite(values) & texts.is_not_null().to_numpy()
    wanted = usable & ((values >= floor) | (values <= ceiling))
    # adding zero makes -0.0 and 0.0 one value
    frame = pl.DataFrame({"item": texts, "value": values + 0.0}).filter(pl.Series(wanted))
    short = frame.filter(pl.col("item").str.len_chars() <= LONGEST_ITEM)
    top = _best(short, size, descending=True)
    bottom = _best(short, size, descending=False)
    return Extremes(top.rows(), bottom.rows(), len(values) - int(usable.sum()), frame.height - short.height)


def _best(frame: "pl.DataFrame", size: int, *, descending: bool) -> "pl.DataFrame":
    """The `size` items with the highest or lowest values."""
    import polars as pl

    value = pl.col("value").max() if descending else pl.col("value").min()
    candidates = frame
    if frame.height > _FEW_OF * size:
        values = frame["value"].to_numpy()
        place = frame.height - _ENOUGH * size if descending else _ENOUGH * size
        limit = float(np.partition(values, place)[place])
        candidates = frame.filter(pl.col("value") >= limit if descending else pl.col("value") <= limit)
    by_item = candidates.group_by("item").agg(value)
    if by_item.height < size and candidates.height < frame.height:
        by_item = frame.group_by("item").agg(value)
    return by_item.sort("value", "item", descending=[descending, False]).head(size)


def distinct_values(column: Any) -> Hashables:
    """What a sketch is to be updated with for a column of objects."""
    import polars as pl

    series = _series(column)
    array = np.asarray(column) if series is None and not isinstance(column, list) else None
    if array is not None and array.ndim == 1 and array.dtype.kind in "biufU":
        series = pl.Series(array)
    if series is None:
        hashed = [None if value is None else hashed_value(value) for value in column]
        values = [value for value in hashed if value is not None]
        return Hashables(values, len(hashed) - len(values))
    skipped = series.null_count()
    if series.dtype.is_float():
        skipped += int(series.is_nan().sum())
    unique = series.drop_nulls().unique()
    if series.dtype.is_integer() and series.dtype not in (pl.UInt64, pl.Int128, pl.UInt128):
        return Hashables(unique.to_list(), skipped)
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = unique.cast(pl.String).to_list()
        return Hashables([text or math.nan for text in texts] if "" in texts else texts, skipped)
    found = map(hashed_value, unique.to_list())
    return Hashables([value for value in found if value is not None], skipped)


def _block_units(values: NDArray[np.float64]) -> int:
    mantissas, exponents = np.frexp(values)
    whole = (mantissas * 2.0**53).astype(np.int64)
    lowest = int(exponents.min()) if len(values) else 0
    offsets = exponents - lowest
    # both halves stay below 2 ** 53 when added up, so that bincount's doubles are exact
    high = np.bincount(offsets, weights=(whole >> _LOW_BITS).astype(np.float64))
    low = np.bincount(offsets, weights=(whole & ((1 << _LOW_BITS) - 1)).astype(np.float64))
    total = 0
    for offset in np.union1d(high.nonzero()[0], low.nonzero()[0]).tolist():
        mantissa = (int(high[offset]) << _LOW_BITS) + int(low[offset])
        total += mantissa << (offset + lowest - 53 + _SHIFT)
    return total >> (_SHIFT - UNIT_EXPONENT)


def _series_floats(name: str, series: "pl.Series") -> NDArray[np.float64]:
    import polars as pl

    if not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
        raise PinflowError(f"{name!r} takes numbers, not a column of {series.dtype}")
    return series.cast(pl.Float64).to_numpy()


def _texts(items: Any) -> "pl.Series":
    import polars as pl

    series = _series(items)
    if series is None:
        return pl.Series([None if item is None else item_text(item) for item in items], dtype=pl.String)
    if series.dtype == pl.String or series.dtype.is_integer() or series.dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    return _texts(series.to_list())


def _series(column: object) -> "pl.Series | None":
    if "polars" not in sys.modules:
        return None
    import polars as pl

    return column if isinstance(column, pl.Series) else None

"""The names that the analytics jobs share: event types, counted columns, period membership.

Polars is imported where it is used: workflows need the names alone.
"""

from collections.abc import Sequence
from datetime import date
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pinflow.hbase_schema.periods import AGGREGATIONS, days, period_start

if TYPE_CHECKING:
    import polars as pl

EVENT_TYPES = ("impression", "clickthrough", "repin", "like", "create")
NETWORKS = ("on", "off")
COUNTS = tuple(f"{event}{suffix}" for event in EVENT_TYPES for suffix in ("", "_on", "_off"))
ITEM_KEYS = ("domain", "owner_id", "board_id", "pin_id", "app")
RANK_PREFIX = "rank_"
ALL = "all"
UNKNOWN = "_unknown"

DaySet = tuple[str, list[str]]
SEPARATOR = "+"


def sum_counts() -> "list[pl.Expr]":
    """Every count column summed, null as 0."""
    import polars as pl

    return [pl.col(name).sum().cast(pl.Int64) for name in COUNTS]


def with_all_counts(frame: "pl.DataFrame") -> "pl.DataFrame":
    """The frame with each count column there, Int64, 0 where absent."""
    import polars as pl

    missing = [pl.lit(0, pl.Int64).alias(name) for name in COUNTS if name not in frame.columns]
    return frame.with_columns(*missing).with_columns(pl.col(*COUNTS).fill_null(0).cast(pl.Int64))


def rank_columns(frame: "pl.DataFrame") -> list[str]:
    """The columns that hold the values of rankings, finite or null."""
    return [name for name in frame.columns if name.startswith(RANK_PREFIX)]


def day_sets(day: date, published: Sequence[str]) -> list[DaySet]:
    """The aggregations of a day, those over the same published days together: `(aggregations, [days])`.

    What is computed and kept once serves all aggregations of a set; on the first day of a warehouse that is all
    four of them. They are named with `+` between: `daily+weekly`.
    """
    sets: dict[tuple[str, ...], list[str]] = {}
    for aggregation in AGGREGATIONS:
        wanted = {d.isoformat() for d in days(aggregation, period_start(aggregation, day))}
        chosen = tuple(sorted(wanted.intersection(published)))
        if chosen:
            sets.setdefault(chosen, []).append(aggregation)
    return [(SEPARATOR.join(aggregations), list(chosen)) for chosen, aggregations in sets.items()]


def set_bits(sets: Sequence[DaySet], width: int = 1) -> dict[str, int]:
    """For each day of the sets, an integer with bit `i * width` set when the day belongs to day set i.

    >>> set_bits([("daily", ["2015-05-19"]), ("weekly", ["2015-05-18", "2015-05-19"])], 4)
    {'2015-05-18': 16, '2015-05-19': 17}
    """
    return {
        name: reduce(or_, (1 << (i * width) for i, (_, chosen) in enumerate(sets) if name in chosen), 0)
        for name in sorted({day for _, chosen in sets for day in chosen})
    }

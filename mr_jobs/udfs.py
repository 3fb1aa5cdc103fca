"""Named functions that jobs share as query logic (AN-19), extended by other distributions' entry points.

A ranking gives a pin a value on a day from the pin's own numeric columns and its counts of the day; a board's
value is the highest of its pins. Register one with `@ranking(...)` in a module that the entry-point group
`pinflow.udfs` names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

import polars as pl

from pinflow.errors import ConfigurationError

ENTRY_POINTS = "pinflow.udfs"
_NAME = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True)
class Ranking:
    """A named order of pins: `value` is an expression over `columns`, null for a pin that has no rank."""

    name: str
    columns: tuple[str, ...]
    value: Callable[[], pl.Expr]


_rankings: dict[str, Ranking] = {}


def ranking(name: str, *columns: str) -> Callable[[Callable[[], pl.Expr]], Callable[[], pl.Expr]]:
    """Register a ranking over numeric columns of pins and event types' counts (`impression`, …)."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"a ranking cannot be called {name!r}; use letters, digits and '_'")

    def register(value: Callable[[], pl.Expr]) -> Callable[[], pl.Expr]:
        known = _rankings.get(name)
        if known is not None and known.value is not value:
            raise ConfigurationError(f"two rankings are called {name!r}; rename one of them")
        _rankings[name] = Ranking(name, columns, value)
        return value

    return register


@ranking("search_rank", "search_score")
def search_rank() -> pl.Expr:
    """The pin's rank in search, as its column `search_score` gives it (AN-05)."""
    return pl.col("search_score")


def rankings() -> list[Ranking]:
    """All registered rankings by name, those of installed distributions included."""
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()
    return [_rankings[name] for name in sorted(_rankings)]

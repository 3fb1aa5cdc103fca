"""Named functions that jobs share as query logic (AN-19), extended by other distributions' entry points.

A ranking gives a pin a value on a day from the pin's own numeric columns, not from the events of the day; a board's
value is the highest of its pins. Register one with `@ranking(...)` in a module that the entry-point group
`pinflow.udfs` names.
"""

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

import polars as pl

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.analytics.columns import COUNTS, EVENT_TYPES, ITEM_KEYS

ENTRY_POINTS = "pinflow.udfs"
_NAME = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True)
class Ranking:
    """A named order of pins: `value` is an expression over `columns`; a pin without a finite value has no rank."""

    name: str
    columns: tuple[str, ...]
    value: Callable[[], pl.Expr]

    @property
    def code(self) -> list[str]:
        """What stands for its code: its name and a hash of its function's source."""
        return [self.name, hashlib.sha256(inspect.getsource(self.value).encode()).hexdigest()]


_rankings: dict[str, Ranking] = {}


def ranking(name: str, *columns: str) -> Callable[[Callable[[], pl.Expr]], Callable[[], pl.Expr]]:
    """Register a ranking over one or more numeric columns of pins.

    Raises `ConfigurationError` for a name that cannot be one, and for columns that are the events', not the pin's:
    rankings see a pin once, its events are counted by app, so that counts (`impression`, …) are no columns of theirs.
    """
    if not _NAME.fullmatch(name) or name in EVENT_TYPES:
        raise ConfigurationError(
            f"a ranking cannot be called {name!r}; use letters, digits and '_', but no event type's name"
        )
    wrong = sorted({*COUNTS, *ITEM_KEYS}.intersection(columns))
    if wrong or not columns:
        raise ConfigurationError(
            f"the ranking {name!r} cannot be made from {', '.join(wrong) or 'nothing'}; "
            "rankings take the pins' own numeric columns, such as search_score"
        )

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

"""Rules that a job's history speaks for, with bounds taken from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import combinations

import numpy as np

from pinflow.stats_engine.history import History
from pinflow.stats_engine.smoothing import Floats

FEWEST_DAYS = 14
LEAST = 10
"""Smaller numbers jump about too much for a forecast, and say little as bounds."""
MARGIN = 2
"""Bounds lie so many times below the lowest and above the highest value seen."""
CLOSER = 0.5
"""A share is worth a rule where it spreads by less than half of what the number itself does."""
MOST_NAMES = 40


@dataclass(frozen=True)
class Suggestion:
    """A rule as it stands in a workflow, and what in the history speaks for it."""

    rule: str
    why: str


def suggest(history: History) -> list[Suggestion]:
    """Rules for the statistics of a history: forecasts and bounds, sums that are equal, steady shares.

    Nothing for statistics known on fewer than FEWEST_DAYS days; accepted values count, alarmed ones do not.
    """
    good = {name: _good(history, name) for name in sorted(history.values)[:MOST_NAMES]}
    long = {name: days for name, days in good.items() if len(days) >= FEWEST_DAYS}
    dates = sorted(set.intersection(*map(set, long.values()))) if long else []
    if len(dates) < FEWEST_DAYS:
        return []
    columns = {name: np.array([days[day] for day in dates]) for name, days in long.items()}
    alone = [found for name, column in columns.items() for found in _alone(name, column)]
    return [*alone, *_balances(columns), *_shares(columns)]


def _good(history: History, name: str) -> dict[date, float]:
    return {
        seen.day: seen.value
        for seen in history.observations(name)
        if seen.value is not None and seen.state in ("good", "accepted")
    }


def _alone(name: str, column: Floats) -> list[Suggestion]:
    """A forecast and bounds for what is never small."""
    if np.median(column) < LEAST or column.min() <= 0:
        return []
    low, high = _round(column.min() / MARGIN), _round(column.max() * MARGIN)
    seen = f"{_round(column.min())} to {_round(column.max())} on {len(column)} days"
    return [
        Suggestion(f'temporal("{name}")', f"never 0; {seen}"),
        Suggestion(f'absolute("{name}", min={low}, max={high})', f"{seen}; bounds {MARGIN} times as far"),
    ]


def _balances(columns: Mapping[str, Floats]) -> list[Suggestion]:
    """Numbers that were equal, or the sum of two others, on all days, though they change."""
    found = []
    changing = {name: column for name, column in columns.items() if np.ptp(column) > 0}
    for one, two in combinations(changing, 2):
        if np.array_equal(changing[one], changing[two]):
            found.append(Suggestion(f'balance(["{one}"], ["{two}"])', f"equal on {len(changing[one])} days"))
    for one, two in combinations(changing, 2):
        total = changing[one] + changing[two]
        for whole, column in changing.items():
            if np.array_equal(column, total):
                rule = f'balance(["{whole}"], ["{one}", "{two}"])'
                found.append(Suggestion(rule, f"equal on {len(total)} days"))
    return found


def _shares(columns: Mapping[str, Floats]) -> list[Suggestion]:
    """For each number that others contain, the share that spreads least."""
    found = []
    usable = {name: column for name, column in columns.items() if column.min() > 0 and np.median(column) >= LEAST}
    for name, column in usable.items():
        shares = [
            (_spread(column / whole), of, column / whole)
            for of, whole in usable.items()
            if of != name and (column <= whole).all() and not np.array_equal(column, whole)
        ]
        if not shares:
            continue
        spread, of, share = min(shares, key=lambda one: one[0])
        if spread < CLOSER * _spread(column):
            low, high = _round(share.min() / MARGIN), _round(min(share.max() * MARGIN, 1.0))
            why = f"{_round(share.min())} to {_round(share.max())} on {len(share)} days, steadier than the number"
            found.append(Suggestion(f'ratio("{name}", of="{of}", min={low}, max={high})', why))
    return found


def _spread(values: Floats) -> float:
    return float(np.std(np.log(values)))


def _round(value: float) -> float:
    """To two digits, whole where it is large."""
    short = float(f"{value:.2g}")
    return int(short) if abs(short) >= LEAST else short

"""How soon a drift of 2 % a day down to half is found in real series.

    python -m benchmarks.drift DATA.csv.gz [--budget 2] [--quiet 7]

Real series, as in benchmarks.forecast, drift from every 15th day on. False are the alarms on the series as they are;
alarms with at most --quiet days between them are one episode. Figures are means over the series of a family, then over
families, at the threshold that gives --budget episodes a series-year, and at the one that pinflow uses.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.forecast import Series, read
from pinflow.stats_engine.drift import drift
from pinflow.stats_engine.smoothing import Floats

WARM_UP = 80
LENGTH = 30
EARLY = 20
STEP = 15
LOOK_BACK = 400


@dataclass(frozen=True)
class Watched:
    """Drift scores of a series as it is, and of each drift put into it (one a row, downward drifts only)."""

    series: Series
    clean: Floats
    drifting: Floats


def watch(series: Series) -> Watched:
    """Look at each day after WARM_UP as it was, and at the days after each start of a drift."""
    dates, values = series.dates, series.values
    path = np.maximum(0.98 ** np.arange(1, LENGTH + 1), 0.5)
    clean = [_score(series, values, t) for t in range(WARM_UP, len(values))]
    rows = []
    for start in range(WARM_UP, len(dates) - LENGTH, STEP):
        changed = values.copy()
        changed[start : start + LENGTH] *= path
        rows.append([_score(series, changed, t, down=True) for t in range(start, start + LENGTH)])
    return Watched(series, np.array(clean), np.array(rows))


def _score(series: Series, values: Floats, t: int, *, down: bool = False) -> float:
    start = max(0, t + 1 - LOOK_BACK)
    found = drift(series.dates[start : t + 1], values[start : t + 1], series.country)
    return 0.0 if down and found.factor > 1 else found.score


def episodes(scores: Floats, limit: float, quiet: int) -> float:
    """Episodes of alarms a year."""
    days = np.flatnonzero(scores > limit)
    return (len(days) > 0) * (1 + int((np.diff(days) > quiet).sum())) / len(scores) * 365.25


def macro(watched: Sequence[Watched], figures: Sequence[float]) -> float:
    """Mean over the series of a family, then over the families."""
    by_family: dict[str, list[float]] = {}
    for one, figure in zip(watched, figures, strict=True):
        by_family.setdefault(one.series.family, []).append(figure)
    return float(np.mean([np.mean(part) for part in by_family.values()]))


def rate(watched: Sequence[Watched], limit: float, quiet: int) -> float:
    """Episodes a series-year."""
    return macro(watched, [episodes(one.clean, limit, quiet) for one in watched])


def report(watched: Sequence[Watched], limit: float, quiet: int) -> None:
    """Print what is found at a threshold."""
    found = {days: [(w.drifting[:, :days] > limit).any(axis=1) for w in watched] for days in (EARLY, LENGTH)}
    print(f"threshold {limit:.3f}: {rate(watched, limit, quiet):.1f} episodes a series-year")
    for days, flags in found.items():
        everything = 100 * np.concatenate(flags).mean()
        families = 100 * macro(watched, [float(part.mean()) for part in flags])
        print(f"  within {days} days: {families:.0f} % over families, {everything:.0f} % of all cases")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget", type=float, default=2.0)
    parser.add_argument("--quiet", type=int, default=7)
    arguments = parser.parse_args()
    watched = [watch(one) for one in read(arguments.data)]
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rate(watched, middle, arguments.quiet) > arguments.budget else (low, middle)
    report(watched, high, arguments.quiet)
    report(watched, 1.0, arguments.quiet)


if __name__ == "__main__":
    main()

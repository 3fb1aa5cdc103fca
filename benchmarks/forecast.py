"""How well forecasts find bad days of real series, at an equal budget of false alarms.

    python -m benchmarks.forecast DATA.csv.gz [--every 1]

DATA has the columns series, family, country, date, value. Each day after the first 70 is judged from the days before.
A false alarm is an alarm on the real value; recall is the share of ordinary days (not within a day of a holiday, at
least 10 and 0.3 x the median of 28 days) that alarm when multiplied by a factor. Figures are means over the series of a
family, then over families. The threshold is set on all families, and, to see what another family would get, once per
family on all others.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import holidays
import numpy as np
import numpy.typing as npt
import polars as pl

from pinflow.stats_engine.forecast import score
from pinflow.stats_engine.smoothing import Flags, Floats
from pinflow.stats_engine.special_days import Days

WARM_UP = 70
FEWEST_DAYS = 130
FACTORS = (0.0, 0.1, 0.5, 0.7, 0.85, 1.2, 1.5, 2.0)
HALF = 1 + FACTORS.index(0.5)
LONG = 300
DAY = np.timedelta64(1, "D")
TURN_OF_THE_YEAR = ((12, 24), (12, 26), (12, 31), (1, 2))
BUDGETS = (4.0, 12.0)


@dataclass(frozen=True)
class Series:
    """One daily series; NaN where a day has no value."""

    name: str
    family: str
    country: str
    dates: Days
    values: Floats


@dataclass(frozen=True)
class Judged:
    """A series' judged days: scores of the real value and of it times each of FACTORS, one column each."""

    series: Series
    scores: Floats
    ordinary: Flags
    holiday: Flags


def read(path: Path) -> list[Series]:
    """The series of a file that are long enough to be judged."""
    table = pl.read_csv(path, try_parse_dates=True).with_columns(pl.col("country").fill_null(""))
    found = []
    for (name,), part in sorted(table.group_by("series", maintain_order=True)):
        dates = part["date"].to_numpy().astype("datetime64[D]")
        values = part["value"].cast(pl.Float64).to_numpy()
        if len(values) >= FEWEST_DAYS:
            found.append(Series(str(name), part["family"][0], part["country"][0], dates, values))
    return found


def near_holidays(dates: Days, country: str) -> Flags:
    """Whether each day is within a day of a public holiday or at the turn of the year."""
    if not country:
        return np.zeros(len(dates), dtype=bool)
    years = range(dates[0].astype(object).year, dates[-1].astype(object).year + 2)
    days = np.array([*holidays.country_holidays(country, years=years)], dtype="datetime64[D]")
    turn = [f"{year}-{month:02}-{day:02}" for year in years for month, day in TURN_OF_THE_YEAR]
    days = np.concatenate([days, np.array(turn, dtype="datetime64[D]")])
    return np.isin(dates, np.concatenate([days - DAY, days, days + DAY]))


def judge(series: Series, every: int) -> Judged:
    """Score each n-th day after the first WARM_UP from the days before it."""
    values, dates = series.values, series.dates
    places = [t for t in range(WARM_UP, len(values), every) if np.isfinite(values[t])]
    factors = np.array((1.0, *FACTORS))
    scores = [score(dates[: t + 1], values[:t], values[t] * factors, series.country) for t in places]
    holiday = near_holidays(dates, series.country)[places]
    usual = np.array([_median(values[t - 28 : t]) for t in places])
    mass = values[places] >= 10
    return Judged(series, np.array(scores), mass & (values[places] >= 0.3 * usual) & ~holiday, mass & holiday)


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) >= 7 else np.inf


def families(judged: Sequence[Judged]) -> list[str]:
    """The names of the families, sorted."""
    return sorted({one.series.family for one in judged})


def of_family(judged: Sequence[Judged], family: str) -> list[Judged]:
    """The series of one family."""
    return [one for one in judged if one.series.family == family]


def rate(one: Judged, limit: float) -> float:
    """Alarms a year on the real values of a series."""
    return float((one.scores[:, 0] > limit).mean()) * 365.25


def macro_rate(judged: Sequence[Judged], limit: float) -> float:
    """Alarms a series-year, mean over the series of a family, then over the families."""
    return _mean([_mean([rate(one, limit) for one in of_family(judged, name)]) for name in families(judged)])


def limit_for(judged: Sequence[Judged], budget: float) -> float:
    """The threshold at which real days give `budget` alarms a series-year."""
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if macro_rate(judged, middle) > budget else (low, middle)
    return high


def recalls(judged: Sequence[Judged], limit: float) -> Floats:
    """Recall in percent of each of FACTORS on ordinary days, and of x0.5 on days near a holiday, of one family."""
    rows = []
    for one in judged:
        found = one.scores > limit
        ordinary = found[one.ordinary][:, 1:].mean(axis=0) if one.ordinary.any() else np.full(len(FACTORS), np.nan)
        rows.append([*ordinary, found[one.holiday][:, HALF].mean() if one.holiday.any() else np.nan])
    return _nanmean(rows) * 100


def macro_recalls(judged: Sequence[Judged], limits: dict[str, float]) -> Floats:
    """The mean of `recalls` over families, each at its own limit."""
    return _nanmean([recalls(of_family(judged, name), limits[name]) for name in families(judged)])


def left_out_limits(judged: Sequence[Judged], budget: float) -> dict[str, float]:
    """For each family the threshold that the other families give."""
    return {name: limit_for([j for j in judged if j.series.family != name], budget) for name in families(judged)}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _nanmean(rows: Sequence[npt.ArrayLike]) -> Floats:
    return np.asarray(np.nanmean(np.array(rows), axis=0))


def _line(name: str, figures: Floats) -> str:
    return f"{name:28}" + "".join(f"{figure:7.1f}" for figure in figures)


def report(judged: Sequence[Judged]) -> None:
    """Print recall, rates and what happens to families that the threshold was not set on."""
    print(" " * 28 + "".join(f"{name:>7}" for name in [*(f"x{factor:g}" for factor in FACTORS), "holiday"]))
    for budget in BUDGETS:
        limit = limit_for(judged, budget)
        everywhere = dict.fromkeys(families(judged), limit)
        print(_line(f"{budget:g} alarms a year", macro_recalls(judged, everywhere)))
        apart = left_out_limits(judged, budget)
        print(_line("  threshold of the others", macro_recalls(judged, apart)))
        rates = {name: _mean([rate(one, apart[name]) for one in of_family(judged, name)]) for name in apart}
        print("  alarms a year of the one left out: " + " ".join(f"{name} {r:.1f}" for name, r in rates.items()))
        long = [rate(one, limit) / budget for one in judged if len(one.scores) >= LONG]
        percentile = f"{np.percentile(long, 90):.2f}" if long else "-"
        print(f"  threshold {limit:.3f}; 90th percentile of rates over budget {percentile} ({len(long)} long series)")
    for budget in (24.0, 12.0, 4.0, 2.0, 1.0):
        print(f"stated {budget:4g} a year: {macro_rate(judged, float(np.log10(365.25 / budget))):5.1f} alarms")
    for name in families(judged):
        family = of_family(judged, name)
        print(_line(f"  {name} ({len(family)})", recalls(family, limit_for(judged, BUDGETS[0]))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="judge each n-th day only (quicker, noisier)")
    arguments = parser.parse_args()
    series = read(arguments.data)
    started = time.perf_counter()
    judged = [judge(one, arguments.every) for one in series]
    days = sum(len(one.scores) for one in judged)
    print(f"{len(judged)} series, {days} days, {1000 * (time.perf_counter() - started) / days:.2f} ms a day")
    report(judged)


if __name__ == "__main__":
    main()

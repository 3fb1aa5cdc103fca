"""Days on which a country does not do as usual: public holidays, the days beside them, the turn of the year.

What such a day does to a series is learned from the series' own past: from the same day of earlier years, and
from days of the same kind. So a day has names, by which it is found again, and one kind.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pinflow.errors import ConfigurationError

Days = npt.NDArray[np.datetime64]
Flags = npt.NDArray[np.bool_]

CHRISTMAS_EVE = (12, 24)
TURN_OF_THE_YEAR = (
    *((12, day) for day in range(23, 32)),
    *((1, day) for day in range(1, 4)),
)
FREE_DAYS = {(12, 25), (1, 1)}
_EPOCH = date(1970, 1, 1).toordinal()


def as_days(days: Iterable[date]) -> Days:
    """Dates as a column, by their numbers: numpy takes ten times as long over date objects.

    >>> as_days([date(2015, 5, 18)])
    array(['2015-05-18'], dtype='datetime64[D]')
    """
    return (np.fromiter((day.toordinal() for day in days), dtype=np.int64) - _EPOCH).astype("datetime64[D]")


class Kind(IntEnum):
    """How a special day stands to its holiday."""

    HOLIDAY = 0
    AFTER = 1
    BEFORE = 2
    TURN_OF_THE_YEAR = 3


class SpecialDay(NamedTuple):
    """`names` are what the day is called in every year, such as `Thanksgiving+1`."""

    kind: Kind
    names: frozenset[str]


def special_day(day: date, country: str) -> SpecialDay | None:
    """What is special about a day in `country`; None for most days.

    `country` is an ISO 3166 code such as `US` or `GB-ENG`; the empty one, and an unknown one, has no special day.
    """
    return _of_year(country, day.year).get(day)


def special_days(country: str, first: np.datetime64, count: int) -> Flags:
    """Whether each of `count` days from `first` on is special."""
    last = first + count - 1
    days = _between(country, first.astype(object).year, last.astype(object).year)
    flags = np.zeros(count, dtype=bool)
    flags[(days[(days >= first) & (days <= last)] - first).astype(int)] = True
    return flags


@lru_cache(maxsize=512)
def _between(country: str, first: int, last: int) -> Days:
    days = sorted(day for year in range(first, last + 1) for day in _of_year(country, year))
    return np.array(days, dtype="datetime64[D]")


@lru_cache(maxsize=2048)
def _of_year(country: str, year: int) -> dict[date, SpecialDay]:
    found: dict[date, SpecialDay] = {}
    if not country:
        return found
    for day, name in sorted(_public_holidays(country, year)):
        for offset, kind in ((0, Kind.HOLIDAY), (1, Kind.AFTER), (-1, Kind.BEFORE)):
            near = day + timedelta(days=offset)
            before = found.get(near, SpecialDay(kind, frozenset()))
            found[near] = SpecialDay(min(kind, before.kind), before.names | {f"{name}{offset:+d}"})
    for month, number in TURN_OF_THE_YEAR:
        kind = Kind.HOLIDAY if (month, number) in FREE_DAYS else Kind.TURN_OF_THE_YEAR
        found[date(year, month, number)] = SpecialDay(kind, frozenset({f"{month}-{number}"}))
    return {day: special for day, special in found.items() if day.year == year}


def check_country(country: str) -> None:
    """Raise `ConfigurationError` for a country, or a part of one, whose public holidays are not known."""
    if country:
        _holidays(country, (2000,))


def _holidays(country: str, years: tuple[int, ...]) -> "dict[date, str]":
    import holidays  # takes 0.2 s

    nation, _, part = country.partition("-")
    try:
        return dict(holidays.country_holidays(nation, subdiv=part or None, years=years).items())
    except NotImplementedError as error:
        raise ConfigurationError(
            f"the public holidays of the country {country!r} are not known: {error}; write an ISO 3166 code such as "
            "US, or one with a part, GB-ENG"
        ) from error


def _public_holidays(country: str, year: int) -> list[tuple[date, str]]:
    """Those of the year and of the days beside it, under the names that they have in every year."""
    try:
        known = _holidays(country, (year - 1, year, year + 1))
    except ConfigurationError:
        return []
    return [(day, name.partition(" (")[0]) for day, name in known.items()]

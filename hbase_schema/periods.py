"""The periods of the four aggregations: which day starts one, and which days it holds (AN-23)."""

from calendar import monthrange
from datetime import date, timedelta

from pinflow.errors import ConfigurationError, UnknownNameError

AGGREGATIONS = ("daily", "weekly", "biweekly", "monthly")

_FIRST_MONDAY = date(1970, 1, 5)
_STEPS = {"daily": 1, "weekly": 7, "biweekly": 14}


def check_aggregation(name: str) -> str:
    """`name` itself, when it is one of `AGGREGATIONS`; else raises `UnknownNameError`."""
    if name not in AGGREGATIONS:
        raise UnknownNameError("aggregation", name, AGGREGATIONS, "pinflow metrics --help")
    return name


def period_start(aggregation: str, day: date) -> date:
    """First day of the period that holds `day`.

    A week starts on Monday (ISO), two weeks on every second Monday counted from 1970-01-05, a month on its first.

    >>> str(period_start("weekly", date(2015, 5, 20)))
    '2015-05-18'
    >>> str(period_start("monthly", date(2015, 5, 20)))
    '2015-05-01'
    """
    if check_aggregation(aggregation) == "monthly":
        return day.replace(day=1)
    beyond = (day - _FIRST_MONDAY).days % _STEPS[aggregation]
    return day - timedelta(days=beyond)


def period_end(aggregation: str, start: date) -> date:
    """Last day of the period that starts on `start`; raises `ConfigurationError` when none starts there.

    >>> str(period_end("monthly", date(2016, 2, 1)))
    '2016-02-29'
    """
    check_start(aggregation, start)
    if aggregation == "monthly":
        return start.replace(day=monthrange(start.year, start.month)[1])
    try:
        return start + timedelta(days=_STEPS[aggregation] - 1)
    except OverflowError:
        raise ConfigurationError(f"the {aggregation} period of {start} ends after {date.max}") from None


def days(aggregation: str, start: date) -> list[date]:
    """Every day of the period that starts on `start`, in order.

    >>> [str(day) for day in days("daily", date(2015, 5, 18))]
    ['2015-05-18']
    """
    count = (period_end(aggregation, start) - start).days + 1
    return [start + timedelta(days=offset) for offset in range(count)]


def check_start(aggregation: str, start: date) -> None:
    """Raises `ConfigurationError` unless a period of `aggregation` starts on `start`."""
    right = period_start(aggregation, start)
    if start != right:
        raise ConfigurationError(f"no {aggregation} period starts on {start}; the one with that day starts on {right}")

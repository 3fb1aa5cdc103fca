"""When a cron expression of a time zone comes due, also where the clocks are changed.

Five fields (minute, hour, day of month, month, day of week), with lists, ranges, steps, names, `L` and `#`, or one of
`@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`; as Debian's cron reads them. Where the clocks are changed:

- An expression with a fixed minute and hour (neither begins with `*`) comes due once for each day that it names. A time
  that the clocks jump over is replaced by the first minute after the jump; of a time that comes twice, the first
  counts. A day that a zone left out as a whole has none.
- Any other expression comes due whenever the clock shows a time that it names: each hour of a day that has 23 or 25.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from pinflow.errors import ConfigurationError

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_EXAMPLE = "write five fields such as '30 2 * * *' (each day at 02:30), or one of " + ", ".join(NAMES)
_DAY = timedelta(days=1)


def check_cron(cron: str) -> None:
    """Raise `ConfigurationError` for an expression that cannot be read or never comes due."""
    fields = NAMES.get(cron, cron)
    if len(fields.split()) != 5:
        raise ConfigurationError(f"{cron!r} is no cron expression: it has not five fields; {_EXAMPLE}")
    try:
        next(CronSim(fields, datetime(2000, 1, 1)))
    except CronSimError as error:
        raise ConfigurationError(f"{cron!r} is no cron expression: {error}; {_EXAMPLE}") from error
    except StopIteration:
        raise ConfigurationError(f"{cron!r} never comes due; {_EXAMPLE}") from None


@cache
def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; raises `ConfigurationError` when there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"no time zone is called {name!r}; write a name such as UTC, Europe/Berlin or America/New_York"
        ) from error


def ticks_after(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """All times, in UTC, at which an expression comes due after a moment.

    >>> from itertools import islice
    >>> ticks = ticks_after("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC))
    >>> [f"{tick:%d %H:%M}" for tick in islice(ticks, 2)]
    ['29 01:00', '30 00:30']
    """
    # Begins a day before: in an hour that comes twice the expression is behind the moment, not ahead of it.
    found = after
    zone, fields = zone_of(timezone), NAMES.get(cron, cron)
    for moment in CronSim(fields, (after - _DAY).astimezone(zone)):
        tick = moment.astimezone(UTC)
        if tick > found and not _stands_for_missing_day(tick, zone, fields):
            found = tick
            yield tick


def next_tick(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first of `ticks_after`; None if there is none within 50 years."""
    return next(ticks_after(cron, timezone, after), None)


def last_ticks(cron: str, timezone: str, after: datetime, until: datetime, most: int) -> list[datetime]:
    """The last `most` times at which an expression came due in (after, until], in order.

    It takes as long as there are such times to find, not as long as the span is.

    >>> start, end = datetime(1996, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    >>> [f"{tick:%Y-%m-%d %H:%M}" for tick in last_ticks("*/20 * * * *", "UTC", start, end, 2)]
    ['2025-12-31 23:40', '2026-01-01 00:00']
    """
    span = timedelta(hours=1)
    while True:
        start = max(after, until - span)
        found: deque[datetime] = deque(maxlen=most)
        for tick in ticks_after(cron, timezone, start):
            if tick > until:
                break
            found.append(tick)
        if len(found) == most or start == after:
            return list(found)
        span *= 4


def _stands_for_missing_day(tick: datetime, zone: ZoneInfo, fields: str) -> bool:
    """Whether a tick replaces one of a day that its zone left out, as Samoa did in 2011 with the date line."""
    before, now = ((tick - timedelta(seconds=s)).astimezone(zone).replace(tzinfo=None) for s in (1, 0))
    return now - before > _DAY and next(CronSim(fields, now - timedelta(seconds=1))) != now

"""By when a run is to be done, as the author of a workflow declares it."""

import re
from dataclasses import KW_ONLY, asdict, dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from pinflow.config import parse_duration
from pinflow.errors import ConfigurationError
from pinflow.scheduler.cron import zone_of

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_LONGEST_MARGIN = timedelta(minutes=15)
OLD = timedelta(days=1)
"""How long after a deadline a run that begins, or begins anew, has none any more."""


@dataclass(frozen=True)
class Deadline:
    """By when a run is to be done: `by` a time of the clock in `timezone`, or `within` a length of time.

    The time is that of the day `days_after` the run's day (1: the day after it). A run that begins more than a day
    after it, such as one of a backfill, has no deadline. The owner is warned as soon as the end is expected less than
    `margin` before it; by default a tenth of the time that the run had, at most 15 minutes.

    >>> from datetime import UTC
    >>> Deadline("07:00", timezone="Europe/Berlin").due(date(2026, 7, 1), datetime(2026, 7, 2, 1, tzinfo=UTC))
    datetime.datetime(2026, 7, 2, 5, 0, tzinfo=datetime.timezone.utc)
    """

    by: str | None = None
    _: KW_ONLY
    within: str | None = None
    timezone: str = "UTC"
    days_after: int = 1
    margin: str | None = None

    def __post_init__(self) -> None:
        if (self.by is None) == (self.within is None):
            raise ConfigurationError("a deadline needs either a time, by='07:00', or a length of time, within='3h'")
        if self.by is not None and not _TIME.fullmatch(self.by):
            raise ConfigurationError(f"a deadline cannot be by {self.by!r}; write hours and minutes such as 07:00")
        if self.days_after < 0:
            raise ConfigurationError(f"a deadline's days_after must be 0 or more, not {self.days_after}")
        zone_of(self.timezone)
        for option in ("within", "margin"):
            try:
                if (length := getattr(self, option)) is not None:
                    parse_duration(length)
            except (ValueError, TypeError) as error:
                raise ConfigurationError(f"a deadline's {option}: {error}") from error

    def __str__(self) -> str:
        if self.within is not None:
            return f"within {self.within}"
        day = {0: "the same day", 1: "the day after"}.get(self.days_after, f"{self.days_after} days after")
        return f"by {self.by} {self.timezone} {day}"

    def due(self, day: date, begins: datetime) -> datetime | None:
        """By when the run of a day is to be done that begins at a moment, in UTC; None if it begins far too late."""
        if self.within is not None:
            return begins + parse_duration(self.within)
        moment = datetime.combine(day + timedelta(days=self.days_after), time.fromisoformat(self.by or ""))
        due = moment.replace(tzinfo=zone_of(self.timezone)).astimezone(begins.tzinfo)
        return due if begins - due <= OLD else None

    def margin_of(self, begins: datetime, due: datetime) -> timedelta:
        """How long before it is due the end of a run has to be expected for nobody to be warned."""
        if self.margin is not None:
            return parse_duration(self.margin)
        return max(timedelta(0), min((due - begins) / 10, _LONGEST_MARGIN))

    def to_json(self) -> dict[str, Any]:
        """The declaration as JSON holds it, without what it does not say."""
        return {name: value for name, value in asdict(self).items() if value != getattr(type(self), name)}

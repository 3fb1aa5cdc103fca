"""What a workflow's author writes about when it runs: the schedule of a workflow."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from pinflow.config import parse_duration
from pinflow.errors import ConfigurationError
from pinflow.scheduler.cron import check_cron, last_ticks, next_tick, ticks_after, zone_of
from pinflow.zygote import JSON

_LONG_AGO = timedelta(days=3660)


class CatchUp(StrEnum):
    """What becomes of ticks that came due while no scheduler ran."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Overrun(StrEnum):
    """What a tick does while a run that this schedule started before is still running."""

    SKIP = "skip"
    ABORT_RUNNING = "abort_running"
    DELAY = "delay"
    DELAY_UNTIL_SUCCESS = "delay_until_success"
    START_NEW = "start_new"


@dataclass(frozen=True)
class Schedule:
    """When a workflow runs: each time that `cron` comes due in `timezone`, a tick, starts one run.

    - The run is of the day `days_before` the tick's local day (1: yesterday) and has `parameters`, in whose texts
      `{tick}` and `{previous_tick}` become those times (ISO 8601, UTC) and `{date}` the run's day.
    - `catch_up` says what becomes of ticks that came due while no scheduler ran: `none` (not made up for), `latest`
      (the newest, once) or `all` (each, in order, the newest `limit`).
    - `overrun` says what a tick does while a run of an earlier tick is running: `skip` (nothing), `abort_running`
      (stop that run, then start), `delay` (wait for its end; `limit` ticks may wait), `delay_until_success` (wait until
      it has succeeded) or `start_new` (start beside it). Ticks made up for by `all` wait instead of being skipped.
    - The conditions of the run may stay untrue for `wait` before they fail.
    - With `active=False` it does nothing until `pinflow schedules resume WORKFLOW`.

    Runs that people start are never counted, and never move a schedule.
    """

    cron: str
    _: KW_ONLY
    timezone: str = "UTC"
    days_before: int = 1
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    catch_up: str = CatchUp.LATEST
    limit: int = 30
    overrun: str = Overrun.SKIP
    wait: str = "12h"
    active: bool = True

    def __post_init__(self) -> None:
        check_cron(self.cron)
        zone_of(self.timezone)
        object.__setattr__(self, "catch_up", _choice(CatchUp, "catch_up", self.catch_up))
        object.__setattr__(self, "overrun", _choice(Overrun, "overrun", self.overrun))
        if self.catch_up is CatchUp.ALL and self.overrun is Overrun.ABORT_RUNNING:
            raise ConfigurationError(
                "a schedule with catch_up='all' cannot have overrun='abort_running': each run would stop the one "
                "before; choose catch_up='latest' or another overrun"
            )
        if self.limit < 1 or self.days_before < 0:
            raise ConfigurationError(
                f"a schedule's limit must be 1 or more, its days_before 0 or more, not {self.limit}, {self.days_before}"
            )
        try:
            parse_duration(self.wait)
        except ValueError as error:
            raise ConfigurationError(f"a schedule's wait: {error}") from error
        try:
            json.dumps(dict(self.parameters), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"a schedule's parameters must be JSON values: {error}") from error

    @property
    def text(self) -> str:
        """The declaration as canonical JSON; two that are equal have the same."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=dict)

    @classmethod
    def from_text(cls, text: str) -> "Schedule":
        """The schedule of which `text` is the declaration."""
        return cls(**json.loads(text))

    def next(self, after: datetime) -> datetime | None:
        """The first tick after a moment, in UTC."""
        return next_tick(self.cron, self.timezone, after)

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """All ticks after a moment, in UTC."""
        return ticks_after(self.cron, self.timezone, after)

    def day_of(self, tick: datetime) -> date:
        """The day of the run that a tick starts."""
        return tick.astimezone(zone_of(self.timezone)).date() - timedelta(days=self.days_before)

    def parameters_of(self, tick: datetime) -> dict[str, Any]:
        """The parameters of the run that a tick starts.

        >>> from datetime import UTC
        >>> schedule = Schedule("0 * * * *", parameters={"since": "{previous_tick}", "top": 5})
        >>> schedule.parameters_of(datetime(2026, 1, 2, 3, tzinfo=UTC))
        {'since': '2026-01-02T02:00:00+00:00', 'top': 5}
        """
        before = last_ticks(self.cron, self.timezone, tick - _LONG_AGO, tick - timedelta(microseconds=1), 1)
        values = {
            "{tick}": tick.isoformat(),
            "{previous_tick}": (before[0] if before else tick - _LONG_AGO).isoformat(),
            "{date}": self.day_of(tick).isoformat(),
        }
        return {name: _filled(value, values) for name, value in self.parameters.items()}


def _filled(value: JSON, values: Mapping[str, str]) -> JSON:
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace(name, text)
    return value


def _choice(kind: type[CatchUp] | type[Overrun], option: str, value: str) -> CatchUp | Overrun:
    try:
        return kind(value)
    except ValueError:
        raise ConfigurationError(
            f"a schedule's {option} cannot be {value!r}; valid: {', '.join(member.value for member in kind)}"
        ) from None

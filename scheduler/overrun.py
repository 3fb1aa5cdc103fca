"""What a tick does when the runs of earlier ticks have not ended: the policies, as a function of what is known."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from pinflow.scheduler.schedules import CatchUp, Overrun, Schedule

ON_TIME = timedelta(minutes=10)
"""How old a tick may be and still not count as one that the schedulers missed."""


class Action(Enum):
    """What is to be done about a tick."""

    START = "start"
    ABORT_AND_START = "abort_and_start"
    SKIP = "skip"
    WAIT = "wait"


class Verdict(NamedTuple):
    """An action and, in words, what it is for."""

    action: Action
    reason: str | None = None


def choose_ticks(declared: Schedule, ticks: Sequence[datetime], now: datetime) -> Sequence[datetime]:
    """Which of the ticks that came due since the last look are to run; `ticks` are in order."""
    if declared.catch_up is CatchUp.ALL:
        return ticks[-declared.limit :]
    newest = ticks[-1:]
    if declared.catch_up is CatchUp.NONE and newest and now - newest[0] > ON_TIME:
        return []
    return newest


def judge_tick(
    declared: Schedule, at: datetime, now: datetime, running: Sequence[str], unsuccessful: str | None
) -> Verdict:
    """What to do about the tick of time `at`.

    `running`: the running runs of earlier ticks; `unsuccessful`: the run of the tick before, unless it succeeded.
    """
    if not running and unsuccessful and declared.overrun is Overrun.DELAY_UNTIL_SUCCESS:
        return Verdict(Action.WAIT, f"waits until {unsuccessful} has succeeded")
    if not running or declared.overrun is Overrun.START_NEW:
        return Verdict(Action.START)
    names = ", ".join(running)
    if declared.overrun is Overrun.ABORT_RUNNING:
        return Verdict(Action.ABORT_AND_START, f"stopped {names}")
    is_made_up_for = declared.catch_up is CatchUp.ALL and now - at > ON_TIME
    if declared.overrun is Overrun.SKIP and not is_made_up_for:
        return Verdict(Action.SKIP, f"{names} was still running")
    return Verdict(Action.WAIT, f"waits for the end of {names}")

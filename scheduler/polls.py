"""The conditions that a worker asks again and again; between two questions they hold no slot and no process."""

import math
import time
from dataclasses import dataclass, replace

from pinflow.config import parse_duration
from pinflow.errors import ExitCode
from pinflow.scheduler.declare import ANSWER_SECONDS, Condition
from pinflow.scheduler.records import Claim, Held

AT_ONCE = 4
"""How many conditions are asked at the same time."""
_GROWTH = 1.5
_LONGEST = 6.0


@dataclass(frozen=True)
class Poll:
    """A condition that is not true yet; times in seconds of the monotonic clock. It is due at `next_at`."""

    held: Held
    claim: Claim
    condition: Condition
    next_at: float
    until: float
    interval: float
    asked: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it was asked for the last time."""
        return self.next_at > self.until

    def answered_by(self, now: float) -> float:
        """When a question that is asked now counts as answered with no, unless the condition has a timeout."""
        return max(now + ANSWER_SECONDS, self.until)

    def again(self, now: float) -> "Poll":
        """The same after one more question that was answered with no; the last question is asked at `until`."""
        longest = _LONGEST * parse_duration(self.condition.poll).total_seconds()
        next_at = min(now + self.interval, self.until) if now < self.until else math.inf
        return replace(self, next_at=next_at, interval=min(self.interval * _GROWTH, longest), asked=self.asked + 1)


class Polls:
    """All polls of a process: those that wait for their time, and those that are being asked."""

    def __init__(self) -> None:
        self.waiting: list[Poll] = []
        self.asking: dict[int, Poll] = {}

    def __len__(self) -> int:
        return len(self.waiting) + len(self.asking)

    def add(self, held: Held, claim: Claim, condition: Condition) -> None:
        """A condition that was just claimed: due at once."""
        limit = min(held.wait, parse_duration(condition.deadline)) if condition.deadline else held.wait
        interval = parse_duration(condition.poll).total_seconds()
        until = held.started + limit.total_seconds()
        self.waiting.append(Poll(held, claim, condition, time.monotonic(), until, interval))

    def due(self, now: float) -> list[Poll]:
        """Take out those that are to be asked now."""
        found = sorted((p for p in self.waiting if p.next_at <= now), key=lambda p: p.next_at)
        found = found[: max(0, AT_ONCE - len(self.asking))]
        self.waiting = [p for p in self.waiting if p not in found]
        return found

    @property
    def wakes_at(self) -> float | None:
        """When the next is due; None while as many are asked as may be."""
        if len(self.asking) >= AT_ONCE:
            return None
        return min((p.next_at for p in self.waiting), default=None)


def is_no(code: int | None) -> bool:
    """Whether a condition's process said: not yet."""
    return code == ExitCode.INPUT_MISSING

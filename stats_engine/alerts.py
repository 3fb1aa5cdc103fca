"""Alerts: what a fired rule, or a failure that is no rule's, tells a job's owner."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pinflow.stats_engine.rules import Degree, Violation

AlertState = Literal["open", "acknowledged", "accepted", "muted", "resolved"]
"""`accepted`: the value was right; forecasts learn from it, and the rule lets that date pass when it runs again."""


@dataclass(frozen=True)
class JobKey:
    """Which attempt of which job statistics and alerts belong to; `date` is the day worked on, YYYY-MM-DD."""

    workflow: str
    run_id: str
    job: str
    attempt: int
    date: str
    owner: str
    step: int = 0

    def columns(self) -> dict[str, str | int]:
        """The columns with which every table of statistics begins."""
        return {
            "workflow": self.workflow,
            "run_id": self.run_id,
            "job": self.job,
            "attempt": self.attempt,
            "step": self.step,
            "date": self.date,
        }


@dataclass(frozen=True)
class Alert:
    """One thing that looks wrong; what there is not is None.

    `low` and `high` are the rule's bounds, or the band of the forecast; `deviation` is how far the value lies from the
    forecast, as a share of it (-0.5: half of it). `learning`: too little history to warn of anything but zeros.
    """

    rule: str
    name: str
    degree: Degree
    message: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    forecast: float | None = None
    deviation: float | None = None
    learning: bool = False


def alerts_of(violations: Iterable[Violation]) -> list[Alert]:
    """An alert for each violation."""
    return [
        Alert(
            rule=found.text,
            name=found.rule.subject,
            degree=found.degree,
            message=found.message,
            value=found.value if math.isfinite(found.value) else None,
            low=found.low,
            high=found.high,
            forecast=found.forecast,
            deviation=found.deviation,
            learning=found.learning,
        )
        for found in violations
    ]

"""How many false alarms an owner puts up with, divided over what is judged."""

from collections.abc import Iterable
from dataclasses import dataclass

from pinflow.errors import ConfigurationError

DAYS_OF_YEAR = 365.25


@dataclass(frozen=True)
class AlarmBudget:
    """False alarms that a workflow may raise in a year; ConfigurationError unless both are above 0."""

    warnings: float = 12.0
    fatals: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (("warnings", self.warnings), ("fatals", self.fatals)):
            if not allowed > 0:
                raise ConfigurationError(f"a budget of {allowed!r} {name} a year cannot be kept; give one above 0")


def alarm_odds(per_year: float, judged_per_year: Iterable[float]) -> float:
    """The odds below which a value is alarming, so that all rules together raise `per_year` false alarms.

    `judged_per_year` has for each temporal rule of the workflow how often it judges: 365.25 for a daily job,
    52 for a weekly one. Rules share the budget in proportion to it.

    >>> round(alarm_odds(12, [DAYS_OF_YEAR] * 3), 5)
    0.01095
    """
    judged = sum(judged_per_year)
    if judged <= 0:
        raise ConfigurationError("no value is judged, so there is no budget to divide")
    return min(per_year / judged, 1.0)

"""What a rule may look at besides the statistics of its own job: the past, other jobs, the calendar, the budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pinflow.stats_engine.history import History

Degree = Literal["warning", "fatal"]
"""`warning`: mail to the owner. `fatal`: the job stops, publishes nothing, and mail to the owner."""

FALSE_ALARMS: Mapping[Degree, float] = {"warning": 12.0, "fatal": 1.0}
"""How many false alarms of each degree a workflow raises in a year, unless it says otherwise."""


@dataclass(frozen=True)
class Background:
    """`day` is the day that the job works on; `others` has the day's numbers of other jobs that are published.

    `country` is the ISO code whose public holidays apply; `allowed` are the false alarms that one rule may raise in a
    year. The history is read when a rule first asks for it.
    """

    day: date = date.min
    read_history: "Callable[[], History] | None" = None
    others: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    country: str = ""
    allowed: Mapping[Degree, float] = field(default_factory=lambda: FALSE_ALARMS)

    @cached_property
    def history(self) -> "History":
        """What the job's published runs of earlier dates gave."""
        from pinflow.stats_engine.history import NO_HISTORY  # needs numpy and SQLAlchemy, which few rules do

        return self.read_history() if self.read_history else NO_HISTORY


NO_BACKGROUND = Background()

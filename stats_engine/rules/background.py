"""What a rule may look at besides the statistics of its own job: the past, other jobs, the calendar."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from pinflow.stats_engine.statistics import Statistics

if TYPE_CHECKING:
    from pinflow.stats_engine.history import History


@dataclass(frozen=True)
class Background:
    """`day` is the day that the job works on; `others` has the day's statistics of other jobs of the workflow.

    `country` is the ISO code whose public holidays apply. The history is read when a rule first asks for it.
    """

    day: date = date.min
    read_history: "Callable[[], History] | None" = None
    others: Mapping[str, Statistics] = field(default_factory=dict)
    country: str = ""

    @cached_property
    def history(self) -> "History":
        """What the job's published runs of earlier dates gave."""
        from pinflow.stats_engine.history import NO_HISTORY  # needs numpy and SQLAlchemy, which few rules do

        return self.read_history() if self.read_history else NO_HISTORY


NO_BACKGROUND = Background()

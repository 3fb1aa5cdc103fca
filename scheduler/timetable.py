"""All declared schedules together, as the process that starts their runs needs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from pinflow.scheduler.definition import Definition
from pinflow.scheduler.schedules import Schedule
from pinflow.zygote import JSON


@dataclass(frozen=True)
class Timetable:
    """The declared schedules by workflow, and how the run of a workflow's day with parameters is defined."""

    schedules: Mapping[str, Schedule]
    define: Callable[[str, date, Mapping[str, JSON]], Definition]

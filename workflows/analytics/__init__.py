"""The analytics workflow: metrics, audiences and top items of each domain and profile, every day (AN-08)."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.inputs.folders import NO_INPUT
from pinflow.scheduler.declare import Stage, Workflow
from pinflow.scheduler.schedules import Schedule
from pinflow.workflows.analytics import aggregate, extract, persist, top_items
from pinflow.workflows.analytics.plan import Plan

STAGES = {"extract": extract, "aggregate": aggregate, "top_items": top_items, "persist": persist}
NIGHTLY = Schedule("30 1 * * *", catch_up="all", limit=7, overrun="delay", wait="20h", active=False)
"""Each day once the day before is over (UTC); off until `pinflow schedules resume analytics`."""


def stages(day: date, parameters: Mapping[str, Any]) -> Sequence[Stage]:
    """The four staged DAGs of one day. `ConfigurationError` when no input is configured."""
    if "format" not in parameters:
        raise ConfigurationError(NO_INPUT)
    plan = Plan.of(day, parameters)
    return [Stage(name, module.jobs(plan)) for name, module in STAGES.items()]


def workflows(owner: str) -> list[Workflow]:
    """The workflows of this module, for the configured owner."""
    description = "metrics, audiences and top items of each domain and profile"
    return [Workflow("analytics", owner, stages, description, NIGHTLY)]

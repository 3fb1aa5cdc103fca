"""The analytics workflow: metrics, audiences and top items of each domain and profile, every day (AN-08)."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pinflow.scheduler.declare import Stage, Workflow
from pinflow.workflows.analytics import aggregate, extract, persist, top_items
from pinflow.workflows.analytics.plan import Plan

STAGES = {"extract": extract, "aggregate": aggregate, "top_items": top_items, "persist": persist}


def stages(day: date, parameters: Mapping[str, Any]) -> Sequence[Stage]:
    """The four staged DAGs of one day."""
    plan = Plan.of(day, parameters)
    return [Stage.from_graph(name, module.graph(plan)) for name, module in STAGES.items()]


def workflows(owner: str) -> list[Workflow]:
    """The workflows of this module, for the configured owner."""
    return [Workflow("analytics", owner, stages, "metrics, audiences and top items of each domain and profile")]

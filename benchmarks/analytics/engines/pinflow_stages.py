"""pinflow: the workflow `analytics` as it is built in, without the stage that loads the serving store."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pinflow.scheduler.declare import Stage, Workflow
from pinflow.workflows import analytics

PERSIST = "persist"


def stages(day: date, parameters: Mapping[str, Any]) -> Sequence[Stage]:
    """The stages extract, aggregate and top_items."""
    return [stage for stage in analytics.stages(day, parameters) if stage.name != PERSIST]


def workflows(owner: str) -> list[Workflow]:
    """For the setting `workflows`."""
    return [Workflow("three_stages", owner, stages, "analytics without persist")]

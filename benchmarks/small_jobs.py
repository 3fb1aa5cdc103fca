"""The workflow that `benchmarks.batch_jobs` runs: many jobs of one map and one reduce task each."""

import os
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pinflow.scheduler.declare import Condition, Stage, Workflow
from pinflow.stats_engine.rules import absolute
from pinflow.workflows.node import INPUT_READY, Day, Raw, mapreduce

JOBS = "BENCHMARK_JOBS"
"""Variable with the number of jobs."""


def there() -> bool:
    """The input is always there."""
    return True


def stages(_day: date, parameters: Mapping[str, Any]) -> Sequence[Stage]:
    """One job that reads pins, and many that count them."""
    rules = [absolute("output_rows", min=1)]
    pins = mapreduce(
        "pins", "pinflow.mr_jobs.analytics.pins:Pins", [Raw("pins")], owner=parameters["owner"], rules=rules
    )
    jobs = [
        mapreduce(
            f"job{number}",
            f"{__package__}.pins_by_board:PinsByBoard",
            [Day("pins")],
            owner=parameters["owner"],
            rules=rules,
        )
        for number in range(int(os.environ[JOBS]))
    ]
    return [Stage("all", [Condition(INPUT_READY, call=f"{__name__}:there"), pins, *jobs])]


def workflows(owner: str) -> list[Workflow]:
    """The workflow `many`."""
    return [Workflow("many", owner, stages, "many small jobs")]

"""A MapReduce job to run, whichever runner does it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pinflow.errors import ConfigurationError


@dataclass(frozen=True)
class JobSpec:
    """One MapReduce job to run: `lines` are its input lines, each with its weight in bytes.

    With `expand` they name splits, and the job is a plain `MRJob`, which gets the lines that they name. `maxima` are
    those of counts above which it is to be stopped while it runs.
    """

    job: str
    arguments: tuple[str, ...]
    lines: tuple[tuple[str, int], ...]
    output: str
    buckets: int = 1
    slots: int = 1
    memory: int = 512 << 20
    expand: bool = False
    maxima: Mapping[str, float] = field(default_factory=dict)


def check_step(job: str, description: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for a step that is not one of Python methods alone."""
    if description.get("type") != "streaming":
        raise ConfigurationError(
            f"{job} has a step of type {description.get('type')!r}; pinflow's runners run streaming steps"
        )
    for task in ("mapper", "combiner", "reducer"):
        if description.get(task, {}).get("type", "script") != "script" or "pre_filter" in description.get(task, {}):
            raise ConfigurationError(f"{job} has a {task} command or filter; pinflow's runners run Python methods only")

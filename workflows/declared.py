"""The MapReduce jobs that the configured workflows declare today, found by name."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pinflow.config import Settings
from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.workflows.catalog import catalog, look
from pinflow.workflows.checking import mapreduce_nodes
from pinflow.workflows.counted import counted_by
from pinflow.workflows.node import MapReduce


@dataclass(frozen=True)
class Declared:
    """A job of a workflow, as today's run would have it."""

    workflow: str
    job: str
    node: MapReduce

    def check_name(self, name: str) -> None:
        """Raise `UnknownNameError` for a statistic, or `NAME / OF`, that the job is known not to count."""
        counted = counted_by(self.node.job)
        for part in name.split(" / "):
            if not counted.may_count(part):
                raise UnknownNameError("statistic", part, counted.names, f"pinflow stats {self.job}")


def declared_jobs(settings: Settings, *, job: str | None = None, workflow: str | None = None) -> list[Declared]:
    """The jobs of all workflows, or those of one name. `UnknownNameError` for a job or workflow that is not there."""
    known = catalog(settings)
    today = datetime.now(UTC).date()
    chosen = [known.find(workflow)] if workflow is not None else known.workflows.values()
    every = [
        Declared(one.name, place, node)
        for one in chosen
        for place, node in mapreduce_nodes(look(settings, one, today)).items()
    ]
    found = [declared for declared in every if job in (None, declared.job)]
    if not found and job is not None:
        raise UnknownNameError("job", job, {declared.job for declared in every}, "pinflow rules")
    return found


def find_job(settings: Settings, job: str, workflow: str | None) -> Declared:
    """The one job of a name. `ConfigurationError` where several workflows have one."""
    found = declared_jobs(settings, job=job, workflow=workflow)
    if len(found) > 1:
        names = ", ".join(declared.workflow for declared in found)
        raise ConfigurationError(f"several workflows have a job {job!r}: {names}; say which with --workflow")
    return found[0]

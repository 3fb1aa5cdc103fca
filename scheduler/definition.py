"""A workflow of one day, composed, checked and frozen: what a run is made from."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.scheduler.deadlines import Deadline
from pinflow.scheduler.declare import Condition, Node, Stage, Workflow, node_from_json
from pinflow.scheduler.values import check_source
from pinflow.zygote import JSON

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True)
class Definition:
    """The jobs of a run. Two definitions with the same `digest` are the same work."""

    workflow: str
    owner: str
    description: str
    date: date
    parameters: Mapping[str, JSON]
    stages: tuple[Stage, ...]
    deadline: Deadline | None = None

    def __post_init__(self) -> None:
        names = [node.name for stage in self.stages for node in stage.jobs]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ConfigurationError(f"workflow {self.workflow!r} has two jobs called {twice[0]!r}; rename one")
        for node in self.nodes.values():
            for before in node.after:
                if before not in self.nodes:
                    hint = UnknownNameError("job", before, names, f"pinflow graph {self.workflow}")
                    raise ConfigurationError(
                        f"workflow {self.workflow!r}: {node.name!r} comes after a job that is not there: {hint}"
                    )
        _ = self.order
        given = {node.name: node.gives for node in self.nodes.values()}
        for node in self.nodes.values():
            for source in node.takes.values():
                check_source(node.name, source, given, self.ancestors(node.name))

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """All jobs by name, in the order in which they were declared; each has an owner."""
        every = (node for stage in self.stages for node in stage.jobs)
        return {node.name: node if node.owner else replace(node, owner=self.owner) for node in every}

    @cached_property
    def stage_of(self) -> dict[str, str]:
        """The stage of each job."""
        return {node.name: stage.name for stage in self.stages for node in stage.jobs}

    @cached_property
    def positions(self) -> dict[str, int]:
        """The place of each job in the order of declaration."""
        return {name: position for position, name in enumerate(self.nodes)}

    @cached_property
    def order(self) -> list[str]:
        """The jobs' names, each after those that it depends on."""
        try:
            return list(TopologicalSorter({n.name: n.after for n in self.nodes.values()}).static_order())
        except CycleError as error:
            path = " -> ".join(error.args[1])
            raise ConfigurationError(
                f"workflow {self.workflow!r}: jobs wait for each other: {path}; remove one `after`"
            ) from error

    @cached_property
    def successors(self) -> dict[str, list[str]]:
        """For each job, those that come directly after it."""
        after: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for before in set(node.after):
                after[before].append(node.name)
        return after

    @cached_property
    def conditions(self) -> int:
        """How many of the jobs are conditions."""
        return sum(isinstance(node, Condition) for node in self.nodes.values())

    @cached_property
    def text(self) -> str:
        """The definition as canonical JSON."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `text`, in hexadecimal."""
        return sha256(self.text.encode()).hexdigest()

    def descendants(self, name: str) -> list[str]:
        """All jobs that come, directly or not, after `name`."""
        found: dict[str, None] = {}
        queue = [name]
        while queue:
            fresh = [s for s in self.successors[queue.pop()] if s not in found]
            found.update(dict.fromkeys(fresh))
            queue.extend(fresh)
        return list(found)

    def ancestors(self, name: str) -> set[str]:
        """All jobs that come, directly or not, before `name`."""
        found: set[str] = set()
        queue = [name]
        while queue:
            fresh = set(self.nodes[queue.pop()].after) - found
            found |= fresh
            queue.extend(fresh)
        return found

    def graph(self) -> "networkx.DiGraph[str]":
        """The stages' DAGs composed into one; nodes have the attributes `job` and `stage`."""
        import networkx

        if not self.stages:
            return networkx.DiGraph()
        return networkx.compose_all([stage.graph() for stage in self.stages])

    def only(self, stage: str) -> "Definition":
        """The same with the jobs of one stage, which then wait for no other stage.

        Raises `ConfigurationError` for one that is not there, and one that takes a value from another.
        """
        names = [s.name for s in self.stages]
        if stage not in names:
            raise UnknownNameError("stage", stage, names, f"pinflow graph {self.workflow}")
        chosen = self.stages[names.index(stage)]
        inside = {node.name for node in chosen.jobs}
        for node in chosen.jobs:
            for source in node.takes.values():
                if (giver := source.rpartition(".")[0]) not in inside:
                    raise ConfigurationError(
                        f"the stage {stage!r} cannot be run alone: its job {node.name!r} takes {source}, a value that "
                        f"the stage {self.stage_of[giver]!r} gives; leave out --stage"
                    )
        jobs = tuple(replace(n, after=tuple(b for b in n.after if b in inside)) for n in chosen.jobs)
        return replace(self, stages=(Stage(stage, jobs),))

    def to_json(self) -> dict[str, Any]:
        """The definition as JSON values."""
        stages = [{"name": s.name, "jobs": [self.nodes[n.name].to_json() for n in s.jobs]} for s in self.stages]
        values = {
            "workflow": self.workflow,
            "owner": self.owner,
            "description": self.description,
            "date": self.date.isoformat(),
            "parameters": dict(self.parameters),
            "stages": stages,
        }
        return values | {"deadline": self.deadline.to_json()} if self.deadline else values

    @classmethod
    def from_text(cls, text: str) -> "Definition":
        """The definition of which `text` is the frozen form."""
        values = json.loads(text)
        stages = tuple(Stage(s["name"], [node_from_json(n) for n in s["jobs"]]) for s in values["stages"])
        deadline = Deadline(**values["deadline"]) if "deadline" in values else None
        return cls(**values | {"date": date.fromisoformat(values["date"]), "stages": stages, "deadline": deadline})


def define(workflow: Workflow, day: date, parameters: Mapping[str, JSON] | None = None) -> Definition:
    """Compose and check a workflow for one day.

    Raises `ConfigurationError` for two jobs of one name, an unknown dependency, and jobs that wait for each other.
    """
    parameters = dict(parameters or {})
    stages = tuple(workflow.stages(day, parameters))
    return Definition(workflow.name, workflow.owner, workflow.description, day, parameters, stages, workflow.deadline)

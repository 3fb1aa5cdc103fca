"""What a workflow's author writes: jobs, commands and conditions, in stages, of a workflow.

A declaration holds only what JSON can hold, so that a run can freeze it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

from pinflow.config import parse_duration
from pinflow.errors import ConfigurationError
from pinflow.scheduler.deadlines import Deadline
from pinflow.scheduler.parameters import Parameter, read_parameters
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.values import check_declared
from pinflow.zygote import JSON

if TYPE_CHECKING:
    import networkx

LONGEST_OWNER = 255
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_CALL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Node:
    """One node of a workflow: what all kinds share.

    `after` names the jobs that must have succeeded before; `retries` counts further attempts after a failure, the first
    after `retry_delay`, each later one after twice the time, but none after an exit code of `final_codes`; after
    `warn_after` its owner gets a mail, after `timeout` it is ended; of the jobs of a `pool`, over all runs, only so
    many run at once as the pool has slots; `publishes` names the datasets it leaves (such a job finds out by itself
    that there is nothing to do, so a run that goes on after a crash starts it again); `gives` names the values that it
    hands on, each with its kind, `takes` those of jobs before it that it gets, name -> JOB.VALUE.
    """

    kind: ClassVar[str] = ""

    name: str
    _: KW_ONLY
    after: Sequence[str] = ()
    owner: str = ""
    description: str = ""
    retries: int = 0
    retry_delay: str = "10s"
    final_codes: Sequence[int] = ()
    timeout: str | None = None
    warn_after: str | None = None
    pool: str | None = None
    publishes: Sequence[str] = ()
    gives: Mapping[str, str] = field(default_factory=dict)
    takes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("job", self.name)
        _check_owner(f"job {self.name!r}", self.owner)
        for option in ("after", "publishes"):
            value = getattr(self, option)
            if isinstance(value, str):
                raise ConfigurationError(f"job {self.name!r}: {option} must be a list of names, not the text {value!r}")
            object.__setattr__(self, option, tuple(value))
        object.__setattr__(self, "final_codes", tuple(self.final_codes))
        if not all(isinstance(code, int) and 0 < code < 256 for code in self.final_codes):
            raise ConfigurationError(f"job {self.name!r}: final_codes must be exit codes, 1 to 255")
        if self.pool is not None:
            check_name("pool", self.pool)
        if self.retries < 0:
            raise ConfigurationError(f"job {self.name!r}: retries cannot be {self.retries}; write 0 or more")
        check_declared(self.name, self.gives, self.takes)
        _check_durations(self.name, retry_delay=self.retry_delay, timeout=self.timeout, warn_after=self.warn_after)

    @property
    def timeout_seconds(self) -> float | None:
        """`timeout` in seconds."""
        return parse_duration(self.timeout).total_seconds() if self.timeout else None

    @property
    def warn_seconds(self) -> float | None:
        """`warn_after` in seconds."""
        return parse_duration(self.warn_after).total_seconds() if self.warn_after else None

    def to_json(self) -> dict[str, JSON]:
        """The declaration as JSON holds it; fields that have their default are left out."""
        values: dict[str, JSON] = {"kind": self.kind}
        for name, spec in self.__dataclass_fields__.items():
            value = getattr(self, name)
            if name != "_" and (name == "name" or value not in (spec.default, (), {})):
                values[name] = list(value) if isinstance(value, tuple) else value
        return values


@dataclass(frozen=True)
class Job(Node):
    """A Python function, `call="package.module:function"`, run in a process of its own with `arguments`.

    Its exit code (what it returns: None, or an int) decides: 0 succeeded, 10 skipped, since its result is there
    already, 3 stopped by a fatal alert, 4 its input is not there, any other failed. It may return a dict in its place:
    the values that it `gives`.
    """

    kind: ClassVar[str] = "job"

    call: str
    arguments: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_call(self.name, self.call, self.arguments, self.takes)


@dataclass(frozen=True)
class Command(Node):
    """A program with its arguments, run without a shell; its exit code decides as that of a `Job`."""

    kind: ClassVar[str] = "command"

    argv: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.argv, str) or not self.argv or not all(isinstance(part, str) for part in self.argv):
            raise ConfigurationError(
                f"command {self.name!r}: argv must be a list such as ['ls', '-l'], not {self.argv!r}"
            )
        object.__setattr__(self, "argv", tuple(self.argv))


ANSWER_SECONDS = 60.0
"""How long a question of a condition may stay without an answer, also when its wait is over before."""


@dataclass(frozen=True)
class Condition(Node):
    """Waits, without holding a slot, until the function `call` returns something true (AN-07, SC-02).

    It is asked first at once, then after `poll`, then in growing intervals up to six times `poll`. It fails
    with exit code 4 when it is not true within the run's `wait`, or within `deadline` if that is shorter. A question
    that is not answered by then, nor within a minute, is stopped and counts as no; with a `timeout` it is stopped
    after that, and has failed.
    """

    kind: ClassVar[str] = "condition"

    call: str
    arguments: Mapping[str, JSON] = field(default_factory=dict)
    poll: str = "10s"
    deadline: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_call(self.name, self.call, self.arguments, self.takes)
        _check_durations(self.name, poll=self.poll, deadline=self.deadline)


NODE_KINDS: Mapping[str, type[Node]] = {kind.kind: kind for kind in (Job, Command, Condition)}


def node_from_json(values: Mapping[str, Any]) -> Node:
    """The node that `Node.to_json` wrote.

    >>> node_from_json(Command("list", argv=["ls"], after=["a"]).to_json())
    Command(name='list', after=('a',), owner='', description='', retries=0, retry_delay='10s', \
final_codes=(), timeout=None, warn_after=None, pool=None, publishes=(), gives={}, takes={}, argv=('ls',))
    """
    rest = dict(values)
    return NODE_KINDS[rest.pop("kind")](**rest)


@dataclass(frozen=True)
class Stage:
    """A named part of a workflow: a DAG of its own, which may depend on jobs of other stages."""

    name: str
    jobs: Sequence[Node]

    def __post_init__(self) -> None:
        check_name("stage", self.name)
        object.__setattr__(self, "jobs", tuple(self.jobs))

    @classmethod
    def from_graph(cls, name: str, graph: "networkx.DiGraph[str]") -> "Stage":
        """The stage of a DiGraph whose nodes are names with the attribute `job`; edges add to `after`."""
        jobs = []
        for node, attributes in graph.nodes(data=True):
            job = attributes.get("job")
            if isinstance(job, Node):
                before = tuple(p for p in graph.predecessors(node) if p not in job.after)
                jobs.append(replace(job, after=(*job.after, *before)))
        return cls(name, jobs)

    def graph(self) -> "networkx.DiGraph[str]":
        """The stage as a DiGraph: an edge leads from a job to each that comes after it."""
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph()
        for job in self.jobs:
            graph.add_node(job.name, job=job, stage=self.name)
            graph.add_edges_from((before, job.name) for before in job.after)
        return graph


Stages = Callable[[date, Mapping[str, JSON]], Sequence[Stage]]


@dataclass(frozen=True)
class Workflow:
    """A named DAG: `stages(date, parameters)` gives the stages of one day's run; `schedule` says when it runs,
    `deadline` by when it is to be done.

    `stages` gets the parameters that are declared here, and what of the configuration concerns workflows. `country` is
    the ISO code whose public holidays forecasts expect, `warnings_a_year` and `fatals_a_year` how many false alarms of
    forecasts are put up with; what is None is as the configuration says.
    """

    name: str
    owner: str
    stages: Stages
    description: str = ""
    schedule: Schedule | None = None
    parameters: Sequence[Parameter] = ()
    country: str | None = None
    warnings_a_year: float | None = None
    fatals_a_year: float | None = None
    deadline: Deadline | None = None

    def __post_init__(self) -> None:
        check_name("workflow", self.name)
        _check_owner(f"workflow {self.name!r}", self.owner)
        object.__setattr__(self, "parameters", tuple(self.parameters))

    def typed(self, given: Mapping[str, JSON]) -> dict[str, JSON]:
        """The declared parameters with the values that are given, else their defaults, checked."""
        return read_parameters(self.name, self.parameters, given)


def check_name(kind: str, name: str) -> None:
    """Raise `ConfigurationError` for a name that cannot stand in a path, a URL and a command line alike."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a {kind} cannot be called {name!r}; use letters, digits, '_', '.' and '-', first a letter or digit, "
            "at most 100"
        )


def _check_owner(what: str, owner: str) -> None:
    if len(owner) > LONGEST_OWNER:
        raise ConfigurationError(
            f"{what}: its owner {owner[:20]!r}... has {len(owner)} characters; write the address of one person or "
            f"list, at most {LONGEST_OWNER}"
        )


def _check_call(name: str, call: str, arguments: Mapping[str, JSON], takes: Mapping[str, str]) -> None:
    if both := sorted(arguments.keys() & takes.keys()):
        raise ConfigurationError(f"job {name!r}: {both[0]!r} is one of its arguments and of what it takes; rename one")
    if not _CALL.fullmatch(call):
        raise ConfigurationError(f"job {name!r}: call must look like 'package.module:function', not {call!r}")
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"job {name!r}: arguments must be JSON values: {error}") from error


def _check_durations(name: str, **options: str | None) -> None:
    for option, value in options.items():
        try:
            if value is not None:
                parse_duration(value)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"job {name!r}: {option}: {error}") from error

"""A MapReduce job as a node of a workflow: what it reads, joins with, publishes, and the rules it must pass."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pinflow.scheduler.declare import Job
from pinflow.stats_engine.rules import OUTPUT_ROWS, Degree, Rule, nonzero

RUN = "pinflow.workflows.mapreduce:run"
INPUT_READY = "input_ready"


@dataclass(frozen=True)
class Raw:
    """The raw files of one kind for the day: events, pins, boards or users."""

    kind: str


@dataclass(frozen=True)
class Day:
    """The published parts of the day of one dataset, below a folder such as `event_type=like/` if one is named."""

    dataset: str
    below: str = ""


@dataclass(frozen=True)
class Periods:
    """All published days of the periods (week, two weeks, month) that the day belongs to, bucket by bucket."""

    dataset: str


Input = Raw | Day | Periods
_INPUTS: Mapping[str, type[Raw] | type[Day] | type[Periods]] = {"raw": Raw, "day": Day, "periods": Periods}


@dataclass(frozen=True)
class MapReduce:
    """The arguments of one node, as a run freezes them.

    `job` is the class as `module:Class`, `dataset` what it publishes, `tables` the datasets of the day that it joins
    with, `options` its own switches. `country` and `allowed`, false alarms a year of one rule, come from the workflow.
    """

    job: str
    dataset: str
    inputs: tuple[Input, ...]
    tables: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    owner: str = ""
    rebuild: bool = False
    serves: bool = False
    country: str = ""
    allowed: Mapping[Degree, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The arguments as JSON values."""
        kinds = {kind: name for name, kind in _INPUTS.items()}
        return asdict(self) | {
            "inputs": [{"input": kinds[type(given)], **asdict(given)} for given in self.inputs],
            "tables": list(self.tables),
            "options": dict(self.options),
            "allowed": dict(self.allowed),
            "rules": [rule.to_json() for rule in self.rules],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "MapReduce":
        """Read what `to_json` gave."""
        return cls(
            **dict(values)
            | {
                "inputs": tuple(_input(given) for given in values["inputs"]),
                "tables": tuple(values["tables"]),
                "rules": tuple(Rule.from_json(rule) for rule in values["rules"]),
            }
        )


def mapreduce(
    name: str,
    job: str,
    inputs: Sequence[Input],
    *,
    owner: str,
    rules: Sequence[Rule],
    tables: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    after: Sequence[str] = (),
    rebuild: bool = False,
    serves: bool = False,
    description: str = "",
    **more: Any,
) -> Job:
    """A node that runs a MapReduce job and publishes the dataset of its own name.

    It comes after the nodes whose datasets it reads, and after `after`; `more` are further options of a `Job`, such as
    `retries`, `timeout` and `pool`. It may give `rows` and `bytes`; what it takes are options of the MapReduce job.
    Without a rule that looks at the past of `output_rows`, it gets one against zeros.
    """
    if not any(OUTPUT_ROWS in rule.past for rule in rules):
        rules = [*rules, nonzero(OUTPUT_ROWS)]
    node = MapReduce(job, name, tuple(inputs), tuple(tables), options or {}, tuple(rules), owner, rebuild, serves)
    before = [INPUT_READY if isinstance(given, Raw) else given.dataset for given in inputs]
    return Job(
        name,
        call=RUN,
        arguments={"node": node.to_json()},
        after=tuple(dict.fromkeys([*before, *tables, *after])),
        owner=owner,
        publishes=(name,),
        description=description,
        **more,
    )


def _input(values: Mapping[str, Any]) -> Input:
    rest = dict(values)
    return _INPUTS[rest.pop("input")](**rest)

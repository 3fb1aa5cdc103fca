"""Checks the rules of a workflow when it is loaded, and tells its jobs their share of its false alarms."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pinflow.config import Settings
from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.scheduler.declare import Job, Node, Stage, Workflow
from pinflow.scheduler.definition import Definition
from pinflow.stats_engine.budget import AlarmBudget
from pinflow.stats_engine.rules import Rule
from pinflow.workflows.counted import Counted, counted_by
from pinflow.workflows.node import RUN, MapReduce

LONGEST = 600
"""Characters of a rule that the table of alerts holds."""


def check_rules(defined: Definition) -> None:
    """Raise `ConfigurationError` for a rule that could not be judged, or would be told to nobody."""
    for name, node in mapreduce_nodes(defined).items():
        if node.rules and not (node.owner.strip() or defined.nodes[name].owner.strip()):
            raise _refused(name, "it has rules, but no owner who could be told; give owner=")
        twice = [text for text, count in Counter(map(str, node.rules)).items() if count > 1]
        if twice:
            raise _refused(name, f"it has the rule {twice[0]} twice; remove one")
        own = counted_by(node.job)
        for rule in node.rules:
            if len(str(rule)) > LONGEST or len(rule.subject) > LONGEST:
                raise _refused(name, f"{rule} is longer than {LONGEST} characters; split it")
            _check_names(name, rule, own)
            _check_others(defined, name, rule)


def share_budget(workflow: Workflow, settings: Settings, defined: Definition) -> Definition:
    """The same, each MapReduce job knowing the country and the false alarms that one of its rules may raise."""
    country = settings.country if workflow.country is None else workflow.country
    if country:
        from pinflow.stats_engine.special_days import check_country  # needs numpy

        check_country(country)
    budget = AlarmBudget(
        settings.warnings_a_year if workflow.warnings_a_year is None else workflow.warnings_a_year,
        settings.fatals_a_year if workflow.fatals_a_year is None else workflow.fatals_a_year,
    )
    rules = [r for node in mapreduce_nodes(defined).values() for r in node.rules if r.kind == "temporal"]
    fatal = sum(rule.degree == "fatal" for rule in rules)
    allowed = {"warning": budget.warnings / max(1, len(rules)), "fatal": budget.fatals / max(1, fatal)}
    told = {"country": country, "allowed": allowed}
    stages = tuple(Stage(s.name, tuple(_tell(node, told) for node in s.jobs)) for s in defined.stages)
    return replace(defined, stages=stages)


def mapreduce_nodes(defined: Definition) -> dict[str, MapReduce]:
    """The MapReduce jobs of a workflow by name."""
    return {
        name: MapReduce.from_json(node.arguments["node"])  # type: ignore[arg-type]
        for name, node in defined.nodes.items()
        if isinstance(node, Job) and node.call == RUN
    }


def _tell(node: Node, told: Mapping[str, Any]) -> Node:
    if not (isinstance(node, Job) and node.call == RUN):
        return node
    arguments: Any = node.arguments["node"]
    return replace(node, arguments={"node": {**arguments, **told}})


def _check_names(job: str, rule: Rule, own: Counted) -> None:
    for name in rule.names:
        if own.is_list(name):
            raise _refused(job, f"{rule} needs a number, but {name!r} is a list of items; take a count or a sum")
        if not own.may_count(name):
            unknown = UnknownNameError("statistic", name, own.names, f"pinflow stats {job}")
            raise _refused(job, f"{rule}: {unknown}")


def _check_others(defined: Definition, job: str, rule: Rule) -> None:
    nodes = mapreduce_nodes(defined) if rule.others else {}
    for other, name in rule.others:
        if other not in nodes:
            unknown = UnknownNameError("job", other, list(nodes), f"pinflow graph {defined.workflow}")
            raise _refused(job, f"{rule}: {unknown}")
        if job not in defined.descendants(other):
            raise _refused(job, f"{rule} needs {other!r} before it; add it to `after`")
        counted = counted_by(nodes[other].job)
        if not counted.may_count(name):
            unknown = UnknownNameError("statistic", name, counted.names, f"pinflow stats {other}")
            raise _refused(job, f"{rule}: {unknown}")


def _refused(job: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"job {job!r}: {reason}")

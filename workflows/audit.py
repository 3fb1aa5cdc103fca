"""Judges a job's statistics by its rules, which also look at its past and at the numbers of other jobs."""

from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial

import sqlalchemy as sa

from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.rules import FALSE_ALARMS, Background, Rule, Violation, evaluate
from pinflow.stats_engine.statistics import Statistics
from pinflow.workflows.node import MapReduce


def audit(database: sa.Engine, node: MapReduce, key: JobKey, statistics: Statistics) -> list[Violation]:
    """The rules of a node that fire."""
    return evaluate(node.rules, statistics, background(database, node, key))


def background(database: sa.Engine, node: MapReduce, key: JobKey) -> Background:
    """What the node's rules may look at; the past is read when a rule asks for it."""
    from pinflow.stats_engine.history import read_history

    day = date.fromisoformat(key.date)
    past = sorted({name for rule in node.rules for name in rule.past})
    return Background(
        day=day,
        read_history=partial(read_history, database, key.workflow, key.job, past, day),
        others=numbers_for(database, key.workflow, node.rules, day),
        country=node.country,
        allowed=node.allowed or FALSE_ALARMS,
    )


def numbers_for(
    database: sa.Engine, workflow: str, rules: Iterable[Rule], day: date
) -> Mapping[str, Mapping[str, float]]:
    """The day's numbers of other jobs that rules look at, by job and name."""
    from pinflow.stats_engine.history import numbers_of

    wanted: dict[str, set[str]] = {}
    for rule in rules:
        for job, name in rule.others:
            wanted.setdefault(job, set()).add(name)
    return numbers_of(database, workflow, wanted, day) if wanted else {}

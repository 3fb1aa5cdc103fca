"""What a rule would have done on past days, each judged as it was then: from the runs published before it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.baseline import ValueState
from pinflow.stats_engine.history import History
from pinflow.stats_engine.rules import Background, Degree, Rule, Violation, evaluate
from pinflow.stats_engine.statistics import Statistics


@dataclass(frozen=True)
class Trial:
    """A past day: the value that a rule looked at, and what it would have told."""

    day: date
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class Recorded:
    """A job's history to the present, and what its rules look at besides."""

    history: History
    others: Callable[[date], Mapping[str, Mapping[str, float]]]
    country: str
    allowed: Mapping[Degree, float]


def try_rule(rule: Rule, recorded: Recorded, since: date) -> Iterator[Trial]:
    """Judge each published day from `since` on. What the rule tells is kept out of what later days learn from.

    `ConfigurationError` for a rule on the newest time, which the tables of statistics do not keep exactly.
    """
    if rule.kind == "fresh":
        raise ConfigurationError(f"{rule} cannot be tried: the tables keep no exact times; see v_histograms")
    states: dict[date, ValueState] = dict(recorded.history.states.get(rule.subject, {}))
    for day in recorded.history.dates:
        if day < since:
            continue
        found = tuple(_judge(rule, recorded, day, states))
        if any(not violation.check for violation in found):
            states.setdefault(day, "alarmed")
        yield Trial(day, found)


def names_of(rules: Iterable[Rule]) -> set[str]:
    """The statistics of the job that rules look at."""
    return {name for rule in rules for name in (*rule.names, *rule.past)}


def _judge(rule: Rule, recorded: Recorded, day: date, states: Mapping[date, ValueState]) -> list[Violation]:
    history = recorded.history
    known = {name: history.value(name, day) or 0.0 for name in names_of([rule])}
    background = Background(
        day=day,
        read_history=lambda: replace(history, states={**history.states, rule.subject: states}),
        others=recorded.others(day) if rule.others else {},
        country=recorded.country,
        allowed=recorded.allowed,
    )
    return evaluate([rule], Statistics(sums=known), background)

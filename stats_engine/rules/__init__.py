"""Rules on a job's statistics (ST-16 to ST-18): declared beside the job, checked before its data is published.

A kind of rule has a module of its own here: a class below `Rule` with `kind`, `subject`, `judge`, and a function that
makes it, for workflows. A rule names a count or a sum, or a histogram, which stands for the number of its values. A
name that the job has not counted is 0.
"""

from collections.abc import Iterable

from pinflow.stats_engine.rules.absolute import absolute
from pinflow.stats_engine.rules.background import FALSE_ALARMS, NO_BACKGROUND, Background, Degree
from pinflow.stats_engine.rules.balance import balance
from pinflow.stats_engine.rules.fresh import fresh
from pinflow.stats_engine.rules.nonzero import nonzero
from pinflow.stats_engine.rules.ratio import ratio
from pinflow.stats_engine.rules.rule import (
    INPUT_BYTES,
    KINDS,
    OUTPUT_BYTES,
    OUTPUT_ROWS,
    SECONDS,
    Rule,
    Violation,
    show,
)
from pinflow.stats_engine.rules.temporal import temporal
from pinflow.stats_engine.statistics import Statistics

__all__ = [
    "FALSE_ALARMS",
    "INPUT_BYTES",
    "KINDS",
    "NO_BACKGROUND",
    "OUTPUT_BYTES",
    "OUTPUT_ROWS",
    "SECONDS",
    "Background",
    "Degree",
    "Rule",
    "Violation",
    "absolute",
    "balance",
    "evaluate",
    "fresh",
    "nonzero",
    "ratio",
    "show",
    "temporal",
]


def evaluate(rules: Iterable[Rule], statistics: Statistics, background: Background = NO_BACKGROUND) -> list[Violation]:
    """The rules that fire, in their order."""
    return [found for rule in rules for found in rule.judge(statistics, background)]

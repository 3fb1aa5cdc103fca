"""Rules on a job's statistics (ST-16 to ST-18): declared beside the job, checked before its data is published.

A kind of rule has a module of its own here: a class below `Rule` with `kind`, `subject`, `judge`, and a function that
makes it, for workflows. A rule names a count or a sum, or a histogram, which stands for the number of its values. A
name that the job has not counted is 0.
"""

from collections.abc import Iterable

from pinflow.stats_engine.rules.absolute import absolute
from pinflow.stats_engine.rules.background import NO_BACKGROUND, Background
from pinflow.stats_engine.rules.ratio import ratio
from pinflow.stats_engine.rules.rule import (
    INPUT_BYTES,
    OUTPUT_BYTES,
    OUTPUT_ROWS,
    SECONDS,
    Degree,
    Rule,
    Violation,
    show,
)
from pinflow.stats_engine.statistics import Statistics

__all__ = [
    "INPUT_BYTES",
    "NO_BACKGROUND",
    "OUTPUT_BYTES",
    "OUTPUT_ROWS",
    "SECONDS",
    "Background",
    "Degree",
    "Rule",
    "Violation",
    "absolute",
    "evaluate",
    "ratio",
    "show",
]


def evaluate(rules: Iterable[Rule], statistics: Statistics, background: Background = NO_BACKGROUND) -> list[Violation]:
    """The rules that fire, in their order."""
    return [found for rule in rules for found in rule.judge(statistics, background)]

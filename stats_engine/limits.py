"""Which rules can stop a job while it runs: fatal maxima of what only grows."""

from collections.abc import Iterable

from pinflow.stats_engine.rules import Rule
from pinflow.stats_engine.rules.absolute import Absolute


def growing_maxima(rules: Iterable[Rule]) -> list[Absolute]:
    """The fatal absolute rules with a maximum.

    Where that name is a count, a job that has passed it cannot come back below it, so it need not run on. A share can
    fall again, and so can a sum; what is not a count of the tasks is judged when the job has ended.
    """
    return [rule for rule in rules if isinstance(rule, Absolute) and rule.degree == "fatal" and rule.max is not None]

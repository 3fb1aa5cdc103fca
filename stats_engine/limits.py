"""Which rules can stop a job while it runs: fatal maxima of what only grows."""

from collections.abc import Iterable

from pinflow.stats_engine.rules import Rule


def growing_maxima(rules: Iterable[Rule]) -> list[Rule]:
    """The fatal rules with a maximum on one name.

    Where that name is a count, a job that has passed it cannot come back below it, so it need not run on. A share can
    fall again, and so can a sum; what is not a count of the tasks is judged when the job has ended.
    """
    return [rule for rule in rules if rule.degree == "fatal" and rule.max is not None and rule.of is None]

"""Stage 3: the top pins and boards of each domain and profile (AN-12)."""

from pinflow.scheduler.declare import Node
from pinflow.stats_engine.rules import absolute
from pinflow.workflows.analytics.plan import Plan
from pinflow.workflows.node import Periods

ITEMS = {"pins": "pin_counts", "boards": "board_counts"}


def jobs(plan: Plan) -> list[Node]:
    """A job for each kind of subject and of item.

    Each comes after both counts, though it reads one: of two runs at once, the one that publishes its last count last
    then makes all its lists from all days, and serves the periods that they share. If the pins came as soon as the
    pins are counted, each run could have lists without the other's day, and none would serve.
    """
    return [
        plan.job(
            f"{subject}_top_{items}",
            f"{subject}_top_{items}:{subject.capitalize()}Top{items.capitalize()}",
            [Periods(counts)],
            [absolute("lists", min=1)],
            options={"top": plan.top},
            after=list(ITEMS.values()),
            description=f"top {items} of each {subject}",
        )
        for subject in ("domain", "profile")
        for items, counts in ITEMS.items()
    ]

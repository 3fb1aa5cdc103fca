"""Stage 3: the top pins and boards of each domain and profile (AN-12)."""

import networkx as nx

from pinflow.scheduler.declare import Node
from pinflow.stats_engine.rules import absolute
from pinflow.workflows.analytics.plan import Plan
from pinflow.workflows.node import Periods

ITEMS = {"pins": "pin_counts", "boards": "board_counts"}


def graph(plan: Plan) -> "nx.DiGraph[str]":
    """A job for each kind of subject and of item."""
    nodes: list[Node] = [
        plan.job(
            f"{subject}_top_{items}",
            f"{subject}_top_{items}:{subject.capitalize()}Top{items.capitalize()}",
            [Periods(counts)],
            [absolute("lists", min=1)],
            options={"top": plan.top},
            description=f"top {items} of each {subject}",
        )
        for subject in ("domain", "profile")
        for items, counts in ITEMS.items()
    ]
    return plan.graph(nodes)

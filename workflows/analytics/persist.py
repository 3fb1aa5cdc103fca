"""Stage 4: everything into the serving store, where readers see a period once it is whole (AN-13)."""

from pinflow.scheduler.declare import Node
from pinflow.stats_engine.rules import absolute, balance
from pinflow.workflows.analytics.plan import Plan
from pinflow.workflows.node import Day

SUBJECTS = ("domain", "profile")
SECTIONS = {
    "top_items": ("PersistTopItems", [f"{s}_top_{items}" for s in SUBJECTS for items in ("pins", "boards")]),
    "audience": ("PersistAudience", [f"{subject}_audience" for subject in SUBJECTS]),
    "metrics": ("PersistMetrics", [f"{subject}_metrics" for subject in SUBJECTS]),
}
"""The longest job first: of those that are ready it starts before the others."""


def jobs(plan: Plan) -> list[Node]:
    """A job for each section of the serving store; the metrics come last, since a day is served with them."""
    return [
        plan.job(
            f"persist_{section}",
            f"persist_{section}:{job}",
            [Day(name) for name in datasets],
            [absolute("rows_written", min=1), balance(["rows_read"], ["rows_kept", "rows_left_out"])],
            after=["persist_audience", "persist_top_items"] if section == "metrics" else (),
            serves=True,
            description=f"{section.replace('_', ' ')} of all periods, into the serving store",
        )
        for section, (job, datasets) in SECTIONS.items()
    ]

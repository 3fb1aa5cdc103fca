"""Stage 2: counts of pins and boards, metrics and audiences of domains and profiles (AN-11)."""

from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
from pinflow.scheduler.declare import Node
from pinflow.stats_engine.rules import OUTPUT_BYTES, OUTPUT_ROWS, Rule, absolute, balance, ratio, temporal
from pinflow.workflows.analytics.plan import Plan
from pinflow.workflows.node import Day, Periods


def jobs(plan: Plan) -> list[Node]:
    """Counts and user actions of the day, then metrics and audiences of all periods that the day belongs to."""
    events = [Day(f"extract_{event}") for event in EVENT_TYPES]
    nodes: list[Node] = [
        plan.job(
            "pin_counts",
            "pin_counts:PinCounts",
            events,
            [
                absolute("events", min=1),
                balance(
                    [("read_events", "events_kept")], [(f"extract_{event}", "events_read") for event in EVENT_TYPES]
                ),
                _of_extracted(),
                temporal(OUTPUT_BYTES, least=0.1),
            ],
            tables=["pins"],
            description="events by pin and app, with the pins' rankings",
        ),
        plan.job(
            "board_counts",
            "board_counts:BoardCounts",
            [Day("pin_counts")],
            [
                ratio("rows_without_board", of="rows_read", max=0.9),
                balance([("pin_counts", OUTPUT_ROWS)], ["rows_read"]),
            ],
            description="events by board and app",
        ),
        plan.job(
            "user_actions",
            "user_actions:UserActions",
            events,
            [
                ratio("actions", of="events", max=1, degree="fatal"),
                _of_extracted(),
                balance(["actions"], [OUTPUT_ROWS]),
                temporal("users"),
            ],
            tables=["users"],
            description="who did what with whose content, once a user",
        ),
    ]
    for subject in ("domain", "profile"):
        nodes += [_metrics(plan, subject), _audience(plan, subject)]
    return nodes


def _of_extracted() -> Rule:
    """Every event that was extracted is counted."""
    return balance([(f"extract_{event}", "events_kept") for event in EVENT_TYPES], ["events"])


def _metrics(plan: Plan, subject: str) -> Node:
    return plan.job(
        f"{subject}_metrics",
        f"{subject}_metrics:{subject.capitalize()}Metrics",
        [Periods("pin_counts"), Periods("board_counts"), Periods("user_actions")],
        [absolute("subjects", min=1)],
        description=f"metrics of each {subject}: daily, weekly, biweekly, monthly",
    )


def _audience(plan: Plan, subject: str) -> Node:
    return plan.job(
        f"{subject}_audience",
        f"{subject}_audience:{subject.capitalize()}Audience",
        [Periods("user_actions")],
        [absolute("audience_rows", min=1), balance(["audience_rows"], [OUTPUT_ROWS])],
        description=f"who interacts with each {subject}, by country, metro and gender",
    )

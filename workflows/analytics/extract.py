"""Stage 1: what the raw input holds, checked and cut to the fields that later stages use (AN-09, AN-10)."""

from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
from pinflow.scheduler.declare import Condition, Node
from pinflow.stats_engine.rules import OUTPUT_ROWS, Rule, absolute, balance, fresh, ratio, temporal
from pinflow.workflows.analytics.plan import Plan
from pinflow.workflows.node import INPUT_READY, Day, Raw

OBJECTS = ("pins", "boards", "users")
UNREAD = ("blank_lines", "bad_lines")
LEFT_OUT = {
    "canonical": ("events_kept", "other_event_types", "out_of_day_events"),
    "access_log": ("page_views", "dropped_method", "dropped_status", "dropped_asset", "dropped_bot"),
}
"""What becomes of the lines that can be read."""


def jobs(plan: Plan) -> list[Node]:
    """The condition, the objects, the events as they come, and the events of each type."""
    ready = Condition(
        INPUT_READY,
        call="pinflow.workflows.conditions:input_is_ready",
        arguments={"date_text": plan.date.isoformat()},
        owner=plan.owner,
        description="the day's raw input is there",
    )
    nodes: list[Node] = [ready, _events(plan), *(_objects(plan, kind) for kind in OBJECTS)]
    nodes += [_events_of_type(plan, event) for event in EVENT_TYPES]
    return nodes


def _readable(plan: Plan) -> list[Rule]:
    return [
        ratio("bad_lines", of="lines_read", max=plan.bad_share, degree="fatal"),
        absolute("truncated_files", max=0, degree="fatal"),
    ]


def _events(plan: Plan) -> Node:
    rules = [
        *_readable(plan),
        absolute("events_kept", min=1),
        temporal(OUTPUT_ROWS),
        fresh("event_time", within="12h"),
        balance(["lines_read"], [*LEFT_OUT[plan.format], *UNREAD]),
    ]
    return plan.job("read_events", "read_events:ReadEvents", [Raw("events")], rules, description="raw events, by type")


def _objects(plan: Plan, kind: str) -> Node:
    job = f"{kind}:{kind.capitalize()}"
    if plan.format == "access_log":
        views = [Day("read_events", below="event_type=impression/")]
        rules = [ratio(f"{kind}_kept", of="page_views_read", max=1), *_steady(kind)]
        options = {"format": plan.format, "splits": True}
        return plan.job(kind, job, views, rules, options=options, description=f"{kind} that were viewed")
    whole = balance(["lines_read"], [f"{kind}_kept", f"repeated_{kind}", *UNREAD])
    rules = [*_readable(plan), whole, *_steady(kind)]
    return plan.job(kind, job, [Raw(kind)], rules, description=f"{kind}, the last row of each id")


def _steady(kind: str) -> list[Rule]:
    """Boards follow pins, so a rule on them would tell the same again."""
    return [] if kind == "boards" else [temporal(OUTPUT_ROWS, least=0.05)]


def _events_of_type(plan: Plan, event: str) -> Node:
    return plan.job(
        f"extract_{event}",
        "extract_events:ExtractEvents",
        [Day("read_events", below=f"event_type={event}/")],
        [
            ratio("unknown_pins", of="events_read", max=0.5),
            balance(["events_read"], ["events_kept", "unknown_pins_dropped"]),
            temporal(OUTPUT_ROWS),
        ],
        tables=["pins"],
        options={"event_type": event},
        description=f"{event} events with their pins' boards, owners and domains",
    )

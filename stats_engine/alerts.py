"""Alerts: what a fired rule, or a failure that is no rule's, tells a job's owner, and the mail that says so."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pinflow.stats_engine.rules import Degree, Violation, show

AlertState = Literal["open", "acknowledged", "accepted", "muted", "resolved"]
"""`accepted`: the value was right; forecasts learn from it, and the rule lets that date pass when it runs again."""


@dataclass(frozen=True)
class JobKey:
    """Which attempt of which job statistics and alerts belong to; `date` is the day worked on, YYYY-MM-DD."""

    workflow: str
    run_id: str
    job: str
    attempt: int
    date: str
    owner: str
    step: int = 0

    def columns(self) -> dict[str, str | int]:
        """The columns with which every table of statistics begins."""
        return {
            "workflow": self.workflow,
            "run_id": self.run_id,
            "job": self.job,
            "attempt": self.attempt,
            "step": self.step,
            "date": self.date,
        }


@dataclass(frozen=True)
class Alert:
    """One thing that looks wrong; what there is not is None.

    `low` and `high` are the rule's bounds, or the band of the forecast; `deviation` is how far the value lies from the
    forecast, as a share of it (-0.5: half of it). `learning`: too little history to warn of anything but zeros.
    """

    rule: str
    name: str
    degree: Degree
    message: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    forecast: float | None = None
    deviation: float | None = None
    learning: bool = False


@dataclass(frozen=True)
class Mail:
    """A mail of the outbox. The same alerts of the same job and run have the same `message_id`."""

    message_id: str
    recipient: str
    subject: str
    body: str


def alerts_of(violations: Iterable[Violation]) -> list[Alert]:
    """An alert for each violation."""
    return [
        Alert(
            rule=found.check or str(found.rule),
            name=found.rule.subject,
            degree=found.rule.degree,
            message=found.message,
            value=found.value if math.isfinite(found.value) else None,
            low=found.low,
            high=found.high,
            forecast=found.forecast,
            deviation=found.deviation,
            learning=found.learning,
        )
        for found in violations
    ]


def mail_about(key: JobKey, alerts: Sequence[Alert]) -> Mail:
    """The one mail to the owner about a job's alerts: what, where, what was stopped, what to type."""
    fatal = any(alert.degree == "fatal" for alert in alerts)
    ordered = sorted(alerts, key=lambda alert: alert.degree != "fatal")
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    subject = f"[pinflow] {'FATAL' if fatal else 'warning'}: {key.job} {key.date}: {ordered[0].message}{more}"
    parts = [_heading(key), "\n\n".join(map(_describe, ordered)), _consequence(key, fatal), _commands(key)]
    return Mail(message_id(key, alerts), key.owner, _one_line(subject), "\n\n".join(parts) + "\n")


def message_id(key: JobKey, alerts: Iterable[Alert]) -> str:
    """The Message-ID of the mail about these alerts; equal when it must be sent again."""
    rules = sorted((alert.rule, alert.degree) for alert in alerts)
    digest = hashlib.sha256(repr((key.workflow, key.run_id, key.job, key.date, rules)).encode()).hexdigest()
    return f"<{digest[:32]}@pinflow>"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _heading(key: JobKey) -> str:
    rows = {
        "Job": f"{key.job} of workflow {key.workflow}",
        "Date": key.date,
        "Run": f"{key.run_id}, attempt {key.attempt}",
        "Owner": key.owner,
    }
    return "\n".join(f"{name + ':':7} {value}" for name, value in rows.items())


def _describe(alert: Alert) -> str:
    lines = [f"{alert.degree.upper()}: {alert.message}", f"  rule:   {alert.rule}"]
    if alert.value is not None:
        lines.append(f"  value:  {show(alert.value)}")
    bounds = [f"{word} {show(value)}" for word, value in (("min", alert.low), ("max", alert.high)) if value is not None]
    if bounds:
        lines.append(f"  bounds: {', '.join(bounds)}")
    return "\n".join(lines)


def _consequence(key: JobKey, fatal: bool) -> str:
    if not fatal:
        return "Nothing was stopped."
    return (
        f"The job was stopped: nothing of it was published for {key.date}.\n"
        "Readers still see what was published before; the jobs that depend on it do not run."
    )


def _commands(key: JobKey) -> str:
    commands = {
        "its numbers": f"pinflow stats {key.job} --date {key.date}",
        "its log": f"pinflow logs {key.run_id} {key.job}",
        "the run": f"pinflow show {key.run_id}",
        "all alerts": "pinflow alerts",
        "run again": f"pinflow run {key.workflow} --date {key.date}",
    }
    return "To look and to go on:\n" + "\n".join(f"  {name + ':':12} {line}" for name, line in commands.items())

"""A notice as plain text, for mail, chats and the terminal; the last weeks as a line of bars."""

from collections.abc import Sequence

from pinflow.stats_engine.notice import AlertNote, Notice, Record
from pinflow.stats_engine.rules import show

_BARS = "▁▂▃▄▅▆▇█"


def text_of(notice: Notice) -> str:
    """The whole text, lines of about 120 letters."""
    parts = [
        _heading(notice),
        *("\n".join(describe(alert)) for alert in notice.alerts),
        notice.consequence.replace(". ", ".\n"),
        *([f"The end of its log:\n{notice.log}"] if notice.log else []),
        "To look and to go on:\n" + commands_text(notice.commands),
    ]
    return "\n\n".join(parts) + "\n"


def describe(alert: AlertNote) -> list[str]:
    """What is known of one alert, line by line."""
    lines = [f"  {name + ':':10} {value}" for name, value in facts(alert).items()]
    return [f"{alert.degree.upper()}: {alert.message}", *lines]


def facts(alert: AlertNote) -> dict[str, str]:
    """What is known of one alert besides its message."""
    rows = {
        "alert": str(alert.id),
        "rule": alert.rule,
        "value": None if alert.value is None else show(alert.value),
        "bounds" if alert.forecast is None else "band": _bounds(alert),
        "forecast": None if alert.forecast is None else show(alert.forecast),
        "deviation": _deviation(alert),
        "weeks": _weeks(alert),
        "learning": "yes: there is too little history to warn of anything but zeros" if alert.learning else None,
        "so far": record_text(alert.record),
    }
    return {name: value for name, value in rows.items() if value}


def _bounds(alert: AlertNote) -> str:
    """The bounds of a rule, or the band of a forecast; empty without."""
    if alert.forecast is not None and alert.low is not None and alert.high is not None:
        return f"{show(alert.low)} to {show(alert.high)}"
    ends = (("min", alert.low), ("max", alert.high))
    return ", ".join(f"{word} {show(value)}" for word, value in ends if value is not None)


def _deviation(alert: AlertNote) -> str:
    """How far the value lies from its forecast, in percent of it; empty without."""
    return "" if alert.deviation is None else f"{alert.deviation:+,.0%} of the forecast"


def _weeks(alert: AlertNote) -> str:
    """The values of the last weeks and the day's own as bars, and what they span; empty without."""
    if not alert.history or alert.value is None:
        return ""
    values = [value for _, value in alert.history]
    first, last = alert.history[0][0], alert.history[-1][0]
    return f"{bars([*values, alert.value])}  {first} to {last}: {show(min(values))} to {show(max(values))}"


def bars(values: Sequence[float]) -> str:
    """Numbers as bars between 0, or the lowest, and the highest.

    >>> bars([0, 5, 10]), bars([3])
    ('▁▅█', '█')
    """
    low, high = min(0.0, *values), max(0.0, *values)
    size = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / size * (len(_BARS) - 1))] for value in values)


def record_text(record: Record) -> str:
    """What became of a rule's alarms.

    >>> record_text(Record(alarms=4, accepted=1))
    'this rule has alarmed 4 times for this job: 1 accepted as right, 0 acknowledged, 0 muted'
    """
    times = "once" if record.alarms == 1 else f"{record.alarms} times"
    return (
        f"this rule has alarmed {times} for this job: {record.accepted} accepted as right, "
        f"{record.acknowledged} acknowledged, {record.muted} muted"
    )


def commands_text(commands: Sequence[tuple[str, str]]) -> str:
    """Commands under each other, each after its purpose."""
    return "\n".join(f"  {purpose + ':':20} {line}" for purpose, line in commands)


def _heading(notice: Notice) -> str:
    rows = {
        "Job": f"{notice.job} of workflow {notice.workflow}",
        "Date": notice.date,
        "Run": f"{notice.run_id}, attempt {notice.attempt}",
        "Owner": notice.owner,
    }
    return "\n".join(f"{name + ':':7} {value}" for name, value in rows.items())

"""What a mail about a job's alerts says, as values: kept with the mail as JSON, rendered when it is sent."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.rules import Degree
from pinflow.stats_engine.tables import ALERT_CHANGES, ALERTS

WEEKS = 8
"""How far back the plots reach."""


@dataclass(frozen=True)
class Record:
    """How often a rule of a job has alarmed so far, and what people made of it."""

    alarms: int = 0
    accepted: int = 0
    acknowledged: int = 0
    muted: int = 0


@dataclass(frozen=True)
class AlertNote(Alert):
    """An alert as its owner reads it; `history` has the published values of the last weeks, by date."""

    id: int = 0
    history: tuple[tuple[str, float], ...] = ()
    record: Record = Record()


@dataclass(frozen=True)
class Notice:
    """All new alerts of a job's attempt; `commands` are pairs of a purpose and what to type.

    `log` has the last lines that the job wrote, of one that failed.
    """

    workflow: str
    run_id: str
    job: str
    attempt: int
    date: str
    owner: str
    alerts: tuple[AlertNote, ...]
    consequence: str
    commands: tuple[tuple[str, str], ...]
    log: str = ""

    @property
    def degree(self) -> Degree:
        """The highest of the alerts."""
        return "fatal" if any(alert.degree == "fatal" for alert in self.alerts) else "warning"

    @property
    def subject(self) -> str:
        """One line: the most serious alert, and how many more there are."""
        more = f" (and {len(self.alerts) - 1} more)" if len(self.alerts) > 1 else ""
        degree = "FATAL" if self.degree == "fatal" else "warning"
        text = f"[pinflow] {degree}: {self.job} {self.date}: {self.alerts[0].message}{more}"
        return " ".join(text.split())

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Notice":
        """Read what `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        values = json.loads(text)
        alerts = tuple(_note(alert) for alert in values.pop("alerts"))
        return cls(**values | {"alerts": alerts, "commands": tuple(map(tuple, values.pop("commands")))})


def _note(values: Mapping[str, Any]) -> AlertNote:
    history = tuple((day, value) for day, value in values["history"])
    return AlertNote(**dict(values) | {"history": history, "record": Record(**values["record"])})


def notice_of(connection: sa.Connection, key: JobKey, rows: Sequence[sa.Row[Any]]) -> Notice:
    """The notice about rows of the table of alerts, all of one attempt; the fatal ones come first."""
    ordered = sorted(rows, key=lambda row: row.degree != "fatal")
    past = _past(connection, key, {row.name for row in ordered})
    records = records_of(connection, key.workflow, key.job)
    notes = tuple(note_of(row, past.get(row.name, ()), records.get(row.rule, Record())) for row in ordered)
    fatal = ordered[0].degree == "fatal"
    return Notice(
        key.workflow,
        key.run_id,
        key.job,
        key.attempt,
        key.date,
        key.owner,
        notes,
        _consequence(key.date, fatal=fatal),
        tuple(commands_about(key.workflow, key.run_id, key.job, key.date, notes[0].id)),
    )


def notice_about(row: Any, consequence: str, commands: Sequence[tuple[str, str]], log: str) -> Notice:
    """The notice about one row of the table of alerts that no statistic shows; what to do about it is added."""
    every = [
        ("all about it", f"pinflow alerts show {row.id}"),
        *commands,
        ("I am on it", f"pinflow alerts ack {row.id}"),
    ]
    note = note_of(row, (), Record(alarms=1))
    key = row.workflow, row.run_id, row.job, row.attempt, row.date, row.owner
    return Notice(*key, (note,), consequence, tuple(every), log)


def note_of(row: Any, history: Sequence[tuple[str, float]], record: Record) -> AlertNote:
    """A row of the table of alerts, with what came before it."""
    own = {name: getattr(row, name) for name in Alert.__dataclass_fields__} | {"learning": bool(row.learning)}
    return AlertNote(**own, id=row.id, history=tuple(history), record=record)


def history_of(connection: sa.Connection, row: Any) -> tuple[tuple[str, float], ...]:
    """The published values of the last weeks before a row of the table of alerts."""
    key = JobKey(row.workflow, row.run_id, row.job, row.attempt, row.date, row.owner)
    return _past(connection, key, {row.name}).get(row.name, ())


def _past(connection: sa.Connection, key: JobKey, subjects: set[str]) -> dict[str, tuple[tuple[str, float], ...]]:
    from pinflow.stats_engine.history import read_history  # needs numpy, and what sends mail imports this module

    try:
        day = dt.date.fromisoformat(key.date)
    except ValueError:
        return {}
    names = {name for subject in subjects for name in subject.split(" / ")}
    history = read_history(connection, key.workflow, key.job, names, day)
    first = day - dt.timedelta(weeks=WEEKS)
    found = {}
    for subject in subjects:
        name, _, of = subject.partition(" / ")
        seen = history.observations(name, of)
        found[subject] = tuple((o.day.isoformat(), o.value) for o in seen if o.value is not None and o.day >= first)
    return found


def records_of(connection: sa.Connection, workflow: str, job: str) -> dict[str, Record]:
    """What became of all alarms of a job so far, by rule."""
    mine = sa.and_(ALERTS.c.workflow == workflow, ALERTS.c.job == job)
    states = sa.select(ALERTS.c.rule, ALERTS.c.state, sa.func.count()).where(mine)
    now = Counter({(rule, state): n for rule, state, n in connection.execute(states.group_by("rule", "state"))})
    ever = sa.select(ALERTS.c.rule, ALERT_CHANGES.c.state, sa.func.count(ALERTS.c.id.distinct())).where(mine)
    ever = ever.join(ALERT_CHANGES, ALERT_CHANGES.c.alert_id == ALERTS.c.id)
    changed = Counter(
        {(rule, state): n for rule, state, n in connection.execute(ever.group_by(ALERTS.c.rule, ALERT_CHANGES.c.state))}
    )
    return {
        rule: Record(
            alarms=sum(n for (other, _), n in now.items() if other == rule),
            accepted=now[rule, "accepted"],
            acknowledged=changed[rule, "acknowledged"],
            muted=changed[rule, "muted"],
        )
        for rule in {rule for rule, _ in now}
    }


def _consequence(day: str, *, fatal: bool) -> str:
    if not fatal:
        return "Nothing was stopped."
    return (
        f"The job was stopped: nothing of it was published for {day}. "
        "Readers still see what was published before; the jobs that depend on it do not run."
    )


def commands_about(workflow: str, run_id: str, job: str, day: str, alert: int) -> list[tuple[str, str]]:
    """What to type next: pairs of a purpose and a command."""
    return [
        ("all about it", f"pinflow alerts show {alert}"),
        ("its numbers", f"pinflow stats {job} --date {day}"),
        ("its log", f"pinflow logs {run_id} {job}"),
        ("the run", f"pinflow show {run_id}"),
        ("the value is right", f"pinflow alerts accept {alert} --why '…'"),
        ("I am on it", f"pinflow alerts ack {alert}"),
        ("no mail for a week", f"pinflow alerts mute {alert} --for 7d"),
        ("run again", f"pinflow run {workflow} --date {day}"),
    ]

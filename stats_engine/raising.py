"""Alerts of an attempt as rows, and the one mail about those that are news: part of recording its statistics."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pinflow.stats_engine.alerts import Alert, AlertState, JobKey
from pinflow.stats_engine.handling import PINFLOW, move, note
from pinflow.stats_engine.record_statements import EARLIER_ALERTS, KNOWN_ALERTS, places
from pinflow.stats_engine.states import PENDING
from pinflow.stats_engine.tables import ALERT_CHANGES, ALERTS, MAILS

Rows = Sequence[Any]


def raise_alerts(connection: sa.Connection, key: JobKey, alerts: Sequence[Alert], now: datetime) -> frozenset[str]:
    """Write this attempt's alerts, in the place of those that it raised before, and the mail about what is news.

    Gives the rules that fired within what somebody has accepted for this date: they are no reason to stop. An alert
    that an earlier attempt raised for the date is resolved when its rule fires again. News is what is neither muted
    nor accepted and was not mailed in this run.
    """
    known = KNOWN_ALERTS.run(connection, places(key) | {"b_now": now}).rows
    same_date = [row for row in known if (row.date, row.step) == (key.date, key.step)]
    own = {row.rule: row for row in same_date if (row.run_id, row.attempt) == (key.run_id, key.attempt)}
    others = [row for row in same_date if row not in own.values()]
    by_rule = {alert.rule: alert for alert in alerts}
    _forget(connection, [row.id for rule, row in own.items() if rule not in by_rule])
    _supersede(connection, key, [row for row in others if row.rule in by_rule], now)
    repeats = Counter(row.rule for row in others)
    news, accepted = [], set()
    for rule, alert in by_rule.items():
        if rule in own:
            connection.execute(ALERTS.update().where(ALERTS.c.id == own[rule].id).values(**asdict(alert)))
            state = own[rule].state
        else:
            state = _insert(connection, key, alert, repeats[rule], [row for row in known if row.rule == rule], now)
            mailed = any((row.run_id, row.rule, row.degree) == (key.run_id, rule, alert.degree) for row in others)
            if state == "open" and not mailed:
                news.append(alert)
        if state == "accepted":
            accepted.add(rule)
    if news:
        _post_notice(connection, key, news, now)
    return frozenset(accepted)


def resolve_earlier(connection: sa.Connection, key: JobKey, fine_at: datetime) -> None:
    """Resolve what other attempts than this one, which is published, raised for the date before a time."""
    why = f"{key.run_id}, attempt {key.attempt}, was published without it"
    for row in EARLIER_ALERTS.run(connection, places(key) | {"b_before": fine_at}).rows:
        move(connection, row, "resolve", person=PINFLOW, why=why, now=fine_at)


def post(
    connection: sa.Connection,
    key: JobKey,
    alerts: Iterable[Alert],
    subject: str,
    body: str,
    content: str | None,
    now: datetime,
) -> None:
    """Put a mail to the owner into the outbox, once for the same alerts of a job and run."""
    identity = message_id(key, alerts)
    known = sa.select(MAILS.c.message_id).where(MAILS.c.message_id == identity)
    if connection.execute(known).first() is None:
        mail = {"message_id": identity, "recipient": key.owner, "subject": subject, "body": body, "content": content}
        connection.execute(MAILS.insert(), mail | {"state": "waiting", "created_at": now})


def message_id(key: JobKey, alerts: Iterable[Alert]) -> str:
    """The Message-ID of the mail about these alerts; equal when it must be sent again."""
    rules = sorted((alert.rule, alert.degree) for alert in alerts)
    digest = hashlib.sha256(repr((key.workflow, key.run_id, key.job, key.date, rules)).encode()).hexdigest()
    return f"<{digest[:32]}@pinflow>"


def alert_row(key: JobKey, alert: Alert, now: datetime) -> dict[str, Any]:
    """A new row of the table of alerts, open."""
    extra = {"owner": key.owner, "state": "open", "repeats": 0, "created_at": now, "changed_at": now}
    return key.columns() | asdict(alert) | extra | {"muted_until": None}


def _forget(connection: sa.Connection, numbers: Sequence[int]) -> None:
    for table, column in ((ALERTS, ALERTS.c.id), (ALERT_CHANGES, ALERT_CHANGES.c.alert_id)):
        if numbers:
            connection.execute(table.delete().where(column.in_(numbers)))


def _supersede(connection: sa.Connection, key: JobKey, rows: Rows, now: datetime) -> None:
    why = f"fired again in {key.run_id}, attempt {key.attempt}"
    for row in rows:
        if row.state in PENDING:
            move(connection, row, "resolve", person=PINFLOW, why=why, now=now)


def _insert(
    connection: sa.Connection, key: JobKey, alert: Alert, repeats: int, same_rule: Rows, now: datetime
) -> AlertState:
    """Write a new alert, in the state that people gave to earlier ones of its rule; gives that state."""
    values = alert_row(key, alert, now) | {"repeats": repeats}
    accepted = [row for row in same_rule if row.state == "accepted" and row.date == key.date and _covers(row, alert)]
    muted = [row for row in same_rule if row.muted_until and row.muted_until > now]
    earlier = accepted or muted
    if accepted:
        values["state"] = "accepted"
    elif muted:
        values |= {"state": "muted", "muted_until": muted[-1].muted_until}
    state: AlertState = values["state"]
    inserted = connection.execute(ALERTS.insert(), values).inserted_primary_key
    if earlier and inserted:
        why = f"as alert {earlier[-1].id}"
        note(connection, inserted[0], "open", state, person=PINFLOW, why=why, now=now)
    return state


def _covers(accepted: Any, alert: Alert) -> bool:
    """Whether who accepted that value has accepted this one too: it lies no farther out, on the same side."""
    if accepted.value is None or alert.value is None:
        return bool(accepted.value == alert.value)
    if alert.high is not None and alert.value > alert.high:
        return bool(alert.value <= accepted.value)
    if alert.low is not None and alert.value < alert.low:
        return bool(alert.value >= accepted.value)
    return bool(alert.value == accepted.value)


def _post_notice(connection: sa.Connection, key: JobKey, news: Sequence[Alert], now: datetime) -> None:
    from pinflow.stats_engine.notice import notice_of  # few attempts have news
    from pinflow.stats_engine.notice_text import text_of

    mine = [ALERTS.c[name] == value for name, value in key.columns().items()]
    wanted = ALERTS.c.rule.in_([alert.rule for alert in news])
    rows = connection.execute(sa.select(ALERTS).where(*mine, wanted).order_by(ALERTS.c.id)).all()
    notice = notice_of(connection, key, rows)
    post(connection, key, news, notice.subject, text_of(notice), notice.to_json(), now)

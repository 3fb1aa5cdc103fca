"""Delivery of the outbox: each mail goes out through every channel, tried until it is taken.

A delivery is noted as done right after the channel's server has taken the mail, so a mail goes out twice only when
the process dies in between (or the server's answer is lost), and then under the same Message-ID.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from pinflow.database import transact
from pinflow.stats_engine.tables import DELIVERIES, MAILS

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
LEAST_TRIES = 5
"""A mail must be refused for good so often in a row, over a quarter of an hour: the server may be set up wrongly."""
_REFUSED = "refused for good: "
"""How the error of a delivery begins that was refused for good at its last try."""
CLAIM = timedelta(minutes=5)
"""How long a mail is its sender's alone: longer than any server may take to answer for one mail."""


@dataclass(frozen=True)
class Post:
    """A mail of the outbox: its text in `body`, what it says as JSON in `content` (None: the text is all)."""

    message_id: str
    recipient: str
    subject: str
    body: str
    content: str | None
    created_at: datetime


class RefusedError(Exception):
    """One mail was not taken; others may be. Its text holds no secret. `for_good`: nor will it be later."""

    def __init__(self, text: str, *, for_good: bool = True) -> None:
        super().__init__(text)
        self.for_good = for_good


class AwayError(Exception):
    """The channel takes nothing now. Its text holds no secret."""


Send = Callable[[Post], None]


class Channel(Protocol):
    """A way out for mails."""

    @property
    def name(self) -> str:
        """What the channel is called in the database, without secrets."""

    def open(self) -> AbstractContextManager[Send]:
        """What sends one mail after the other; `AwayError` when nothing can be sent, `RefusedError` for one mail."""


class Delivery(NamedTuple):
    """How many mails a channel took, how many of those tried it did not, and why the last one was not."""

    sent: int
    waiting: int
    error: str | None


def deliver(engine: sa.Engine, channels: Sequence[Channel], now: datetime, *, every: bool = False) -> Delivery:
    """Send the mails that are due through each channel; with `every` also those whose pause is not over.

    What cannot be sent waits, from a minute at first to an hour, for a later call; what a channel has refused for good
    LEAST_TRIES times in a row stays refused until a call with `every`. Several processes may deliver at once: a mail
    that one of them is sending is left to it.
    """
    if every:
        _take_up(engine, now)
    if not channels or not _address(engine, channels):
        return Delivery(0, 0, None)
    done = [_deliver_by(engine, channel, now, every=every) for channel in channels]
    _settle(engine, channels, now)
    errors = [f"{channel.name}: {one.error}" for channel, one in zip(channels, done, strict=True) if one.error]
    return Delivery(sum(one.sent for one in done), sum(one.waiting for one in done), errors[-1] if errors else None)


def _deliver_by(engine: sa.Engine, channel: Channel, now: datetime, *, every: bool) -> Delivery:
    started = time.monotonic()
    if every:
        _hasten(engine, channel.name, now)
    sent, errors = 0, []

    def claim() -> "_Claimed | None":
        until = now + timedelta(seconds=time.monotonic() - started) + CLAIM
        return transact(engine, partial(_claim, channel=channel.name, now=now, until=until))

    claimed = claim()
    if claimed is None:
        return Delivery(0, 0, None)
    try:
        with channel.open() as send:
            while claimed is not None:
                try:
                    send(claimed.post)
                except RefusedError as error:
                    errors.append(_postpone(engine, [claimed], channel.name, error, now))
                else:
                    sent += 1
                    _finish(engine, claimed, channel.name, now)
                claimed = claim()
    except AwayError as error:
        held = [one for one in (claimed,) if one is not None]
        while (other := claim()) is not None:
            held.append(other)
        errors += [_postpone(engine, held, channel.name, error, now)] * len(held)
    return Delivery(sent, len(errors), errors[-1] if errors else None)


class _Claimed(NamedTuple):
    """A mail that this process alone may send for now, and how often it was tried, this time included.

    Tries before the first of several refusals in a row do not count: the server may have been away then.
    """

    post: Post
    attempts: int
    was_refused: bool


def _address(engine: sa.Engine, channels: Sequence[Channel]) -> int:
    """See that each mail that waits has a delivery for each channel; gives how many mails wait."""
    known = sa.select(DELIVERIES.c.message_id)

    def address(connection: sa.Connection) -> int:
        count = connection.scalar(sa.select(sa.func.count()).select_from(MAILS).where(MAILS.c.state == "waiting"))
        for channel in channels if count else ():
            there = known.where(DELIVERIES.c.message_id == MAILS.c.message_id, DELIVERIES.c.channel == channel.name)
            columns = (MAILS.c.message_id, sa.literal(channel.name), sa.literal("waiting"), sa.literal(0))
            new = sa.select(*columns, MAILS.c.created_at).where(MAILS.c.state == "waiting", ~there.exists())
            insert = (
                DELIVERIES.insert().prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
            )
            names = ["message_id", "channel", "state", "attempts", "next_at"]
            connection.execute(insert.from_select(names, new))
        return count or 0

    return transact(engine, address)


def _is_due(channel: str, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(DELIVERIES.c.channel == channel, DELIVERIES.c.state == "waiting", DELIVERIES.c.next_at <= now)


def _hasten(engine: sa.Engine, channel: str, now: datetime) -> None:
    """Make due what waits for its next try; what another process is sending is not."""
    paused = sa.and_(DELIVERIES.c.channel == channel, DELIVERIES.c.state == "waiting", DELIVERIES.c.error.is_not(None))
    change = DELIVERIES.update().where(paused).values(next_at=now)
    transact(engine, lambda connection: connection.execute(change))


def _claim(connection: sa.Connection, *, channel: str, now: datetime, until: datetime) -> _Claimed | None:
    """The next due mail that no other process is sending: claimed by moving its next try to `until`."""
    due = _is_due(channel, now)
    first = sa.select(DELIVERIES).where(due).order_by(DELIVERIES.c.next_at).limit(1)
    row = connection.execute(first.with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    change = DELIVERIES.update().where(due, DELIVERIES.c.message_id == row.message_id)
    connection.execute(change.values(attempts=row.attempts + 1, next_at=until, error=None))
    columns = [MAILS.c[name] for name in Post.__dataclass_fields__]
    mail = connection.execute(sa.select(*columns).where(MAILS.c.message_id == row.message_id)).one()
    return _Claimed(Post(*mail), row.attempts + 1, (row.error or "").startswith(_REFUSED))


def _finish(engine: sa.Engine, claimed: _Claimed, channel: str, now: datetime) -> None:
    _note(engine, [claimed], channel, lambda _: {"state": "sent", "sent_at": now, "error": None})


def _postpone(engine: sa.Engine, held: Sequence[_Claimed], channel: str, error: Exception, now: datetime) -> str:
    is_refused = isinstance(error, RefusedError) and error.for_good
    text = f"{_REFUSED}{error}" if is_refused else str(error)

    def later(claimed: _Claimed) -> dict[str, Any]:
        attempts = 1 if is_refused and not claimed.was_refused else claimed.attempts
        pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, 10), LONGEST_PAUSE)
        state = "refused" if is_refused and attempts >= LEAST_TRIES else "waiting"
        return {"error": text, "attempts": attempts, "next_at": now + pause, "state": state}

    _note(engine, held, channel, later)
    return text


def _note(
    engine: sa.Engine, held: Sequence[_Claimed], channel: str, values: Callable[[_Claimed], dict[str, Any]]
) -> None:
    def note(connection: sa.Connection) -> None:
        for claimed in held:
            same = (DELIVERIES.c.message_id == claimed.post.message_id, DELIVERIES.c.channel == channel)
            connection.execute(DELIVERIES.update().where(*same).values(**values(claimed)))

    transact(engine, note)


def _settle(engine: sa.Engine, channels: Sequence[Channel], now: datetime) -> None:
    """Mark as sent the mails that every channel has taken, as refused those that some have refused for good."""
    names = [channel.name for channel in channels]
    same = (DELIVERIES.c.message_id == MAILS.c.message_id, DELIVERIES.c.channel.in_(names))

    def in_state(*states: str) -> Any:
        found = sa.select(sa.func.count()).select_from(DELIVERIES).where(*same, DELIVERIES.c.state.in_(states))
        return found.scalar_subquery()

    waits = MAILS.c.state == "waiting"
    is_sent = sa.and_(waits, in_state("sent") == len(names))
    is_refused = sa.and_(waits, in_state("sent", "refused") == len(names))

    def settle(connection: sa.Connection) -> None:
        connection.execute(MAILS.update().where(is_sent).values(state="sent", sent_at=now))
        connection.execute(MAILS.update().where(is_refused).values(state="refused"))

    transact(engine, settle)


def _take_up(engine: sa.Engine, now: datetime) -> None:
    """Let wait again what was refused for good."""

    def take_up(connection: sa.Connection) -> None:
        for table, values in ((DELIVERIES, {"state": "waiting", "next_at": now}), (MAILS, {"state": "waiting"})):
            connection.execute(table.update().where(table.c.state == "refused").values(**values))

    transact(engine, take_up)


def drop_refused(engine: sa.Engine) -> int:
    """Give up the mails that were refused for good; gives how many there were."""
    numbers = sa.select(MAILS.c.message_id).where(MAILS.c.state == "refused")

    def drop(connection: sa.Connection) -> int:
        gone = connection.scalars(numbers).all()
        for table in (DELIVERIES, MAILS):
            connection.execute(table.delete().where(table.c.message_id.in_(gone)))
        return len(gone)

    return transact(engine, drop)

import mailbox
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from pinflow.errors import ConfigurationError
from pinflow.stats_engine import mail
from pinflow.stats_engine import outbox as outbox_module
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.mail import mail_channel
from pinflow.stats_engine.outbox import CLAIM, Delivery, Post
from pinflow.stats_engine.queries import waiting_mails
from pinflow.stats_engine.record import notify
from pinflow.stats_engine.tables import DELIVERIES, MAILS


def deliver(engine: sa.Engine, url: str, now: datetime, *, sender: str = "pinflow@localhost") -> Delivery:
    """By mail alone."""
    return outbox_module.deliver(engine, [mail_channel(url, sender)], now)


@pytest.fixture
def outbox(database: sa.Engine, key: JobKey, now: datetime) -> sa.Engine:
    for number in range(3):
        about = replace(key, run_id=f"run-{number}")
        notify(database, about, f"nämlich {number}", f"body {number}\nünïcode\n", "warning", "late", now)
    return database


def _states(database: sa.Engine) -> list[str]:
    with database.connect() as connection:
        return sorted(connection.scalars(sa.select(MAILS.c.state)))


class Inbox:
    """An SMTP server's handler that keeps what it takes, and refuses what it is told to."""

    def __init__(self, refuse: str = "") -> None:
        self.refuse = refuse
        self.answer = "550 not this one"
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refuse and self.refuse in str(envelope.content, "utf-8"):
            return self.answer
        self.envelopes.append(envelope)
        return "250 taken"

    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(envelope.content, policy=policy.default) for envelope in self.envelopes]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def smtp_server(handler: Inbox, port: int, **options: object) -> Iterator[str]:
    controller = Controller(handler, "127.0.0.1", port, **options)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


def test_into_a_maildir(outbox: sa.Engine, tmp_path: Path, now: datetime) -> None:
    folder = tmp_path / "home" / "mail"
    assert deliver(outbox, str(folder), now) == Delivery(sent=3, waiting=0, error=None)
    assert deliver(outbox, str(folder), now + timedelta(days=1)) == Delivery(0, 0, None)
    box = mailbox.Maildir(folder, factory=None, create=False)
    found = sorted((message_from_bytes(bytes(m), policy=policy.default) for m in box), key=lambda m: m["Subject"])
    assert [m["Subject"] for m in found] == [f"[pinflow] nämlich {number}" for number in range(3)]
    assert found[0]["To"] == "ann@example.com"
    assert found[0]["From"] == "pinflow@localhost"
    assert found[0]["Date"].datetime == now
    assert found[0].get_content() == "body 0\nünïcode\n"
    assert list((folder / "tmp").iterdir()) == []


def test_a_maildir_keeps_a_repeated_mail_once(outbox: sa.Engine, tmp_path: Path, now: datetime) -> None:
    folder = tmp_path / "mail"
    deliver(outbox, str(folder), now)
    box = mailbox.Maildir(folder, factory=None)
    read = box.keys()[0]
    message = box[read]
    message.set_subdir("cur")
    message.add_flag("S")
    box[read] = message
    with outbox.begin() as connection:
        connection.execute(MAILS.update().values(state="waiting"))
        connection.execute(DELIVERIES.update().values(state="waiting", next_at=now))
    assert deliver(outbox, str(folder), now).sent == 3
    assert len(mailbox.Maildir(folder, factory=None)) == 3


def test_a_maildir_that_cannot_be_written_loses_nothing(outbox: sa.Engine, tmp_path: Path, now: datetime) -> None:
    (tmp_path / "mail").write_text("not a folder")
    delivery = deliver(outbox, str(tmp_path / "mail"), now)
    assert (delivery.sent, delivery.waiting) == (0, 3)
    (tmp_path / "mail").unlink()
    assert deliver(outbox, str(tmp_path / "mail"), now + timedelta(hours=1)).sent == 3


def test_over_smtp(outbox: sa.Engine, now: datetime) -> None:
    inbox = Inbox()
    with smtp_server(inbox, free_port()) as url:
        assert deliver(outbox, url, now, sender="stats@example.com") == Delivery(3, 0, None)
    assert {envelope.mail_from for envelope in inbox.envelopes} == {"stats@example.com"}
    assert [envelope.rcpt_tos for envelope in inbox.envelopes] == [["ann@example.com"]] * 3
    assert sorted(m["Subject"] for m in inbox.messages()) == [f"[pinflow] nämlich {number}" for number in range(3)]
    assert _states(outbox) == ["sent"] * 3


def test_smtp_away_then_back_loses_nothing(outbox: sa.Engine, now: datetime) -> None:
    inbox, port = Inbox(), free_port()
    delivery = deliver(outbox, f"smtp://127.0.0.1:{port}", now)
    assert (delivery.sent, delivery.waiting) == (0, 3)
    assert "ConnectionRefusedError" in str(delivery.error)
    assert _states(outbox) == ["waiting"] * 3
    with smtp_server(inbox, port) as url:
        assert deliver(outbox, url, now + timedelta(seconds=59)) == Delivery(0, 0, None)
        assert deliver(outbox, url, now + timedelta(seconds=60)) == Delivery(3, 0, None)
        assert deliver(outbox, url, now + timedelta(days=1)) == Delivery(0, 0, None)
    assert len({m["Message-ID"] for m in inbox.messages()}) == len(inbox.envelopes) == 3


def test_the_pause_doubles_up_to_an_hour(outbox: sa.Engine, now: datetime) -> None:
    pauses = []
    for _ in range(9):
        deliver(outbox, f"smtp://127.0.0.1:{free_port()}", now)
        with outbox.connect() as connection:
            due = connection.execute(sa.select(DELIVERIES.c.next_at)).scalars().first()
        assert due is not None
        pauses.append((due - now).total_seconds() / 60)
        now = due
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_one_refused_mail_does_not_hold_up_others(outbox: sa.Engine, now: datetime) -> None:
    inbox = Inbox(refuse="body 1")
    with smtp_server(inbox, free_port()) as url:
        delivery = deliver(outbox, url, now)
    assert (delivery.sent, delivery.waiting) == (2, 1)
    assert "550" in str(delivery.error)
    assert _states(outbox) == ["sent", "sent", "waiting"]


@pytest.mark.parametrize(("answer", "state"), [("550 not this one", "refused"), ("450 not yet", "waiting")])
def test_what_is_refused_for_good_is_given_up_until_somebody_asks(
    outbox: sa.Engine, now: datetime, answer: str, state: str
) -> None:
    inbox, port = Inbox(refuse="body 1"), free_port()
    inbox.answer = answer
    channels = [mail_channel(f"smtp://127.0.0.1:{port}", "pinflow@localhost")]
    with smtp_server(inbox, port):
        for minutes in (0, 1, 3, 7, 15, 60, 600):
            outbox_module.deliver(outbox, channels, now + timedelta(minutes=minutes))
    assert _states(outbox) == sorted(["sent", "sent", state])
    (left,) = waiting_mails(outbox)
    assert (left.state, left.attempts) == (state, 5 if state == "refused" else 7)
    assert answer[:3] in str(left.error)

    later = now + timedelta(days=1)
    with smtp_server(inbox, port):
        outbox_module.deliver(outbox, channels, later, every=True)
        assert _states(outbox) == sorted(["sent", "sent", state])
        inbox.refuse = ""
        outbox_module.deliver(outbox, channels, later, every=True)
    assert _states(outbox) == ["sent"] * 3
    assert len({message["Message-ID"] for message in inbox.messages()}) == len(inbox.envelopes) == 3


def test_refusals_are_counted_from_the_first_after_an_outage(outbox: sa.Engine, now: datetime) -> None:
    port = free_port()
    channels = [mail_channel(f"smtp://127.0.0.1:{port}", "pinflow@localhost")]
    for hours in range(6):
        outbox_module.deliver(outbox, channels, now + timedelta(hours=hours))
    now += timedelta(hours=6)
    with smtp_server(Inbox(refuse="body 1"), port):
        for minutes, state in ((0, "waiting"), (1, "waiting"), (3, "waiting"), (7, "waiting"), (15, "refused")):
            outbox_module.deliver(outbox, channels, now + timedelta(minutes=minutes))
            (left,) = waiting_mails(outbox)
            assert left.state == state


def test_refused_mails_can_be_given_up(outbox: sa.Engine, key: JobKey, tmp_path: Path, now: datetime) -> None:
    notify(outbox, replace(key, owner="a\nb@example.com", run_id="r"), "s", "b", "warning", "x", now)
    assert outbox_module.drop_refused(outbox) == 0
    for hours in range(5):
        deliver(outbox, str(tmp_path / "mail"), now + timedelta(hours=hours))
    assert _states(outbox) == ["refused", "sent", "sent", "sent"]
    assert outbox_module.drop_refused(outbox) == 1
    assert (_states(outbox), waiting_mails(outbox)) == (["sent"] * 3, [])


def test_a_recipient_that_is_no_address_does_not_hold_up_others(
    outbox: sa.Engine, key: JobKey, tmp_path: Path, now: datetime
) -> None:
    notify(outbox, replace(key, owner="a\nb@example.com", run_id="r"), "s", "b", "warning", "x", now)
    delivery = deliver(outbox, str(tmp_path / "mail"), now)
    assert (delivery.sent, delivery.waiting) == (3, 1)


def test_a_server_that_leaves_in_the_middle(outbox: sa.Engine, now: datetime) -> None:
    class Leaving(Inbox):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
            if self.envelopes:
                assert server.transport is not None
                server.transport.abort()
                return "421 leaving"
            return await super().handle_DATA(server, session, envelope)

    port = free_port()
    with smtp_server(Leaving(), port) as url:
        delivery = deliver(outbox, url, now)
    assert (delivery.sent, delivery.waiting) == (1, 2)
    inbox = Inbox()
    with smtp_server(inbox, port) as url:
        assert deliver(outbox, url, now + timedelta(minutes=1)).sent == 2


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_logging_in(outbox: sa.Engine, now: datetime) -> None:
    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        known = (data.login, data.password) == (b"ann", b"p@ss:word")
        return AuthResult(success=known, handled=False)

    port = free_port()
    options = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": False}
    with smtp_server(Inbox(), port, **options):
        assert "535" in str(deliver(outbox, f"smtp://ann:wrong@127.0.0.1:{port}", now).error)
        later = now + timedelta(hours=1)
        assert deliver(outbox, f"smtp://ann:p%40ss%3Aword@127.0.0.1:{port}", later).sent == 3


def test_asking_for_encryption_never_sends_without(outbox: sa.Engine, now: datetime) -> None:
    inbox = Inbox()
    with smtp_server(inbox, free_port()) as url:
        delivery = deliver(outbox, f"{url}?starttls=1", now)
    assert (delivery.waiting, inbox.envelopes) == (3, [])
    assert "STARTTLS" in str(delivery.error)


def test_a_mail_that_another_process_is_sending_is_left_to_it(
    outbox: sa.Engine, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries: list[Delivery] = []
    email_of = mail.email_of

    def meanwhile(post: Post, sender: str) -> EmailMessage:
        monkeypatch.setattr(mail, "email_of", email_of)
        deliveries.append(deliver(outbox, str(tmp_path / "mail"), now))
        return email_of(post, sender)

    monkeypatch.setattr(mail, "email_of", meanwhile)
    assert deliver(outbox, str(tmp_path / "mail"), now) == Delivery(1, 0, None)
    assert deliveries == [Delivery(2, 0, None)]


@pytest.mark.parametrize(
    "url", ["", "imap://host", "smtp://", "smtp://host:port", "smtp://host/path", "smtp://host?tls=1", "smtp://:5@:1"]
)
def test_urls_that_cannot_be_used_are_explained(outbox: sa.Engine, url: str, now: datetime) -> None:
    with pytest.raises(ConfigurationError, match="set `mail` to a folder, smtp://"):
        deliver(outbox, url, now)


def test_messages_never_show_the_password(outbox: sa.Engine, now: datetime) -> None:
    with pytest.raises(ConfigurationError) as caught:
        deliver(outbox, "smtp://ann:secret@host?tls=1", now)
    assert "secret" not in str(caught.value)


def test_a_sender_that_was_killed_leaves_its_mail_to_the_next(
    outbox: sa.Engine, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def die(post: Post, sender: str) -> EmailMessage:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(mail, "email_of", die)
        with pytest.raises(KilledError):
            deliver(outbox, str(tmp_path / "mail"), now)
    assert deliver(outbox, str(tmp_path / "mail"), now) == Delivery(2, 0, None)
    assert deliver(outbox, str(tmp_path / "mail"), now + CLAIM / 2) == Delivery(0, 0, None)
    assert deliver(outbox, str(tmp_path / "mail"), now + CLAIM * 1.1) == Delivery(1, 0, None)
    assert _states(outbox) == ["sent"] * 3

"""Delivery of the outbox: into a Maildir folder or to an SMTP server, tried until it works.

A mail leaves the outbox only when it was taken. A process that dies between sending and noting so sends it
again with the same Message-ID, which a Maildir keeps once and mail readers show once.
"""

import hashlib
import mailbox
import os
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import sqlalchemy as sa

from pinflow.database import transact
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.stats_engine.tables import MAILS

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
TIMEOUT = 10.0
"""Seconds that an SMTP server may take to answer."""

_LONGEST_LINE = 240
"""Letters of a line that stays below SMTP's limit of 998 bytes in any script."""
_OPTIONS = {"starttls"}
_UNSENDABLE = (
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPSenderRefused,
    smtplib.SMTPDataError,
    smtplib.SMTPNotSupportedError,
    MessageError,
    ValueError,
    LookupError,
    AttributeError,
)
"""What one mail alone may be refused for, some of it by the standard library's parser of addresses."""
Send = Callable[[EmailMessage], None]


class Delivery(NamedTuple):
    """How many mails were sent, how many of those tried were not, and why the last one was not."""

    sent: int
    waiting: int
    error: str | None


def deliver(engine: sa.Engine, mail_url: str, now: datetime, *, sender: str = "pinflow@localhost") -> Delivery:
    """Send the mails that are due.

    `mail_url` is a Maildir folder or `smtp://[user:password@]host[:port][?starttls=1]`. What cannot be sent
    waits, from a minute at first to an hour, for a later call. Several processes may deliver at once.
    ConfigurationError for a URL that cannot be used.
    """
    check(mail_url)
    sent, errors = 0, []
    due = _claim(engine, now)
    try:
        with _transport(mail_url) as send:
            for mail in due:
                try:
                    send(_message(mail, sender))
                except _UNSENDABLE as error:
                    errors.append(_postpone(engine, mail, error))
                else:
                    sent += 1
                    _finish(engine, mail, now)
    except (OSError, smtplib.SMTPException) as error:
        errors += [_postpone(engine, mail, error) for mail in due[sent + len(errors) :]]
    return Delivery(sent, len(errors), errors[-1] if errors else None)


def check(mail_url: str) -> None:
    """Raise ConfigurationError, with what would be valid, for a mail URL that cannot be used."""
    if "://" not in mail_url:
        if mail_url:
            return
        raise ConfigurationError("the mail folder has no name; set `mail` to a folder or to smtp://host:port")
    try:
        url = urlsplit(mail_url)
        unknown = parse_qs(url.query).keys() - _OPTIONS
        usable = url.scheme == "smtp" and url.hostname and url.port != 0 and not unknown and url.path in ("", "/")
    except ValueError:
        usable = False
    if not usable:
        shown = mail_url.rpartition("@")[2]
        raise ConfigurationError(
            f"mail cannot go to {shown!r}; set `mail` to a folder or to smtp://user:password@host:port?starttls=1"
        )


def try_out(mail_url: str) -> None:
    """Try for real whether mail could go out, without sending any: EHLO, login and NOOP, or a file that is removed.

    Raises `ConfigurationError` for a URL that cannot be used, `PinflowError` saying what to do when it fails.
    """
    check(mail_url)
    try:
        if "://" in mail_url:
            with _connect(urlsplit(mail_url)) as server:
                server.ehlo_or_helo_if_needed()
                code, answer = server.noop()
                if code != 250:
                    raise smtplib.SMTPResponseException(code, answer)
            return
        mailbox.Maildir(mail_url, create=True)
        probe = Path(mail_url, "tmp", f"probe.{os.getpid()}")
        probe.write_bytes(b"probe")
        probe.unlink()
    except (OSError, smtplib.SMTPException) as error:
        place = mail_url.rpartition("@")[2]
        raise PinflowError(
            f"mail cannot go to {place}: {type(error).__name__}: {error}; check host, port, user and password of the "
            "setting `mail`. Mails wait until it works"
        ) from error


def _claim(engine: sa.Engine, now: datetime) -> list[Any]:
    """The due mails that no other process is sending: claimed by moving their next try into the future."""
    due = sa.and_(MAILS.c.state == "waiting", MAILS.c.next_at <= now)
    waiting = sa.select(MAILS).where(due).order_by(MAILS.c.created_at).with_for_update(skip_locked=True)

    def claim(connection: sa.Connection) -> list[Any]:
        claimed = []
        for mail in connection.execute(waiting).all():
            change = MAILS.update().where(due, MAILS.c.message_id == mail.message_id)
            pause = min(FIRST_PAUSE * 2 ** min(mail.attempts, 10), LONGEST_PAUSE)
            if connection.execute(change.values(attempts=mail.attempts + 1, next_at=now + pause)).rowcount:
                claimed.append(mail)
        return claimed

    return transact(engine, claim)


def _finish(engine: sa.Engine, mail: Any, now: datetime) -> None:
    _note(engine, mail, {"state": "sent", "sent_at": now, "error": None})


def _postpone(engine: sa.Engine, mail: Any, error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    _note(engine, mail, {"error": text})
    return text


def _note(engine: sa.Engine, mail: Any, values: Mapping[str, Any]) -> None:
    change = MAILS.update().where(MAILS.c.message_id == mail.message_id).values(**values)
    transact(engine, lambda connection: connection.execute(change))


def _message(mail: Any, sender: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.created_at)
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    longest = max(map(len, mail.body.splitlines()), default=0)
    message.set_content(mail.body, cte="8bit" if longest < _LONGEST_LINE else "quoted-printable")
    return message


@contextmanager
def _transport(mail_url: str) -> Iterator[Send]:
    if "://" not in mail_url:
        yield _maildir(Path(mail_url))
        return
    with _connect(urlsplit(mail_url)) as server:

        def send(message: EmailMessage) -> None:
            server.send_message(message)

        yield send


def _connect(url: SplitResult) -> smtplib.SMTP:
    # the default, getfqdn, can hang where no name server answers
    own_name = socket.gethostname()
    server = smtplib.SMTP(url.hostname or "", url.port or 25, local_hostname=own_name, timeout=TIMEOUT)
    try:
        if parse_qs(url.query).get("starttls", ["0"])[-1] not in ("0", "false", "no"):
            server.starttls(context=ssl.create_default_context())
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _maildir(folder: Path) -> Send:
    """Delivery as Maildir prescribes: write in tmp/, then move into new/, under a name made of the Message-ID."""

    def send(message: EmailMessage) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        mailbox.Maildir(folder, create=True)
        name = hashlib.sha256(message["Message-ID"].encode()).hexdigest()[:32] + ".pinflow"
        if any((folder / "cur").glob(f"{name}*")) or (folder / "new" / name).exists():
            return
        written = folder / "tmp" / f"{name}.{os.getpid()}"
        with written.open("wb") as file:
            file.write(bytes(message))
            file.flush()
            os.fsync(file.fileno())
        written.replace(folder / "new" / name)

    return send

"""Mail as a channel: into a Maildir folder, or to an SMTP server over TLS or without, with a login or without."""

import hashlib
import mailbox
import os
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pinflow.config import hide_secrets
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.stats_engine.message import email_of
from pinflow.stats_engine.outbox import AwayError, Channel, Post, RefusedError, Send

TIMEOUT = 10.0
"""Seconds that a server may take for each answer."""

VALID_MAIL = "a folder, smtp://user:password@host:port?starttls=1 or smtps://user:password@host"
_PORTS = {"smtp": 25, "smtps": 465}
_OPTIONS = {"starttls"}
_PERMANENT = 500
_NO = {"0", "false", "no"}
_LOCAL = {"localhost", "127.0.0.1", "::1"}
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


def _is_for_good(error: Exception) -> bool:
    """Whether the same mail would be refused again: by an answer from 500 on, or before any server saw it."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= _PERMANENT for code, _ in error.recipients.values())
    return not isinstance(error, smtplib.SMTPResponseException) or error.smtp_code >= _PERMANENT


def mail_channel(url: str, sender: str) -> Channel:
    """The channel of the setting `mail`. ConfigurationError, with what would be valid, for one that cannot be used."""
    if "://" not in url:
        if not url:
            raise ConfigurationError(f"the mail folder has no name; set `mail` to {VALID_MAIL}")
        return Maildir(Path(url), sender)
    try:
        parts = urlsplit(url)
        unknown = parse_qs(parts.query).keys() - _OPTIONS
        usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and not unknown
        usable = usable and parts.path in ("", "/")
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"mail cannot go to {hide_secrets(url)!r}; set `mail` to {VALID_MAIL}")
    return SmtpServer(parts, sender)


def try_out(url: str) -> None:
    """Try for real whether mail could go out, without sending any: EHLO, login and NOOP, or a file that is removed.

    Raises `ConfigurationError` for a URL that cannot be used, `PinflowError` saying what to do when it fails.
    """
    channel = mail_channel(url, "")
    try:
        with channel.open():
            pass
    except AwayError as error:
        raise PinflowError(
            f"mail cannot go to {hide_secrets(url)}: {error}; check host, port, user and password of the setting "
            "`mail`. Mails wait until it works"
        ) from error


@dataclass(frozen=True)
class Maildir:
    """A folder that mail programs read: a mail is written in tmp/, then moved into new/, named by its Message-ID."""

    folder: Path
    sender: str
    name: str = "mail"

    @contextmanager
    def open(self) -> Iterator[Send]:
        """Make the folder, if it is not there, and see that it can be written."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            mailbox.Maildir(self.folder, create=True)
            probe = self.folder / "tmp" / f"probe.{os.getpid()}"
            probe.write_bytes(b"probe")
            probe.unlink()
        except OSError as error:
            raise AwayError(f"{type(error).__name__}: {error}") from error
        yield self._send

    def _send(self, post: Post) -> None:
        try:
            data = bytes(email_of(post, self.sender))
        except _UNSENDABLE as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error
        name = hashlib.sha256(post.message_id.encode()).hexdigest()[:32] + ".pinflow"
        if any((self.folder / "cur").glob(f"{name}*")) or (self.folder / "new" / name).exists():
            return
        written = self.folder / "tmp" / f"{name}.{os.getpid()}"
        try:
            with written.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            written.replace(self.folder / "new" / name)
        except OSError as error:
            raise AwayError(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class SmtpServer:
    """A mail server: `smtps` speaks TLS from the start, `smtp` after STARTTLS.

    STARTTLS is asked for by `?starttls=1`, and by default whenever a password would go to another machine.
    """

    url: SplitResult
    sender: str
    name: str = "mail"

    @contextmanager
    def open(self) -> Iterator[Send]:
        """Connect, encrypt, log in, and see that the server answers."""
        try:
            server = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            raise self._away(error) from error

        def send(post: Post) -> None:
            try:
                message: EmailMessage = email_of(post, self.sender)
                server.send_message(message)
            except _UNSENDABLE as error:
                raise RefusedError(self._safe(error), for_good=_is_for_good(error)) from error
            except (OSError, smtplib.SMTPException) as error:
                raise self._away(error) from error

        try:
            yield send
        finally:
            self._quit(server)

    @property
    def _starts_tls(self) -> bool:
        asked = parse_qs(self.url.query).get("starttls")
        if asked is not None:
            return asked[-1] not in _NO
        return bool(self.url.password) and self.url.hostname not in _LOCAL

    def _connect(self) -> smtplib.SMTP:
        # the default name, getfqdn, can hang where no name server answers
        own_name, host = socket.gethostname(), self.url.hostname or ""
        port = self.url.port or _PORTS[self.url.scheme]
        server: smtplib.SMTP
        if self.url.scheme == "smtps":
            context = ssl.create_default_context()
            server = smtplib.SMTP_SSL(host, port, local_hostname=own_name, timeout=TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(host, port, local_hostname=own_name, timeout=TIMEOUT)
        try:
            if self.url.scheme == "smtp" and self._starts_tls:
                server.starttls(context=ssl.create_default_context())
            if self.url.username:
                server.login(unquote(self.url.username), unquote(self.url.password or ""))
            server.ehlo_or_helo_if_needed()
            code, answer = server.noop()
            if code != 250:
                raise smtplib.SMTPResponseException(code, answer)
        except BaseException:
            server.close()
            raise
        return server

    @staticmethod
    def _quit(server: smtplib.SMTP) -> None:
        try:
            server.quit()
        except (OSError, smtplib.SMTPException):
            server.close()

    def _away(self, error: Exception) -> AwayError:
        return AwayError(self._safe(error))

    def _safe(self, error: Exception) -> str:
        """What went wrong, without the password, should a server repeat it."""
        text = f"{type(error).__name__}: {error}"
        for secret in {self.url.password or "", unquote(self.url.password or "")} - {""}:
            text = text.replace(secret, "***")
        return text

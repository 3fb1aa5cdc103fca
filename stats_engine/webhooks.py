"""Webhooks as channels: each mail of the outbox as JSON in a POST to a URL, for chats and pagers."""

import hashlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pinflow.config import hide_secrets
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.stats_engine.outbox import AwayError, Post, RefusedError, Send

TIMEOUT = 10.0
"""Seconds in which a server has to take the connection, and to answer."""

KEY_HEADER = "Idempotency-Key"
_RETRY = {408, 425, 429}
"""Answers below 500 that say that a later try may succeed."""


@dataclass(frozen=True)
class Webhook:
    """A URL, https:// or http://. Its path and query may be a secret, so neither is ever shown."""

    url: str

    def __post_init__(self) -> None:
        """ConfigurationError for a URL that cannot be used."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigurationError(
                f"the webhook {hide_secrets(self.url)!r} cannot be used; write https://HOST/PATH into `webhooks`"
            )

    @property
    def name(self) -> str:
        """Its host, and a few digits that tell two webhooks of a host apart."""
        return f"{hide_secrets(self.url)} {hashlib.sha256(self.url.encode()).hexdigest()[:8]}"

    @contextmanager
    def open(self) -> Iterator[Send]:
        """A session whose connection serves all mails."""
        import requests  # takes 0.1 s, and few have webhooks

        with requests.Session() as session:

            def send(post: Post) -> None:
                try:
                    answer = session.post(
                        self.url,
                        data=payload(post),
                        headers={"Content-Type": "application/json", KEY_HEADER: post.message_id.strip("<>")},
                        timeout=TIMEOUT,
                        allow_redirects=False,
                    )
                except requests.RequestException as error:
                    raise AwayError(_reason(error)) from error
                if answer.status_code >= 500 or answer.status_code in _RETRY:
                    raise AwayError(f"the server answered {answer.status_code}")
                if answer.status_code >= 300:
                    raise RefusedError(f"the server answered {answer.status_code}")

            yield send

    def try_out(self) -> None:
        """See that its server takes a connection, over TLS for https, without posting; PinflowError if it does not."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            with socket.create_connection((host, port), TIMEOUT) as plain:
                if parts.scheme == "https":
                    with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                        pass
        except OSError as error:
            raise PinflowError(
                f"the webhook {hide_secrets(self.url)} does not answer: {_reason(error)}; check host and port in the "
                "setting `webhooks`. Messages wait until it works"
            ) from error


def payload(post: Post) -> bytes:
    """The JSON of a mail: `message_id`, `recipient`, `subject`, `text`, `created_at`, and what it says as `alerts` etc.

    `text` is the subject and the body, which is what the webhooks of chats show.
    """
    said: dict[str, Any] = json.loads(post.content) if post.content else {}
    values = said | {
        "message_id": post.message_id,
        "recipient": post.recipient,
        "subject": post.subject,
        "text": f"{post.subject}\n\n{post.body}",
        "created_at": post.created_at.isoformat(),
    }
    return json.dumps(values, ensure_ascii=False).encode()


def _reason(error: BaseException) -> str:
    """The innermost cause alone: the texts around it name the whole URL."""
    while (inner := error.__cause__ or error.__context__ or _nested(error)) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _nested(error: BaseException) -> BaseException | None:
    """urllib3 hands its cause on as an argument or as `reason`."""
    found = getattr(error, "reason", None), *error.args
    return next((one for one in found if isinstance(one, BaseException)), None)

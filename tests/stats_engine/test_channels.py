"""Channels against real servers: TLS with certificates, webhooks over HTTP; no secret is ever told."""

import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pinflow import config
from pinflow.config import hide_secrets
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.stats_engine.alerts import JobKey
from pinflow.stats_engine.channels import channels_of
from pinflow.stats_engine.mail import mail_channel, try_out
from pinflow.stats_engine.outbox import Delivery, deliver
from pinflow.stats_engine.record import notify
from pinflow.stats_engine.tables import DELIVERIES, MAILS
from pinflow.stats_engine.webhooks import Webhook
from tests.stats_engine.test_outbox import Inbox, free_port, smtp_server

SENDER = "pinflow@localhost"


@pytest.fixture
def outbox(database: sa.Engine, key: JobKey, now: datetime) -> sa.Engine:
    notify(database, key, "input is late", "body\n", "warning", "late", now)
    return database


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context for 127.0.0.1, whose certificate this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=(data.login, data.password) == (b"ann", b"p@ss:word"), handled=False)


def _send(outbox: sa.Engine, url: str, now: datetime) -> Delivery:
    return deliver(outbox, [mail_channel(url, SENDER)], now)


def test_starttls_and_login(outbox: sa.Engine, tls: ssl.SSLContext, now: datetime) -> None:
    inbox, port = Inbox(), free_port()
    options = {"tls_context": tls, "require_starttls": True, "authenticator": _authenticate, "auth_required": True}
    with smtp_server(inbox, port, **options):
        wrong = _send(outbox, f"smtp://ann:wrong-one@127.0.0.1:{port}?starttls=1", now)
        assert wrong.waiting == 1
        assert "535" in str(wrong.error)
        later = now + timedelta(hours=1)
        assert _send(outbox, f"smtp://ann:p%40ss%3Aword@127.0.0.1:{port}?starttls=1", later).sent == 1
    assert len(inbox.envelopes) == 1


def test_smtps(outbox: sa.Engine, tls: ssl.SSLContext, now: datetime) -> None:
    inbox, port = Inbox(), free_port()
    with smtp_server(inbox, port, ssl_context=tls):
        assert _send(outbox, f"smtps://127.0.0.1:{port}", now) == Delivery(1, 0, None)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    outbox: sa.Engine, tls: ssl.SSLContext, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    inbox, port = Inbox(), free_port()
    with smtp_server(inbox, port, tls_context=tls):
        found = _send(outbox, f"smtp://127.0.0.1:{port}?starttls=1", now)
    assert found.waiting == 1
    assert "CERTIFICATE_VERIFY_FAILED" in str(found.error)
    assert inbox.envelopes == []


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("smtp://mail.example.com", False),
        ("smtp://mail.example.com?starttls=1", True),
        ("smtp://ann:secret@mail.example.com", True),
        ("smtp://ann:secret@mail.example.com?starttls=0", False),
        ("smtp://ann:secret@127.0.0.1", False),
    ],
)
def test_a_password_goes_to_another_machine_only_encrypted(url: str, encrypted: bool) -> None:
    assert mail_channel(url, SENDER)._starts_tls is encrypted  # type: ignore[attr-defined]


def test_a_server_that_repeats_the_password_does_not_spread_it(outbox: sa.Engine, now: datetime) -> None:
    class Talkative(Inbox):
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, argument: str) -> str:  # noqa: N802
            return "421 no, ann with s3cret"

    port = free_port()
    options = {"authenticator": lambda *_: AuthResult(success=True), "auth_require_tls": False}
    with smtp_server(Talkative(), port, **options):
        url = f"smtp://ann:s3cret@127.0.0.1:{port}"
        assert "no, ann with ***" in str(_send(outbox, url, now).error)
        with pytest.raises(PinflowError) as caught:
            try_out(url)
    assert "s3cret" not in str(caught.value)


class Hook:
    """An HTTP server that keeps what is posted to it, and answers as it is told to."""

    def __init__(self, port: int = 0) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[str, str | None, dict[str, object]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.got.append((self.path, self.headers["Idempotency-Key"], body))
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def test_a_webhook_gets_the_mail_as_json(outbox: sa.Engine, hook: Hook, now: datetime) -> None:
    url = f"http://127.0.0.1:{hook.port}/T0/s3cret?token=x"
    assert deliver(outbox, [Webhook(url)], now) == Delivery(1, 0, None)
    assert deliver(outbox, [Webhook(url)], now + timedelta(days=1)) == Delivery(0, 0, None)
    ((path, key, body),) = hook.got
    assert path == "/T0/s3cret?token=x"
    assert body["message_id"] == f"<{key}>"
    assert (body["recipient"], body["subject"]) == ("ann@example.com", "[pinflow] input is late")
    assert body["text"] == "[pinflow] input is late\n\nbody\n"


@pytest.mark.parametrize("answer", [500, 503, 429, 404, 302])
def test_a_webhook_that_does_not_take_a_mail_gets_it_again(
    outbox: sa.Engine, hook: Hook, now: datetime, answer: int
) -> None:
    hook.answers = [answer]
    channels = [Webhook(f"http://127.0.0.1:{hook.port}/T0/s3cret")]
    found = deliver(outbox, channels, now)
    assert (found.sent, found.waiting) == (0, 1)
    assert f"answered {answer}" in str(found.error)
    assert deliver(outbox, channels, now + timedelta(seconds=59)).sent == 0
    assert deliver(outbox, channels, now + timedelta(seconds=60)).sent == 1
    assert len({key for _, key, _ in hook.got}) == 1


def test_errors_of_webhooks_show_no_secret(outbox: sa.Engine, now: datetime) -> None:
    port = free_port()
    hook = Webhook(f"http://ann:pw-s3cret@127.0.0.1:{port}/T0/path-s3cret?token=query-s3cret")
    found = deliver(outbox, [hook], now)
    assert "Connection refused" in str(found.error)
    with outbox.connect() as connection:
        stored = connection.execute(sa.select(DELIVERIES)).all()
    with pytest.raises(PinflowError) as caught:
        hook.try_out()
    for text in (str(found.error), repr(stored), str(caught.value), hook.name):
        assert "s3cret" not in text


def test_each_channel_gets_each_mail_once_and_one_that_is_away_holds_up_no_other(
    outbox: sa.Engine, hook: Hook, tmp_path: Path, now: datetime
) -> None:
    other = free_port()
    urls = [f"http://127.0.0.1:{hook.port}/a", f"http://127.0.0.1:{other}/b"]
    values = {"mail": str(tmp_path / "mail"), "webhooks": urls, "home": str(tmp_path)}
    channels = channels_of(config.Settings(**values))
    found = deliver(outbox, channels, now)
    assert (found.sent, found.waiting) == (2, 1)
    with outbox.connect() as connection:
        assert connection.scalars(sa.select(MAILS.c.state)).all() == ["waiting"]
    late = Hook(other)
    try:
        assert deliver(outbox, channels, now + timedelta(minutes=1)) == Delivery(1, 0, None)
        assert deliver(outbox, channels, now + timedelta(days=1)) == Delivery(0, 0, None)
    finally:
        late.close()
    assert len(hook.got) == len(late.got) == 1
    with outbox.connect() as connection:
        assert connection.execute(sa.select(MAILS.c.state, MAILS.c.sent_at)).all() == [
            ("sent", now + timedelta(minutes=1))
        ]


def test_what_waits_can_be_sent_before_its_time(outbox: sa.Engine, hook: Hook, now: datetime) -> None:
    hook.answers = [500]
    channels = [Webhook(f"http://127.0.0.1:{hook.port}/")]
    assert deliver(outbox, channels, now).waiting == 1
    assert deliver(outbox, channels, now, every=True).sent == 1


@pytest.mark.parametrize("url", ["https://", "http://:80/x", "http://h:port/x", "http://h:0/"])
def test_webhooks_that_cannot_be_used_are_explained(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used; write https://HOST/PATH"):
        Webhook(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("webhooks", "ftp://ann:s3cret@host/x"), ("mail", "ftp://ann:s3cret@host"), ("serving", "s3://ann:s3cret@host")],
)
def test_wrong_settings_are_named_without_their_secrets(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        config.load({name: value}, working_folder=tmp_path)
    assert "s3cret" not in str(caught.value)


def test_hiding_secrets() -> None:
    assert (
        hide_secrets("smtp://ann:p@ss/w@mail.example.com:587?starttls=1")
        == "smtp://***@mail.example.com:587?starttls=1"
    )
    assert hide_secrets("https://hooks.example.com?key=s3cret") == "https://hooks.example.com/…"
    assert hide_secrets("https://hooks.example.com") == "https://hooks.example.com"
    assert hide_secrets("/var/mail/ann@home") == "/var/mail/ann@home"

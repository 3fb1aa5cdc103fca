"""The mail about alerts: everything an owner needs, as text, HTML and a picture."""

import io
from dataclasses import replace
from datetime import date, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from pinflow.stats_engine.alerts import Alert, JobKey
from pinflow.stats_engine.handling import act
from pinflow.stats_engine.mail import mail_channel
from pinflow.stats_engine.notice import Notice
from pinflow.stats_engine.notice_text import bars
from pinflow.stats_engine.outbox import deliver
from pinflow.stats_engine.plot import png_of
from pinflow.stats_engine.record import mark_published, record
from pinflow.stats_engine.statistics import Statistics
from pinflow.stats_engine.tables import MAILS

TODAY = date(2015, 5, 18)
FORECAST = Alert(
    rule="temporal(users)",
    name="users",
    degree="fatal",
    message="users is 120, <script>below</script> its band",
    value=120,
    low=900,
    high=1600,
    forecast=1250,
    deviation=-0.904,
)
BOUND = Alert("absolute(late, max=0)", "late", "warning", "late is 3, above its maximum 0", value=3, high=0)


@pytest.fixture
def history(database: sa.Engine, key: JobKey, now: datetime) -> sa.Engine:
    """Seventy published days of 1000, 1001, …; the newest has an alert that was accepted."""
    for number in range(70, 0, -1):
        day = TODAY - timedelta(days=number)
        about = replace(key, run_id=f"analytics-{day}-1", date=day.isoformat())
        alerts = [replace(FORECAST, value=5)] if number == 1 else []
        record(database, about, Statistics(counts={"users": 1070 - number}), alerts, now)
        mark_published(database, about)
    act(database, [1], "accept", person="ann", why="right", now=now, until=now)
    with database.begin() as connection:
        connection.execute(MAILS.delete())
    return database


def _mail(database: sa.Engine, folder: Path, now: datetime) -> EmailMessage:
    assert deliver(database, [mail_channel(str(folder), "pinflow@localhost")], now).sent == 1
    (file,) = (folder / "new").iterdir()
    return message_from_bytes(file.read_bytes(), policy=policy.default)


def _text(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content())


def test_everything_that_an_owner_needs(history: sa.Engine, key: JobKey, tmp_path: Path, now: datetime) -> None:
    record(history, key, Statistics(counts={"users": 120, "late": 3}), [BOUND, FORECAST], now)
    mail = _mail(history, tmp_path / "mail", now)
    text = _text(mail, "plain")
    first, last = TODAY - timedelta(weeks=8), TODAY - timedelta(days=1)
    for part in (
        "read_events of workflow analytics",
        "Date:   2015-05-18",
        "Run:    analytics-2015-05-18-1, attempt 1",
        "Owner:  ann@example.com",
        "FATAL: users is 120",
        "rule:      temporal(users)",
        "value:     120",
        "forecast:  1250",
        "band:      900 to 1600",
        "deviation: -90% of the forecast",
        f"{first} to {last}: 1014 to 1069",
        "this rule has alarmed 2 times for this job: 1 accepted as right, 0 acknowledged, 0 muted",
        "WARNING: late is 3",
        "bounds:    max 0",
        "nothing of it was published for 2015-05-18",
        "pinflow alerts accept 3",
        "pinflow alerts mute 3 --for 7d",
        "pinflow run analytics --date 2015-05-18",
    ):
        assert part in text
    assert text.index("FATAL") < text.index("WARNING")
    html = _text(mail, "html")
    assert "<script>" not in html
    assert "&lt;script&gt;below" in html
    for part in ("-90% of the forecast", "900 to 1600", "pinflow alerts accept 3", "absolute(late, max=0)"):
        assert part in html


def test_the_picture_is_in_the_mail_and_named_by_the_html(
    history: sa.Engine, key: JobKey, tmp_path: Path, now: datetime
) -> None:
    record(history, key, Statistics(counts={"users": 120, "late": 3}), [BOUND, FORECAST], now)
    mail = _mail(history, tmp_path / "mail", now)
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
    (picture,) = (part for part in mail.walk() if part.get_content_type() == "image/png")
    assert f'src="cid:{picture["Content-ID"].strip("<>")}"' in _text(mail, "html")
    assert picture.get_content_disposition() == "inline"
    image = Image.open(io.BytesIO(picture.get_content()))
    assert image.size == (1200, 300)
    colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    assert {(0xCF, 0x22, 0x2E), (0xCF, 0xE8, 0xD5), (0x57, 0x60, 0x6A)} <= colours


def test_html_is_well_formed_and_loads_nothing(history: sa.Engine, key: JobKey, tmp_path: Path, now: datetime) -> None:
    record(history, key, Statistics(counts={"users": 120}), [FORECAST], now)
    html = _text(_mail(history, tmp_path / "mail", now), "html")
    opened: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert all(value.startswith("cid:") for name, value in attrs if name in ("src", "href") and value)
            if tag not in ("img", "br"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed(html)
    assert opened == []


def test_what_a_notice_says_survives_the_outbox(history: sa.Engine, key: JobKey, now: datetime) -> None:
    record(history, key, Statistics(counts={"users": 120}), [FORECAST, BOUND], now)
    with history.connect() as connection:
        content = connection.scalar(sa.select(MAILS.c.content))
    notice = Notice.from_json(content)
    assert Notice.from_json(notice.to_json()) == notice
    assert [(alert.id, alert.value, len(alert.history)) for alert in notice.alerts] == [(2, 120.0, 56), (3, 3.0, 0)]
    assert notice.alerts[0].record.accepted == 1


def test_content_of_another_version_leaves_the_text(
    history: sa.Engine, key: JobKey, tmp_path: Path, now: datetime
) -> None:
    record(history, key, Statistics(counts={"users": 120}), [FORECAST], now)
    with history.begin() as connection:
        connection.execute(MAILS.update().values(content='{"alerts": [{"odd": 1}]}'))
    mail = _mail(history, tmp_path / "mail", now)
    assert mail.get_content_type() == "text/plain"
    assert "temporal(users)" in _text(mail, "plain")


def test_bars() -> None:
    assert bars([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert bars([0, 0]) == "▁▁"
    assert bars([-7, 0]) == "▁█"


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-3.0, 1e300], [0.1] * 400])
def test_every_history_can_be_drawn(history: sa.Engine, key: JobKey, now: datetime, values: list[float]) -> None:
    record(history, key, Statistics(counts={"users": 120}), [FORECAST], now)
    with history.connect() as connection:
        (alert,) = Notice.from_json(connection.scalar(sa.select(MAILS.c.content))).alerts
    drawn = replace(alert, history=tuple(("2015-05-17", value) for value in values))
    for picture in (png_of(drawn, "2015-05-18"), png_of(replace(drawn, low=None, high=None), "2015-05-18")):
        assert picture is not None
        assert Image.open(io.BytesIO(picture)).size == (1200, 300)

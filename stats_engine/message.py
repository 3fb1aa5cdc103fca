"""A mail of the outbox as mail programs read it: text, and HTML with a plot of each alert's last weeks."""

from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

from pinflow.stats_engine.notice import Notice
from pinflow.stats_engine.notice_text import facts
from pinflow.stats_engine.outbox import Post
from pinflow.stats_engine.plot import SIZE, png_of

TEMPLATE = Path(__file__).with_name("mail.html")
_LONGEST_LINE = 240
"""Letters of a line that stays below SMTP's limit of 998 bytes in any script."""


def email_of(post: Post, sender: str) -> EmailMessage:
    """The message; ValueError and its kin for a recipient that is no address.

    Content that this pinflow cannot read, since another version wrote it, leaves the text alone.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = post.recipient
    message["Subject"] = post.subject
    message["Date"] = format_datetime(post.created_at)
    message["Message-ID"] = post.message_id
    message["Auto-Submitted"] = "auto-generated"
    longest = max(map(len, post.body.splitlines()), default=0)
    message.set_content(post.body, cte="8bit" if longest < _LONGEST_LINE else "quoted-printable")
    if post.content:
        with suppress(KeyError, TypeError, ValueError):
            _add_html(message, Notice.from_json(post.content), post.message_id)
    return message


def _add_html(message: EmailMessage, notice: Notice, message_id: str) -> None:
    plots = {f"{alert.id}.{message_id.strip('<>')}": png_of(alert, notice.date) for alert in notice.alerts}
    pictures = [name if plot else "" for name, plot in plots.items()]
    message.add_alternative(html_of(notice, pictures), subtype="html", cte="quoted-printable")
    html = message.get_body(("html",))
    for name, plot in plots.items():
        if plot and isinstance(html, EmailMessage):
            html.add_related(plot, "image", "png", cid=f"<{name}>", disposition="inline", filename="weeks.png")


def html_of(notice: Notice, pictures: list[str]) -> str:
    """The page of a mail; `pictures` are the Content-IDs of the alerts' plots, empty for one without."""
    from jinja2 import Environment  # few processes send mail

    page = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    alerts = list(zip(notice.alerts, pictures, strict=True))
    width, height = SIZE
    return page.render(notice=notice, alerts=alerts, facts=facts, width=width, height=height)

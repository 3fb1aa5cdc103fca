"""A mail of the outbox as mail programs read it."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from pinflow.stats_engine.outbox import Post

_LONGEST_LINE = 240
"""Letters of a line that stays below SMTP's limit of 998 bytes in any script."""


def email_of(post: Post, sender: str) -> EmailMessage:
    """The message; ValueError and its kin for a recipient that is no address."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = post.recipient
    message["Subject"] = post.subject
    message["Date"] = format_datetime(post.created_at)
    message["Message-ID"] = post.message_id
    message["Auto-Submitted"] = "auto-generated"
    longest = max(map(len, post.body.splitlines()), default=0)
    message.set_content(post.body, cte="8bit" if longest < _LONGEST_LINE else "quoted-printable")
    return message

"""What commands that stay or drive runs say on standard error: lines for people, or one JSON object a line."""

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pinflow.scheduler.records import Event

FORMATS = ("text", "json")
_LEVELS = {"failed": "error", "upstream_failed": "warning", "aborted": "warning", "lost": "warning"}
_CHOSEN = {"format": "text"}


def _choose(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    _CHOSEN["format"] = value
    if value == "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLines())
        logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
        logging.captureWarnings(True)
    return value


log_format_option = click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    callback=_choose,
    expose_value=False,
    help="json: standard error gets one JSON object a line.",
)


def is_json() -> bool:
    """Whether standard error gets JSON."""
    return _CHOSEN["format"] == "json"


def tell(message: str, level: str = "info", *, run: str | None = None, job: str | None = None) -> None:
    """Say something that is not about a change of a state."""
    _echo(_line(level, message.strip(), run=run, job=job) if is_json() else message)


def tell_event(event: "Event") -> None:
    """Say that the state of a run or of a job has changed."""
    what = f"{event.state}{f': {event.detail}' if event.detail else ''}"
    if is_json():
        level = _LEVELS.get(event.state, "info")
        named = {"run": event.run_id, "job": event.job, "attempt": event.attempt, "state": event.state}
        _echo(_line(level, f"{event.job or event.run_id} {what}", event.at, **named))
        return
    name = event.run_id if event.job is None else f"{event.run_id} {event.job}"
    _echo(f"{event.at:%Y-%m-%dT%H:%M:%SZ} {name} {what}")


def _echo(line: str) -> None:
    """Print, if somebody reads: a closed pipe or terminal is no reason to stop the work."""
    with suppress(OSError):
        click.echo(line, err=True)


def _line(level: str, message: str, at: datetime | None = None, **named: Any) -> str:
    moment = (at or datetime.now(UTC)).isoformat(timespec="microseconds")
    values = {"time": moment, "level": level, "run": None, "job": None, "attempt": None, "message": message}
    return json.dumps(values | {name: value for name, value in named.items() if value is not None}, ensure_ascii=False)


class _JsonLines(logging.Formatter):
    """What libraries and pinflow's own modules log, in the same form, the traceback in `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        traceback = self.formatException(record.exc_info) if record.exc_info else None
        moment = datetime.fromtimestamp(record.created, UTC)
        level = record.levelname.lower()
        return _line(level, record.getMessage(), moment, logger=record.name, traceback=traceback)

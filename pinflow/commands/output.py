"""How commands speak: JSON for machines, tables for people, and options that several of them share."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pinflow.config import Settings, parse_duration

if TYPE_CHECKING:
    from pinflow.scheduler.store import Store

STATE_STYLES = {
    "succeeded": "green",
    "skipped": "cyan",
    "running": "yellow",
    "polling": "yellow",
    "failed": "bold red",
    "upstream_failed": "red",
    "aborted": "magenta",
    "fatal": "bold red",
    "warning": "yellow",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


class DateType(click.ParamType):  # type: ignore[type-arg]  # generic only in the latest click
    """A day, YYYY-MM-DD, `today` or `yesterday` (UTC)."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read a day; a usage error says what would be valid."""
        if isinstance(value, date):
            return value
        today = datetime.now(UTC).date()
        names = {"today": today, "yesterday": today - timedelta(days=1)}
        try:
            return names[value] if value in names else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write YYYY-MM-DD such as 2015-05-18, today or yesterday", param, ctx)


class DurationType(click.ParamType):  # type: ignore[type-arg]  # as above
    """A length of time such as 90s, 15m, 6h, 35d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read a length of time; a usage error says what would be valid."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DATE = DateType()
DURATION = DurationType()


def _read_pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    wrong = [name for name, separator, _ in pairs if not (name and separator)]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


parameters_option = click.option(
    "--set",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_read_pairs,
    help="A parameter of the workflow; may be given several times.",
)


def date_option(help_text: str, *, required: bool = False, name: str = "--date") -> Callable[[Any], Any]:
    """An option that takes a day."""
    return click.option(name, type=DATE, required=required, help=help_text)


@contextmanager
def open_store(settings: Settings) -> Iterator["Store"]:
    """The store of the configured database."""
    from pinflow.database import open_database
    from pinflow.scheduler.store import Store

    with Store(open_database(settings.database_url)) as store:
        yield store


def print_json(value: Any) -> None:
    """Print a value as indented JSON; dataclasses become objects, times ISO 8601."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


SHORT = 40


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print rows under their columns; numbers to the right, states in their colour on a terminal."""
    rows = list(rows)
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console  # few commands that speak to machines need them
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        is_number = all(isinstance(row[number], int | float) or row[number] is None for row in rows)
        # names stay whole, to be copied; what is left of the width is for the last column
        is_short = number < len(columns) - 1 and all(len(str(row[number])) <= SHORT for row in rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold", no_wrap=is_short)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False, soft_wrap=False, markup=True)
    if not console.is_terminal:
        console = Console(highlight=False, width=200, no_color=True)
    console.print(table)


def show_seconds(seconds: float) -> str:
    """A length of time for people.

    >>> show_seconds(0.25), show_seconds(75), show_seconds(7300)
    ('0.25 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    text = escape(str(value))
    style = STATE_STYLES.get(str(value))
    return f"[{style}]{text}[/]" if style else text


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)

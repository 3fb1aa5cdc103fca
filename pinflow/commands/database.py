"""The database's schema: what it is, and bringing it forward."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import json_option, print_json
from pinflow.errors import ExitCode

if TYPE_CHECKING:
    import sqlalchemy as sa

_LONGEST_CHANGE = 86_400.0
_ADVICE = {
    "current": "nothing is to be done",
    "empty": "it gets its tables at the first run",
    "older": "type: pinflow db upgrade",
    "newer": "it was made by a newer pinflow; use that one",
}


@contextmanager
def _database() -> Iterator["sa.Engine"]:
    from pinflow.database import open_database

    engine = open_database(config.load().database_url, answer_seconds=_LONGEST_CHANGE)
    try:
        yield engine
    finally:
        engine.dispose()


@click.group()
def db() -> None:
    """Look at the schema of the database, and upgrade it."""


@db.command()
@json_option
def status(as_json: bool) -> None:
    """Say whether the database has the schema that this pinflow needs; if not, the exit code is 2."""
    from pinflow.scheduler.schema import HEAD, state_of

    with _database() as engine:
        state, shown = state_of(engine), engine.url.render_as_string()
    if as_json:
        print_json({"database": shown, "state": state.name, "revision": state.revision, "needed": HEAD})
    else:
        click.echo(f"{shown}: {state.name}, has {state.revision or 'no tables'}, needs {HEAD}; {_ADVICE[state.name]}")
    sys.exit(ExitCode.SUCCEEDED if state.name in ("current", "empty") else ExitCode.USAGE)


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Bring an older schema forward; an empty database gets its tables. Nothing that is stored is lost."""
    from pinflow.scheduler import schema

    with _database() as engine:
        before, after = schema.upgrade(engine)
        shown = engine.url.render_as_string()
    if as_json:
        print_json({"database": shown, "before": before.revision, "after": after.revision})
    elif before == after:
        click.echo(f"{shown} has the schema {after.revision} already")
    else:
        click.echo(f"{shown} was {before.revision or 'empty'}, has the schema {after.revision} now")

"""Schedules: what is due when, pausing and resuming, and the process that starts their runs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import json_option, open_store, print_json, print_table
from pinflow.commands.telling import log_format_option, tell
from pinflow.errors import UnknownNameError

if TYPE_CHECKING:
    from pinflow.scheduler.schedules import Schedule
    from pinflow.scheduler.store import Store

EPILOG = """\b
Examples:
  pinflow schedules                      which there are, and when each is due
  pinflow schedules resume analytics     turn one on, from now
  pinflow schedules pause analytics
  pinflow schedules next analytics       the next ticks, and the day that each runs

\b
A process starts the runs that are due: pinflow scheduler."""


@contextmanager
def _open() -> Iterator[tuple["Store", dict[str, "Schedule"]]]:
    from pinflow.workflows.catalog import timetable

    settings = config.load()
    with open_store(settings) as store:
        yield store, dict(timetable(settings).schedules)


@click.group(epilog=EPILOG, invoke_without_command=True)
@json_option
@click.pass_context
def schedules(context: click.Context, as_json: bool) -> None:
    """List the schedules; pause and resume them, show what is next."""
    if context.invoked_subcommand is None:
        _list(as_json)


@schedules.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the schedules: how each stands, when it is due next, what became of its last tick."""
    _list(as_json)


@schedules.command("next")
@click.argument("workflow", required=False)
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many.")
@json_option
def next_(workflow: str | None, count: int, as_json: bool) -> None:
    """Show the next ticks of WORKFLOW's schedule, or of all that are on, and the day of the run of each."""
    from pinflow.scheduler.schedule_reading import coming_ticks, list_schedules

    with _open() as (store, declared):
        if workflow is not None:
            if workflow not in declared:
                raise UnknownNameError("workflow with a schedule", workflow, declared, "pinflow schedules")
            names = [workflow]
        else:
            names = [info.workflow for info in list_schedules(store, declared) if info.state == "on"]
        now = store.clock()
    found = sorted((c for name in names for c in coming_ticks(name, declared[name], now, count)), key=lambda c: c.at)
    found = found[:count]
    if as_json:
        print_json(found)
        return
    rows = [(c.workflow, c.at, f"{c.local:%Y-%m-%d %H:%M %Z}", c.date.isoformat()) for c in found]
    print_table(("workflow", "due (UTC)", "by its clock", "runs the day"), rows, empty="no schedule is on")


@schedules.command()
@click.argument("workflow")
@json_option
def pause(workflow: str, as_json: bool) -> None:
    """Start no more runs by WORKFLOW's schedule; what runs goes on."""
    _set_paused(workflow, as_json, paused=True)


@schedules.command()
@click.argument("workflow")
@json_option
def resume(workflow: str, as_json: bool) -> None:
    """Let WORKFLOW's schedule go on, from now; for the days between there is `pinflow backfill`."""
    _set_paused(workflow, as_json, paused=False)


@click.command()
@log_format_option
def scheduler() -> None:
    """Start the runs that are due by their schedules, until it is stopped; any number may run at once.

    The runs are worked on by workers.
    """
    from pinflow.workflows.run import prepare_home
    from pinflow.workflows.scheduling import keep_firing

    settings = config.load()
    prepare_home(settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with open_store(settings) as store:
        keep_firing(settings, store, stop, _NextShown())


class _NextShown:
    """Says when the next run is due, each time that this changes."""

    def __init__(self) -> None:
        self._shown: object = self

    def __call__(self, following: datetime | None) -> None:
        if following != self._shown:
            self._shown = following
            when = "no schedule is on" if following is None else f"next: {following:%Y-%m-%d %H:%M:%S} UTC"
            tell(when)


def _list(as_json: bool) -> None:
    from pinflow.scheduler.schedule_reading import list_schedules

    with _open() as (store, declared):
        found = list_schedules(store, declared)
    if as_json:
        print_json(found)
        return
    rows = []
    for info in found:
        last = info.last and f"{info.last.at:%Y-%m-%d %H:%M} {info.last.state} {info.last.run_id or ''}".rstrip()
        due = info.next[0] if info.next else None
        rows.append((info.workflow, f"{info.cron} {info.timezone}", info.state, due, info.waiting, last, info.error))
    columns = ("workflow", "when", "state", "next (UTC)", "waiting", "last tick", "error")
    print_table(columns, rows, empty="no workflow declares a schedule")


def _set_paused(workflow: str, as_json: bool, *, paused: bool) -> None:
    from pinflow.workflows.scheduling import set_paused

    with _open() as (store, declared):
        changed = set_paused(store, declared, workflow, paused=paused)
        following = None if paused else declared[workflow].next(store.clock())
    if as_json:
        print_json({"workflow": workflow, "paused": paused, "changed": changed, "next": following})
        return
    state = "is paused" if paused else f"is on; next: {following:%Y-%m-%d %H:%M} UTC" if following else "is on"
    click.echo(f"the schedule of {workflow} {state}{'' if changed else ' already'}")

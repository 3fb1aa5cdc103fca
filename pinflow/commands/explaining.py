"""Why something is as it is: what a job waits for, and the story of a run."""

from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.looking import times
from pinflow.commands.output import STATE_STYLES, json_option, open_store, print_json, print_table

if TYPE_CHECKING:
    from pinflow.scheduler.records import Event

EXPLAIN_EPILOG = """\b
Examples:
  pinflow explain analytics-2015-05-18-1 persist_metrics
  pinflow explain analytics-2015-05-18-1             all jobs that have not ended well"""


@click.command(epilog=EXPLAIN_EPILOG)
@click.argument("run")
@click.argument("job", required=False)
@json_option
def explain(run: str, job: str | None, as_json: bool) -> None:
    """Say why JOB of RUN is not running: what it waits for, and until when."""
    from pinflow.scheduler.explaining import explain as explained
    from pinflow.scheduler.explaining import explain_all
    from pinflow.scheduler.lateness import expect
    from pinflow.scheduler.reading import get_run

    with open_store(config.load()) as store:
        found = [explained(store, run, job)] if job else explain_all(store, run)
        info = expect(store, get_run(store, run))
    if as_json:
        print_json(found[0] if job else found)
        return
    for one in found:
        state = click.style(one.state, fg=STATE_STYLES.get(one.state, "white").split()[-1])
        click.echo(f"{one.job} of {one.run_id} is {state}")
        for cause in one.causes:
            click.echo(f"  {cause.sentence}{f'; what helps: {cause.command}' if cause.command else ''}")
    if line := times(info):
        click.echo(f"{info.run_id}: {line}")
    if not found:
        click.echo("all jobs of the run are done")


@click.command()
@click.argument("run")
@click.option("--job", help="Only of this job.")
@json_option
def events(run: str, job: str | None, as_json: bool) -> None:
    """Tell the story of a RUN in order: each change of a state, when, and why."""
    from pinflow.scheduler.reading import get_run

    with open_store(config.load()) as store:
        found = [event for _, event in store.events(get_run(store, run).run_id)]
    found = [event for event in found if job in (None, event.job)]
    if as_json:
        print_json(found)
        return
    columns = ("at (UTC)", "job", "attempt", "change", "why")
    print_table(columns, [_row(event) for event in found], empty="nothing has happened")


def _row(event: "Event") -> tuple[object, ...]:
    change = f"{event.before} -> {event.state}" if event.before not in (None, event.state) else event.state
    return (f"{event.at:%Y-%m-%d %H:%M:%S.%f}"[:-3], event.job or "(run)", event.attempt, change, event.detail)

"""`pinflow backfill`: run many days of a workflow."""

import sys
from datetime import date
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import (
    DATE,
    STATE_STYLES,
    json_option,
    open_store,
    parameters_option,
    print_json,
    print_table,
)
from pinflow.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from pinflow.scheduler.backfills import Backfill, BackfillDay, BackfillRequest

EPILOG = """\b
Examples:
  pinflow backfill analytics --from 2015-05-01 --to 2015-05-31 --dry-run
  pinflow backfill analytics --from 2015-05-01 --to 2015-05-31 --max-runs 2
  pinflow backfill analytics --from 2015-05-01 --to 2015-05-31 --reprocess failed
  pinflow backfill analytics --from 2015-05-01 --to 2015-05-31 --detach     leave it to pinflow worker
  pinflow backfill analytics --cancel       start no further day

\b
One that was stopped or killed goes on with the same command."""


@click.command(epilog=EPILOG)
@click.argument("workflow")
@click.option("--from", "first", type=DATE, help="First day: YYYY-MM-DD, today or yesterday (UTC).")
@click.option("--to", "last", type=DATE, help="Last day.")
@click.option("--max-runs", type=click.IntRange(1, 64), default=1, show_default=True, help="How many days at once.")
@click.option("--reverse", is_flag=True, help="Begin with the last day.")
@click.option(
    "--reprocess",
    type=click.Choice(["none", "failed", "all"]),
    default="none",
    show_default=True,
    help="Which of the days that have had a run are run again.",
)
@click.option("--rebuild", is_flag=True, help="Make everything anew, also what is published for the same input.")
@parameters_option
@click.option("--detach", is_flag=True, help="Leave the days to workers, and return at once.")
@click.option("--dry-run", is_flag=True, help="Only say which days would be run.")
@click.option("--cancel", "do_cancel", is_flag=True, help="Let the workflow's backfills start no further day.")
@json_option
def backfill(
    workflow: str,
    first: date | None,
    last: date | None,
    max_runs: int,
    reverse: bool,
    reprocess: str,
    rebuild: bool,
    parameters: dict[str, str],
    detach: bool,
    dry_run: bool,
    do_cancel: bool,
    as_json: bool,
) -> None:
    """Run the days of WORKFLOW from one day to another that have had no run."""
    from pinflow.scheduler.backfills import BackfillRequest, Reprocess

    if do_cancel:
        _cancel(workflow, as_json)
        return
    if first is None or last is None:
        raise click.UsageError("give the first and the last day: --from DAY --to DAY")
    request = BackfillRequest(
        workflow,
        first,
        last,
        max_runs=max_runs,
        reverse=reverse,
        reprocess=Reprocess(reprocess),
        rebuild=rebuild,
        parameters=parameters,
    )
    if dry_run:
        _show_plan(request, as_json)
    elif detach:
        _detach(request, as_json)
    else:
        _drive(request, as_json)


def _show_plan(request: "BackfillRequest", as_json: bool) -> None:
    from pinflow.scheduler.backfills import plan

    settings = _checked(request)
    with open_store(settings) as store:
        days = plan(store, request)
    if as_json:
        print_json([{"date": day.date, "runs": day.state == "waiting", "run_id": day.run_id} for day in days])
        return
    rows = [(str(d.date), "would run" if d.state == "waiting" else "kept", d.run_id) for d in days]
    print_table(("day", "", "newest run"), rows, empty="no days")
    click.echo(f"{sum(day.state == 'waiting' for day in days)} of {len(days)} days would run")


def _drive(request: "BackfillRequest", as_json: bool) -> None:
    from pinflow.scheduler.backfills import open_backfill
    from pinflow.workflows.backfilling import drive_backfill
    from pinflow.workflows.run import prepare_home

    settings = _checked(request)
    prepare_home(settings)
    with open_store(settings) as store:
        begun, is_new = open_backfill(store, request)
        if not as_json:
            verb = "begins" if is_new else "goes on"
            left = begun.count("waiting", "running")
            click.echo(f"backfill {begun.number} {verb}: {left} of {len(begun.days)} days are to be run", err=True)
        ended = drive_backfill(store, begun.number, lambda found, day: None if as_json else _tell(found, day))
    if as_json:
        print_json(_summary(ended))
    else:
        _conclude(ended)
    sys.exit(ExitCode.SUCCEEDED if ended.state == "succeeded" else ExitCode.FAILED)


def _detach(request: "BackfillRequest", as_json: bool) -> None:
    from pinflow.scheduler.backfills import get_backfill, open_backfill
    from pinflow.scheduler.sharing import workers_present
    from pinflow.workflows.backfilling import push
    from pinflow.workflows.run import prepare_home

    settings = _checked(request)
    prepare_home(settings)
    with open_store(settings) as store:
        begun, is_new = open_backfill(store, request, detach=True)
        push(settings)
        found, workers = get_backfill(store, begun.number), len(workers_present(store))
    if as_json:
        print_json(_summary(found) | {"workers": workers})
        return
    left = found.count("waiting", "running")
    click.echo(f"backfill {found.number} {'is' if is_new else 'goes on,'} left to workers: {left} days are to be run")
    if not workers and left:
        click.echo("no worker is there; start one with: pinflow worker", err=True)


def _checked(request: "BackfillRequest") -> config.Settings:
    """The configuration; raises what is wrong with the workflow before any day is run."""
    from pinflow.workflows.catalog import definition

    settings = config.load()
    definition(settings, request.workflow, request.first, rebuild=request.rebuild, given=request.parameters)
    return settings


def _cancel(workflow: str, as_json: bool) -> None:
    from pinflow.scheduler.backfills import cancel

    with open_store(config.load()) as store:
        numbers = cancel(store, workflow)
    if as_json:
        print_json({"cancelled": numbers})
    elif numbers:
        click.echo(f"cancelled backfill {', '.join(map(str, numbers))}; the days that are being run are finished")
    else:
        raise ConfigurationError(f"no backfill of {workflow!r} is running")


def _tell(found: "Backfill", day: "BackfillDay") -> None:
    if day.state in ("waiting", "kept"):
        return
    done = found.count("succeeded", "failed", "kept", "cancelled")
    state = click.style(f"{day.state:<10}", fg=STATE_STYLES.get(day.state, "white").split()[-1])
    click.echo(f"{state} {day.date} {day.run_id or ''} ({done} of {len(found.days)} done)", err=True)


def _conclude(ended: "Backfill") -> None:
    days = ", ".join(
        f"{ended.count(state)} {state}"
        for state in ("succeeded", "kept", "failed", "cancelled", "running", "waiting")
        if ended.count(state)
    )
    stopped = "; the same command goes on" if ended.state == "running" else ""
    click.echo(f"backfill {ended.number} {'stopped' if stopped else ended.state}: {days}{stopped}")
    for day in ended.days:
        if day.state == "failed":
            see = f"see: pinflow show {day.run_id}" if day.run_id else "its run could not be made"
            click.echo(f"  {day.date} failed; {see}", err=True)


def _summary(ended: "Backfill") -> dict[str, object]:
    return {
        "backfill": ended.number,
        "workflow": ended.request.workflow,
        "state": ended.state,
        "days": [{"date": day.date, "state": day.state, "run_id": day.run_id} for day in ended.days],
    }

"""`pinflow run`: run a workflow's day, showing how it goes."""

import sys
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import click

from pinflow import config
from pinflow.commands.output import (
    DURATION,
    STATE_STYLES,
    date_option,
    json_option,
    open_store,
    parameters_option,
    print_json,
    show_seconds,
)
from pinflow.commands.telling import is_json, log_format_option, tell, tell_event
from pinflow.workflows.preload import calls_of, start_zygote

if TYPE_CHECKING:
    from pinflow.scheduler.reading import RunInfo
    from pinflow.scheduler.records import Event
    from pinflow.scheduler.run import RunResult
    from pinflow.stats_engine.queries import Notices
    from pinflow.zygote import Zygote

EPILOG = """\b
Examples:
  pinflow run analytics --date 2015-05-18
  pinflow run analytics --date yesterday --wait 6h     wait for input that comes late
  pinflow run analytics --date 2015-05-18 --stage top_items
  pinflow run analytics --date 2015-05-18 --rebuild    make everything anew
  pinflow run analytics --date 2015-05-18 --detach     leave it to pinflow worker

\b
A run that was stopped goes on with the same command: what is published for the
same input and code is not made again. Exit codes: 0 all succeeded, 1 a job
failed, 2 usage or configuration, 3 stopped by a fatal alert, 4 input not there."""

_NO_WORKER = "no worker is there; start one with: pinflow worker"


@click.command(epilog=EPILOG)
@click.argument("workflow")
@date_option("Day to run: YYYY-MM-DD, today or yesterday (UTC).", required=True)
@click.option("--stage", help="Run the jobs of one stage only: extract, aggregate, top_items or persist.")
@click.option("--rebuild", is_flag=True, help="Make everything anew, also what is published for the same input.")
@click.option("--wait", type=DURATION, default=timedelta(0), help="Wait so long for input, such as 6h; default: not.")
@click.option("--detach", is_flag=True, help="Leave the jobs to workers, and return at once.")
@parameters_option
@log_format_option
@json_option
def run(
    workflow: str,
    date: date,
    stage: str | None,
    rebuild: bool,
    wait: timedelta,
    detach: bool,
    parameters: dict[str, str],
    as_json: bool,
) -> None:
    """Run the WORKFLOW of a day, such as analytics: extract, aggregate, top items, persist."""
    settings = config.load()
    if detach:
        _submit(
            settings, workflow, date, as_json=as_json, stage=stage, rebuild=rebuild, wait=wait, parameters=parameters
        )
        return

    def work(zygote: "Zygote", **listeners: Any) -> "RunResult":
        from pinflow.workflows.run import Request, run_workflow  # takes as long as the zygote to import

        return run_workflow(settings, Request(workflow, date, stage, rebuild, wait, parameters), zygote, **listeners)

    calls = calls_of(settings, workflow, date, parameters)
    sys.exit(drive(settings, work, calls, as_json=as_json))


def _submit(settings: config.Settings, workflow: str, day: date, *, as_json: bool, **asked: Any) -> None:
    from pinflow.workflows.run import Request, submit_workflow

    opened = submit_workflow(settings, Request(workflow, day, **asked))
    workers = _count_workers(settings)
    if as_json:
        print_json({"run_id": opened.run_id, "created": opened.created, "workers": workers})
        return
    click.echo(f"{opened.run_id}: {'left to workers' if opened.created else 'goes on, or is under way already'}")
    if not workers:
        tell(_NO_WORKER, "warning")


def _count_workers(settings: config.Settings) -> int:
    from pinflow.scheduler.sharing import workers_present

    with open_store(settings) as store:
        return len(workers_present(store))


def drive(settings: config.Settings, work: Callable[..., "RunResult"], calls: Iterable[str], *, as_json: bool) -> int:
    """Drive a run here, showing how it goes: `work(zygote, on_event=, on_join=)` does it; gives the exit code.

    `calls`: the functions that its jobs call, as far as they are known.
    """
    view = _View(settings, quiet=as_json)
    try:
        with start_zygote(settings, calls) as zygote:
            result = work(zygote, on_event=view.event, on_join=view.join)
    finally:
        view.close()
    found = _notices(settings, result.run.run_id)
    if as_json:
        print_json(summary(result, settings) | found._asdict())
    else:
        _conclude(result, found)
    return result.exit_code


def summary(result: "RunResult", settings: config.Settings) -> dict[str, object]:
    """The run as `--json` prints it."""
    return {
        "run_id": result.run.run_id,
        "workflow": result.run.workflow,
        "date": result.run.date,
        "state": result.run.state,
        "seconds": round(result.run.seconds, 3),
        "driven": result.driven,
        "runner": settings.runner,
        "warehouse": settings.warehouse_url,
        "jobs": [
            {"name": job.name, "state": job.state, "seconds": round(job.seconds, 3), "reason": job.reason}
            for job in result.run.jobs
        ],
    }


def _notices(settings: config.Settings, run_id: str) -> "Notices":
    from pinflow.database import open_database
    from pinflow.stats_engine.queries import notices

    return notices(open_database(settings.database_url), run_id)


class _View:
    """Progress on standard error: a live line on a terminal, a line for each job elsewhere, or all events as JSON."""

    def __init__(self, settings: config.Settings, *, quiet: bool) -> None:
        self._settings = settings
        self._quiet = quiet
        self._running: dict[str, None] = {}
        self._done = 0
        self._is_live = not quiet and not is_json() and sys.stderr.isatty()

    def join(self, run: "RunInfo") -> None:
        """Say that another command drives the run, or workers do, and if there are none."""
        self._write(f"{run.run_id} is already run by {run.driver}; following it")
        if run.shared and not _count_workers(self._settings):
            tell(_NO_WORKER, "warning", run=run.run_id)

    def event(self, event: "Event") -> None:
        """Show one transition."""
        if is_json():
            tell_event(event)
            return
        if event.job is None:
            self._write(f"{event.run_id}: {event.state}{f' ({event.detail})' if event.detail else ''}")
            return
        if event.state in ("running", "polling"):
            self._running[event.job] = None
        elif event.state in STATE_STYLES:
            self._running.pop(event.job, None)
            self._done += 1
            if event.state == "upstream_failed":
                return
            state = click.style(f"{event.state:<15}", fg=STATE_STYLES[event.state].split()[-1])
            self._write(f"{state} {event.job}{f': {event.detail}' if event.detail else ''}")
        if self._is_live:
            names = ", ".join(self._running)
            self._echo(f"\r\033[K{self._done} done; running: {names[:90]}", nl=False)

    def close(self) -> None:
        """End the live line."""
        if self._is_live:
            self._echo("\r\033[K", nl=False)

    def _write(self, line: str) -> None:
        if is_json():
            tell(line)
        else:
            self._echo(f"\r\033[K{line}" if self._is_live else line)

    def _echo(self, text: str, *, nl: bool = True) -> None:
        """Print, as long as somebody reads: a closed pipe or terminal is no reason to stop the run."""
        try:
            if not self._quiet:
                click.echo(text, err=True, nl=nl)
        except OSError:
            self._quiet = True


def _conclude(result: "RunResult", found: "Notices") -> None:
    run = result.run
    click.echo(f"{run.run_id} {run.state} in {show_seconds(run.seconds)}")
    if found.alerts:
        click.echo(f"{found.alerts} alerts were raised; see: pinflow alerts")
    if found.unsent_mails:
        reason = "could not be sent; see why with: pinflow alerts deliver"
        tell(f"{found.unsent_mails} mails {reason}", "warning", run=run.run_id)
    if result.exit_code:
        for job in run.jobs:
            if job.state == "failed":
                tell(f"  {job.name}: {job.reason or 'failed'}", "error", run=run.run_id, job=job.name)
                tell(f"  see: pinflow logs {run.run_id} {job.name}", "error", run=run.run_id, job=job.name)
        stopped = sum(job.state == "upstream_failed" for job in run.jobs)
        if stopped:
            tell(f"  {stopped} jobs that come after did not run", "error", run=run.run_id)
        return
    click.echo("See the results with:  pinflow subjects   and   pinflow metrics SUBJECT")
    click.echo(f"See the run with:      pinflow show {run.run_id}")

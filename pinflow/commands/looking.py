"""What runs and workflows there are, and how they went."""

from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import date_option, json_option, open_store, print_json, print_table, show_seconds
from pinflow.errors import PinflowError

if TYPE_CHECKING:
    from pinflow.scheduler.reading import RunInfo
    from pinflow.scheduler.store import Store


def _as_it_stands(store: "Store", run: "RunInfo") -> "RunInfo":
    """The run with its expected end, its `reason` saying so when nobody drives it any more."""
    from pinflow.scheduler.lateness import expect

    run = expect(store, run)
    if run.state != "running" or store.is_driven(run.run_id):
        return run
    why = (
        "its schedule started it, nobody works on it yet"
        if run.driver.startswith("schedule@")
        else "its command is gone"
    )
    return replace(run, reason=f"{why}; go on with: pinflow run {run.workflow} --date {run.date}")


def _due(run: "RunInfo") -> str | None:
    late = ", late" if _is_late(run) else ""
    return f"{run.due_at:%Y-%m-%d %H:%M}{late}" if run.due_at else None


def times(run: "RunInfo") -> str:
    """When a run is expected to end, is due, and when its owner was warned; empty where nothing is known."""
    moments = {"expected end": run.expected_at, "due": run.due_at, "warned": run.warned_at}
    shown = [f"{name} {moment:%Y-%m-%d %H:%M:%S} UTC" for name, moment in moments.items() if moment]
    return ", ".join([*shown, *["late"] * _is_late(run)])


def _is_late(run: "RunInfo") -> bool:
    """Whether it has ended, or will end, after it was due."""
    end = run.finished_at or run.expected_at
    return run.due_at is not None and end is not None and end > run.due_at


@click.command()
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@json_option
def runs(workflow: str | None, limit: int, as_json: bool) -> None:
    """List the newest runs."""
    from pinflow.scheduler.reading import list_runs

    with open_store(config.load()) as store:
        found = [_as_it_stands(store, run) for run in list_runs(store, workflow=workflow, limit=limit)]
    if as_json:
        print_json(found)
        return
    columns = ["run", "date", "state", "started (UTC)", "took", "reason"]
    rows = [[r.run_id, r.date, r.state, r.created_at, show_seconds(r.seconds), r.reason] for r in found]
    if any(r.expected_at or r.due_at for r in found):
        columns[5:5] = ["expected end", "due"]
        for row, run in zip(rows, found, strict=True):
            row[5:5] = [run.expected_at, _due(run)]
    print_table(columns, rows, empty="no runs yet; start one with: pinflow run analytics --date YYYY-MM-DD")


@click.command()
@click.argument("run")
@json_option
def show(run: str, as_json: bool) -> None:
    """Show a RUN job by job; the start of its name is enough."""
    from pinflow.scheduler.reading import attempts, get_run

    with open_store(config.load()) as store:
        found = _as_it_stands(store, get_run(store, run))
        tried = {job.name: attempts(store, found.run_id, job.name) for job in found.jobs} if as_json else {}
    if as_json:
        jobs = [asdict(job) | {"attempts": tried[job.name]} for job in found.jobs]
        print_json(asdict(found) | {"jobs": jobs})
        return
    click.echo(f"{found.run_id}  {found.state}  {show_seconds(found.seconds)}  {found.reason or ''}".rstrip())
    if line := times(found):
        click.echo(line)
    rows = ((j.stage, j.name, j.state, show_seconds(j.seconds), j.attempts, j.reason) for j in found.jobs)
    print_table(("stage", "job", "state", "took", "attempts", "reason"), rows, empty="it has no jobs")


@click.command()
@click.argument("run")
@click.argument("job")
@click.option("--attempt", type=click.IntRange(1), help="Which attempt; default: the last.")
@json_option
def logs(run: str, job: str, attempt: int | None, as_json: bool) -> None:
    """Print the log of a JOB of a RUN."""
    from pinflow.scheduler.reading import find_attempt

    settings = config.load()
    with open_store(settings) as store:
        found = find_attempt(store, run, job, attempt)
    path = settings.logs_path / found.log
    if not path.exists():
        raise PinflowError(
            f"{path} is not here: attempt {found.attempt} of {job} ran in the worker {found.worker}, and its log lies "
            "where that keeps logs, unless it was cleaned up; give the same command there"
        )
    text = path.read_text(encoding="utf-8", errors="replace")
    if as_json:
        print_json({"path": str(path), "text": text})
    else:
        click.echo(text or f"{path} is empty: the job wrote nothing", nl=not text)


@click.command()
@click.argument("workflow")
@date_option("Day whose jobs are shown; default: today.")
@click.option("--run", "run_id", help="Colour the jobs by their state in this run.")
@click.option("--svg", type=click.Path(path_type=Path), help="Write a picture to this file.")
@json_option
def graph(workflow: str, date: date | None, run_id: str | None, svg: Path | None, as_json: bool) -> None:
    """Draw a WORKFLOW: its stages, its jobs and what each comes after."""
    from pinflow.commands.output import DATE
    from pinflow.scheduler.graph import draw_svg, draw_text
    from pinflow.scheduler.reading import get_run
    from pinflow.workflows.catalog import catalog, look

    settings = config.load()
    day = date or DATE.convert("today", None, None)
    defined = look(settings, catalog(settings).find(workflow), day)
    states: dict[str, str] = {}
    if run_id:
        with open_store(settings) as store:
            states = {job.name: job.state for job in get_run(store, run_id).jobs}
    if svg:
        svg.write_text(draw_svg(defined, states), encoding="utf-8")
        click.echo(f"wrote {svg}", err=True)
    if as_json:
        print_json(defined.to_json() | {"states": states})
    elif not svg:
        click.echo(draw_text(defined, states))

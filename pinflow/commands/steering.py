"""What people do about runs that run or have ended: pause, drain, abort, resume; retry, redo, poison, skip, disable."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pinflow import config
from pinflow.commands.output import json_option, open_store, print_json, print_table
from pinflow.scheduler.identity import user_name

if TYPE_CHECKING:
    from pinflow.scheduler.repair import Plan
    from pinflow.scheduler.signals import Scope

SCOPES = """\b
Examples:
  pinflow {0} analytics-2015-05-18-1
  pinflow {0} --workflow analytics --reason "cluster is moved"
  pinflow {0} --all

\b
What holds: pinflow signals. Undo: pinflow resume with the same RUN, --workflow or --all."""

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would change.")
detach_option = click.option("--detach", is_flag=True, help="Leave the jobs to workers; default: run them here.")
reason_option = click.option("--reason", default="", help="Why; it is shown to whoever asks.")


def scoped(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options that say for whom a signal is."""
    command = click.option("--all", "everything", is_flag=True, help="For all runs.")(command)
    command = click.option("--workflow", help="For all runs of this workflow.")(command)
    return click.argument("run", required=False)(command)


@click.command(epilog=SCOPES.format("pause"))
@scoped
@reason_option
@json_option
def pause(run: str | None, workflow: str | None, everything: bool, reason: str, as_json: bool) -> None:
    """Start no more jobs; what runs goes on, and commands wait."""
    _hold("pause", (run, workflow, everything), reason, as_json, "no job of {} starts; what runs goes on")


@click.command(epilog=SCOPES.format("drain"))
@scoped
@reason_option
@json_option
def drain(run: str | None, workflow: str | None, everything: bool, reason: str, as_json: bool) -> None:
    """Start no more jobs; commands end when their running jobs have ended."""
    _hold("drain", (run, workflow, everything), reason, as_json, "no job of {} starts; commands end after what runs")


def _hold(action: str, whom: tuple[str | None, str | None, bool], reason: str, as_json: bool, told: str) -> None:
    from pinflow.scheduler.signals import Action, send
    from pinflow.workflows.steering import scope_of

    settings = config.load()
    with open_store(settings) as store:
        scope = scope_of(settings, store, *whom)
        send(store, scope, Action(action), author=user_name(), reason=reason)
    if as_json:
        print_json({"action": action, "scope": scope.kind, "name": scope.name})
    else:
        click.echo(f"{told.format(scope)}; undo it with: {_undo(scope)}")


@click.command(epilog=SCOPES.format("abort"))
@scoped
@reason_option
@yes_option
@json_option
def abort(run: str | None, workflow: str | None, everything: bool, reason: str, yes: bool, as_json: bool) -> None:
    """End runs and their jobs now (SIGTERM, after ten seconds SIGKILL); no new run starts, unless one RUN is named."""
    from pinflow.scheduler.signals import Action, send
    from pinflow.workflows.steering import scope_of

    settings = config.load()
    with open_store(settings) as store:
        scope = scope_of(settings, store, run, workflow, everything)
        if not (yes or as_json):
            what = scope.name if scope.kind == "run" else f"{scope}, and let none start until it is undone"
            click.confirm(f"end all that runs of {what}?", abort=True, err=True)
        ended = send(store, scope, Action.ABORT, author=user_name(), reason=reason)
    if as_json:
        print_json({"action": "abort", "scope": scope.kind, "name": scope.name, "aborted": ended})
        return
    for run_id in ended:
        click.echo(f"{run_id} aborted")
    click.echo(f"{len(ended)} runs were ended; undo it with: {_undo(scope)}")


@click.command(epilog=SCOPES.format("resume"))
@scoped
@detach_option
@json_option
def resume(run: str | None, workflow: str | None, everything: bool, detach: bool, as_json: bool) -> None:
    """Undo pause, drain and abort; an aborted RUN goes on, and so do the runs that an abort for many ended."""
    from pinflow.workflows import steering

    settings = config.load()
    with open_store(settings) as store:
        scope = steering.scope_of(settings, store, run, workflow, everything)
        undone, plans, own = steering.resume(store, scope, author=user_name(), detach=detach)
    if as_json and not plans:
        print_json({"scope": scope.kind, "name": scope.name, "undone": undone})
    elif not as_json and (undone or not plans):
        click.echo(f"undone for {scope}: {', '.join(undone)}" if undone else f"nothing holds {scope}")
    if plans:
        _go_on(settings, plans, own, as_json=as_json)


@click.command(epilog="Example: pinflow retry analytics-2015-05-18-1 persist_metrics")
@click.argument("run")
@click.argument("jobs", nargs=-1)
@dry_run_option
@detach_option
@json_option
def retry(run: str, jobs: tuple[str, ...], dry_run: bool, detach: bool, as_json: bool) -> None:
    """Run again what failed or was aborted in RUN (or only JOBS of it), and what waited for that."""
    _repair("retry", run, jobs, dry_run=dry_run, detach=detach, as_json=as_json)


@click.command(epilog="Example: pinflow redo analytics-2015-05-18-1 top_items --dry-run")
@click.argument("run")
@click.argument("jobs", nargs=-1, required=True)
@dry_run_option
@detach_option
@json_option
def redo(run: str, jobs: tuple[str, ...], dry_run: bool, detach: bool, as_json: bool) -> None:
    """Do JOBS of RUN anew with all that comes after them, also what is published for the same input."""
    _repair("redo", run, jobs, dry_run=dry_run, detach=detach, as_json=as_json)


@click.command(epilog="Example: pinflow skip analytics-2015-05-18-1 persist_audience")
@click.argument("run")
@click.argument("jobs", nargs=-1, required=True)
@dry_run_option
@detach_option
@json_option
def skip(run: str, jobs: tuple[str, ...], dry_run: bool, detach: bool, as_json: bool) -> None:
    """Count JOBS of RUN as done, so that what waits for them starts."""
    _repair("skip", run, jobs, dry_run=dry_run, detach=detach, as_json=as_json)


@click.command(epilog="Example: pinflow poison analytics-2015-05-18-1 read_events --later --dry-run")
@click.argument("run")
@click.argument("jobs", nargs=-1, required=True)
@click.option("--later", is_flag=True, help="Also in the last run of each later day of the workflow.")
@dry_run_option
@detach_option
@yes_option
@json_option
def poison(run: str, jobs: tuple[str, ...], later: bool, dry_run: bool, detach: bool, yes: bool, as_json: bool) -> None:
    """What JOBS of RUN made is bad: show what hangs on it, then do all of that anew."""
    from pinflow.scheduler import repair

    settings = config.load()
    with open_store(settings) as store:
        plans = repair.poison(store, run, jobs, later=later)
    if dry_run or not (as_json or yes):
        _preview(plans, as_json=as_json)
    if dry_run:
        return
    if not (yes or as_json):
        click.confirm(f"do this anew, in {len(plans)} runs?", abort=True, err=True)
    _carry_out(settings, plans, detach=detach, as_json=as_json)


@click.command(epilog="Example: pinflow disable analytics persist_audience --reason 'nobody reads it'")
@click.argument("name", metavar="WORKFLOW|RUN")
@click.argument("job")
@reason_option
@json_option
def disable(name: str, job: str, reason: str, as_json: bool) -> None:
    """Let a JOB count as skipped when it could start, in all runs of a WORKFLOW or in one RUN."""
    from pinflow.scheduler.signals import Action, send
    from pinflow.workflows.steering import scope_of_job

    settings = config.load()
    with open_store(settings) as store:
        scope = scope_of_job(settings, store, name, job)
        send(store, scope, Action.DISABLE, author=user_name(), reason=reason or "no reason given", job=job)
    if as_json:
        print_json({"action": "disable", "scope": scope.kind, "name": scope.name, "job": job})
    else:
        click.echo(f"{job} is skipped in {scope}; undo it with: pinflow enable {scope.name} {job}")


@click.command(epilog="Example: pinflow enable analytics persist_audience")
@click.argument("name", metavar="WORKFLOW|RUN")
@click.argument("job")
@json_option
def enable(name: str, job: str, as_json: bool) -> None:
    """Undo `pinflow disable`; runs in which the job was skipped already stay as they are."""
    from pinflow.workflows import steering

    with open_store(config.load()) as store:
        done = steering.enable(store, name, job)
    if as_json:
        print_json({"action": "enable", "scope": done[0].kind, "name": name, "job": job})
    else:
        click.echo(f"{job} runs again in {done[0]}")


@click.command()
@json_option
def signals(as_json: bool) -> None:
    """List what holds runs, workers and jobs: who said so, when and why."""
    from pinflow.scheduler.signals import standing

    with open_store(config.load()) as store:
        found = standing(store)
    if as_json:
        print_json([asdict(signal) for signal in found])
        return
    rows = [
        (s.action, str(s.scope), s.job or (f"below {s.generation}" if s.generation else ""), s.author, s.at, s.reason)
        for s in found
    ]
    print_table(("signal", "for", "job", "by", "since (UTC)", "reason"), rows, empty="nothing is held")


def _undo(scope: "Scope") -> str:
    options = {"all": "--all", "workflow": f"--workflow {scope.name}", "run": scope.name}
    return f"pinflow resume {options[scope.kind]}"


def _repair(kind: str, run: str, jobs: Sequence[str], *, dry_run: bool, detach: bool, as_json: bool) -> None:
    from pinflow.scheduler.repair import Repair, plan

    settings = config.load()
    with open_store(settings) as store:
        plans = [plan(store, run, Repair(kind), jobs)]
    if dry_run:
        _preview(plans, as_json=as_json)
    else:
        _carry_out(settings, plans, detach=detach, as_json=as_json)


def _preview(plans: Sequence["Plan"], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(plan) for plan in plans])
        return
    rows = [
        (plan.run_id, change.job, change.before, f"{change.after}{', anew' if change.anew else ''}")
        for plan in plans
        for change in plan.changes
        if change.after is not change.before
    ]
    print_table(("run", "job", "is", "becomes"), rows, empty="nothing changes")


def _carry_out(settings: config.Settings, plans: Sequence["Plan"], *, detach: bool, as_json: bool) -> None:
    """Do what was planned; then drive the runs that nobody drives, one after the other, unless workers do."""
    from pinflow.workflows import steering

    with open_store(settings) as store:
        own = steering.carry_out(store, plans, author=user_name(), detach=detach)
    _go_on(settings, plans, own, as_json=as_json)


def _go_on(settings: config.Settings, plans: Sequence["Plan"], own: Sequence[str], *, as_json: bool) -> None:
    """Drive the runs that nobody drives, or say what has changed."""
    from pinflow.scheduler.reading import definition_of
    from pinflow.workflows.preload import calls_in

    with open_store(settings) as store:
        calls = {run_id: calls_in(definition_of(store, run_id).nodes.values()) for run_id in own}
    changed = {plan.run_id: sum(c.after is not c.before for c in plan.changes) for plan in plans}
    if not own:
        if as_json:
            print_json([{"run_id": run_id, "changed": count} for run_id, count in changed.items()])
        else:
            for run_id, count in changed.items():
                click.echo(f"{run_id}: {count} jobs changed; see: pinflow show {run_id}")
        return
    sys.exit(max(_drive(settings, run_id, calls[run_id], as_json=as_json) for run_id in own))


def _drive(settings: config.Settings, run_id: str, calls: set[str], *, as_json: bool) -> int:
    from pinflow.commands.running import drive

    def work(zygote: Any, **listeners: Any) -> Any:
        from pinflow.workflows.run import continue_run

        return continue_run(settings, run_id, zygote, **listeners)

    return drive(settings, work, calls, as_json=as_json)

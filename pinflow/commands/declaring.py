"""The workflows that are declared, and whether they can be used."""

import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from pinflow import config
from pinflow.commands.output import DATE, date_option, json_option, print_json, print_table
from pinflow.errors import ExitCode, PinflowError

if TYPE_CHECKING:
    from pinflow.scheduler.declare import Workflow
    from pinflow.workflows.catalog import Catalog

EPILOG = """\b
Examples:
  pinflow workflows              which there are
  pinflow workflows check        for CI: exit code 2 when one cannot be used"""


@click.group(epilog=EPILOG, invoke_without_command=True)
@json_option
@click.pass_context
def workflows(context: click.Context, as_json: bool) -> None:
    """List the workflows that the configuration names; check them."""
    if context.invoked_subcommand is not None:
        return
    found = _catalog()
    if as_json:
        print_json([_described(found, workflow) for workflow in found.workflows.values()])
    else:
        rows = [(w.name, _when(w), w.owner, w.description) for w in found.workflows.values()]
        print_table(("workflow", "schedule", "owner", "description"), rows, empty="none: see the setting workflows")
    for broken in found.broken:
        click.echo(f"broken: {broken}; see: pinflow workflows check", err=True)


@workflows.command()
@click.argument("workflow", required=False)
@date_option("Day whose jobs are made; default: today.")
@json_option
def check(workflow: str | None, date: date | None, as_json: bool) -> None:
    """Make all workflows of a day, or WORKFLOW, and say what is wrong, with tracebacks; exit code 2 if something is."""
    found = _catalog()
    chosen = [found.find(workflow)] if workflow else list(found.workflows.values())
    tried = [_try(found, one, date or DATE.convert("today", None, None)) for one in chosen]
    broken = [] if workflow else found.broken
    if as_json:
        print_json({"workflows": tried, "broken": broken})
    else:
        for one in tried:
            mark = click.style("ok  ", fg="green") if one["ok"] else click.style("FAIL", fg="red", bold=True)
            click.echo(f"{mark} {one['name']} ({one['module']}): {one['detail']}")
        for module in broken:
            click.echo(f"{click.style('FAIL', fg='red', bold=True)} {module}\n{module.traceback}")
    sys.exit(ExitCode.SUCCEEDED if all(one["ok"] for one in tried) and not broken else ExitCode.USAGE)


def _catalog() -> "Catalog":
    from pinflow.workflows.catalog import catalog

    return catalog(config.load())


def _try(found: "Catalog", workflow: "Workflow", day: date) -> dict[str, Any]:
    from pinflow.workflows.catalog import trial

    described = {"name": workflow.name, "module": found.modules[workflow.name]}
    try:
        jobs = len(trial(config.load(), workflow, day).nodes)
    except PinflowError as error:
        return described | {"ok": False, "detail": str(error)}
    detail = f"{jobs} jobs, {_when(workflow) or 'no schedule'}"
    return described | {"ok": True, "detail": detail}


def _when(workflow: "Workflow") -> str:
    schedule = workflow.schedule
    return f"{schedule.cron} {schedule.timezone}" if schedule else ""


def _described(found: "Catalog", workflow: "Workflow") -> dict[str, Any]:
    return {
        "name": workflow.name,
        "owner": workflow.owner,
        "description": workflow.description,
        "module": found.modules[workflow.name],
        "schedule": _when(workflow) or None,
        "deadline": workflow.deadline and str(workflow.deadline),
        "parameters": [
            {"name": p.name, "kind": p.kind, "default": p.default, "required": p.required, "choices": p.choices}
            for p in workflow.parameters
        ],
    }

"""What is judged and expected: the rules of workflows, trials of rules on past days, known changes."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pinflow import config
from pinflow.commands.output import DURATION, date_option, json_option, print_json, print_table
from pinflow.commands.recorded import statistics_database

if TYPE_CHECKING:
    pass

RULES_EPILOG = """\b
Examples:
  pinflow rules                                  all rules of all workflows
  pinflow rules try read_events --last 90d       when the job's rules would have fired
  pinflow rules try read_events --rule 'temporal(output_bytes, least=0.2)'
  pinflow rules suggest read_events              rules that the history speaks for"""

EXPECT_EPILOG = """\b
Examples:
  pinflow expect                                 what is expected
  pinflow expect read_events output_rows --from 2015-06-01 --factor 2 --why 'new app'
  pinflow expect read_events output_rows --from 2015-06-01 --to 2015-06-07 --factor 0.5 --why 'sampling'
  pinflow expect --remove 3"""

workflow_option = click.option("--workflow", help="Of this workflow; needed where several have such a job.")


@click.group(invoke_without_command=True, epilog=RULES_EPILOG)
@click.option("--job", help="Only of this job.")
@click.option("--workflow", help="Only of this workflow.")
@json_option
@click.pass_context
def rules(context: click.Context, job: str | None, workflow: str | None, as_json: bool) -> None:
    """List the rules of all jobs; try a rule on past days; suggest rules."""
    if context.invoked_subcommand is not None:
        return
    from pinflow.workflows.declared import declared_jobs

    found = declared_jobs(config.load(), job=job, workflow=workflow)
    rows = [(d.workflow, d.job, r.degree, str(r)) for d in found for r in d.node.rules]
    if as_json:
        print_json([dict(zip(("workflow", "job", "degree", "rule"), row, strict=True)) for row in rows])
    else:
        print_table(("workflow", "job", "degree", "rule"), rows, empty="no job has a rule")


@rules.command(name="try", epilog=RULES_EPILOG)
@click.argument("job")
@click.option(
    "--rule", "text", help="A rule as in a workflow, such as 'temporal(output_rows)'; default: all of the job."
)
@click.option("--last", type=DURATION, default=timedelta(days=90), help="So many of the last days; default: 90d.")
@workflow_option
@json_option
def try_(job: str, text: str | None, last: timedelta, workflow: str | None, as_json: bool) -> None:
    """Judge the past days of a JOB by a rule, each from the days before it, and say on which it would have fired."""
    from pinflow.stats_engine.rules.text import parse_rule
    from pinflow.workflows.declared import find_job
    from pinflow.workflows.trying import try_rules

    found = find_job(config.load(), job, workflow)
    tried = [parse_rule(text)] if text else [rule for rule in found.node.rules if rule.kind != "fresh"]
    with statistics_database() as database:
        days, trials = try_rules(database, found, tried, last)
    rows = [(str(rule), trial.day, v.degree, v.message) for rule, trial in trials for v in trial.violations]
    if as_json:
        columns = ("rule", "date", "degree", "message")
        print_json({"days": days, "alarms": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    print_table(("rule", "date", "degree", "what"), rows, empty="no alarm")
    click.echo(f"{len(rows)} alarms on {days} days")


@rules.command(epilog=RULES_EPILOG)
@click.argument("job")
@workflow_option
@json_option
def suggest(job: str, workflow: str | None, as_json: bool) -> None:
    """Propose rules for a JOB from its history, with bounds."""
    from pinflow.stats_engine.suggestions import suggest as suggest_from
    from pinflow.workflows.declared import find_job
    from pinflow.workflows.trying import whole_history

    found = find_job(config.load(), job, workflow)
    with statistics_database() as database:
        suggestions = suggest_from(whole_history(database, found))
    if as_json:
        print_json(suggestions)
        return
    rows = [(one.rule, one.why) for one in suggestions]
    print_table(("rule", "why"), rows, empty="too little history: 14 published days are needed")


@click.command(epilog=EXPECT_EPILOG)
@click.argument("job", required=False)
@click.argument("name", required=False)
@date_option("First day of the change.", name="--from")
@date_option("Last day of the change; default: it is for good.", name="--to")
@click.option("--factor", type=float, help="How many times as much as before.")
@click.option("--why", help="The reason, for those who read it later.")
@click.option("--remove", type=int, metavar="ID", help="Expect this no longer.")
@workflow_option
@json_option
def expect(job: str | None, name: str | None, remove: int | None, as_json: bool, **given: Any) -> None:
    """Tell forecasts of a known change: NAME of JOB is FACTOR times what it was. Without a JOB, list the changes."""
    from pinflow.stats_engine import expectations

    now = datetime.now(UTC)
    wanted = _expectation(job, name, given) if name is not None else None
    with statistics_database() as database:
        if remove is not None:
            expectations.forget(database, remove)
        if wanted is not None:
            expectations.expect(database, wanted, now)
        found = expectations.list_expectations(database, workflow=given["workflow"], job=job)
    if as_json:
        print_json([{"id": s.id} | asdict(s.expectation) | {"created_at": s.created_at} for s in found])
        return
    rows = [(s.id, e.job, e.name, e.from_date, e.to_date, e.factor, e.why) for s in found for e in (s.expectation,)]
    print_table(("id", "job", "name", "from", "to", "factor", "why"), rows, empty="no change is expected")


def _expectation(job: str | None, name: str, given: dict[str, Any]) -> Any:
    from pinflow.stats_engine.expectations import Expectation
    from pinflow.workflows.declared import find_job

    missing = [f"--{option}" for option in ("from", "factor", "why") if given[option] is None]
    if missing:
        raise click.UsageError(f"{', '.join(missing)} is missing; see the examples: pinflow expect --help")
    found = find_job(config.load(), str(job), given["workflow"])
    found.check_name(name)
    return Expectation(found.workflow, found.job, name, given["from"], given["to"], given["factor"], given["why"])

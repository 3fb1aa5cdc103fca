"""What looked wrong, and what people do about it: alerts and the outbox of their mails."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pinflow import config
from pinflow.commands.output import DURATION, date_option, json_option, print_json, print_table
from pinflow.commands.recorded import statistics_database
from pinflow.errors import ExitCode
from pinflow.scheduler.identity import user_name

if TYPE_CHECKING:
    from pinflow.stats_engine.alerts import AlertState
    from pinflow.stats_engine.queries import AlertRow, WaitingMail
    from pinflow.stats_engine.states import Verb

EPILOG = """\b
Examples:
  pinflow alerts                                   what somebody may have to do something about
  pinflow alerts show 17                           all that is known of one
  pinflow alerts accept 17 --why "a campaign"      the value is right: forecasts learn from it
  pinflow alerts mute 17 --for 7d                  no mail of its rule for a week
  pinflow alerts deliver                           send the mails that wait

\b
Without the name of a command, list is meant: pinflow alerts --job read_events"""


class ListByDefault(click.Group):
    """A group whose `list` needs not be typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before options that are none of the group's own."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ListByDefault, epilog=EPILOG)
def alerts() -> None:
    """List alerts, look at one, say what you do about it, and send the mails that wait."""


@alerts.command("list")
@click.option("--job", help="Only of this job.")
@date_option("Only of this day.")
@click.option("--all", "every", is_flag=True, help="Accepted and resolved ones too.")
@json_option
def list_(job: str | None, date: date | None, every: bool, as_json: bool) -> None:
    """List the alerts that are open, acknowledged or muted, the newest first."""
    from pinflow.stats_engine import queries
    from pinflow.stats_engine.handling import end_mutes
    from pinflow.stats_engine.states import PENDING

    with statistics_database() as engine:
        end_mutes(engine, datetime.now(UTC))
        states: tuple[AlertState, ...] | None = None if every else PENDING
        found = queries.list_alerts(engine, job=job, date=date.isoformat() if date else None, states=states)
        unsent = queries.waiting_mails(engine)
    if as_json:
        print_json(found)
        return
    rows = ((a.id, a.degree, a.state, a.date, a.job, a.message, a.run_id) for a in found)
    columns = ("id", "degree", "state", "date", "job", "what", "run")
    print_table(columns, rows, empty="no alerts" if every else "no open alerts; old ones: pinflow alerts --all")
    refused = sum(mail.state == "refused" for mail in unsent)
    if unsent:
        told = f"{len(unsent) - refused} mails wait to be sent, {refused} were refused for good"
        click.echo(f"{told}; see why with: pinflow alerts deliver", err=True)


@alerts.command()
@click.argument("number", type=int, metavar="ID")
@json_option
def show(number: int, as_json: bool) -> None:
    """Show all that is known of an alert: value, forecast, the last weeks, its rule's record, who did what."""
    from pinflow.stats_engine import queries
    from pinflow.stats_engine.notice import Record, commands_about, history_of, note_of, records_of
    from pinflow.stats_engine.notice_text import commands_text, describe

    with statistics_database() as engine:
        row, changes = queries.alert_row(engine, number), queries.alert_changes(engine, number)
        with engine.connect() as connection:
            record = records_of(connection, row.workflow, row.job).get(row.rule, Record())
            alert = note_of(row, history_of(connection, row), record)
    commands = commands_about(row.workflow, row.run_id, row.job, row.date, row.id)
    if as_json:
        about = {"record": record, "history": alert.history, "changes": changes, "commands": dict(commands)}
        print_json(vars(row) | about)
        return
    click.echo(f"{row.job} of workflow {row.workflow}, {row.date}; {row.run_id}, attempt {row.attempt}; {row.owner}")
    click.echo(f"{row.state}{_until(row)}, raised {row.created_at:%Y-%m-%d %H:%M} UTC\n")
    click.echo("\n".join(describe(alert)))
    for change in changes:
        why = f": {change.why}" if change.why else ""
        click.echo(f"  {change.at:%Y-%m-%d %H:%M} {change.before} -> {change.state} by {change.person}{why}")
    click.echo(f"\nTo look and to go on:\n{commands_text(commands)}")


def _said(command: Callable[..., None]) -> Callable[..., None]:
    """What is said whenever the state of alerts changes: of which, why and by whom."""
    for option in (
        json_option,
        click.option("--by", metavar="NAME", help="Who you are; default: your user name."),
        click.option("--why", default="", help="The reason, kept with the alert."),
        click.argument("numbers", type=int, nargs=-1, required=True, metavar="ID..."),
    ):
        command = option(command)
    return command


@alerts.command()
@_said
def ack(**said: Any) -> None:
    """Say that you know of alerts and see to them."""
    _act("acknowledge", **said)


@alerts.command()
@_said
def accept(**said: Any) -> None:
    """Say that the values are right: forecasts learn from them, and running the day again is not stopped by them."""
    _act("accept", **said)


@alerts.command()
@_said
@click.option("--for", "length", type=DURATION, default=timedelta(days=1), help="How long; default: 1d.")
def mute(**said: Any) -> None:
    """Send no mail of the alerts' rules, for these jobs, for a while. A fatal rule still stops its job."""
    _act("mute", **said)


@alerts.command()
@_said
def unmute(**said: Any) -> None:
    """End the mute of the alerts' rules."""
    _act("unmute", **said)


@alerts.command()
@_said
def resolve(**said: Any) -> None:
    """Say that nothing is left to do. Running the day again without the alert does so by itself."""
    _act("resolve", **said)


@alerts.command()
@_said
def reopen(**said: Any) -> None:
    """Take back that alerts were acknowledged, accepted or resolved."""
    _act("reopen", **said)


@alerts.command()
@click.option("--now", "every", is_flag=True, help="Try also what waits for its next try, or was refused for good.")
@click.option("--drop-refused", "drop", is_flag=True, help="Then give up the mails that are refused for good.")
@json_option
def deliver(every: bool, drop: bool, as_json: bool) -> None:
    """Send the mails that wait, to the mail server or folder and the webhooks; exit code 1 if some could not be sent.

    Each run does so too. Let cron do it every few minutes, so that mails go out also when nothing runs. A mail that
    the server refuses for good (with an answer from 500 on) five times in a row is then tried only with --now.
    """
    from pinflow.stats_engine.channels import channels_of
    from pinflow.stats_engine.outbox import deliver as send
    from pinflow.stats_engine.outbox import drop_refused
    from pinflow.stats_engine.queries import waiting_mails

    settings = config.load()
    with statistics_database() as engine:
        done = send(engine, channels_of(settings), datetime.now(UTC), every=every)
        dropped = drop_refused(engine) if drop else 0
        left = waiting_mails(engine)
    if as_json:
        values = {"sent": done.sent, "failed": done.waiting, "error": done.error, "dropped": dropped, "waiting": left}
        print_json(values)
    else:
        refused = sum(mail.state == "refused" for mail in left)
        more = f", {refused} refused for good" if refused else ""
        given_up = f", {dropped} given up" if drop else ""
        click.echo(f"{done.sent} sent, {len(left) - refused} wait{more}{given_up}")
        _print_unsent(left)
    sys.exit(ExitCode.FAILED if done.waiting else ExitCode.SUCCEEDED)


def _print_unsent(mails: "Sequence[WaitingMail]") -> None:
    following = [mail.state if mail.state == "refused" else mail.next_at for mail in mails]
    rows = [
        (mail.created_at, mail.recipient, mail.subject, mail.channel, mail.attempts, when, mail.error)
        for mail, when in zip(mails, following, strict=True)
    ]
    if rows:
        print_table(("since", "to", "subject", "channel", "tries", "next try", "why"), rows, empty="")
    if any(mail.state == "refused" for mail in mails):
        click.echo("try the refused ones again: pinflow alerts deliver --now; give them up: --drop-refused")


def _act(
    verb: "Verb",
    numbers: Sequence[int],
    why: str,
    by: str | None,
    as_json: bool,
    length: timedelta = timedelta(0),
) -> None:
    from pinflow.stats_engine import queries
    from pinflow.stats_engine.handling import act

    now = datetime.now(UTC)
    with statistics_database() as engine:
        act(engine, numbers, verb, person=by or user_name(), why=why, now=now, until=now + length)
        found = [queries.alert_row(engine, number) for number in numbers]
    if as_json:
        print_json(found)
    for row in () if as_json else found:
        click.echo(f"alert {row.id} is {row.state}{_until(row)}: {row.job} {row.date}: {row.message}")


def _until(row: "AlertRow") -> str:
    return f" until {row.muted_until:%Y-%m-%d %H:%M} UTC" if row.state == "muted" and row.muted_until else ""

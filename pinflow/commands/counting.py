"""What looked wrong: alerts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import DURATION, date_option, json_option, print_json, print_table

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pinflow.stats_engine.alerts import AlertState


@contextmanager
def statistics_database() -> Iterator["sa.Engine"]:
    """The database of statistics and alerts, its schema checked; its errors are told as pinflow's."""
    from sqlalchemy.exc import SQLAlchemyError

    from pinflow.database import database_error, open_database
    from pinflow.scheduler.schema import prepare

    engine = open_database(config.load().database_url).execution_options(writes=True)
    try:
        prepare(engine)
        yield engine
    except SQLAlchemyError as error:
        raise database_error(engine, error) from error
    finally:
        engine.dispose()


@click.command()
@click.option("--job", help="Only of this job.")
@date_option("Only of this day.")
@click.option("--all", "every", is_flag=True, help="Resolved ones too.")
@click.option("--acknowledge", type=int, metavar="ID", help="Say that you know of an alert.")
@click.option("--mute", type=int, metavar="ID", help="Send no mail about an alert's rule for a while.")
@click.option("--for", "length", type=DURATION, default=timedelta(days=1), help="How long to mute; default: 1d.")
@json_option
def alerts(
    job: str | None,
    date: date | None,
    every: bool,
    acknowledge: int | None,
    mute: int | None,
    length: timedelta,
    as_json: bool,
) -> None:
    """List alerts, the newest first; or acknowledge or mute one."""
    from pinflow.stats_engine import queries

    now = datetime.now(UTC)
    with statistics_database() as engine:
        if acknowledge is not None:
            queries.acknowledge(engine, acknowledge, now)
        if mute is not None:
            queries.mute(engine, mute, now + length, now)
        states: tuple[AlertState, ...] | None = None if every else ("open", "acknowledged", "muted")
        found = queries.list_alerts(engine, job=job, date=date.isoformat() if date else None, states=states)
    if as_json:
        print_json(found)
        return
    rows = ((a.id, a.degree, a.state, a.date, a.job, a.message, a.run_id) for a in found)
    columns = ("id", "degree", "state", "date", "job", "what", "run")
    print_table(columns, rows, empty="no alerts" if every else "no open alerts; old ones: pinflow alerts --all")

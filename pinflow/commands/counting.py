"""What was counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import date_option, json_option, print_json, print_table

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pinflow.stats_engine.statistics import Statistics

QUANTILES = (0.5, 0.9, 0.99)


@contextmanager
def statistics_database() -> Iterator["sa.Engine"]:
    """The configured database, with its tables; `PinflowError` for what goes wrong with it."""
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
@click.argument("job")
@date_option("Day that the job worked on; default: the last.")
@json_option
def stats(job: str, date: date | None, as_json: bool) -> None:
    """Print the statistics of a JOB: counts, sums, histograms, top and bottom items."""
    from pinflow.stats_engine.queries import job_statistics

    with statistics_database() as engine:
        info, statistics = job_statistics(engine, job, date.isoformat() if date else None)
    if as_json:
        print_json(asdict(info) | _as_json(statistics))
        return
    state = "published" if info.published else "not published"
    click.echo(f"{info.workflow} {info.date}: {info.job}, attempt {info.attempt} of {info.run_id}, {state}")
    numbers: list[tuple[str, float]] = [(name, value) for name, value in sorted(statistics.counts.items())]
    numbers += [(name, float(value)) for name, value in sorted(statistics.sums.items())]
    print_table(("name", "value"), numbers, empty="it counted nothing")
    for name, histogram in sorted(statistics.histograms.items()):
        shown = "  ".join(f"p{share * 100:g} {histogram.quantile(share):,.4g}" for share in QUANTILES)
        click.echo(f"\n{name}: {histogram.count:,} values  {shown}")
    for name, items in sorted(statistics.items.items()):
        click.echo(f"\n{name}, highest:")
        print_table(("item", "value"), items.top[:10], empty="none")


def _as_json(statistics: "Statistics") -> dict[str, object]:
    return {
        "counts": dict(sorted(statistics.counts.items())),
        "sums": {name: float(value) for name, value in sorted(statistics.sums.items())},
        "histograms": {
            name: [{"low": low, "high": high, "count": count} for low, high, count in histogram.rows()]
            for name, histogram in sorted(statistics.histograms.items())
        },
        "items": {
            name: {"top": [list(item) for item in items.top], "bottom": [list(item) for item in items.bottom]}
            for name, items in sorted(statistics.items.items())
        },
    }

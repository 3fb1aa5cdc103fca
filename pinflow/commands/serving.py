"""What the main job found out: metrics, top lists and audiences, read from the serving store."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import date_option, json_option, print_json, print_table
from pinflow.errors import ConfigurationError, InputMissingError, UnknownNameError

if TYPE_CHECKING:
    from pinflow.hbase_schema.store import Store

LENGTHS = {"daily": 1, "weekly": 7, "biweekly": 14, "monthly": 31}
SHOWN_PERIODS = 30
SHOWN_COLUMNS = 7
NEAR = 1000
PATIENCE_SECONDS = 20
METRIC_ORDER = ("impression", "clickthrough", "repin", "like", "create", "users", "pins", "boards")

platform_option = click.option("--platform", default="all", show_default=True, help="An app, or all of them together.")
aggregation_option = click.option(
    "--aggregation", type=click.Choice(list(LENGTHS)), default="daily", show_default=True, help="Length of a period."
)


@contextmanager
def _store() -> Iterator["Store"]:
    from pinflow.hbase_schema.store import open_store

    with open_store(config.load().serving_url, patience=PATIENCE_SECONDS) as store:
        yield store


def _check_known(store: "Store", subject: str) -> None:
    """Raise `UnknownNameError`, naming near ones, for a subject that has nothing published at all."""
    from pinflow.hbase_schema.reader import is_known, subjects

    if not is_known(store, subject):
        raise UnknownNameError("subject", subject, subjects(store, subject[:3], NEAR), "pinflow subjects")


def _check_order(store: "Store", subject: str, by: str) -> None:
    """Raise `ConfigurationError` unless `by` is an event type, a ranking, or what a list of the subject is by."""
    from pinflow.hbase_schema.reader import orders
    from pinflow.mr_jobs.analytics.columns import EVENT_TYPES
    from pinflow.mr_jobs.udfs import rankings

    known = dict.fromkeys((*EVENT_TYPES, *(r.name for r in rankings()), *sorted(orders(store, subject))))
    if by not in known:
        raise ConfigurationError(f"no top list is ordered by {by!r}; valid for --by: {', '.join(known)}")


def _day(store: "Store", day: date | None) -> date:
    from pinflow.hbase_schema.markers import last_published_day

    found = day or last_published_day(store)
    if found is None:
        raise InputMissingError("nothing is published yet; publish a day with: pinflow run analytics --date YYYY-MM-DD")
    return found


def _days_before(day: date, number: int) -> date:
    """The day `number` days before, or the first there is."""
    return day - timedelta(days=min(number, (day - date.min).days))


@click.command()
@click.argument("subject")
@platform_option
@aggregation_option
@date_option("First day; default: 30 periods before the last.", name="--from")
@date_option("Last day; default: the last that is published.", name="--to")
@json_option
def metrics(subject: str, platform: str, aggregation: str, as_json: bool, **days: date | None) -> None:
    """Print the metrics of a SUBJECT by date: d:DOMAIN or p:OWNER."""
    from pinflow.hbase_schema import reader

    with _store() as store:
        last = _day(store, days["to"])
        first = days["from"] or _days_before(last, SHOWN_PERIODS * LENGTHS[aggregation])
        series = reader.metrics(store, subject, platform, aggregation, first, last)
        if not series.rows:
            _check_known(store, subject)
    if as_json:
        print_json([row.as_json() for row in series.rows])
        return
    if series.missing and days["from"]:
        click.echo(f"not published: {', '.join(str(day) for day in series.missing)}", err=True)
    shown = series.rows[-SHOWN_COLUMNS:]
    names = sorted({name for row in shown for name in row.metrics}, key=_metric_order)
    table = ([name, *(row.metrics.get(name, 0) for row in shown)] for name in names)
    columns = (f"{aggregation} on {platform}", *(str(row.date) for row in shown))
    print_table(columns, table, empty=f"{subject} has no {aggregation} metrics on {platform} in these days")
    if len(shown) < len(series.rows):
        click.echo(f"{len(series.rows) - len(shown)} earlier periods are in: --json, or choose with --from and --to")


@click.command()
@click.argument("subject")
@click.option("--items", type=click.Choice(("pins", "boards")), default="pins", show_default=True)
@click.option("--by", default="impression", show_default=True, help="An event type or the name of a ranking.")
@platform_option
@aggregation_option
@date_option("A day of the period; default: the last that is published.")
@json_option
def top(subject: str, items: str, by: str, platform: str, aggregation: str, date: date | None, as_json: bool) -> None:
    """Print the top pins or boards of a SUBJECT."""
    from pinflow.hbase_schema import reader

    with _store() as store:
        day = _day(store, date)
        rows = reader.top(store, subject, items, by, platform=platform, aggregation=aggregation, day=day)
        if not rows:
            _check_known(store, subject)
            _check_order(store, subject, by)
    _check_published(rows, aggregation, day)
    if as_json:
        print_json([row._asdict() for row in rows or ()])
        return
    table = ((row.rank, row.id, row.value) for row in rows or ())
    print_table(("rank", items[:-1], by), table, empty=f"{subject} has no top {items} by {by} on {day}")


@click.command()
@click.argument("subject")
@platform_option
@aggregation_option
@date_option("A day of the period; default: the last that is published.")
@json_option
def audience(subject: str, platform: str, aggregation: str, date: date | None, as_json: bool) -> None:
    """Print who interacted with a SUBJECT, by country, metro and gender."""
    from pinflow.hbase_schema import reader

    with _store() as store:
        day = _day(store, date)
        found = reader.audience(store, subject, platform, aggregation, day=day)
        if not found or not any(found.values()):
            _check_known(store, subject)
    _check_published(found, aggregation, day)
    if as_json:
        print_json(found)
        return
    rows = (
        (kind, value, users)
        for kind, values in (found or {}).items()
        for value, users in sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    print_table(("attribute", "value", "users"), rows, empty=f"{subject} had no audience on {day}")


@click.command()
@click.option("--prefix", default="", help="Only subjects that start so: d:, p: or more of the name.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@json_option
def subjects(prefix: str, limit: int, as_json: bool) -> None:
    """List the domains (d:…) and profiles (p:…) that have metrics."""
    from pinflow.hbase_schema import reader

    with _store() as store:
        _day(store, None)
        found = reader.subjects(store, prefix, limit)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(found) or f"no subject starts with {prefix!r}")


def _check_published(found: object, aggregation: str, day: date) -> None:
    if found is None:
        raise InputMissingError(
            f"the {aggregation} period of {day} is not published; publish it with: pinflow run analytics --date {day}"
        )


def _metric_order(name: str) -> tuple[int, str]:
    return (METRIC_ORDER.index(name) if name in METRIC_ORDER else len(METRIC_ORDER), name)

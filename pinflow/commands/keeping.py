"""What is kept, and for how long: datasets and their removal."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from pinflow import config
from pinflow.commands.output import date_option, json_option, print_json, print_table
from pinflow.errors import DamagedFileError, InputMissingError, UnknownNameError

if TYPE_CHECKING:
    from pinflow.mr_jobs.datasets import Published


@click.command()
@click.argument("dataset", required=False)
@date_option("Only this day; with DATASET and --path: the folder to read.")
@click.option("--path", "only_path", is_flag=True, help="Print only the folder that holds the published files.")
@json_option
def datasets(dataset: str | None, date: date | None, only_path: bool, as_json: bool) -> None:
    """List datasets, or the published days of one DATASET."""
    from pinflow.mr_jobs.datasets import Warehouse

    warehouse = Warehouse(config.load().warehouse_url)
    names = warehouse.datasets()
    if dataset is not None and dataset not in names:
        raise UnknownNameError("dataset", dataset, names, "pinflow datasets")
    damaged: list[DamagedFileError] = []
    wanted = [dataset] if dataset else names
    found = [p for name in wanted for p in warehouse.published_days(name, damaged.append, date)]
    if dataset and date and not found and not damaged:
        raise InputMissingError(f"nothing is published of {dataset} on {date}; see: pinflow datasets {dataset}")
    if only_path:
        for published in found:
            click.echo(warehouse.path(published))
    elif as_json:
        print_json([_described(warehouse.path(p), p) for p in found])
    else:
        rows = ((p.dataset, p.date, p.rows, p.bytes, len(p.parts), p.run_id) for p in found)
        columns = ("dataset", "date", "rows", "bytes", "files", "run")
        print_table(columns, rows, empty="no datasets yet; make some with: pinflow run analytics --date YYYY-MM-DD")
    _report(damaged)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
def clean(dry_run: bool, as_json: bool) -> None:
    """Remove what is older than `keep` or `keep_statistics`, and attempts that were replaced or never published.

    Of what is older than `keep_statistics` that is statistics, mails that were sent, and runs with their logs.
    """
    from pinflow.workflows.retention import clean as clean_up

    damaged: list[DamagedFileError] = []
    done = clean_up(config.load(), datetime.now(UTC), on_damaged=damaged.append, dry_run=dry_run)
    if as_json:
        print_json(done)
    else:
        word = "would go" if dry_run else "removed"
        rows = ((item.kind, item.name, item.reason) for item in done)
        print_table(("kind", word, "why"), rows, empty="nothing to remove")
    _report(damaged)


def _report(damaged: Sequence[DamagedFileError]) -> None:
    """Fail for files that had to be left out, after all else was done."""
    if damaged:
        raise DamagedFileError("\n".join(str(error) for error in damaged))


def _described(path: str, published: "Published") -> dict[str, object]:
    values = asdict(published)
    return values | {"path": path, "parts": [part["name"] for part in values["parts"]]}

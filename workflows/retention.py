"""What is removed with time (AN-26): old days, old serving rows, attempts that nobody reads."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pinflow.config import Settings
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.writer import expire
from pinflow.mr_jobs.datasets import Warehouse

GRACE = timedelta(hours=1)
STAGING = "staging"
"""Folder of the home where attempts write before they go to a remote warehouse."""


@dataclass(frozen=True)
class Removal:
    """One thing that goes: kind `day`, `attempt` or `rows`."""

    kind: str
    name: str
    reason: str


def clean(settings: Settings, now: datetime, *, dry_run: bool = False) -> list[Removal]:
    """Remove what is due; gives what went, or with `dry_run` what would go.

    A day that was published is removed once it is older than `keep`; an attempt that is not the published one, an hour
    after its last change, since a reader or a run may still need it until then.
    """
    warehouse = Warehouse(settings.warehouse_url)
    last_gone = (now - settings.keep_for).date()
    due = [*_old_days(warehouse, last_gone), *_attempts(warehouse, last_gone, now)]
    left = list(_staged(settings.home_path / STAGING, now))
    if not dry_run:
        for path, _ in due:
            warehouse.delete(path)
        for path, _ in left:
            shutil.rmtree(path, ignore_errors=True)
    with open_store(settings.serving_url) as store:
        expired = expire(store, last_gone, dry_run=dry_run)
    rows = (
        Removal(
            "rows", f"{period.rows} rows of {period.section} {period.aggregation} {period.start}", f"before {last_gone}"
        )
        for period in expired
    )
    return [*(removal for _, removal in [*due, *left]), *rows]


def _staged(folder: Path, now: datetime) -> Iterator[tuple[str, Removal]]:
    """What attempts left on this machine that died before all of it was in a remote warehouse."""
    for attempt in sorted(folder.glob("*")):
        if now - datetime.fromtimestamp(attempt.stat().st_mtime, UTC) > GRACE:
            yield str(attempt), Removal("attempt", f"{STAGING}/{attempt.name}", "never published")


def _old_days(warehouse: Warehouse, last_gone: date) -> Iterator[tuple[str, Removal]]:
    for dataset in warehouse.datasets():
        for day in warehouse.days(dataset):
            if day < last_gone:
                yield warehouse.folder(dataset, day), Removal("day", f"{dataset}/date={day}", f"before {last_gone}")


def _attempts(warehouse: Warehouse, last_gone: date, now: datetime) -> Iterator[tuple[str, Removal]]:
    for dataset in warehouse.datasets():
        for day in (day for day in warehouse.days(dataset) if day >= last_gone):
            published = warehouse.current(dataset, day)
            for name, changed in warehouse.attempts(dataset, day):
                if (published is None or name != published.attempt) and now - changed > GRACE:
                    reason = "replaced" if published else "never published"
                    path = f"{warehouse.folder(dataset, day)}/{name}"
                    yield path, Removal("attempt", f"{dataset}/date={day}/{name}", reason)

"""What is removed with time (AN-26): old days, old serving rows, attempts that nobody reads, old runs and logs."""

import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from pinflow.config import Settings
from pinflow.database import fetch, open_database
from pinflow.errors import DamagedFileError
from pinflow.hbase_schema.store import open_store
from pinflow.hbase_schema.writer import expire
from pinflow.mr_jobs.datasets import Published, Warehouse, last_change
from pinflow.mr_jobs.hadoop.cluster import ENVIRONMENT, FOLDER, JOBS
from pinflow.scheduler.expiry import forget_runs
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.scheduler.tables import attempt
from pinflow.stats_engine.expiry import forget, forget_mails
from pinflow.storage import join, open_storage

GRACE = timedelta(hours=1)


Due = Iterator[tuple[Callable[[], None], "Removal"]]
"""What is to be removed, and how."""


@dataclass(frozen=True)
class Removal:
    """One thing that goes: kind `day`, `attempt`, `archive`, `rows`, `statistics`, `mails` or `run`."""

    kind: str
    name: str
    reason: str


def clean(
    settings: Settings, now: datetime, *, on_damaged: Callable[[DamagedFileError], None], dry_run: bool = False
) -> list[Removal]:
    """Remove what is due; gives what went, or with `dry_run` what would go.

    A day that was published is removed once it is older than `keep`; an attempt that is not the published one, an hour
    after its last change and after it was replaced, since a reader may still need it until then. What a running job
    writes stays. So do the attempts of a day whose `current.json` cannot be read; `on_damaged` is told of it.
    """
    warehouse = Warehouse(settings.warehouse_url)
    last_gone = (now - settings.keep_for).date()
    running = _running(settings, now)
    due = [
        *_old_days(warehouse, last_gone, running),
        *_attempts(warehouse, last_gone, now, running, on_damaged),
        *_staged(settings.staging_path, now, running),
        *_on_cluster(warehouse, last_gone, now, running),
    ]
    if not dry_run:
        for remove, _ in due:
            remove()
    with open_store(settings.serving_url) as store:
        expired = expire(store, last_gone, dry_run=dry_run)
    rows = (
        Removal(
            "rows", f"{period.rows} rows of {period.section} {period.aggregation} {period.start}", f"before {last_gone}"
        )
        for period in expired
    )
    return [*(removal for _, removal in due), *rows, *_recorded(settings, now, dry_run=dry_run)]


def _recorded(settings: Settings, now: datetime, *, dry_run: bool) -> Iterator[Removal]:
    before = now - settings.keep_statistics_for
    with Store(open_database(settings.database_url)) as store:
        for job, attempts in forget(store.engine, before, dry_run=dry_run).items():
            yield Removal("statistics", f"{attempts} attempts of {job}", f"days and runs before {before.date()}")
        if mails := forget_mails(store.engine, before, dry_run=dry_run):
            yield Removal("mails", f"{mails} that were sent or refused", f"before {before.date()}")
        for run_id in forget_runs(store.engine, before, dry_run=dry_run):
            if not dry_run:
                shutil.rmtree(settings.logs_path / run_id, ignore_errors=True)
            yield Removal("run", run_id, f"day and end before {before.date()}")


def _running(settings: Settings, now: datetime) -> Collection[str]:
    """The fences of attempts that run; one whose driver was not heard of for the grace is dead."""
    alive = (attempt.c.state == AttemptState.RUNNING.value) & (attempt.c.lease_until > now - GRACE)
    with Store(open_database(settings.database_url)) as store:
        return {str(row.fence) for row in fetch(store.engine, sa.select(attempt.c.fence).where(alive))}


def _is_running(name: str, running: Collection[str]) -> bool:
    return name.rpartition("-")[2] in running


def _staged(folder: Path, now: datetime, running: Collection[str]) -> Due:
    """What attempts left on this machine that died before all of it was in a remote warehouse."""
    storage = open_storage(str(folder))
    for entry in storage.list(str(folder)):
        if now - last_change(storage, entry) > GRACE and not _is_running(entry.name, running):
            remove = partial(shutil.rmtree, entry.path, ignore_errors=True)
            yield remove, Removal("attempt", f"{folder.name}/{entry.name}", "never published")


def _on_cluster(warehouse: Warehouse, last_gone: date, now: datetime, running: Collection[str]) -> Due:
    """What jobs on a cluster left there whose driver was killed, and archives of code that are old."""
    storage = open_storage(warehouse.url)
    for entry in storage.list(join(warehouse.url, FOLDER, JOBS)):
        if now - last_change(storage, entry) > GRACE and not _is_running(entry.name, running):
            yield (
                partial(warehouse.delete, entry.path),
                Removal("attempt", f"{FOLDER}/{JOBS}/{entry.name}", "left behind"),
            )
    for entry in storage.list(join(warehouse.url, FOLDER, ENVIRONMENT)):
        if entry.modified.date() < last_gone and not running:  # a job that runs may take it still
            name = f"{FOLDER}/{ENVIRONMENT}/{entry.name}"
            yield partial(warehouse.delete, entry.path), Removal("archive", name, f"before {last_gone}")


def _old_days(warehouse: Warehouse, last_gone: date, running: Collection[str]) -> Due:
    for dataset in warehouse.datasets():
        for day in (day for day in warehouse.days(dataset) if day < last_gone):
            if running and any(_is_running(name, running) for name, _ in warehouse.attempts(dataset, day)):
                continue
            remove = partial(warehouse.delete_day, dataset, day)
            yield remove, Removal("day", f"{dataset}/date={day}", f"before {last_gone}")


def _attempts(
    warehouse: Warehouse,
    last_gone: date,
    now: datetime,
    running: Collection[str],
    on_damaged: Callable[[DamagedFileError], None],
) -> Due:
    for dataset in warehouse.datasets():
        for day in (day for day in warehouse.days(dataset) if day >= last_gone):
            try:
                published = warehouse.current(dataset, day)
            except DamagedFileError as error:
                on_damaged(error)
                continue
            for name, changed in warehouse.attempts(dataset, day):
                if (published and name == published.attempt) or _is_running(name, running):
                    continue
                if now - max(changed, _replaced(published) or changed) > GRACE:
                    reason = "replaced" if published else "never published"
                    remove = partial(warehouse.delete, f"{warehouse.folder(dataset, day)}/{name}")
                    yield remove, Removal("attempt", f"{dataset}/date={day}/{name}", reason)


def _replaced(published: Published | None) -> datetime | None:
    """When what was published before was replaced."""
    return datetime.fromisoformat(published.published_at) if published and published.published_at else None

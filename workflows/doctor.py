"""Tries what is configured for real: writes, reads and deletes a probe in each place."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pinflow.config import Settings
from pinflow.database import open_database
from pinflow.errors import PinflowError
from pinflow.hbase_schema.store import open_store
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.scheduler.schema import check as check_schema
from pinflow.scheduler.schema import state_of
from pinflow.stats_engine.mail import check as check_mail
from pinflow.storage import open_storage
from pinflow.workflows.catalog import catalog
from pinflow.workflows.run import prepare_home

PROBE = "_probe"


@dataclass(frozen=True)
class Finding:
    """What was tried, whether it worked, and what was seen or what to do."""

    what: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Try each place in turn; a failure does not stop the others."""
    trials: dict[str, Callable[[Settings], str]] = {
        "python": lambda _: f"{sys.version.split()[0]} at {sys.executable}",
        "home": _home,
        "input": _input,
        "warehouse": _warehouse,
        "database": _database,
        "serving": _serving,
        "mail": _mail,
        "workflows": lambda given: ", ".join(catalog(given)),
    }
    return [_tried(what, trial, settings) for what, trial in trials.items()]


def _tried(what: str, trial: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(what, True, trial(settings))
    except (PinflowError, OSError, sa.exc.SQLAlchemyError) as error:
        return Finding(what, False, str(error))


def _home(settings: Settings) -> str:
    prepare_home(settings)
    return str(settings.home_path)


def _input(settings: Settings) -> str:
    source = Source.from_settings(settings)
    return f"{source.folder}, read as {source.format}"


def _warehouse(settings: Settings) -> str:
    url = settings.warehouse_url
    storage, path = open_storage(url), f"{url}/{PROBE}"
    storage.write_bytes(path, b"probe")
    try:
        if storage.read_bytes(path) != b"probe":
            raise PinflowError(f"{url} does not give back what was written; check the disk")
    finally:
        storage.delete(path)
    return url


def _database(settings: Settings) -> str:
    engine = open_database(settings.database_url).execution_options(writes=True)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE TABLE {PROBE} (n INTEGER)"))
            connection.execute(sa.text(f"DROP TABLE {PROBE}"))
        state = state_of(engine)
        check_schema(engine, state)
        return f"{engine.url.render_as_string()}, its schema is {state.name}"
    finally:
        engine.dispose()


def _serving(settings: Settings) -> str:
    with open_store(settings.serving_url) as store:
        store.create_tables()
        table = store.table("analytics_metrics")
        row = PROBE.encode()
        table.put(row, {b"m:probe": b"1"})
        seen = table.row(row)
        table.delete(row)
    if seen != {b"m:probe": b"1"}:
        raise PinflowError(f"{settings.serving_url} does not give back what was written; check the store")
    return settings.serving_url


def _mail(settings: Settings) -> str:
    check_mail(settings.mail_url)
    place = settings.mail_url
    return f"to {place.rpartition('@')[2]}" if "://" in place else f"into the Maildir {Path(place)}"

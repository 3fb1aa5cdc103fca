"""Tries what is configured for real: writes, reads and deletes a probe in each place."""

import io
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import sqlalchemy as sa

from pinflow.config import Settings, hide_secrets
from pinflow.database import database_error, open_database
from pinflow.errors import ConfigurationError, PinflowError
from pinflow.hbase_schema.store import Store, open_store
from pinflow.hbase_schema.tables import TABLES
from pinflow.mr_jobs.inputs.discover import Source
from pinflow.scheduler.schema import check as check_schema
from pinflow.scheduler.schema import state_of
from pinflow.stats_engine.mail import try_out
from pinflow.stats_engine.webhooks import Webhook
from pinflow.storage import is_remote, join, open_storage
from pinflow.workflows.catalog import catalog
from pinflow.workflows.on_cluster import PLACES, cluster_of
from pinflow.workflows.run import check_room, prepare_home

PROBE = "_probe"
PATIENCE_SECONDS = 5


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
        "webhooks": _webhooks,
        "runner": _runner,
        "workflows": _name_workflows,
    }
    return [_tried(what, trial, settings) for what, trial in trials.items()]


def _tried(what: str, trial: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(what, True, trial(settings))
    except (PinflowError, OSError) as error:
        return Finding(what, False, str(error))


def _name_workflows(settings: Settings) -> str:
    found = catalog(settings)
    if found.broken:
        raise ConfigurationError("; ".join(map(str, found.broken)) + "; see: pinflow workflows check")
    return ", ".join(found.workflows)


def _home(settings: Settings) -> str:
    prepare_home(settings)
    with NamedTemporaryFile(dir=settings.home_path, prefix=PROBE) as probe:
        probe.write(b"probe")
    return str(settings.home_path)


def _input(settings: Settings) -> str:
    if is_remote(settings.input):
        open_storage(settings.input, patience=PATIENCE_SECONDS).exists(settings.input)
    source = Source.from_settings(settings)
    return f"{source.folder}, read as {source.format}"


def _warehouse(settings: Settings) -> str:
    url = settings.warehouse_url
    check_room(url, "--warehouse")
    storage, path = open_storage(url, patience=PATIENCE_SECONDS), join(url, PROBE)
    try:
        # as current.json is published: a new file, then one that is replaced after a look at it
        storage.write_if(path, lambda _: b"old")
        storage.write_if(path, lambda old: b"probe" if old == b"old" else b"lost")
        if storage.read_bytes(path) != b"probe" or PROBE not in {entry.name for entry in storage.list(url)}:
            raise PinflowError(f"{url} does not give back what was written; check the disk or the service")
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
    except sa.exc.SQLAlchemyError as error:
        raise database_error(engine, error) from error
    finally:
        engine.dispose()


def _serving(settings: Settings) -> str:
    check_room(settings.serving_url, "--serving")
    with open_store(settings.serving_url, patience=PATIENCE_SECONDS) as store:
        store.create_tables()
        table = store.table("analytics_metrics")
        row = PROBE.encode()
        table.put(row, {b"m:probe": b"1"})
        seen = table.row(row)
        table.delete(row)
        single = _single_regions(store)
    if seen != {b"m:probe": b"1"}:
        raise PinflowError(f"{settings.serving_url} does not give back what was written; check the store")
    return settings.serving_url + single


def _single_regions(store: Store) -> str:
    """What to do about tables of an HBase that were made in one region."""
    from pinflow.hbase_schema.hbase import HBaseStore  # happybase takes 0.1 s to import

    if not isinstance(store, HBaseStore):
        return ""
    names = [name for name in TABLES if len(store.regions(name)) == 1]
    return f"; in one region: {', '.join(names)}; split as docs/how-to/hbase.md says" if names else ""


def _runner(settings: Settings) -> str:
    if settings.runner not in PLACES:
        return f"{settings.runner}, {settings.slot_count} tasks at once"
    from pinflow.mr_jobs.hadoop import probe  # mrjob's runners of clusters are heavy

    cluster = cluster_of(settings, f"doctor-{secrets.token_hex(4)}")
    is_emr = settings.runner == "emr"
    told = probe.ask_emr(cluster) if is_emr else probe.try_out(cluster, os.environ, io.StringIO())
    beside = "" if is_remote(settings.serving_url) else "; persist jobs run here, since the serving store is a file"
    return f"{settings.runner}: {told}{beside}"


def _mail(settings: Settings) -> str:
    try_out(settings.mail_url)
    place = settings.mail_url
    return f"to {hide_secrets(place)}" if "://" in place else f"into the Maildir {Path(place)}"


def _webhooks(settings: Settings) -> str:
    for url in settings.webhooks:
        Webhook(url).try_out()
    return ", ".join(map(hide_secrets, settings.webhooks)) or "none"

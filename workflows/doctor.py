"""Tries what is configured for real: writes, reads and deletes a probe in each place."""

import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import monotonic

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
"""What the names of probes start with; each has one of its own, so that two doctors do not meet."""
PATIENCE_SECONDS = 5
_LEAST_TURN_SECONDS = 0.1


@dataclass(frozen=True)
class Finding:
    """What was tried, whether it worked, and what was seen or what to do."""

    what: str
    ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Try each place in turn, and tell of each as soon as it was tried; a failure does not stop the others."""
    failed: set[str] = set()
    trials: dict[str, Callable[[Settings], str]] = {
        "python": lambda _: f"{sys.version.split()[0]} at {sys.executable}",
        "home": _home,
        "input": _input,
        "warehouse": _warehouse,
        "database": _database,
        "serving": _serving,
        "mail": _mail,
        "webhooks": _webhooks,
        "runner": lambda settings: _runner(settings, has_warehouse="warehouse" not in failed),
        "workflows": _name_workflows,
    }
    for what, trial in trials.items():
        finding = _tried(what, trial, settings)
        if not finding.ok:
            failed.add(what)
        yield finding


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
    storage, name = open_storage(url, patience=PATIENCE_SECONDS), _new_name()
    folder, started = join(url, name), monotonic()
    with _removed(lambda: storage.delete(folder, recursive=True)):
        storage.write_bytes(join(folder, "file"), b"probe")
        seen = storage.read_bytes(join(folder, "file"))
        seconds = min(PATIENCE_SECONDS, max(_LEAST_TURN_SECONDS, 5 * (monotonic() - started)))
        if seen != b"probe" or name not in {entry.name for entry in storage.list(url)}:
            raise PinflowError(f"{url} does not give back what was written; check the disk or the service")
        # as current.json is published: a file that is new, and one that is replaced
        for _ in range(2):
            _write_at_once(folder, seconds)
        if sorted(storage.read_bytes(join(folder, "current"))) != sorted(b"1212"):
            raise PinflowError(
                f"{url} loses one of two writes at once, so that an older run may replace what a newer one has "
                "published; use a service that heeds If-None-Match and If-Match of PutObject, or for a mounted folder "
                "one with locks (flock), then type: pinflow doctor"
            )
    return url


def _write_at_once(folder: str, seconds: float) -> None:
    """Have a second writer add to a file while a first one, which has read it, has not written yet.

    Where writers take turns the second waits for the first, which waits only so many `seconds` for the second.
    """
    first, second = (open_storage(folder, patience=PATIENCE_SECONDS) for _ in range(2))
    path = join(folder, "current")
    others: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:

        def add_late(old: bytes | None) -> bytes:
            if not others:
                others.append(pool.submit(second.write_if, path, lambda old: (old or b"") + b"2"))
                wait(others, timeout=seconds)
            return (old or b"") + b"1"

        first.write_if(path, add_late)
    others[0].result()


def _database(settings: Settings) -> str:
    engine = open_database(settings.database_url).execution_options(writes=True)
    probe = sa.Table(_new_name(), sa.MetaData(), sa.Column("n", sa.Integer))
    drop = sa.schema.DropTable(probe, if_exists=True)
    try:
        with engine.begin() as connection, _removed(lambda: connection.execute(drop)):
            probe.create(connection, checkfirst=False)
            connection.execute(probe.insert().values(n=1))
            seen = connection.execute(sa.select(probe.c.n)).all()
            deleted = connection.execute(probe.delete()).rowcount
        state = state_of(engine)
        check_schema(engine, state)
    except sa.exc.SQLAlchemyError as error:
        raise database_error(engine, error) from error
    finally:
        engine.dispose()
    shown = engine.url.render_as_string()
    if (seen, deleted) != ([(1,)], 1):
        raise PinflowError(f"{shown} does not give back what was written; check the server or the disk")
    return f"{shown}, its schema is {state.name}"


def _serving(settings: Settings) -> str:
    check_room(settings.serving_url, "--serving")
    with open_store(settings.serving_url, patience=PATIENCE_SECONDS) as store:
        store.create_tables()
        table, row = store.table("analytics_metrics"), _new_name().encode()
        with _removed(lambda: table.delete(row)):
            table.put(row, {b"m:probe": b"1"})
            seen = table.row(row)
        single = _single_regions(store)
    if seen != {b"m:probe": b"1"}:
        raise PinflowError(f"{settings.serving_url} does not give back what was written; check the store")
    return settings.serving_url + single


def _new_name() -> str:
    return f"{PROBE}_{secrets.token_hex(8)}"


@contextmanager
def _removed(remove: Callable[[], object]) -> Iterator[None]:
    """Remove a probe at the end, whatever happens; what failed before is what is told of."""
    try:
        yield
    except BaseException:
        with suppress(PinflowError, sa.exc.SQLAlchemyError):
            remove()
        raise
    remove()


def _single_regions(store: Store) -> str:
    """What to do about tables of an HBase that were made in one region."""
    from pinflow.hbase_schema.hbase import HBaseStore  # happybase takes 0.1 s to import

    if not isinstance(store, HBaseStore):
        return ""
    names = [name for name in TABLES if len(store.regions(name)) == 1]
    return f"; in one region: {', '.join(names)}; split as docs/how-to/hbase.md says" if names else ""


def _runner(settings: Settings, *, has_warehouse: bool) -> str:
    if settings.runner not in PLACES:
        return f"{settings.runner}, {settings.slot_count} tasks at once"
    from pinflow.mr_jobs.hadoop import probe  # mrjob's runners of clusters are heavy

    cluster = cluster_of(settings, f"doctor-{secrets.token_hex(4)}")
    is_emr = settings.runner == "emr"
    if not (is_emr or has_warehouse):
        raise PinflowError(
            f"{settings.runner} was not tried: its job works in the warehouse, which failed; mend that first"
        )
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

"""Beside the work of a process: owners hear of what is late or failed, backfills go on, waiting mails are sent."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pinflow.config import Settings
from pinflow.database import open_database
from pinflow.errors import PinflowError
from pinflow.scheduler.lateness import warn
from pinflow.scheduler.store import Store

SECONDS = 10.0
"""How often it is looked."""
_LEAVE_SECONDS = 5.0
_log = logging.getLogger(__name__)


@contextmanager
def watching(settings: Settings, *, seconds: float = SECONDS) -> Iterator[None]:
    """While entered, look now and then, in a thread of its own: a mail server that hangs holds up no job."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(settings, stop, seconds), name="watching", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_LEAVE_SECONDS)


def _watch(settings: Settings, stop: threading.Event, seconds: float) -> None:
    while not stop.wait(seconds):
        with told("the database cannot be looked at"):
            look(settings)


def look(settings: Settings) -> None:
    """Warn of what is late now and of what failed, let detached backfills go on, and send the mails that wait.

    What cannot be done is logged, and the rest is done.
    """
    from pinflow.workflows.backfilling import push_anew
    from pinflow.workflows.failures import tell_failed
    from pinflow.workflows.run import post

    engine = open_database(settings.database_url)
    try:
        with Store(engine) as store:
            with told("late runs cannot be looked at"):
                warn(store)
            with told("failed jobs cannot be looked at"):
                tell_failed(settings, store, store.clock())
            with told("detached backfills cannot go on"):
                push_anew(settings)
            with told("mails cannot be sent"):
                post(settings, store)
    finally:
        engine.dispose()


@contextmanager
def told(what: str) -> Iterator[None]:
    """Log what fails within: a watcher that ends at the first fault would warn nobody any more."""
    try:
        yield
    except PinflowError as error:
        _log.error("%s: %s", what, error)
    except Exception as error:
        _log.exception("%s: %s", what, error)

"""The process that starts the runs of schedules; any number of them may run at once."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from pinflow.config import Settings
from pinflow.database import open_database
from pinflow.errors import PinflowError, UnknownNameError
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.store import Store
from pinflow.scheduler.ticks import declare, fire_due, pause
from pinflow.workflows.reloading import Timetables
from pinflow.workflows.watching import told, watching

LONGEST_PAUSE = timedelta(seconds=30)
"""How long a scheduler sleeps at most: a schedule that was resumed or changed by another is seen then."""
_LEAVE_SECONDS = 5.0
_log = logging.getLogger(__name__)


def set_paused(store: Store, declared: Mapping[str, Schedule], workflow: str, *, paused: bool) -> bool:
    """Pause or resume a workflow's schedule from now, also one that no scheduler has seen yet; False if it was so."""
    if workflow not in declared:
        raise UnknownNameError("workflow with a schedule", workflow, declared, "pinflow schedules")
    declare(store, {workflow: declared[workflow]}, store.clock())
    return pause(store, workflow, paused=paused)


def keep_firing(
    settings: Settings, store: Store, stop: threading.Event, on_look: Callable[[datetime | None], None] = lambda _: None
) -> None:
    """Start the runs that are due until `stop` is set; `on_look` gets the next time at which one is, after each look.

    Whatever fails is logged and tried again: a scheduler that has stopped by itself would be found out too late.
    """
    with watching(settings):
        _fire_until(stop, settings, store, on_look)


@contextmanager
def firing(settings: Settings) -> Iterator[threading.Event]:
    """While entered, start the runs that are due, in a thread of its own: code of workflows that hangs holds up no job.

    The event that is given ends it earlier.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_fire_alone, args=(stop, settings), name="firing", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(_LEAVE_SECONDS)


def _fire_alone(stop: threading.Event, settings: Settings) -> None:
    while not stop.is_set():
        with told("schedules cannot be looked at"):
            engine = open_database(settings.database_url)
            try:
                with Store(engine) as store:
                    _fire_until(stop, settings, store, lambda _: None)
            finally:
                engine.dispose()
        stop.wait(LONGEST_PAUSE.total_seconds() / 6)


def _fire_until(
    stop: threading.Event, settings: Settings, store: Store, on_look: Callable[[datetime | None], None]
) -> None:
    tables = Timetables(settings)
    while not stop.is_set():
        stop.wait(_look(store, tables, on_look).total_seconds())


def _look(store: Store, tables: Timetables, on_look: Callable[[datetime | None], None]) -> timedelta:
    try:
        following = fire_due(store, tables.now())
        on_look(following)
        pause = LONGEST_PAUSE if following is None else following - store.clock()
    except PinflowError as error:
        _log.error("schedules could not be looked at: %s", error)
        pause = LONGEST_PAUSE / 6
    return max(timedelta(0), min(pause, LONGEST_PAUSE))

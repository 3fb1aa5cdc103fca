"""The process that starts the runs of schedules; any number of them may run at once."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from pinflow.config import Settings
from pinflow.errors import PinflowError, UnknownNameError
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.store import Store
from pinflow.scheduler.ticks import declare, fire_due, pause
from pinflow.workflows.reloading import Timetables
from pinflow.workflows.watching import watching

LONGEST_PAUSE = timedelta(seconds=30)
"""How long a scheduler sleeps at most: a schedule that was resumed or changed by another is seen then."""
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
    look = looker(settings, store, on_look)
    with watching(settings):
        while not stop.is_set():
            stop.wait(look())


def looker(
    settings: Settings, store: Store, on_look: Callable[[datetime | None], None] = lambda _: None
) -> Callable[[], float]:
    """A function that starts the runs that are due now and gives the seconds until it is to be called again."""
    tables = Timetables(settings)
    return lambda: _look(store, tables, on_look).total_seconds()


def _look(store: Store, tables: Timetables, on_look: Callable[[datetime | None], None]) -> timedelta:
    try:
        following = fire_due(store, tables.now())
        on_look(following)
        pause = LONGEST_PAUSE if following is None else following - store.clock()
    except PinflowError as error:
        _log.error("schedules could not be looked at: %s", error)
        pause = LONGEST_PAUSE / 6
    return max(timedelta(0), min(pause, LONGEST_PAUSE))

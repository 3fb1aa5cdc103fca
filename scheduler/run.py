"""Runs a workflow's day from a command: opens its run and drives it, or joins the run that another command drives."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pinflow.errors import ExitCode, PinflowError, StaleFenceError
from pinflow.scheduler import identity, reading
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.leftovers import end_leftovers
from pinflow.scheduler.processes import Place
from pinflow.scheduler.reading import RunInfo
from pinflow.scheduler.records import Event, Lease, Opened
from pinflow.scheduler.states import RunState
from pinflow.scheduler.store import Store
from pinflow.scheduler.worker import EventListener, Worker
from pinflow.zygote import Zygote, connect

_FIRST_LOOK, _LAST_LOOK = 0.02, 0.25


@dataclass(frozen=True)
class RunResult:
    """The run as it ended, with all its jobs; `driven`: this process drove it (to its end), it did not only follow."""

    run: RunInfo
    driven: bool

    @property
    def exit_code(self) -> ExitCode:
        """What the command returns."""
        return self.run.exit_code


def execute(
    store: Store,
    definition: Definition,
    zygote: Zygote,
    place: Place,
    *,
    on_event: EventListener = lambda _event: None,
    on_join: Callable[[RunInfo], None] = lambda _run: None,
    run_id: str | None = None,
) -> RunResult:
    """Run a workflow's day to its end, here or, if another process drives it already, by following that.

    The active run of the same (workflow, date) is joined, never doubled; `on_join` is told of it. When its driver
    dies, this process goes on in its place. A run of other work (parameters, jobs) is waited for, then the own
    one is made. SIGINT and SIGTERM abort a run that is driven here; the same call resumes it. With `run_id` that run,
    which nobody drives, goes on.
    """
    me = _Executor(store, definition, zygote, place, on_event)
    opened = me.take_over(run_id) if run_id else me.open()
    while True:
        if opened.lease is not None and me.drive(opened, opened.lease):
            return RunResult(reading.get_run(store, opened.run_id), driven=True)
        on_join(reading.get_run(store, opened.run_id))
        for event in follow(store, opened.run_id):
            on_event(event)
        info = reading.get_run(store, opened.run_id)
        same = reading.definition_of(store, opened.run_id).digest == definition.digest
        if info.state is not RunState.RUNNING and same:
            return RunResult(info, driven=False)
        opened = me.take_over(opened.run_id) if same else me.open()


def follow(store: Store, run_id: str) -> Iterator[Event]:
    """The transitions of a run from its beginning, as they happen, until it has ended or its driver is gone."""
    last, pause = 0, _FIRST_LOOK
    while True:
        driven = store.is_driven(run_id)
        events = store.events(run_id, last)
        for number, event in events:
            last = number
            yield event
        if not driven:
            return
        pause = _FIRST_LOOK if events else min(pause * 1.5, _LAST_LOOK)
        time.sleep(pause)


@dataclass(frozen=True)
class _Executor:
    store: Store
    definition: Definition
    zygote: Zygote
    place: Place
    on_event: EventListener

    def open(self) -> Opened:
        worker, forker = self._names()
        return self.store.open_run(self.definition, worker, slots=self.place.slots, zygote=forker, wait=self.place.wait)

    def take_over(self, run_id: str) -> Opened:
        worker, forker = self._names()
        return self.store.take_over(run_id, worker, slots=self.place.slots, zygote=forker, wait=self.place.wait)

    def drive(self, opened: Opened, lease: Lease) -> bool:
        """Drive a run; False if another process has taken it over meanwhile, or it has ended."""
        try:
            if opened.previous is not None:
                end_leftovers(self.store.zygote_of(opened.previous), self._names()[1])
            place = replace(self.place, wait=self.store.wait_of(lease.run_id))
            with connect(self.zygote.path) as forks:
                Worker(self.store, lease, self.definition, place, forks, self.on_event).drive()
        except PinflowError:
            # The one who comes next may start at once; a database that cannot be written changes nothing. Whoever can
            # still let go of the run was not taken over, also when a write was refused: it must not follow itself.
            try:
                self.store.release(lease)
            except StaleFenceError:
                return False
            except PinflowError:
                pass
            raise
        return True

    def _names(self) -> tuple[str, str]:
        return identity.process_id(), identity.process_id(self.zygote.pid)

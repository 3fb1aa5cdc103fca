"""Drives one run to its end: claims jobs, forks them, waits for what happens next. No sleeps in the path.

One transaction records what ended and claims what may start. Everything else waits in one `select`: ends of
processes, signals, and the nearest of all times (lease, timeouts, polls, retries, the next look at what others did).
"""

import selectors
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

from pinflow.errors import DrainedError, StaleFenceError
from pinflow.scheduler.attempts import Attempts
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.processes import Place
from pinflow.scheduler.records import Advance, Event, Held, Lease, Outcome
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.stopping import StopSignals
from pinflow.scheduler.store import Store
from pinflow.zygote import Forks

EventListener = Callable[[Event], None]

LOOK_SECONDS = 1.0
"""How often a driver looks whether people have stopped its run, or have changed something about it."""


class Worker:
    """The driver of one run, for as long as it holds the lease."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        definition: Definition,
        place: Place,
        forks: Forks,
        on_event: EventListener,
        *,
        random: Random | None = None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._definition = definition
        self._place = place
        self._attempts = Attempts(store, forks, place, random)
        self._held = Held(lease, definition, time.monotonic(), place.wait)
        self._forks = forks
        self._on_event = on_event
        self._renew_at = self._look_at = 0.0
        self._retry_at: float | None = None
        self._stopping = 0

    def drive(self) -> None:
        """Work until the run has ended, or was aborted by a signal of this process.

        Raises `StaleFenceError` when another took the run over or somebody aborted it, after its processes have
        ended; `DrainedError` when the run was drained and nothing of it runs any more; `PinflowError` when no process
        can be started or the database cannot be written. The run can be resumed then.
        """
        now = time.monotonic()
        self._renew_at, self._look_at = now + self._store.lease.total_seconds() / 3, now + LOOK_SECONDS
        with StopSignals() as signals, selectors.DefaultSelector() as selector:
            selector.register(self._forks.fileno(), selectors.EVENT_READ)
            selector.register(signals.fileno(), selectors.EVENT_READ)
            outcomes: list[Outcome] = []
            try:
                while not self._stopping:
                    if self._step(outcomes):
                        return
                    outcomes = self._wait(selector, signals)
                while self._attempts.processes.running:
                    outcomes += self._wait(selector, signals)
                self._tell(self._store.abort(self._lease, outcomes, f"stopped by {signals.name}"))
            except StaleFenceError:
                self._leave(selector, signals)
                raise

    def _step(self, outcomes: list[Outcome]) -> bool:
        """Record, claim and start; whether the run has ended."""
        self._renew(time.monotonic())
        since, free = time.monotonic(), self._place.slots - self._attempts.slots_taken
        step = self._store.advance(self._lease, outcomes, free, self._definition.conditions)
        self._tell(step)
        self._retry_at = None
        if step.next_retry is not None:
            pause = (step.next_retry - self._store.clock()).total_seconds()
            self._retry_at = time.monotonic() + max(0.0, pause)
        for claim in step.claims:
            self._attempts.start(self._held, claim, since)
        if self._attempts or self._retry_at is not None:
            return False
        end = self._store.close_run(self._lease)
        if end is not None:
            self._tell(end)
        elif step.hold == "drain":
            raise DrainedError(self._lease.run_id)
        return end is not None

    def _wait(self, selector: selectors.BaseSelector, signals: StopSignals) -> list[Outcome]:
        """Wait until attempts have ended, a retry is due, others changed something or a stop is asked for."""
        while True:
            outcomes = [self._as_stopped(outcome) for _, outcome in self._attempts.ended()]
            now = time.monotonic()
            self._stop(signals)
            if outcomes or (self._stopping and not self._attempts.processes.running):
                return outcomes
            if self._retry_at is not None and self._retry_at <= now:
                return []
            self._attempts.processes.enforce(now)
            self._renew(now)
            if not self._stopping:
                self._attempts.ask_due()
                if now >= self._look_at and self._look():
                    return []
            selector.select(self._pause())
            signals.clear()

    def _look(self) -> bool:
        """Whether there may be something to start that was not there before."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        seen = self._store.look(self._lease)
        if not seen.held:
            raise StaleFenceError(f"run {self._lease.run_id} was stopped, or is driven by another process now")
        return (seen.ready and self._attempts.slots_taken < self._place.slots) or not self._attempts

    def _pause(self) -> float:
        moments = (self._attempts.wakes_at, self._retry_at, self._renew_at, self._look_at)
        return max(0.0, min(m for m in moments if m is not None) - time.monotonic())

    def _as_stopped(self, outcome: Outcome) -> Outcome:
        """What fails while all is being stopped was stopped."""
        if self._stopping and outcome.state is AttemptState.FAILED:
            return replace(outcome, state=AttemptState.ABORTED, retry_at=None)
        return outcome

    def _renew(self, now: float) -> None:
        if now >= self._renew_at:
            self._store.renew(self._lease, self._attempts.claims())
            self._attempts.renewed(now)
            self._renew_at = time.monotonic() + self._store.lease.total_seconds() / 3

    def _stop(self, signals: StopSignals) -> None:
        """The first signal asks all processes to end, the second kills them."""
        if signals.count > self._stopping:
            self._stopping = signals.count
            if self._stopping == 1:
                self._attempts.end(f"stopped by {signals.name}")
            else:
                self._attempts.kill()

    def _leave(self, selector: selectors.BaseSelector, signals: StopSignals) -> None:
        """End what still runs for a run that is not this process's any more."""
        self._attempts.drop([claim for claim, _ in self._attempts.claims()], "its run was taken away")
        while running := self._attempts.processes.running:
            self._attempts.ended()
            self._attempts.processes.enforce(time.monotonic())
            moments = [p.wakes_at for p in running.values() if p.wakes_at is not None]
            if running:
                selector.select(max(0.0, min(moments, default=time.monotonic() + 1) - time.monotonic()))
            signals.clear()

    def _tell(self, step: Advance) -> None:
        for event in step.events:
            self._on_event(event)

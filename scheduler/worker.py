"""Drives one run to its end: claims jobs, forks them, waits for what happens next. No sleeps in the path.

One transaction records what ended and claims what may start. Everything else waits in one `select`: ends of
processes, signals, and the nearest of all times (lease, timeouts, polls, retries).
"""

import os
import selectors
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random

from pinflow.errors import ExitCode
from pinflow.scheduler.declare import Condition
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.outcomes import judge, last_line, read_result, reason_in
from pinflow.scheduler.polls import Poll, Polls, is_no
from pinflow.scheduler.processes import Process, Processes
from pinflow.scheduler.records import Advance, Claim, Event, Lease, Outcome, Usage
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.stopping import StopSignals
from pinflow.scheduler.store import Store
from pinflow.zygote import Exit, Forks

EventListener = Callable[[Event], None]


@dataclass(frozen=True)
class Place:
    """Where and how jobs run: logs below `logs`, in `folder`, with `environment`, `slots` at once.

    `wait`: how long conditions may stay untrue before they fail; zero: they are asked once.
    """

    logs: Path
    slots: int = 1
    wait: timedelta = timedelta(0)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path = field(default_factory=Path.cwd)


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
        self._processes = Processes(
            forks, definition, logs=place.logs, environment=place.environment, folder=place.folder
        )
        self._polls = Polls(place.wait)
        self._on_event = on_event
        self._random = random or Random()
        self._renew_at = 0.0
        self._retry_at: float | None = None
        self._stopping = 0

    def drive(self) -> None:
        """Work until the run has ended, or was aborted by a signal of this process.

        Raises `StaleFenceError` when another took the run over, and `PinflowError` when no process can be started
        or the database cannot be written; the run can be resumed then.
        """
        self._renew_at = time.monotonic() + self._store.lease.total_seconds() / 3
        with StopSignals() as signals, selectors.DefaultSelector() as selector:
            selector.register(self._processes.fileno(), selectors.EVENT_READ)
            selector.register(signals.fileno(), selectors.EVENT_READ)
            outcomes: list[Outcome] = []
            while not self._stopping:
                if self._step(outcomes):
                    return
                outcomes = self._wait(selector, signals)
            while self._processes.running:
                outcomes += self._wait(selector, signals)
            self._tell(self._store.abort(self._lease, outcomes, f"stopped by {signals.name}"))

    def _step(self, outcomes: list[Outcome]) -> bool:
        """Record, claim and start; whether the run has ended."""
        free = self._place.slots - len(self._processes.running) + len(self._polls.asking)
        step = self._store.advance(self._lease, outcomes, free, self._definition.conditions)
        self._tell(step)
        self._retry_at = None
        if step.next_retry is not None:
            pause = (step.next_retry - self._store.clock()).total_seconds()
            self._retry_at = time.monotonic() + max(0.0, pause)
        for claim in step.claims:
            self._start(claim)
        if self._processes.running or self._polls or self._retry_at is not None:
            return False
        end = self._store.close_run(self._lease)
        if end is not None:
            self._tell(end)
        return end is not None

    def _start(self, claim: Claim) -> None:
        node = self._definition.nodes[claim.job]
        if isinstance(node, Condition):
            self._polls.add(claim, node)
            self._ask_due()
        else:
            self._processes.start(claim)

    def _ask_due(self) -> None:
        for poll in self._polls.due(time.monotonic()):
            self._polls.asking[self._processes.start(poll.claim).pid] = poll

    def _wait(self, selector: selectors.BaseSelector, signals: StopSignals) -> list[Outcome]:
        """Wait until attempts have ended, a retry is due or a stop is asked for."""
        while True:
            outcomes = [
                outcome for process, ended in self._processes.ended() if (outcome := self._judge(process, ended))
            ]
            now = time.monotonic()
            self._stop(signals)
            if outcomes or (self._stopping and not self._processes.running):
                return outcomes
            if self._retry_at is not None and self._retry_at <= now:
                return []
            self._processes.enforce(now)
            self._renew(now)
            if not self._stopping:
                self._ask_due()
            selector.select(self._pause())
            signals.clear()

    def _pause(self) -> float:
        moments = [p.wakes_at for p in self._processes.running.values()]
        moments += [self._polls.wakes_at, self._retry_at, self._renew_at]
        return max(0.0, min(m for m in moments if m is not None) - time.monotonic())

    def _judge(self, process: Process, ended: Exit) -> Outcome | None:
        poll = self._polls.asking.pop(ended.pid, None)
        claim, stopped = process.claim, process.stopped
        left = read_result(self._processes.result_of(claim))
        if poll is not None and stopped is None and is_no(ended.code):
            return self._postpone(poll, ended, reason_in(left) or "not there")
        hint = None if ended.code in (0, ExitCode.INPUT_MISSING) else last_line(self._processes.log_of(claim))
        outcome = judge(
            process.node,
            claim,
            ended,
            now=self._store.clock(),
            random=self._random,
            stopped=stopped,
            left=left,
            hint=hint,
        )
        if self._stopping and outcome.state is AttemptState.FAILED:
            return replace(outcome, state=AttemptState.ABORTED, retry_at=None)
        return outcome

    def _postpone(self, poll: Poll, ended: Exit, reason: str) -> Outcome | None:
        """Ask a condition again later, or give it up; `reason` is what it said."""
        now = time.monotonic()
        later = poll.again(now)
        if later.is_over:
            if later.asked > 1:
                reason = f"{reason} (asked {later.asked} times)"
            usage = Usage(ended.pid, None, ended.user_seconds, ended.system_seconds, ended.peak_bytes)
            return Outcome(poll.claim, AttemptState.FAILED, reason, ExitCode.INPUT_MISSING, usage)
        self._polls.waiting.append(later)
        until = self._store.clock() + timedelta(seconds=later.next_at - now)
        self._store.postpone(self._lease, poll.claim, until, f"{reason} (asked {later.asked} times)")
        return None

    def _renew(self, now: float) -> None:
        if now >= self._renew_at:
            processes: list[tuple[Claim, int | None]] = [(p.claim, p.pid) for p in self._processes.running.values()]
            processes += [(poll.claim, None) for poll in self._polls.waiting]
            self._store.renew(self._lease, processes)
            self._renew_at = time.monotonic() + self._store.lease.total_seconds() / 3

    def _stop(self, signals: StopSignals) -> None:
        """The first signal asks all processes to end, the second kills them."""
        if signals.count > self._stopping:
            self._stopping = signals.count
            for process in list(self._processes.running.values()):
                if self._stopping == 1:
                    self._processes.end(process, f"stopped by {signals.name}")
                else:
                    self._processes.kill(process)

    def _tell(self, step: Advance) -> None:
        for event in step.events:
            self._on_event(event)

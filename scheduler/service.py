"""The worker that stays: takes jobs of all shared runs, for as long as it is let, and says why it ends.

As for the driver of one run, everything waits in one `select`; only that there is something new to do for an idle
worker, it asks for, after pauses that grow to half a second.
"""

import selectors
import time
from collections.abc import Callable
from typing import NamedTuple

from pinflow.errors import StaleFenceError
from pinflow.scheduler import identity, reading, sharing
from pinflow.scheduler.attempts import Attempts
from pinflow.scheduler.processes import Place
from pinflow.scheduler.records import Advance, Event, Held, Outcome
from pinflow.scheduler.sharing import Post, SharedRun
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.stopping import StopSignals
from pinflow.scheduler.store import Store
from pinflow.zygote import Forks

FIRST_PAUSE, LAST_PAUSE = 0.02, 0.5
LOOK_SECONDS = 1.0
"""How often a worker looks what the dead have left, and whether its own attempts were taken away."""
CONDITIONS = 100
"""How many conditions of a run a worker takes at once."""
_REMEMBERED = 100

EventListener = Callable[[Event], None]


class Hooks(NamedTuple):
    """What is told of each transition that the worker makes and, often, that it takes nothing new any more."""

    on_event: EventListener = lambda _event: None
    on_leave: Callable[[], None] = lambda: None


class Service:
    """One worker; `serve` is its whole life."""

    def __init__(self, store: Store, forks: Forks, place: Place, post: Post, hooks: Hooks = Hooks()) -> None:  # noqa: B008
        self._store = store
        self._forks = forks
        self._place = place
        self._post = post
        self._hooks = hooks
        self._attempts = Attempts(store, forks, place)
        self._held: dict[str, Held] = {}
        self._alone_until = 0.0
        self._served: dict[str, None] = {}
        self._pause = FIRST_PAUSE
        self._poll_at = self._look_at = self._renew_at = 0.0
        self._stopping = 0

    def serve(self) -> str:
        """Work until a signal or an exit by generation; gives why it ended.

        The first signal lets what runs end and starts nothing new, the second stops what runs, which others then
        start again. Raises `PinflowError` when no process can be started or the database cannot be written.
        """
        sharing.arrive(self._store, self._post)
        with StopSignals() as signals, selectors.DefaultSelector() as selector:
            selector.register(self._forks.fileno(), selectors.EVENT_READ)
            selector.register(signals.fileno(), selectors.EVENT_READ)
            reason = ""
            while not (reason and not self._attempts):
                self._record(self._attempts.ended())
                now = time.monotonic()
                self._attempts.processes.enforce(now)
                reason = self._stop(signals) or reason
                reason = self._keep(now) or reason
                if reason:
                    self._let_go_of_conditions()
                    self._hooks.on_leave()
                else:
                    self._attempts.ask_due()
                    self._claim(now)
                if self._attempts or not reason:
                    selector.select(self._sleep(bool(reason)))
                signals.clear()
        sharing.leave(self._store, self._post.worker)
        return reason

    def _keep(self, now: float) -> str:
        """Renew what is held, let go of what was taken away, take over what the dead left; why to end, if so."""
        if now >= self._renew_at:
            lost = self._store.renew_claims(self._attempts.claims())
            is_wanted = sharing.stay(self._store, self._post.worker)
            self._attempts.renewed(now)
            self._renew_at = now + self._store.lease.total_seconds() / 3
            self._attempts.drop(lost, "it was stopped, or given to another worker")
            if not is_wanted:
                return f"workers of generation {self._post.generation} are asked to exit; see: pinflow signals"
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            claims = [claim for claim, _ in self._attempts.claims()]
            self._attempts.drop(self._store.lost_of(claims), "it was stopped, or given to another worker")
            if sharing.recover(self._store, self._post.zygote):
                self._poll_at = now
        return ""

    def _stop(self, signals: StopSignals) -> str:
        if signals.count <= self._stopping:
            return ""
        self._stopping = signals.count
        if self._stopping > 1:
            self._attempts.end(f"its worker was stopped by {signals.name}")
        return f"stopped by {signals.name}"

    def _let_go_of_conditions(self) -> None:
        """Claim nothing more; others go on asking. One that is being asked follows when it was answered."""
        self._alone_until = 0.0
        waiting, self._attempts.polls.waiting = self._attempts.polls.waiting, []
        self._record([(poll.held, Outcome(poll.claim, AttemptState.LOST, "its worker left")) for poll in waiting])

    def _record(self, ended: list[tuple[Held, Outcome]]) -> None:
        """Store how attempts ended; with a free slot and no other run a moment ago, go on with the same run at once."""
        is_alone = time.monotonic() < self._alone_until
        for held, outcome in ended:
            if self._stopping > 1 and outcome.state is AttemptState.FAILED:
                outcome = Outcome(outcome.claim, AttemptState.LOST, outcome.reason, usage=outcome.usage)
            try:
                self._advance(held, [outcome], self._free if is_alone else 0)
            except StaleFenceError:
                continue
            if not self._stopping:
                self._poll_at, self._pause = min(self._poll_at, time.monotonic()), FIRST_PAUSE
        if ended:
            self._forget()

    def _claim(self, now: float) -> None:
        """Fill the free slots: the run first of which the fewest jobs run, of equal ones that served longest ago."""
        if now < self._poll_at or self._free <= 0:
            return
        runs = sharing.shared_runs(self._store, self._post.worker)
        self._alone_until = now + LOOK_SECONDS if len(runs) == 1 else 0.0
        found = False
        active = {run.lease.run_id: run.active for run in runs}
        turns = {run_id: turn for turn, run_id in enumerate(self._served)}
        while runs and self._free > 0:
            run = min(runs, key=lambda r: (active[r.lease.run_id], turns.get(r.lease.run_id, -1)))
            started = self._take(run, self._free if len(runs) == 1 else 1)
            found = found or started > 0
            active[run.lease.run_id] += started
            if started:
                self._note_turn(run.lease.run_id)
            if not started or len(runs) == 1:
                runs.remove(run)
        self._pause = FIRST_PAUSE if found else min(self._pause * 1.5, LAST_PAUSE)
        self._poll_at = time.monotonic() + self._pause

    def _note_turn(self, run_id: str) -> None:
        """Remember in which order runs were served; those of long ago are forgotten."""
        self._served.pop(run_id, None)
        self._served[run_id] = None
        if len(self._served) > 2 * _REMEMBERED:
            self._served = dict.fromkeys(list(self._served)[-_REMEMBERED:])

    def _take(self, run: SharedRun, count: int) -> int:
        """Claim jobs of a run; how many were started."""
        try:
            return self._advance(self._hold(run), [], count)
        except StaleFenceError:
            return 0

    def _advance(self, held: Held, outcomes: list[Outcome], free: int) -> int:
        since, conditions = time.monotonic(), CONDITIONS if free and held.definition.conditions else 0
        step: Advance = self._store.advance(held.lease, outcomes, free, conditions, pools=self._post.pools, close=True)
        for event in step.events:
            self._hooks.on_event(event)
        for claim in step.claims:
            self._attempts.start(held, claim, since)
        return len(step.claims)

    def _hold(self, run: SharedRun) -> Held:
        held = self._held.get(run.lease.run_id)
        if held is None or held.lease != run.lease:
            definition = reading.definition_of(self._store, run.lease.run_id)
            passed = (self._store.clock() - run.started_at).total_seconds()
            held = Held(run.lease, definition, time.monotonic() - passed, run.wait)
            self._held[run.lease.run_id] = held
        return held

    def _forget(self) -> None:
        """Keep the definitions of runs that something is done for, and a few more."""
        if len(self._held) > _REMEMBERED:
            busy = {claim.run_id for claim, _ in self._attempts.claims()}
            self._held = {name: held for name, held in self._held.items() if name in busy}

    @property
    def _free(self) -> int:
        return self._place.slots - self._attempts.slots_taken

    def _sleep(self, is_ending: bool) -> float:
        moments = [self._attempts.wakes_at, self._renew_at]
        if not is_ending:
            moments += [self._look_at, self._poll_at if self._free > 0 else None]
        return max(0.0, min(m for m in moments if m is not None) - time.monotonic())


def post_of(zygote: int, slots: int, generation: int = 0, pools: tuple[str, ...] = ()) -> Post:
    """What this process is as a worker; `zygote`: the id of the process that forks its jobs."""
    return Post(identity.process_id(), identity.process_id(zygote), slots, generation, pools)

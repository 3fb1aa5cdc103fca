"""The attempts that a process works on: what runs for them, and the conditions that it asks again and again."""

import time
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from signal import SIGKILL

from pinflow.errors import ExitCode, StaleFenceError
from pinflow.scheduler.declare import Condition
from pinflow.scheduler.ending import note_ends
from pinflow.scheduler.outcomes import judge, last_line, read_result, reason_in, usage_of
from pinflow.scheduler.polls import Poll, Polls, is_no
from pinflow.scheduler.processes import NO_ANSWER, Place, Process, Processes
from pinflow.scheduler.records import Claim, Held, Outcome
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from pinflow.scheduler.values import NotGivenError, taken
from pinflow.zygote import JSON, Exit, Forks, uptime


class Attempts:
    """Starts claims, and tells how they ended. Times are seconds of the monotonic clock."""

    def __init__(self, store: Store, forks: Forks, place: Place, random: Random | None = None) -> None:
        self.processes = Processes(forks, place)
        self.polls = Polls()
        self._store = store
        self._forks = forks
        self._random = random or Random()
        self._lease_end = 0.0
        self._overdue: set[int] = set()
        self.renewed(time.monotonic())

    def __len__(self) -> int:
        return len(self.processes.running) + len(self.polls.waiting)

    @property
    def slots_taken(self) -> int:
        """How many slots they hold; conditions hold none."""
        return len(self.processes.running) - len(self.polls.asking)

    def claims(self) -> list[tuple[Claim, int | None]]:
        """All claims, each with the process that works on it."""
        running: list[tuple[Claim, int | None]] = [
            (p.claim, p.pid) for p in self.processes.running.values() if not p.lost
        ]
        return running + [(poll.claim, None) for poll in self.polls.waiting]

    def start(self, held: Held, claim: Claim, since: float) -> None:
        """Start the process of a claim, or ask its condition; raises `PinflowError` when there can be no process.

        It was claimed after `since`, which begins a lease where the last one has run out, and all with it was killed.
        """
        if uptime() > self._lease_end:
            self.renewed(since)
        node = held.definition.nodes[claim.job]
        if isinstance(node, Condition):
            self.polls.add(held, claim, node)
            self.ask_due()
        else:
            self.processes.start(held, claim, self._taken(held, claim))

    def ask_due(self) -> None:
        """Ask the conditions whose time has come."""
        for poll in self.polls.due(time.monotonic()):
            process = self.processes.start(poll.held, poll.claim, self._taken(poll.held, poll.claim))
            if process.end_at is None:
                process.end_at = poll.answered_by(time.monotonic())
            self.polls.asking[process.pid] = poll

    def ended(self) -> list[tuple[Held, Outcome]]:
        """How attempts ended since the last call; those that another has taken over are left out."""
        found, lost = [], []
        for process, end in self.processes.ended():
            outcome = self._judge(process, end)
            if process.lost:
                lost.append(process.claim)
            elif outcome is not None:
                found.append((process.held, outcome))
        note_ends(self._store, lost)
        return found

    def renewed(self, since: float) -> None:
        """The leases hold, counted from `since`: all is killed unless that is said again before they run out."""
        now = uptime()
        if now > self._lease_end:
            self._overdue |= self.processes.running.keys()
        self._lease_end = now - (time.monotonic() - since) + self._store.lease.total_seconds()
        self._forks.lease(max(0.0, self._lease_end - now))

    def end(self, reason: str) -> None:
        """Ask all processes to end; after a grace they are killed."""
        for process in list(self.processes.running.values()):
            self.processes.end(process, reason)

    def kill(self) -> None:
        """End all processes at once."""
        for process in list(self.processes.running.values()):
            self.processes.kill(process)

    def drop(self, claims: Iterable[Claim], reason: str) -> None:
        """End what is done for claims that are not held any more; of it is only told that it has ended."""
        fences = {claim.fence for claim in claims}
        asleep = [poll.claim for poll in self.polls.waiting if poll.claim.fence in fences]
        self.polls.waiting = [poll for poll in self.polls.waiting if poll.claim.fence not in fences]
        note_ends(self._store, asleep)
        for process in list(self.processes.running.values()):
            if process.claim.fence in fences and not process.lost:
                process.lost = True
                self.processes.end(process, reason)

    @property
    def wakes_at(self) -> float | None:
        """When something has to be done about one of them."""
        moments = [p.wakes_at for p in self.processes.running.values()]
        moments.append(self.polls.wakes_at)
        return min((m for m in moments if m is not None), default=None)

    def _taken(self, held: Held, claim: Claim) -> dict[str, JSON] | str:
        """The values that a job takes, or why they are not there."""
        takes = held.definition.nodes[claim.job].takes
        try:
            return taken(self._store, claim.run_id, takes) if takes else {}
        except NotGivenError as error:
            return str(error)

    def _judge(self, process: Process, ended: Exit) -> Outcome | None:
        poll = self.polls.asking.pop(ended.pid, None)
        is_overdue = ended.pid in self._overdue or uptime() > self._lease_end
        self._overdue.discard(ended.pid)
        claim, stopped = process.claim, process.stopped
        left = read_result(self.processes.result_of(claim))
        if is_overdue and stopped is None and ended.signal == SIGKILL:
            return Outcome(claim, AttemptState.LOST, "its lease ran out", None, usage_of(ended), crashed=True)
        if poll is not None and (stopped == NO_ANSWER or (stopped is None and is_no(ended.code))):
            said = stopped or reason_in(left.values) or "not there"
            return None if process.lost else self._postpone(poll, ended, said)
        hint = None if ended.code in (0, ExitCode.INPUT_MISSING) else last_line(self.processes.log_of(claim))
        return judge(
            process.node,
            claim,
            ended,
            now=self._store.clock(),
            random=self._random,
            stopped=stopped,
            left=left,
            hint=hint,
        )

    def _postpone(self, poll: Poll, ended: Exit, reason: str) -> Outcome | None:
        """Ask a condition again later, or give it up; `reason` is what it said."""
        now = time.monotonic()
        later = poll.again(now)
        if later.is_over:
            if later.asked > 1:
                reason = f"{reason} (asked {later.asked} times)"
            return Outcome(poll.claim, AttemptState.FAILED, reason, ExitCode.INPUT_MISSING, usage_of(ended))
        until = self._store.clock() + timedelta(seconds=later.next_at - now)
        try:
            self._store.postpone(poll.held.lease, poll.claim, until, f"{reason} (asked {later.asked} times)")
        except StaleFenceError:
            return None
        self.polls.waiting.append(later)
        return None

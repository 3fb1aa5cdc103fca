"""One transaction of the store: each change checks that it changed something, each transition leaves an event."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy.engine import Connection

from pinflow import database
from pinflow.errors import AbortedError, StaleFenceError
from pinflow.prepared import execute
from pinflow.scheduler import ending, limits, rows
from pinflow.scheduler import statements as sql
from pinflow.scheduler.deadlines import OLD
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.durations import TIMES, usual_seconds
from pinflow.scheduler.fences import Fences
from pinflow.scheduler.records import Claim, Event, Lease, Outcome
from pinflow.scheduler.states import (
    ACTIVE_STATES,
    DONE_STATES,
    FINAL_STATES,
    AttemptState,
    JobState,
    RunState,
)

CRASH_LIMIT = 5
"""How often a job's worker may die under it before the job counts as failed."""
HOLDS = ("abort", "drain", "pause")
"""Signals that let no job start, the strongest first."""


class Transaction:
    """Changes that go into the database together; `events` tells them in order."""

    def __init__(self, connection: Connection, fences: Fences, clock: Callable[[], datetime] | None) -> None:
        self.events: list[Event] = []
        self.workflow = ""
        self._signals = 0
        self._cap: int | None = None
        self._connection = connection
        self._fences = fences
        self._clock = clock

    @cached_property
    def now(self) -> datetime:
        """When all of it happens, by the clock that was given, else by the database's."""
        return self._clock() if self._clock else database.now(self._connection)

    @property
    def connection(self) -> Connection:
        """For what is written into tables of others, in the same transaction."""
        return self._connection

    def rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        """What a query gives."""
        return execute(self._connection, statement, values).rows

    def first(self, statement: Any, **values: Any) -> Any:
        """The first row that a query gives, or None."""
        return next(iter(self.rows(statement, **values)), None)

    def change(self, statement: Any, **values: Any) -> None:
        """Change exactly one row; raises `StaleFenceError` when it is not there or not in a state that allows it."""
        self.change_all(statement, 1, values)

    def change_all(self, statement: Any, count: int, values: dict[str, Any]) -> None:
        """As `change`, of so many rows."""
        if execute(self._connection, statement, values).changed != count:
            raise StaleFenceError(
                f"refused: {values.get('b_name') or values.get('b_run_id') or values.get('b_fence')} is not this "
                "worker's any more, since another has taken it over; see: pinflow show RUN"
            )

    def try_change(self, statement: Any, **values: Any) -> bool:
        """Change at most one row; whether there was one."""
        return bool(execute(self._connection, statement, values).changed)

    def insert(self, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows, if there are any."""
        if rows:
            execute(self._connection, statement, rows)

    def tell(
        self,
        run_id: str,
        job: str | None,
        attempt: int | None,
        before: str | None,
        state: str,
        detail: str | None = None,
    ) -> None:
        """Remember a transition."""
        self.events.append(Event(run_id, job, attempt, self.now, before, state, detail))

    def flush(self) -> None:
        """Write the events."""
        self.insert(sql.INSERT_EVENT, [vars(event) for event in self.events])

    def is_stored(self, connection: Connection) -> bool:
        """Whether this transaction, whose end is not known, was committed; without events it may be done twice."""
        if not self.events:
            return False
        last = self.events[-1]
        connection.execute(sql.LOCK_RUN, {"b_run_id": last.run_id}).first()
        names = ("run_id", "at", "state", "job", "attempt")
        values = {f"b_{name}": getattr(last, name) for name in names}
        return connection.execute(sql.SAME_EVENT, values).first() is not None

    def guard(self, lease: Lease) -> None:
        """Raise `StaleFenceError` unless the run is running under this very lease."""
        row = self.first(sql.RUN_FENCE, b_run_id=lease.run_id)
        if row is None or row.fence != lease.fence:
            raise StaleFenceError(
                f"run {lease.run_id} is driven by another process now, or has ended; see: pinflow show {lease.run_id}"
            )
        if self._clock is None and row.now is not None:
            self.now = row.now
        self.workflow, self._signals, self._cap = row.workflow, row.signals, row.cap

    def latest_run(self, definition: Definition) -> Any:
        """The newest run of a workflow's day, or None; until the transaction ends nobody makes a newer one."""
        values = {"b_workflow": definition.workflow, "b_date": definition.date.isoformat()}
        row, newest = None, self.first(sql.LATEST_RUN, **values)
        while newest is not None and (row is None or row.serial != newest.serial):
            # While the lock was waited for, another may have made one.
            row, newest = newest, self.first(sql.LATEST_RUN, **values)
        return newest

    def note_worker(self, worker: str, zygote: str | None, slots: int) -> None:
        """Make or refresh a worker's row."""
        self._connection.execute(sql.DELETE_WORKER, {"b_worker": worker})
        self.insert(sql.INSERT_WORKER, [{"worker": worker, "zygote": zygote, "slots": slots, "started_at": self.now}])

    def create_run(self, definition: Definition, serial: int, worker: str, lease: timedelta) -> Lease:
        """Make a run with all its jobs, driven by `worker`."""
        run_id = f"{definition.workflow}-{definition.date.isoformat()}-{serial}"
        pairs = [(before, node.name) for node in definition.nodes.values() for before in dict.fromkeys(node.after)]
        usual = usual_seconds(self.rows(TIMES, b_workflow=definition.workflow))
        self.insert(sql.INSERT_JOB, rows.job_rows(run_id, definition, usual))
        self.insert(sql.INSERT_DEPENDENCY, [{"run_id": run_id, "after": b, "job": j} for b, j in pairs])
        self._connection.execute(sql.DELETE_WORKFLOW, {"b_name": definition.workflow})
        self.insert(sql.INSERT_WORKFLOW, [rows.workflow_row(definition, run_id)])
        (fence,) = self._fences.take(1, self.now)
        self.insert(sql.INSERT_RUN, [rows.run_row(run_id, definition, serial, worker, fence, self.now, lease)])
        self.tell(run_id, None, None, None, RunState.RUNNING.value, worker)
        return Lease(run_id, worker, fence)

    def seize(self, row: Any, worker: str, definition: Definition, *, retry_failed: bool, lease: timedelta) -> Lease:
        """Give a run to another driver and set its jobs back to what they can go on from; it keeps its wait."""
        fence = self._pass_on(row, worker, self.now + lease)
        self.tell(row.run_id, None, None, row.state, RunState.RUNNING.value, f"{worker} goes on for {row.driver}")
        self._close_attempts(row.run_id, AttemptState.LOST, "its driver died")
        self._revive(row.run_id, definition, retry_failed)
        ending.hold_back(self, row.run_id)
        return Lease(row.run_id, worker, fence)

    def reopen(self, row: Any, reason: str, *, shared: bool) -> int:
        """Let a run that has ended go on with its whole wait, for all workers or who takes it; gives its fence."""
        fence = self._pass_on(row, row.driver, None)
        self.tell(row.run_id, None, None, row.state, RunState.RUNNING.value, reason)
        if shared:
            self.change(sql.SHARE_RUN, b_run_id=row.run_id, b_fence=fence)
        return fence

    def refuse_if_aborted(self, workflow: str) -> None:
        """Raise `AbortedError` when no run of a workflow may be made or go on."""
        for row in self.rows(sql.SIGNALS_OF, b_run_id="", b_workflow=workflow):
            if row.action == "abort":
                raise AbortedError(workflow, row.scope, row.author, row.reason)

    def share(self, lease: Lease) -> None:
        """Let all workers take the jobs of a run that nobody has begun to drive; one without jobs ends at once."""
        self.change(sql.SHARE_RUN, b_run_id=lease.run_id, b_fence=lease.fence)
        self.close_if_done(lease)

    def finish(self, outcome: Outcome) -> None:
        """End an attempt and move its job, and what waits for it."""
        claim, usage, target = outcome.claim, outcome.usage, outcome.job_state
        self.change(
            sql.END_ATTEMPT,
            b_fence=claim.fence,
            b_state=outcome.state.value,
            b_reason=outcome.reason,
            b_exit_code=outcome.exit_code,
            b_signal=usage.signal,
            b_pid=usage.pid,
            b_now=self.now,
            b_user=usage.user_seconds,
            b_system=usage.system_seconds,
            b_peak=usage.peak_bytes,
            b_result=outcome.result,
        )
        if outcome.crashed:
            self._crash(self.first(sql.JOB, b_run_id=claim.run_id, b_name=claim.job), outcome.reason)
            return
        self.change(
            sql.END[target],
            b_run_id=claim.run_id,
            b_name=claim.job,
            b_fence=claim.fence,
            b_reason=outcome.reason,
            b_exit_code=outcome.exit_code,
            b_now=self.now,
            b_failed=int(outcome.state is AttemptState.FAILED),
            b_not_before=outcome.retry_at,
        )
        before = JobState.POLLING if claim.is_condition else JobState.RUNNING
        self.tell(claim.run_id, claim.job, claim.attempt, before.value, target.value, outcome.reason)
        if target in DONE_STATES:
            self._unblock(claim.run_id, claim.job)
        elif target is JobState.FAILED:
            self._block(claim.run_id, claim.job, f"{claim.job} failed")

    def hold(self, run_id: str) -> Any:
        """The signal that lets no job of a run start now, the strongest first, or None; what is disabled is skipped.

        Only after `guard`.
        """
        if not self._signals:
            return None
        found = self.rows(sql.SIGNALS_OF, b_run_id=run_id, b_workflow=self.workflow)
        disabled = {row.job: row for row in found if row.action == "disable"}
        while ready := [row.name for row in self.rows(sql.READY_JOBS, b_run_id=run_id) if row.name in disabled]:
            for name in ready:
                signal = disabled[name]
                self.skip(run_id, name, JobState.READY, f"disabled by {signal.author}: {signal.reason}")
        return next((row for row in found if row.action in HOLDS), None)

    def claim(
        self, lease: Lease, free: int, conditions: int, length: timedelta, pools: Sequence[str] = ()
    ) -> tuple[list[Claim], bool]:
        """Start attempts of up to `free` jobs (of `pools`, if any are named) and `conditions` conditions.

        The second value says whether a limit kept a job from starting.
        """
        chosen, limited = limits.choose(self, lease.run_id, max(free, 0), max(conditions, 0), self._cap, pools)
        if not chosen:
            return [], limited
        fences = self._fences.take(len(chosen), self.now)
        claims = [
            Claim(lease.run_id, r.name, r.attempts + 1, fence, r.failures, r.kind == "condition", bool(r.anew))
            for r, fence in zip(chosen, fences, strict=True)
        ]
        attempts = [rows.attempt_row(claim, lease.worker, self.now, length) for claim in claims]
        self.insert(sql.INSERT_ATTEMPT, attempts)
        for claim in claims:
            target = JobState.POLLING if claim.is_condition else JobState.RUNNING
            self.change(
                sql.START[target],
                b_run_id=claim.run_id,
                b_name=claim.job,
                b_fence=claim.fence,
                b_attempt=claim.attempt,
                b_now=self.now,
            )
            self.tell(claim.run_id, claim.job, claim.attempt, JobState.READY.value, target.value)
        return claims, limited

    def next_retry(self, run_id: str) -> datetime | None:
        """When the first of the jobs that wait for their retry may start."""
        moment: datetime | None = self.first(sql.NEXT_RETRY, b_run_id=run_id)[0]
        return moment

    def end_run(self, run_id: str, fence: int, target: RunState, reason: str | None) -> None:
        """End a run."""
        self.change(sql.END_RUN[target], b_run_id=run_id, b_fence=fence, b_reason=reason, b_now=self.now)
        self.tell(run_id, None, None, RunState.RUNNING.value, target.value, reason)

    def abort(self, run_id: str, fence: int, reason: str, *, by_driver: bool = False) -> None:
        """End a run and everything of it that has not ended; `by_driver`: no process of it lives."""
        if by_driver:
            self._close_attempts(run_id, AttemptState.ABORTED, reason)
        else:
            ending.abort_attempts(self, run_id, reason)
        for row in self.rows(sql.JOBS, b_run_id=run_id):
            if JobState(row.state) not in FINAL_STATES:
                self.change(sql.ABORT, b_run_id=run_id, b_name=row.name, b_reason=reason, b_now=self.now)
                self.tell(run_id, row.name, row.attempts or None, row.state, JobState.ABORTED.value, reason)
        self.end_run(run_id, fence, RunState.ABORTED, reason)

    def _pass_on(self, row: Any, driver: str, until: datetime | None) -> int:
        """Let a run go on under a new fence, which is given; one that ended long after its deadline has none then."""
        has_ended = row.state != RunState.RUNNING
        is_old = has_ended and row.due_at is not None and self.now - row.due_at > OLD
        shift = self.now - row.started_at if has_ended else timedelta(0)
        (fence,) = self._fences.take(1, self.now)
        self.change(
            sql.SEIZE_RUN,
            b_run_id=row.run_id,
            b_seen=row.fence,
            b_driver=driver,
            b_fence=fence,
            b_until=until,
            b_due_at=None if is_old else row.due_at,
            b_warned_at=None if is_old else row.warned_at,
            b_started_at=row.started_at + shift,
            b_wait_until=row.wait_until and row.wait_until + shift,
        )
        return fence

    def _unblock(self, run_id: str, job: str) -> None:
        # In a run that goes on a job may be done again: what has ended since it was done first does not count it.
        waiting = self.rows(sql.WAITING_DEPENDENTS, b_run_id=run_id, b_after=job)
        ready = [row.name for row in waiting if row.unmet == 1]
        others = [row.name for row in waiting if row.unmet != 1]
        for statement, names in ((sql.unblock, ready), (sql.count_down, others)):
            if names:
                values = {f"b_name_{number}": name for number, name in enumerate(names)}
                self.change_all(statement(len(names)), len(names), values | {"b_run_id": run_id})
        for name in ready:
            self.tell(run_id, name, None, JobState.WAITING.value, JobState.READY.value)

    def _block(self, run_id: str, job: str, reason: str) -> None:
        queue = [job]
        while queue:
            for row in self.rows(sql.WAITING_DEPENDENTS, b_run_id=run_id, b_after=queue.pop()):
                self.change(sql.BLOCK, b_run_id=run_id, b_name=row.name, b_reason=reason, b_now=self.now)
                self.tell(run_id, row.name, None, JobState.WAITING.value, JobState.UPSTREAM_FAILED.value, reason)
                queue.append(row.name)

    def _revive(self, run_id: str, definition: Definition, retry_failed: bool) -> None:
        """Set jobs back so that the run can go on: what is done and holds stays, the rest waits for what is not.

        What an attempt published may not be there any more, so that is done again; what somebody skipped stays so.
        """
        found = {row.name: row for row in self.rows(sql.JOBS, b_run_id=run_id)}
        for row in found.values():
            if JobState(row.state) in ACTIVE_STATES:
                self._crash(row)
        found = {row.name: row for row in self.rows(sql.JOBS, b_run_id=run_id)}
        kept = {JobState.FAILED, JobState.UPSTREAM_FAILED} if not retry_failed else set()
        done = {
            name
            for name, row in found.items()
            if JobState(row.state) in DONE_STATES and (row.fence is None or not definition.nodes[name].publishes)
        }
        for name, row in found.items():
            state = JobState(row.state)
            if name in done or state in kept:
                continue
            unmet = len(set(definition.nodes[name].after) - done)
            target = JobState.WAITING if unmet else JobState.READY
            failures = 0 if retry_failed else row.failures
            statement = sql.RECOUNT if target is state else sql.REVIVE[target]
            self.change(statement, b_run_id=run_id, b_name=name, b_unmet=unmet, b_failures=failures)
            if target is not state:
                detail = "checked again" if state in DONE_STATES else None
                self.tell(run_id, name, row.attempts or None, state.value, target.value, detail)

    def lose(self, row: Any, reason: str) -> None:
        """End an attempt of a shared run whose worker is gone (a row of `OPEN_CLAIMS`), which its job may survive."""
        self.change(
            sql.LOSE_ATTEMPT, b_fence=row.fence, b_state=AttemptState.LOST.value, b_reason=reason, b_now=self.now
        )
        job = self.first(sql.JOB, b_run_id=row.run_id, b_name=row.job)
        self._crash(job, reason)

    def skip(self, run_id: str, name: str, before: JobState, reason: str) -> None:
        """Count a job that nobody works on as done."""
        self.change(sql.SKIP, b_run_id=run_id, b_name=name, b_reason=reason, b_now=self.now)
        self.tell(run_id, name, None, before.value, JobState.SKIPPED.value, reason)
        self._unblock(run_id, name)

    def close_if_done(self, lease: Lease) -> bool:
        """End a run all of whose jobs have ended: succeeded, or failed if one is not done."""
        if self.first(sql.OPEN_JOB, b_run_id=lease.run_id) is not None:
            return False
        counts = {JobState(state): n for state, n in self.rows(sql.JOB_COUNTS, b_run_id=lease.run_id)}
        undone = sum(n for state, n in counts.items() if state not in DONE_STATES)
        reason = f"{undone} of {sum(counts.values())} jobs did not succeed" if undone else None
        self.end_run(lease.run_id, lease.fence, RunState.FAILED if undone else RunState.SUCCEEDED, reason)
        return True

    def _crash(self, job: Any, reason: str | None = "its driver died") -> None:
        """Let a job whose worker died under it start again, unless that happens every time."""
        crashes = job.crashes + 1
        target = JobState.READY if crashes < CRASH_LIMIT else JobState.FAILED
        if target is JobState.FAILED:
            reason = f"given up: {crashes} times {reason}; see its log, then: pinflow retry {job.run_id} {job.name}"
        pause = timedelta(0) if crashes == 1 else timedelta(seconds=2**crashes)
        self.change(
            sql.CRASH[target],
            b_run_id=job.run_id,
            b_name=job.name,
            b_fence=job.fence,
            b_crashes=crashes,
            b_reason=reason,
            b_not_before=self.now + pause if target is JobState.READY and crashes > 1 else None,
            b_finished_at=self.now if target is JobState.FAILED else None,
        )
        self.tell(job.run_id, job.name, job.attempts, job.state, target.value, reason)
        if target is JobState.FAILED:
            self._block(job.run_id, job.name, f"{job.name} failed")

    def _close_attempts(self, run_id: str, state: AttemptState, reason: str) -> None:
        values = {"b_run_id": run_id, "b_state": state.value, "b_reason": reason, "b_now": self.now}
        self._connection.execute(sql.CLOSE_ATTEMPTS, values)

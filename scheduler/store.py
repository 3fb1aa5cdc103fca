"""The durable state of runs: open, claim, finish, renew; who may do what is decided here, in one transaction each."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pinflow import database
from pinflow.errors import StaleFenceError
from pinflow.scheduler import ending, identity, schema
from pinflow.scheduler import statements as sql
from pinflow.scheduler.definition import Definition
from pinflow.scheduler.fences import Fences
from pinflow.scheduler.records import Advance, Claim, Event, Lease, Look, Opened, Outcome
from pinflow.scheduler.schedule_statements import WAIT_UNTIL
from pinflow.scheduler.states import RunState
from pinflow.scheduler.transaction import Transaction

LEASE = timedelta(seconds=15)
"""How long a driver that says nothing keeps its run; it renews after a third of that."""
WORKERS = "workers"
"""The driver of a run that all workers share."""
LIMIT_POLL = timedelta(seconds=0.5)
"""When a driver asks again whose job had to wait for one of another run."""


Result = TypeVar("Result")


class Store:
    """Runs, jobs and attempts in one database, for one thread; several processes may use it at once.

    Each verb is one transaction. When it returns, no killed process can undo it; a power cut may undo the last ones in
    SQLite, which then stands as before them. While the database is away for a while, or gives a transaction up for
    another, it is repeated, and never done twice. A verb that takes a `Lease` raises `StaleFenceError`, and changes
    nothing, when another driver has taken the run over or it has ended. All times are the database's, or `clock`'s.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] | None = None,
        is_dead: Callable[[str], bool] = identity.is_dead,
        lease: timedelta = LEASE,
    ) -> None:
        self.engine = engine
        self.lease = lease
        self._clock = clock
        self.is_dead = is_dead
        self._writer: Connection | None = None
        self._fences: Fences | None = None
        schema.prepare(engine)

    def close(self) -> None:
        """Give the connections back."""
        if self._fences is not None:
            self._fences.close()
        if self._writer is not None:
            database.let_go(self._writer)
        self._writer = self._fences = None

    def clock(self) -> datetime:
        """What time it is for runs."""
        return self._clock() if self._clock else database.clock_of(self.engine)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_run(
        self,
        definition: Definition,
        worker: str,
        *,
        slots: int = 1,
        zygote: str | None = None,
        wait: timedelta = timedelta(0),
    ) -> Opened:
        """Open the run of a workflow's day, or join the one that is active: there is never a second one at once.

        - A running run whose driver lives (its lease runs, and its process is not known to be dead) is joined:
          no lease is given, whatever its definition is.
        - A running run without a living driver, or the newest run if it was aborted, goes on under `worker` when it
          is the same work (`Definition.digest`): attempts that nobody ended are `lost`, which is not held against
          their jobs; jobs that publish are started again, to find out whether what they did still holds; after
          an abort failed jobs are, too. Otherwise failed jobs stay failed: the run ends so, and the next is new.
        - Such a run of other work is aborted, and a new one made, as when there is no run or it has ended.

        `wait`: how long the conditions of the run may stay untrue, from now on; of a running run that goes on they
        may for what is left of its own wait, too. Of two callers at once one gets the lease. Raises
        `AbortedError` while the workflow, or all, are aborted.
        """

        def open_(work: Transaction) -> Opened:
            work.note_worker(worker, zygote, slots)
            return self._open(work, definition, worker, wait)

        return self._write(open_, passes=database.is_race)

    def _open(self, work: Transaction, definition: Definition, worker: str, wait: timedelta) -> Opened:
        row = work.latest_run(definition)
        if row is not None and row.state == RunState.RUNNING and not self._is_lapsed(row, work.now):
            return Opened(row.run_id, False, None, row.digest)
        work.refuse_if_aborted(definition.workflow)
        if row is not None and row.state in (RunState.RUNNING, RunState.ABORTED):
            if row.digest == definition.digest:
                retry = row.state == RunState.ABORTED
                lease = work.seize(row, worker, definition, retry_failed=retry, lease=self.lease)
                _let_wait(work, row.run_id, wait, None if retry else row.wait_until)
                return Opened(row.run_id, False, lease, row.digest, self._lost_driver(row))
            if row.state == RunState.RUNNING:
                work.abort(row.run_id, row.fence, "its driver died, and other work was asked for")
        serial = 1 if row is None else row.serial + 1
        lease = work.create_run(definition, serial, worker, self.lease)
        if wait:
            _let_wait(work, lease.run_id, wait)
        return Opened(lease.run_id, True, lease, definition.digest)

    def take_over(
        self,
        run_id: str,
        worker: str,
        *,
        slots: int = 1,
        zygote: str | None = None,
        wait: timedelta = timedelta(0),
    ) -> Opened:
        """Go on with a running run whose driver is gone; no lease is given while it lives or when the run has ended.

        `wait` as for `open_run`.
        """

        def take(work: Transaction) -> Opened:
            row = work.first(sql.LOCK_RUN, b_run_id=run_id)
            if row is None or row.state != RunState.RUNNING or not self._is_lapsed(row, work.now):
                return Opened(run_id, False, None, "" if row is None else row.digest)
            work.note_worker(worker, zygote, slots)
            definition = Definition.from_text(row.definition)
            lease = work.seize(row, worker, definition, retry_failed=False, lease=self.lease)
            _let_wait(work, run_id, wait, row.wait_until)
            return Opened(run_id, False, lease, row.digest, self._lost_driver(row))

        return self._write(take)

    def advance(
        self,
        lease: Lease,
        outcomes: Sequence[Outcome],
        free: int,
        conditions: int = 0,
        *,
        pools: Sequence[str] = (),
        close: bool = False,
    ) -> Advance:
        """Record how attempts ended, let start what waited for them, and claim what may start now.

        A job may be claimed when it is ready (all before it succeeded or were skipped) and the time of its retry has
        come. At most `free` jobs and `conditions` conditions are claimed: conditions first, then the jobs with the
        longest way to the end, then as declared, within their pools and the limit of the workflow; none while a
        signal holds the run. A job that failed for good stops what comes after it, nothing else. An outcome whose
        attempt is not running any more raises `StaleFenceError` and undoes all, but that it has ended is noted of one
        that was aborted. With `pools` only jobs of these are
        claimed; with `close` the run is ended if all its jobs have.
        """

        def go_on(work: Transaction) -> Advance:
            work.guard(lease)
            for outcome in outcomes:
                work.finish(outcome)
            hold = work.hold(lease.run_id)
            claims: list[Claim] = []
            limited = False
            if hold is None and (free or conditions):
                claims, limited = work.claim(lease, free, conditions, self.lease, pools)
            ended = close and not claims and work.close_if_done(lease)
            retry = work.next_retry(lease.run_id) if hold is None and free and not claims and not ended else None
            return Advance(
                claims, work.events, work.now + LIMIT_POLL if limited else retry, hold and hold.action, ended
            )

        try:
            return self._write(go_on)
        except StaleFenceError:
            ending.note_ends(self, [outcome.claim for outcome in outcomes])
            raise

    def postpone(self, lease: Lease, claim: Claim, until: datetime, reason: str) -> None:
        """Note that a condition is not true yet and is asked again at `until`."""
        values = {"b_run_id": claim.run_id, "b_name": claim.job, "b_fence": claim.fence}

        def note(work: Transaction) -> None:
            work.guard(lease)
            work.change(sql.POSTPONE, **values, b_not_before=until, b_reason=reason)

        self._write(note)

    def renew(self, lease: Lease, processes: Sequence[tuple[Claim, int | None]]) -> None:
        """Prolong the leases of a run and of its attempts, each with the process that works on it."""

        def prolong(work: Transaction) -> None:
            until = work.now + self.lease
            work.change(sql.RENEW_RUN, b_run_id=lease.run_id, b_fence=lease.fence, b_until=until)
            for claim, pid in processes:
                work.change(sql.RENEW_ATTEMPT, b_fence=claim.fence, b_until=until, b_pid=pid)

        self._write(prolong)

    def close_run(self, lease: Lease) -> Advance | None:
        """End a run all of whose jobs have ended: succeeded, or failed if one is not done. None if some have not."""

        def end(work: Transaction) -> Advance | None:
            work.guard(lease)
            return Advance([], work.events, ended=True) if work.close_if_done(lease) else None

        return self._write(end)

    def abort(self, lease: Lease, outcomes: Sequence[Outcome], reason: str) -> Advance:
        """Record `outcomes`, then stop the run, no process of which lives: what has not ended is aborted.

        `open_run` resumes it.
        """

        def stop(work: Transaction) -> Advance:
            work.guard(lease)
            for outcome in outcomes:
                work.finish(outcome)
            work.abort(lease.run_id, lease.fence, reason, by_driver=True)
            return Advance([], work.events)

        return self._write(stop)

    def release(self, lease: Lease) -> None:
        """Let another drive the run at once; its attempts are found lost then. No outage is waited for."""

        def let_go(work: Transaction) -> None:
            work.change(sql.RENEW_RUN, b_run_id=lease.run_id, b_fence=lease.fence, b_until=None)

        self._write(let_go, patience=timedelta(0))

    def transact(
        self,
        work: Callable[[Transaction], Result],
        passes: Callable[[BaseException], bool] = database.is_passing,
        patience: timedelta = database.PATIENCE,
    ) -> Result:
        """Do what other modules of the scheduler keep, in one transaction that is repeated as those of the verbs."""
        return self._write(work, passes=passes, patience=patience)

    def look(self, lease: Lease) -> Look:
        """How a run stands for the one who drives it, without a lock."""
        rows = self.read(sql.LOOK, b_run_id=lease.run_id, b_fence=lease.fence)
        return Look(held=bool(rows), ready=bool(rows and rows[0].ready))

    def submit(self, definition: Definition, *, wait: timedelta = timedelta(0)) -> Opened:
        """As `open_run`, but no process drives the run: all workers take its jobs, one by one.

        Nobody gets a lease: `created` says whether it is new. A run that another process drives is left to that.
        """

        def put(work: Transaction) -> Opened:
            opened = self._open(work, definition, WORKERS, wait)
            if opened.lease is not None:
                work.share(opened.lease)
            return opened._replace(lease=None)

        return self._write(put, passes=database.is_race)

    def renew_claims(self, processes: Sequence[tuple[Claim, int | None]]) -> list[Claim]:
        """Prolong the leases of a worker's attempts of shared runs; gives those that it does not hold any more."""

        def prolong(work: Transaction) -> list[Claim]:
            until = work.now + self.lease
            ordered = sorted(processes, key=lambda pair: pair[0].fence)
            values = [{"b_fence": claim.fence, "b_until": until, "b_pid": pid} for claim, pid in ordered]
            held = [work.try_change(sql.RENEW_ATTEMPT, **each) for each in values]
            return [claim for (claim, _), still in zip(ordered, held, strict=True) if not still]

        return self._write(prolong)

    def lost_of(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those of a worker's claims that it does not hold any more: aborted, or given to another."""
        if not claims:
            return []
        still = {row.fence for row in self.read(sql.STILL_RUNNING, b_fences=[claim.fence for claim in claims])}
        return [claim for claim in claims if claim.fence not in still]

    def is_driven(self, run_id: str) -> bool:
        """Whether a run is running under a driver that lives, or shared by workers."""
        row = self.read(sql.RUN, b_run_id=run_id)
        return bool(row) and row[0].state == RunState.RUNNING and not self._is_lapsed(row[0], self.clock())

    def events(self, run_id: str, after: int = 0) -> list[tuple[int, Event]]:
        """The transitions of a run in order, with their numbers, after number `after`."""
        return [
            (row.id, Event(row.run_id, row.job, row.attempt, row.at, row.before, row.state, row.detail))
            for row in self.read(sql.EVENTS, b_run_id=run_id, b_last=after)
        ]

    def fence_of(self, run_id: str) -> int:
        """The fence under which a run is driven, or was at last."""
        return int(self.read(sql.RUN, b_run_id=run_id)[0].fence)

    def wait_of(self, run_id: str) -> timedelta:
        """How long the conditions of a run may still stay untrue."""
        until = self.read(sql.RUN, b_run_id=run_id)[0].wait_until
        return max(timedelta(0), until - self.clock()) if until else timedelta(0)

    def zygote_of(self, worker: str) -> str | None:
        """The process that forks the jobs of a worker."""
        rows = self.read(sql.WORKER, b_worker=worker)
        return rows[0].zygote if rows else None

    def _is_lapsed(self, row: Any, now: datetime) -> bool:
        if row.shared:
            return False
        return row.lease_until is None or row.lease_until <= now or self.is_dead(row.driver)

    def _lost_driver(self, row: Any) -> str | None:
        """Whose jobs may run on: a driver that is dead or frozen, not one that let go of its run or has ended it."""
        return row.driver if row.lease_until is not None or self.is_dead(row.driver) else None

    def read(self, statement: Any, **values: Any) -> Sequence[Any]:
        """What a query gives, outside of any transaction that writes."""
        return database.fetch(self.engine, statement, values)

    def _write(
        self,
        work: Callable[[Transaction], Result],
        *,
        patience: timedelta = database.PATIENCE,
        passes: Callable[[BaseException], bool] = database.is_passing,
    ) -> Result:
        """Do `work` in one transaction, repeated until it is known to be committed, but never committed twice."""
        unsure: list[tuple[Transaction, Result]] = []

        def attempt() -> Result:
            connection, fences = self._connect()
            with connection.begin():
                for known, result in unsure:
                    if known.is_stored(connection):
                        return result
                unsure.clear()
                transaction = Transaction(connection, fences, self._clock)
                result = work(transaction)
                transaction.flush()
                unsure.append((transaction, result))
            return result

        try:
            return database.repeat(attempt, patience=patience, passes=passes)
        except SQLAlchemyError as error:
            raise database.database_error(self.engine, error) from error

    def _connect(self) -> tuple[Connection, Fences]:
        if any(each is not None and each.invalidated for each in (self._writer, self._fences)):
            self.close()
        if self._writer is None:
            self._writer = self.engine.connect().execution_options(writes=True)
        if self._fences is None:
            self._fences = Fences(self.engine, self._writer)
        return self._writer, self._fences


def _let_wait(work: Transaction, run_id: str, wait: timedelta, kept: datetime | None = None) -> None:
    """Let the conditions of a run stay untrue for `wait`, or until `kept` if that is later."""
    own = work.now + wait if wait else None
    until = max((moment for moment in (own, kept) if moment is not None), default=None)
    work.change(WAIT_UNTIL, b_run_id=run_id, b_until=until)

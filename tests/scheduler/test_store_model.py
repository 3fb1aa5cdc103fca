"""The store against a plain model of its contract: any interleaving of three drivers that may die, and of people.

What happens is done by two clients in turn, as two processes are, each with connections and numbers of its own.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pinflow.database import open_database
from pinflow.errors import ConfigurationError, StaleFenceError
from pinflow.scheduler import ending, reading, repair, signals, tables
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.records import Claim, Lease, Outcome
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store
from tests.conftest import KINDS

AFTER = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "x": [], "y": ["x", "b"]}
PUBLISHING = {"a", "b", "x"}
NEVER = datetime.min.replace(tzinfo=UTC)
DRIVERS = ("one", "two", "three")
LEASE, GRACE = timedelta(seconds=15), timedelta(seconds=10)
DONE = {"succeeded", "skipped"}
RETRIES = {"retry": timedelta(0), "retry later": timedelta(seconds=10)}


def definition(variant: int) -> Definition:
    jobs = [Job(n, call="m:f", after=a, publishes=["data"] if n in PUBLISHING else []) for n, a in AFTER.items()]
    return define(Workflow("demo", "o", lambda _d, _p: [Stage("s", jobs)]), date(2015, 5, 18), {"v": variant})


@dataclass
class Run:
    variant: int
    driver: str
    fence: int
    until: datetime
    state: str = "running"
    not_before: dict[str, datetime] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    leases: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Of attempts that run, and of those that people aborted and nobody knows to have ended: fence, end."""
    jobs: dict[str, str] = field(default_factory=lambda: {n: "waiting" if a else "ready" for n, a in AFTER.items()})

    def settle(self) -> None:
        """Move what waits to where its predecessors let it."""
        for name in sorted(AFTER):
            before = {self.jobs[b] for b in AFTER[name]}
            if self.jobs[name] == "waiting" and before <= DONE:
                self.jobs[name] = "ready"
            elif self.jobs[name] == "waiting" and before & {"failed", "upstream_failed"}:
                self.jobs[name] = "upstream_failed"

    def revive(self) -> None:
        self.lose_running()
        failed = {"failed", "upstream_failed"} if self.state == "running" else set()
        for name, state in self.jobs.items():
            if state not in failed and (state not in DONE or name in PUBLISHING - self.left_out):
                self.jobs[name] = "waiting"
        # Only what hangs on a kept job may go on; nothing becomes upstream_failed by this.
        for name in AFTER:
            if self.jobs[name] == "waiting" and all(self.jobs[b] in DONE for b in AFTER[name]):
                self.jobs[name] = "ready"
        self.not_before.clear()
        self.state = "running"

    def again(self, chosen: set[str]) -> None:
        """What people set back, what that lets go on, and what has to wait for it now."""
        for name in sorted(AFTER):
            before = [self.jobs[b] for b in AFTER[name]]
            stopped = {"failed", "upstream_failed", "aborted"} & set(before)
            state = self.jobs[name]
            if not stopped and (name in chosen or state in ("upstream_failed", "aborted")):
                state = "waiting"
            if state in ("waiting", "ready"):
                state = "upstream_failed" if stopped else "ready" if set(before) <= DONE else "waiting"
            if state != self.jobs[name]:
                self.not_before.pop(name, None)
                self.left_out.discard(name)
            self.jobs[name] = state

    def lose_running(self) -> None:
        """Nothing runs on of what runs: it is lost, or its driver has ended it."""
        self.leases = {name: lease for name, lease in self.leases.items() if self.jobs[name] != "running"}

    def hold_back(self, now: datetime) -> None:
        """What starts again does not start beside an attempt that may run on."""
        for name, (_, until) in self.leases.items():
            if self.jobs[name] in ("waiting", "ready") and until + GRACE > now:
                self.not_before[name] = until + GRACE

    def note_end(self, claim: Claim) -> None:
        fence, until = self.leases.get(claim.job, (0, None))
        if self.jobs[claim.job] != "running" and fence == claim.fence and until is not None:
            del self.leases[claim.job]
            if self.not_before.get(claim.job) == until + GRACE and self.jobs[claim.job] in ("waiting", "ready"):
                del self.not_before[claim.job]

    def may_start(self, now: datetime) -> set[str]:
        return {n for n, s in self.jobs.items() if s == "ready" and self.not_before.get(n, now) <= now}

    def abort(self) -> None:
        self.state = "aborted"
        for name, state in self.jobs.items():
            if state in ("waiting", "ready", "running"):
                self.jobs[name] = "aborted"


class StoreMachine(RuleBasedStateMachine):
    def __init__(self, engine: sa.Engine, other: sa.Engine) -> None:
        super().__init__()
        self.now = datetime(2015, 5, 19, tzinfo=UTC)
        self.dead: set[str] = set()
        self.store, self.next_store = (
            Store(each, clock=lambda: self.now, is_dead=self.dead.__contains__) for each in (engine, other)
        )
        with engine.execution_options(writes=True).begin() as connection:
            for table in tables.metadata.tables.values():
                if table is not tables.fence:
                    connection.execute(table.delete())
            connection.execute(tables.fence.update().values(last=0))
        self.runs: list[Run] = []
        self.ids: list[str] = []
        self.leases: dict[str, Lease] = {}
        self.claims: dict[str, list[Claim]] = {d: [] for d in DRIVERS}
        self.life = dict.fromkeys(DRIVERS, 0)
        self.fences = [0]
        self.taken: list[tuple[Run, Claim]] = []
        self.paused = False
        self.disabled: set[str] = set()

    def teardown(self) -> None:
        self.store.close()
        self.next_store.close()

    def name(self, driver: str) -> str:
        return f"{driver}-{self.life[driver]}"

    def holds(self, driver: str) -> bool:
        run = self.runs[-1] if self.runs else None
        lease = self.leases.get(driver)
        return bool(run and lease and run.state == "running" and run.fence == lease.fence)

    @rule(driver=st.sampled_from(DRIVERS), variant=st.integers(0, 1))
    def open(self, driver: str, variant: int) -> None:
        opened = self.store.open_run(definition(variant), self.name(driver))
        run = self.runs[-1] if self.runs else None
        lapsed = run is not None and (run.until <= self.now or run.driver in self.dead)
        if run is not None and run.state == "running" and not lapsed:
            assert (opened.run_id, opened.lease) == (self.ids[-1], None)
            return
        assert opened.lease is not None
        if run is not None and run.state in ("running", "aborted") and run.variant == variant:
            assert (opened.run_id, opened.created) == (self.ids[-1], False)
            run.revive()
            run.hold_back(self.now)
        else:
            if run is not None and run.state == "running":
                run.abort()
            assert opened.created
            assert opened.run_id not in self.ids
            run = Run(variant, "", 0, self.now)
            self.runs.append(run)
            self.ids.append(opened.run_id)
        run.driver, run.fence = self.name(driver), opened.lease.fence
        run.until = self.now + LEASE
        self.new_fence(opened.lease.fence)
        self.leases[driver], self.claims[driver] = opened.lease, []

    def new_fence(self, fence: int) -> None:
        assert fence > self.fences[-1]
        self.fences.append(fence)

    @rule(
        driver=st.sampled_from(DRIVERS),
        free=st.integers(0, 3),
        ends=st.lists(st.sampled_from(["succeeded", "skipped", "failed", *RETRIES]), max_size=3),
    )
    def advance(self, driver: str, free: int, ends: list[str]) -> None:
        if driver not in self.leases:
            return
        held = self.claims[driver][: len(ends)]
        retries = {c.job: self.now + RETRIES[e] for c, e in zip(held, ends, strict=False) if e in RETRIES}
        outcomes = [
            Outcome(c, AttemptState("failed" if c.job in retries else e), retry_at=retries.get(c.job))
            for c, e in zip(held, ends, strict=False)
        ]
        if not self.holds(driver):
            with pytest.raises(StaleFenceError):
                self.store.advance(self.leases[driver], outcomes, free)
            self.note_ends(outcome.claim for outcome in outcomes)
            return
        step = self.store.advance(self.leases[driver], outcomes, free)
        run = self.runs[-1]
        for claim, end in zip(held, ends, strict=False):
            run.jobs[claim.job] = "ready" if end in RETRIES else end
            del run.leases[claim.job]
            run.settle()
        run.not_before |= retries
        while off := {n for n, s in run.jobs.items() if s == "ready"} & self.disabled:
            run.jobs |= dict.fromkeys(off, "skipped")
            run.left_out |= off
            run.settle()
        ready = run.may_start(self.now)
        assert len(step.claims) == (0 if self.paused else min(free, len(ready)))
        for claim in step.claims:
            assert claim.job in ready
            run.jobs[claim.job] = "running"
            run.leases[claim.job] = claim.fence, self.now + LEASE
            self.taken.append((run, claim))
            self.new_fence(claim.fence)
        self.claims[driver] = self.claims[driver][len(held) :] + step.claims

    # By chance alone a run seldom gets far before it ends or is taken over, and seldom goes on after that.
    @precondition(lambda self: any(map(self.holds, DRIVERS)))
    @rule(rounds=st.integers(1, 3), bad=st.sampled_from(sorted(AFTER)))
    def go_on(self, rounds: int, bad: str) -> None:
        driver = next(filter(self.holds, DRIVERS))
        for _ in range(rounds):
            ends = ["failed" if claim.job == bad else "succeeded" for claim in self.claims[driver]]
            self.advance(driver, 3, ends)

    @precondition(lambda self: any(map(self.holds, DRIVERS)))
    @rule()
    def replace(self) -> None:
        driver = next(filter(self.holds, DRIVERS))
        self.die(driver)
        self.open(driver, self.runs[-1].variant)

    @precondition(lambda self: any(map(self.holds, DRIVERS)))
    @rule(job=st.sampled_from(sorted(AFTER)), repaired=st.booleans(), seconds=st.sampled_from([0.0, 24.9, 25.0]))
    def people_stop_it_and_it_goes_on(self, job: str, repaired: bool, seconds: float) -> None:
        driver = next(filter(self.holds, DRIVERS))
        self.advance(driver, 3, [])
        self.people_abort()
        if repaired:
            self.people_repair("retry", job)
        self.open(driver, self.runs[-1].variant)
        self.time_passes(seconds)
        self.advance(driver, 3, [])

    @rule(driver=st.sampled_from(DRIVERS))
    def renew(self, driver: str) -> None:
        if self.holds(driver):
            self.store.renew(self.leases[driver], [(c, 1) for c in self.claims[driver]])
            self.runs[-1].until = self.now + LEASE
            self.runs[-1].leases |= {c.job: (c.fence, self.now + LEASE) for c in self.claims[driver]}
        elif driver in self.leases:
            with pytest.raises(StaleFenceError):
                self.store.renew(self.leases[driver], [])

    @rule(driver=st.sampled_from(DRIVERS))
    def close(self, driver: str) -> None:
        if not self.holds(driver):
            return
        run = self.runs[-1]
        end = self.store.close_run(self.leases[driver])
        if {"waiting", "ready", "running"} & set(run.jobs.values()):
            assert end is None
        else:
            run.state = "succeeded" if set(run.jobs.values()) <= DONE else "failed"

    @rule(driver=st.sampled_from(DRIVERS))
    def abort(self, driver: str) -> None:
        if self.holds(driver):
            self.store.abort(self.leases[driver], [], "stopped")
            self.runs[-1].lose_running()
            self.runs[-1].abort()

    @rule(driver=st.sampled_from(DRIVERS))
    def die(self, driver: str) -> None:
        self.dead.add(self.name(driver))
        self.life[driver] += 1
        self.leases.pop(driver, None)
        self.claims[driver] = []

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def an_attempt_has_ended(self, data: st.DataObject) -> None:
        """A process that is not held any more, as whoever forked it says."""
        _, claim = data.draw(st.sampled_from(self.taken[-6:]))
        ending.note_ends(self.store, [claim])
        self.note_ends([claim])

    def note_ends(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            next(run for run, taken in self.taken if taken == claim).note_end(claim)

    @rule(what=st.sampled_from(["pause", "disable b", "disable x", "abort"]))
    def people_hold_or_let_go(self, what: str) -> None:
        scope = signals.Scope("workflow", "demo")
        if what == "abort":
            self.people_abort()
        elif what == "pause":
            if self.paused:
                assert signals.undo(self.store, scope) == [signals.Action.PAUSE]
            else:
                signals.send(self.store, scope, signals.Action.PAUSE, author="a")
            self.paused = not self.paused
        else:
            job = what[-1]
            if job in self.disabled:
                assert signals.undo(self.store, signals.ALL, job=job) == [signals.Action.DISABLE]
            else:
                signals.send(self.store, signals.ALL, signals.Action.DISABLE, author="a", job=job)
            self.disabled ^= {job}

    def people_abort(self) -> None:
        if self.runs:
            run = self.runs[-1]
            ended = signals.send(self.store, signals.Scope("run", self.ids[-1]), signals.Action.ABORT, author="a")
            assert ended == ([self.ids[-1]] if run.state == "running" else [])
            if ended:
                run.abort()

    @precondition(lambda self: self.runs)
    @rule(kind=st.sampled_from(["retry", "redo", "skip"]), job=st.sampled_from(sorted(AFTER)))
    def people_repair(self, kind: str, job: str) -> None:
        run = self.runs[-1]
        below = {job}
        for name in sorted(AFTER):
            below |= {name} if below & set(AFTER[name]) else set()
        state, chosen, allowed = run.jobs[job], {job}, True
        if kind == "retry":
            allowed = state in ("failed", "aborted", "upstream_failed")
        elif kind == "skip":
            allowed = state not in ("running", *DONE)
        else:
            chosen = {job} | {n for n in below if run.jobs[n] not in ("waiting", "ready")}
            allowed = "running" not in {run.jobs[n] for n in chosen}
        then = deepcopy(run)
        if kind == "skip":
            then.jobs[job], chosen = "skipped", set()
            then.left_out.add(job)
        then.again(chosen)
        if not allowed or then.jobs == run.jobs:
            with pytest.raises(ConfigurationError):
                repair.plan(self.store, self.ids[-1], repair.Repair(kind), [job])
            return
        repair.apply(self.store, repair.plan(self.store, self.ids[-1], repair.Repair(kind), [job]), author="a")
        if run.state != "running":
            then.state, then.until, then.fence = "running", NEVER, self.store.fence_of(self.ids[-1])
            self.new_fence(then.fence)
        vars(run).update(vars(then))
        run.hold_back(self.now)

    # By chance alone people seldom mean the job that failed.
    @precondition(lambda self: self.runs and "failed" in self.runs[-1].jobs.values())
    @rule(kind=st.sampled_from(["retry", "redo", "skip"]))
    def people_repair_what_failed(self, kind: str) -> None:
        self.people_repair(kind, next(n for n, s in sorted(self.runs[-1].jobs.items()) if s == "failed"))

    @rule(seconds=st.sampled_from([0.5, 5.0, 15.0, -20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.runs)
    @invariant()
    def the_store_is_where_the_model_is(self) -> None:
        self.store, self.next_store = self.next_store, self.store
        for run_id, run in zip(self.ids[-2:], self.runs[-2:], strict=True):
            info = reading.get_run(self.store, run_id)
            assert info.state.value == run.state
            assert {j.name: j.state.value for j in info.jobs} == run.jobs


EXAMPLES = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_behaves_as_the_model(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pinflow.db" if kind == "sqlite" else request.getfixturevalue("mariadb").create()
    engines = open_database(url), open_database(url)
    run_state_machine_as_test(lambda: StoreMachine(*engines), settings=EXAMPLES)
    for engine in engines:
        engine.dispose()

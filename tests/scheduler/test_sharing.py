"""Runs that workers share, claim by claim, under a clock that the test moves."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from pinflow.errors import AbortedError, ConfigurationError, StaleFenceError
from pinflow.scheduler import pools, reading, repair, sharing, signals
from pinflow.scheduler.declare import Condition, Job, Stage, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.ending import note_ends
from pinflow.scheduler.explaining import explain
from pinflow.scheduler.pools import Limit
from pinflow.scheduler.records import Outcome
from pinflow.scheduler.sharing import Post
from pinflow.scheduler.states import AttemptState, RunState
from pinflow.scheduler.transaction import CRASH_LIMIT
from tests.scheduler.conftest import DAY

PAIR = {"a": [], "b": ["a"]}
DAY_LONG = timedelta(days=1)


def jobs_of(workflow, *jobs, day=DAY):
    return define(Workflow(workflow, "o", lambda _day, _parameters: [Stage("s", jobs)]), day)


def states(store, run_id):
    return {job.name: job.state.value for job in reading.get_run(store, run_id).jobs}


def ok(claim):
    return Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)


def take(store, worker, free=1, **options):
    """What a worker claims of the run whose turn it is."""
    runs = sharing.shared_runs(store, worker)
    return (runs[0].lease, store.advance(runs[0].lease, [], free, close=True, **options).claims) if runs else (None, [])


def test_an_attempt_is_lost_just_when_its_lease_has_run_out(make_store, clock, make):
    one, two = make_store(), make_store()
    run_id = one.submit(make(PAIR)).run_id
    lease, (claim,) = take(one, "one")
    clock.advance(10)
    assert one.renew_claims([(claim, 7)]) == []
    clock.advance(14.999)
    assert sharing.recover(two, "z") == 0
    clock.advance(0.001)
    assert sharing.recover(two, "z") == 1
    assert sharing.recover(two, "z") == 0
    assert one.lost_of([claim]) == [claim]
    assert one.renew_claims([(claim, 7)]) == [claim]
    with pytest.raises(StaleFenceError):
        one.advance(lease, [ok(claim)], 1)
    _, (again,) = take(two, "two")
    assert (again.job, again.attempt, again.failures) == ("a", 2, 0)
    assert again.fence > claim.fence
    attempts = reading.attempts(two, run_id, "a")
    assert [(a.state.value, a.worker, a.reason) for a in attempts] == [
        ("lost", "one", "the lease of its worker ran out"),
        ("running", "two", None),
    ]


def test_the_work_of_a_dead_process_is_not_waited_for(make_store, dead, make):
    one, two = make_store(), make_store()
    run_id = one.submit(make(PAIR)).run_id
    take(one, "one")
    assert sharing.recover(two, "z") == 0
    dead.add("one")
    assert sharing.recover(two, "z") == 1
    assert states(two, run_id) == {"a": "ready", "b": "waiting"}


def test_a_job_is_given_up_after_so_many_crashes_and_its_run_ends(make_store, dead, clock, make):
    store = make_store()
    run_id = store.submit(make(PAIR)).run_id
    for number in range(CRASH_LIMIT):
        _, (claim,) = take(store, f"w{number}")
        assert claim.failures == 0
        dead.add(f"w{number}")
        sharing.recover(store, "z")
        clock.advance(60)
    assert states(store, run_id) == {"a": "failed", "b": "upstream_failed"}
    assert reading.get_run(store, run_id).state is RunState.FAILED
    repair.apply(store, repair.plan(store, run_id, repair.Repair.RETRY), author="me", detach=True)
    _, (claim,) = take(store, "last")
    assert claim.attempt == CRASH_LIMIT + 1


def test_what_has_crashed_twice_starts_later(make_store, dead, clock, make):
    store = make_store()
    store.submit(make(PAIR))
    for worker in ("one", "two"):
        assert take(store, worker)[1]
        dead.add(worker)
        sharing.recover(store, "z")
    assert sharing.shared_runs(store, "three") == []
    clock.advance(4)
    assert take(store, "three")[1]


def test_a_run_whose_driver_died_becomes_one_of_the_workers(make_store, dead, make):
    one, two = make_store(), make_store()
    lease = one.open_run(make(PAIR), "one").lease
    (claim,) = one.advance(lease, [], 1).claims
    assert sharing.recover(two, "z") == 0
    dead.add("one")
    assert sharing.recover(two, "z") == 1
    with pytest.raises(StaleFenceError):
        one.advance(lease, [ok(claim)], 1)
    assert take(two, "two")[1][0].job == "a"
    assert one.open_run(make(PAIR), "three").lease is None


def test_the_one_who_ends_the_last_job_ends_the_run(make_store, make):
    one, two = make_store(), make_store()
    run_id = one.submit(make({"a": [], "b": []})).run_id
    lease, (a,) = take(one, "one")
    other, (b,) = take(two, "two")
    assert not one.advance(lease, [ok(a)], 1, close=True).ended
    assert two.advance(other, [ok(b)], 1, close=True).ended
    assert reading.get_run(one, run_id).state is RunState.SUCCEEDED


def test_recovery_ends_a_run_all_of_whose_jobs_have_ended(make_store, make):
    store = make_store()
    run_id = store.submit(make({"a": []})).run_id
    signals.send(store, signals.ALL, signals.Action.DISABLE, author="me", job="a")
    (run,) = sharing.shared_runs(store, "killed before it ended the run")
    store.advance(run.lease, [], 1)
    assert reading.get_run(store, run_id).state is RunState.RUNNING
    assert sharing.recover(store, "z") == 1
    assert reading.get_run(store, run_id).state is RunState.SUCCEEDED
    assert sharing.recover(store, "z") == 0


def test_the_run_of_which_the_fewest_jobs_run_is_first(make_store, make):
    store = make_store()
    large = store.submit(jobs_of("large", *(Job(str(n), call="m:f") for n in range(9)))).run_id
    small = store.submit(jobs_of("small", Job("x", call="m:f"), Job("y", call="m:f"))).run_id
    turns = []
    for _ in range(5):
        lease, _claims = take(store, "w")
        turns.append(lease.run_id)
    assert turns == [large, small, large, small, large]


def test_a_pool_limits_the_jobs_of_all_runs_and_the_rest_goes_on(make_store, of):
    store = make_store()
    pools.set_limit(store, Limit("pool", "disk", 2))

    def jobs(workflow):
        return jobs_of(workflow, *(Job(f"p{n}", call="m:f", pool="disk") for n in range(3)), Job("free", call="m:f"))

    lease = store.open_run(jobs("one"), "w").lease
    first = store.advance(lease, [], 9)
    assert [c.job for c in first.claims] == ["p0", "p1", "free"]
    store.submit(jobs("two"))
    assert [c.job for c in take(store, "w", 9)[1]] == ["free"]
    step = store.advance(lease, [ok(first.claims[0])], 9)
    assert [c.job for c in step.claims] == ["p2"]
    pools.set_limit(store, Limit("pool", "disk", 3))
    assert [c.job for c in take(store, "w", 9)[1]] == ["p0"]
    assert pools.remove_limit(store, "pool", "disk")
    assert not pools.remove_limit(store, "pool", "disk")
    assert [c.job for c in take(store, "w", 9)[1]] == ["p1", "p2"]


def test_a_driver_asks_again_soon_when_a_pool_is_full(make_store, clock, of):
    store = make_store()
    pools.set_limit(store, Limit("pool", "disk", 0))
    lease = store.open_run(of(Job("a", call="m:f", pool="disk")), "w").lease
    step = store.advance(lease, [], 1)
    assert (step.claims, step.next_retry) == ([], clock.now + timedelta(seconds=0.5))


def test_a_workflow_may_be_limited(make_store, make):
    store = make_store()
    pools.set_limit(store, Limit("workflow", "demo", 2))
    assert pools.list_limits(store) == [Limit("workflow", "demo", 2)]
    store.submit(make({str(n): [] for n in range(5)}))
    lease, claims = take(store, "w", 9)
    assert len(claims) == 2
    assert len(store.advance(lease, [ok(claims[0])], 9).claims) == 1


def test_a_worker_of_a_pool_takes_only_its_jobs(make_store, of):
    store = make_store()
    store.submit(of(Job("a", call="m:f"), Job("b", call="m:f", pool="gpu"), Job("c", call="m:f", pool="disk")))
    assert [c.job for c in take(store, "w", 9, pools=("gpu",))[1]] == ["b"]
    assert [c.job for c in take(store, "w", 9)[1]] == ["a", "c"]


def test_the_wait_of_a_condition_counts_from_the_start_of_the_run(make_store, clock, of):
    store = make_store()
    store.submit(of(Condition("c", call="m:f")), wait=timedelta(hours=1))
    clock.advance(60)
    (run,) = sharing.shared_runs(store, "w")
    assert (run.wait, clock.now - run.started_at) == (timedelta(hours=1), timedelta(minutes=1))


HOUR = timedelta(hours=1)


def waits(store, clock):
    """For how long the conditions of the only shared run may stay untrue, and since when that is counted."""
    (run,) = sharing.shared_runs(store, "w")
    return run.wait, clock.now - run.started_at


def test_the_wait_outlives_the_driver_of_the_run(make_store, clock, dead, of):
    one, two = make_store(), make_store()
    opened = one.open_run(of(Condition("c", call="m:f")), "one", wait=HOUR)
    one.advance(opened.lease, [], 0, 1)
    clock.advance(600)
    dead.add("one")
    # by the next command, which waits by itself for less, then by workers
    lease = two.open_run(of(Condition("c", call="m:f")), "two", wait=timedelta(minutes=5)).lease
    assert two.wait_of(opened.run_id) == timedelta(minutes=50)
    two.advance(lease, [], 0, 1)
    dead.add("two")
    clock.advance(60)
    assert two.take_over(opened.run_id, "three", wait=2 * HOUR).lease is not None
    assert two.wait_of(opened.run_id) == 2 * HOUR
    dead.add("three")
    assert sharing.recover(two, "z") == 1
    assert waits(two, clock) == (2 * HOUR + timedelta(minutes=11), timedelta(minutes=11))


@pytest.mark.parametrize("kind", [repair.Repair.RESUME, repair.Repair.RETRY])
def test_a_run_that_people_let_go_on_waits_anew_for_as_long(make_store, clock, of, kind):
    store = make_store()
    run_id = store.submit(of(Condition("c", call="m:f")), wait=HOUR).run_id
    for _ in range(2):
        if kind is repair.Repair.RESUME:
            signals.send(store, signals.Scope("run", run_id), signals.Action.ABORT, author="me")
        else:
            (shared,) = sharing.shared_runs(store, "w")
            (claim,) = store.advance(shared.lease, [], 0, 1).claims
            store.advance(shared.lease, [Outcome(claim, AttemptState.FAILED, exit_code=4)], 0, close=True)
        clock.advance(90_000)
        repair.apply(store, repair.plan(store, run_id, kind), author="me", detach=True)
        assert waits(store, clock) == (HOUR, timedelta(0))
        assert reading.get_run(store, run_id).seconds >= 90_000
        clock.advance(60)


def test_a_command_that_goes_on_with_an_aborted_run_says_itself_how_long_it_waits(make_store, clock, of):
    store = make_store()
    for wait in (HOUR, timedelta(0), 2 * HOUR):
        lease = store.open_run(of(Condition("c", call="m:f")), "one", wait=wait).lease
        assert store.wait_of(lease.run_id) == wait
        store.abort(lease, [], "stopped")
        clock.advance(60)


def test_a_paused_run_starts_nothing_and_goes_on_when_resumed(make_store, make):
    store = make_store()
    run_id = store.submit(make(PAIR)).run_id
    lease, (claim,) = take(store, "w")
    for scope in (signals.ALL, signals.Scope("workflow", "demo"), signals.Scope("run", run_id)):
        signals.send(store, scope, signals.Action.PAUSE, author="me", reason="disk is moved")
        assert sharing.shared_runs(store, "w") == []
        assert store.advance(lease, [], 9).hold == "pause"
        assert [(s.scope, s.author, s.reason) for s in signals.standing(store)] == [(scope, "me", "disk is moved")]
        assert signals.undo(store, scope) == [signals.Action.PAUSE]
    assert signals.undo(store, signals.ALL) == []
    signals.send(store, signals.Scope("workflow", "other"), signals.Action.PAUSE, author="me")
    assert [c.job for c in store.advance(lease, [ok(claim)], 9).claims] == ["b"]


def test_what_a_run_is_told_is_an_event_of_it(make_store, make):
    store = make_store()
    run_id = store.submit(make(PAIR)).run_id
    of_run, of_workflow = signals.Scope("run", run_id), signals.Scope("workflow", "demo")
    signals.send(store, of_workflow, signals.Action.PAUSE, author="me")
    signals.send(store, of_run, signals.Action.PAUSE, author="me", reason="disk is moved")
    signals.undo(store, of_run, author="you")
    signals.send(store, of_run, signals.Action.DISABLE, author="me", job="b")
    signals.undo(store, of_run, job="b", author="you")
    told = [event for _, event in store.events(run_id) if event.before == event.state]
    assert [(e.job, e.state, e.detail) for e in told] == [
        (None, "running", "pause by me: disk is moved"),
        (None, "running", "pause undone by you"),
        (None, "running", "disable of b by me"),
        (None, "running", "disable of b undone by you"),
    ]


def test_an_aborted_workflow_ends_its_runs_and_starts_none(make_store, make):
    store = make_store()
    run_id = store.submit(make(PAIR)).run_id
    lease, (claim,) = take(store, "w")
    scope = signals.Scope("workflow", "demo")
    assert signals.send(store, scope, signals.Action.ABORT, author="me", reason="wrong input") == [run_id]
    run = reading.get_run(store, run_id)
    assert (run.state, run.reason) == (RunState.ABORTED, "aborted with workflow demo by me: wrong input")
    assert store.lost_of([claim]) == [claim]
    with pytest.raises(StaleFenceError):
        store.advance(lease, [ok(claim)], 9)
    for start in (store.submit, lambda definition: store.open_run(definition, "w")):
        with pytest.raises(AbortedError, match=r"me aborted .* pinflow resume --workflow demo"):
            start(make(PAIR, v=2))
    signals.undo(store, scope)
    assert store.submit(make(PAIR)).run_id == run_id
    assert states(store, run_id) == {"a": "ready", "b": "waiting"}


@pytest.fixture
def resumed(make_store, make):
    """A shared run that was aborted, under the worker's hands, and resumed: the store, its lease then, the attempt."""
    store = make_store()
    run_id = store.submit(make({"a": [], "b": []})).run_id
    lease, (claim,) = take(store, "w")
    signals.send(store, signals.Scope("run", run_id), signals.Action.ABORT, author="me")
    repair.apply(store, repair.plan(store, run_id, repair.Repair.RESUME), author="me", detach=True)
    return store, lease, claim


def test_an_aborted_attempt_is_given_its_lease_and_the_grace_to_end(resumed, clock):
    store, _, claim = resumed
    lease, (b,) = take(store, "w", 9)
    assert b.job == "b"
    (cause,) = explain(store, claim.run_id, "a").causes
    assert (cause.kind, cause.until) == ("retry", clock.now + timedelta(seconds=25))
    assert "its attempt that was aborted may not have ended; it starts again when that has, at" in cause.sentence
    clock.advance(24.999)
    assert store.advance(lease, [], 9).claims == []
    clock.advance(0.001)
    assert [(c.job, c.attempt) for c in store.advance(lease, [], 9).claims] == [("a", 2)]


def test_a_job_starts_again_as_soon_as_its_aborted_attempt_has_ended(resumed):
    store, _, claim = resumed
    note_ends(store, [claim])
    assert [c.job for c in take(store, "w", 9)[1]] == ["a", "b"]


def test_the_late_outcome_of_an_aborted_attempt_says_that_it_has_ended(resumed):
    store, before, claim = resumed
    with pytest.raises(StaleFenceError):
        store.advance(before, [ok(claim)], 9)
    lease, claims = take(store, "w", 9)
    assert [(c.job, c.attempt) for c in claims] == [("a", 2), ("b", 1)]
    note_ends(store, [claim])
    assert store.lost_of(claims) == []
    store.advance(lease, [replace(ok(claims[0]), state=AttemptState.FAILED, retry_at=store.clock() + DAY_LONG)], 0)
    note_ends(store, [claim])
    assert store.advance(lease, [], 9).claims == []


def test_a_command_that_goes_on_with_an_aborted_run_waits_for_its_attempts(make_store, clock, make):
    one, two = make_store(), make_store()
    lease = one.open_run(make({"a": []}), "one").lease
    one.advance(lease, [], 1)
    signals.send(one, signals.Scope("run", lease.run_id), signals.Action.ABORT, author="me")
    for _ in range(2):
        again = two.open_run(make({"a": []}), "two").lease
        step = two.advance(again, [], 1)
        assert (step.claims, step.next_retry) == ([], clock.now + timedelta(seconds=25))
        signals.send(two, signals.Scope("run", lease.run_id), signals.Action.ABORT, author="me")


def test_workers_of_an_older_generation_are_asked_to_leave(make_store, clock):
    store = make_store()
    sharing.arrive(store, Post("old", "z", 2, 1))
    sharing.arrive(store, Post("new", "z", 2, 2, ("gpu",)))
    assert sharing.stay(store, "old")
    signals.ask_to_exit(store, 2, author="me")
    assert not sharing.stay(store, "old")
    assert sharing.stay(store, "new")
    assert [(w.worker, w.pools) for w in sharing.workers_present(store)] == [("new", '["gpu"]'), ("old", None)]
    sharing.leave(store, "old")
    assert [w.worker for w in sharing.workers_present(store)] == ["new"]
    signals.take_back_exit(store)
    assert signals.standing(store) == []
    clock.advance(15)
    assert sharing.workers_present(store) == []


def test_a_repair_is_refused_when_the_run_has_changed_since_it_was_planned(make_store, make):
    store = make_store()
    lease = store.open_run(make(PAIR), "w").lease
    (a,) = store.advance(lease, [], 1).claims
    planned = repair.plan(store, lease.run_id, repair.Repair.SKIP, ["b"])
    store.advance(lease, [ok(a)], 1)
    with pytest.raises(Exception, match="has changed meanwhile"):
        repair.apply(store, planned, author="me")


def test_a_repair_waits_for_what_is_open_when_it_is_done_not_when_it_was_planned(make_store, make):
    store = make_store()
    run_id = store.submit(make({"c": [], "a1": [], "a2": [], "b": ["c", "a1", "a2"]})).run_id
    lease, claims = take(store, "w", 3)
    claim_of = {claim.job: claim for claim in claims}
    store.advance(lease, [ok(claim_of["c"])], 0)
    (planned,) = repair.poison(store, run_id, ["c"])
    store.advance(lease, [ok(claim_of["a1"])], 0)
    repair.apply(store, planned, author="me", detach=True)
    (again,) = store.advance(lease, [], 9).claims
    store.advance(lease, [ok(claim_of["a2"])], 0)
    (last,) = store.advance(lease, [ok(again)], 9).claims
    assert (again.job, again.anew, last.job) == ("c", True, "b")


def test_a_repair_is_refused_when_what_comes_after_has_started_since(make_store, make):
    store = make_store()
    run_id = store.submit(make({"a": [], "b": ["a"]})).run_id
    lease, (a,) = take(store, "w")
    store.advance(lease, [ok(a)], 0)
    planned = repair.plan(store, run_id, repair.Repair.REDO, ["a"])
    store.advance(lease, [], 1)
    with pytest.raises(Exception, match="has changed meanwhile"):
        repair.apply(store, planned, author="me")


def test_poison_reaches_the_last_runs_of_later_days(make_store):
    store = make_store()
    for number in (16, 17, 17, 18):
        jobs = Job("a", call="m:f"), Job("b", call="m:f", after=["a"])
        store.submit(jobs_of("demo", *jobs, day=date(2015, 5, number)))
        for _ in range(2):
            lease, (claim,) = take(store, "w")
            store.advance(lease, [ok(claim)], 0, close=True)
    plans = repair.poison(store, "demo-2015-05-16-1", ["a"], later=True)
    assert [p.run_id for p in plans] == ["demo-2015-05-16-1", "demo-2015-05-17-2", "demo-2015-05-18-1"]
    assert [(c.job, c.after.value, c.anew) for c in plans[0].changes] == [("a", "ready", True), ("b", "waiting", True)]
    assert [p.run_id for p in repair.poison(store, "demo-2015-05-18-1", ["b"])] == ["demo-2015-05-18-1"]


def test_what_is_done_anew_is_told_to_the_job_once(make_store, make):
    store = make_store()
    run_id = store.submit(make({"a": []})).run_id
    lease, (claim,) = take(store, "w")
    assert not claim.anew
    store.advance(lease, [ok(claim)], 0, close=True)
    repair.apply(store, repair.plan(store, run_id, repair.Repair.REDO, ["a"]), author="me", detach=True)
    lease, (claim,) = take(store, "w")
    assert claim.anew
    store.advance(lease, [ok(claim)], 0, close=True)
    events = [(e.job, e.state, e.detail) for _, e in store.events(run_id)]
    assert ("a", "ready", "redo by me") in events
    assert (None, "running", "redo by me") in events


def test_repairs_that_make_no_sense_are_refused_with_what_would(make_store, make):
    store = make_store()
    run_id = store.submit(make(PAIR)).run_id
    for kind, jobs, message in [
        ("retry", ["a"], "cannot retry a: it is ready"),
        ("retry", [], "there is nothing to retry"),
        ("resume", [], "is running, not aborted"),
        ("skip", ["z"], "no job is called 'z'"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            repair.plan(store, run_id, repair.Repair(kind), jobs)

from datetime import timedelta

import pytest

from pinflow.errors import UnknownNameError
from pinflow.scheduler.declare import Condition, Job
from pinflow.scheduler.explaining import explain, explain_all
from pinflow.scheduler.pools import Limit, set_limit
from pinflow.scheduler.records import Outcome
from pinflow.scheduler.sharing import Post, arrive, shared_runs
from pinflow.scheduler.signals import ALL, Action, Scope, ask_to_exit, send, undo
from pinflow.scheduler.states import AttemptState

CHAIN = {"a": [], "b": ["a"], "c": ["b"], "x": []}


def ended(claim, state=AttemptState.SUCCEEDED, **more):
    return Outcome(claim, state, exit_code=0, **more)


def said(store, run_id, job):
    (cause,) = explain(store, run_id, job).causes
    return cause.kind, cause.sentence


def test_a_job_waits_for_those_before_it(store, make):
    lease = store.open_run(make({"a": [], "b": [], "c": ["a", "b"]}), "w").lease
    a, b = store.advance(lease, [], 2).claims
    assert said(store, lease.run_id, "c") == ("dependency", "it waits for a (running), b (running)")
    store.advance(lease, [ended(a)], 0)
    assert said(store, lease.run_id, "c") == ("dependency", "it waits for b (running)")
    store.advance(lease, [ended(b)], 0)
    assert said(store, lease.run_id, "c")[0] == "slots"


def test_a_ready_job_waits_for_a_slot_that_is_named(store, make):
    opened = store.open_run(make(CHAIN), "w", slots=1)
    store.advance(opened.lease, [], 1)
    kind, sentence = said(store, opened.run_id, "x")
    assert (kind, sentence) == ("slots", "it is ready and waits for a slot: all 1 slots of w are taken, by a")
    assert said(store, opened.run_id, "a")[1].startswith("it is running since 2015-05-19 00:00:00 UTC, attempt 1")


def test_a_retry_says_why_and_when(store, make, clock):
    lease = store.open_run(make(CHAIN), "w").lease
    (a,) = store.advance(lease, [], 1).claims
    later = clock.now + timedelta(seconds=30)
    store.advance(lease, [Outcome(a, AttemptState.FAILED, "exit code 7: no room", 7, retry_at=later)], 0)
    (cause,) = explain(store, lease.run_id, "a").causes
    assert cause.until == later
    assert cause.sentence == "its attempt 1 failed (exit code 7: no room); the next starts at 2015-05-19 00:00:30 UTC"


def test_a_condition_says_what_it_looked_for_and_when_it_is_asked_again(store, of, clock):
    lease = store.open_run(of(Condition("there", call="m:f"), Job("a", call="m:f", after=["there"])), "w").lease
    (claim,) = store.advance(lease, [], 0, 1).claims
    assert said(store, lease.run_id, "there")[0] == "condition"
    store.postpone(lease, claim, clock.now + timedelta(seconds=10), "no file events/ (asked 3 times)")
    (cause,) = explain(store, lease.run_id, "there").causes
    assert cause.until == clock.now + timedelta(seconds=10)
    assert "no file events/ (asked 3 times); it is asked again at 2015-05-19 00:00:10 UTC" in cause.sentence
    assert said(store, lease.run_id, "a") == ("dependency", "it waits for there (polling)")


def test_a_failure_is_named_at_those_that_it_stops(store, make):
    lease = store.open_run(make(CHAIN), "w").lease
    claims = {c.job: c for c in store.advance(lease, [], 2).claims}
    store.advance(lease, [Outcome(claims["a"], AttemptState.FAILED, "broke", 1)], 0)
    assert said(store, lease.run_id, "a") == (
        "failed",
        f"it failed, attempt 1: broke; see: pinflow logs {lease.run_id} a",
    )
    assert said(store, lease.run_id, "c") == ("dependency", "it does not run, since a before it failed")
    assert [one.job for one in explain_all(store, lease.run_id)] == ["a", "b", "c", "x"]


def test_a_run_that_nobody_works_on_says_so_and_what_to_type(store, make, clock):
    lease = store.open_run(make(CHAIN), "w").lease
    store.advance(lease, [], 1)
    clock.advance(60)
    causes = explain(store, lease.run_id, "b").causes
    assert [cause.kind for cause in causes] == ["dependency", "driver"]
    assert causes[1].command == "pinflow run demo --date 2015-05-18"


def test_a_job_that_is_done_or_stopped(store, make):
    lease = store.open_run(make(CHAIN), "w").lease
    (a,) = store.advance(lease, [], 1).claims
    store.advance(lease, [ended(a, AttemptState.SKIPPED, reason="published for the same input")], 0)
    assert said(store, lease.run_id, "a") == ("done", "it is done: published for the same input")
    store.abort(lease, [], "stopped by SIGTERM")
    assert said(store, lease.run_id, "b") == ("aborted", "the run was stopped: stopped by SIGTERM")


def test_every_job_that_is_not_done_has_a_cause_at_any_time(store, make, clock):
    """Whatever happens in a run, `explain` is never without an answer."""
    lease = store.open_run(make(CHAIN), "w").lease
    running = []
    for step in range(8):
        advanced = store.advance(lease, running[:1] and [ended(running.pop(0))], 1)
        running += advanced.claims
        clock.advance(1)
        assert all(one.causes for one in explain_all(store, lease.run_id)), step
    assert explain_all(store, lease.run_id) == []


def test_unknown_jobs_are_named(store, make):
    run_id = store.open_run(make(CHAIN), "w").run_id
    with pytest.raises(UnknownNameError, match="no job is called 'z'; known: a, b, c, x"):
        explain(store, run_id, "z")


def helped(store, run_id, job):
    return {cause.kind: cause.command for cause in explain(store, run_id, job).causes}


@pytest.mark.parametrize("action", ["pause", "drain"])
@pytest.mark.parametrize(
    ("scope", "undone_by"),
    [
        (ALL, "pinflow resume --all"),
        (Scope("workflow", "demo"), "pinflow resume --workflow demo"),
        (Scope("run", "demo-2015-05-18-1"), "pinflow resume demo-2015-05-18-1"),
    ],
)
def test_a_signal_is_named_with_whom_since_and_what_undoes_it(store, make, action, scope, undone_by):
    run_id = store.open_run(make(CHAIN), "w").run_id
    send(store, scope, Action(action), author="ann", reason="the cluster moves")
    send(store, Scope("workflow", "other"), Action.PAUSE, author="bob")
    (cause,) = explain(store, run_id, "a").causes
    assert (cause.kind, cause.command) == (action, undone_by)
    assert "by ann since 2015-05-19 00:00:00 UTC (the cluster moves)" in cause.sentence
    # also at what only waits
    assert helped(store, run_id, "b") == {"dependency": "", action: undone_by}
    undo(store, scope)
    assert helped(store, run_id, "a") == {"slots": ""}


def test_a_disabled_job_says_that_it_will_be_skipped(store, make):
    run_id = store.open_run(make(CHAIN), "w").run_id
    send(store, Scope("workflow", "demo"), Action.DISABLE, author="ann", reason="nobody reads it", job="b")
    assert helped(store, run_id, "b") == {"dependency": "", "disable": "pinflow enable demo b"}
    assert "it is disabled in the workflow demo by ann" in explain(store, run_id, "b").causes[1].sentence
    assert "disable" not in helped(store, run_id, "c")


def test_an_abort_of_a_workflow_is_named_at_the_jobs_that_it_stopped(store, make):
    run_id = store.open_run(make(CHAIN), "w").run_id
    send(store, Scope("workflow", "demo"), Action.ABORT, author="ann")
    assert helped(store, run_id, "a") == {
        "aborted": f"pinflow resume {run_id}",
        "abort": "pinflow resume --workflow demo",
    }


def test_a_full_pool_names_who_has_it(store, of):
    jobs = [Job("a", call="m:f", pool="hbase"), Job("b", call="m:f", pool="hbase"), Job("c", call="m:f", pool="free")]
    opened = store.open_run(of(*jobs), "w", slots=3)
    set_limit(store, Limit("pool", "hbase", 1))
    assert [claim.job for claim in store.advance(opened.lease, [], 3).claims] == ["a", "c"]
    (cause,) = explain(store, opened.run_id, "b").causes
    assert (cause.kind, cause.about) == ("pool", ["a of demo-2015-05-18-1"])
    assert cause.sentence == "its pool hbase is full: 1 of its 1 slots are taken, by a of demo-2015-05-18-1"
    assert cause.command == "pinflow pools set hbase 2"


def test_a_full_workflow_says_so(store, make):
    opened = store.open_run(make({"a": [], "b": []}), "w", slots=3)
    set_limit(store, Limit("workflow", "demo", 1))
    store.advance(opened.lease, [], 3)
    (cause,) = explain(store, opened.run_id, "b").causes
    assert (cause.kind, cause.command) == ("limit", "pinflow pools set demo 2 --workflow")


def test_a_shared_run_says_which_workers_it_waits_for(store, of):
    run_id = store.submit(of(Job("a", call="m:f", pool="large"), Job("b", call="m:f"), Job("c", call="m:f"))).run_id
    assert helped(store, run_id, "a") == {"worker": "pinflow worker"}
    arrive(store, Post("one", "z", 1, 0, ("other",)))
    assert helped(store, run_id, "a") == {"worker": "pinflow worker --pool large"}
    assert helped(store, run_id, "b") == {"worker": "pinflow worker"}
    arrive(store, Post("two", "z", 1))
    assert helped(store, run_id, "b") == {"slots": ""}
    (run,) = shared_runs(store, "two")
    assert len(store.advance(run.lease, [], 1).claims) == 1
    (cause,) = explain(store, run_id, "b").causes
    assert (cause.kind, cause.command) == ("slots", "pinflow worker")
    assert cause.sentence.endswith(f"all 1 of 1 workers are taken, by a of {run_id}")
    ask_to_exit(store, 3, author="ann")
    assert helped(store, run_id, "b") == {"worker": "pinflow worker exit --undo"}

from datetime import timedelta

import pytest
import sqlalchemy as sa

from pinflow.database import open_database
from pinflow.errors import StaleFenceError
from pinflow.scheduler import reading, repair, tables
from pinflow.scheduler.declare import Condition, Job
from pinflow.scheduler.records import Outcome
from pinflow.scheduler.states import AttemptState, JobState, RunState
from pinflow.scheduler.store import Store
from tests.scheduler.stories import check_story

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def states(store, run_id):
    return {job.name: job.state.value for job in reading.get_run(store, run_id).jobs}


def ok(claim):
    return Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)


def failed(claim, retry_at=None):
    return Outcome(claim, AttemptState.FAILED, "broke", 1, retry_at=retry_at)


def test_a_job_is_claimed_once_all_before_it_are_done(store, make):
    lease = store.open_run(make(DIAMOND), "w").lease
    (a,) = store.advance(lease, [], 9).claims
    assert a.job == "a"
    assert store.advance(lease, [], 9).claims == []
    b, c = store.advance(lease, [ok(a)], 9).claims
    assert store.advance(lease, [ok(b)], 9).claims == []
    (d,) = store.advance(lease, [Outcome(c, AttemptState.SKIPPED, exit_code=10)], 9).claims
    assert d.job == "d"
    assert store.close_run(lease) is None
    store.advance(lease, [ok(d)], 9)
    store.close_run(lease)
    run = reading.get_run(store, lease.run_id)
    assert run.state is RunState.SUCCEEDED
    assert run.run_id == "demo-2015-05-18-1"
    assert [job.state.value for job in run.jobs] == ["succeeded", "succeeded", "skipped", "succeeded"]


def test_the_longest_way_goes_first_and_slots_are_kept(store, make):
    lease = store.open_run(make({"short": [], "long": [], "next": ["long"], "other": []}), "w").lease
    assert [c.job for c in store.advance(lease, [], 2).claims] == ["long", "short"]


def test_a_failure_stops_only_what_depends_on_it(store, make):
    lease = store.open_run(make(DIAMOND | {"x": [], "y": ["x"]}), "w").lease
    claims = {c.job: c for c in store.advance(lease, [], 9).claims}
    (y,) = store.advance(lease, [failed(claims["a"]), ok(claims["x"])], 9).claims
    store.advance(lease, [ok(y)], 9)
    store.close_run(lease)
    assert states(store, lease.run_id) == {
        "a": "failed",
        **dict.fromkeys("bcd", "upstream_failed"),
        **dict.fromkeys("xy", "succeeded"),
    }
    assert reading.get_run(store, lease.run_id).state is RunState.FAILED


def test_fences_only_grow_even_when_the_clock_goes_back_and_the_database_is_new(make_store, clock, make):
    store = make_store()
    lease = store.open_run(make({str(n): [] for n in range(5)}), "w").lease
    first = [c.fence for c in store.advance(lease, [], 3).claims]
    clock.advance(-3600)
    later = [c.fence for c in store.advance(lease, [], 3).claims]
    fences = [lease.fence, *first, *later]
    assert fences == sorted(set(fences))
    assert fences[0] == int(clock.now.timestamp() + 3600) * 1_000_000


def test_an_active_run_is_joined(make_store, make):
    one, two = make_store(), make_store()
    first = one.open_run(make(DIAMOND), "one")
    second = two.open_run(make(DIAMOND), "two")
    assert (second.run_id, second.created, second.lease) == (first.run_id, False, None)
    assert two.open_run(make({"a": []}, rebuild=True), "two").lease is None


def test_a_lease_can_be_taken_just_when_it_has_run_out(make_store, clock, make):
    one, two = make_store(), make_store()
    run_id = one.open_run(make(DIAMOND), "one").run_id
    clock.advance(14.999)
    assert two.is_driven(run_id)
    assert two.take_over(run_id, "two").lease is None
    clock.advance(0.001)
    assert not two.is_driven(run_id)
    taken = two.take_over(run_id, "two")
    assert taken.lease is not None
    assert taken.previous == "one"


def test_a_driver_that_let_go_of_its_run_is_not_taken_for_lost(make_store, dead, make):
    one, two = make_store(), make_store()
    opened = one.open_run(make(DIAMOND), "one")
    one.release(opened.lease)
    given = two.open_run(make(DIAMOND), "two")
    assert (given.run_id, given.previous) == (opened.run_id, None)
    two.abort(given.lease, [], "stopped")
    again = one.open_run(make(DIAMOND), "one")
    assert (again.run_id, again.previous) == (opened.run_id, None)
    one.abort(again.lease, [], "stopped")
    repair.apply(one, repair.plan(one, opened.run_id, repair.Repair.RESUME), author="a")
    resumed = two.take_over(opened.run_id, "two")
    assert (resumed.lease is not None, resumed.previous) == (True, None)
    two.abort(resumed.lease, [], "stopped")
    dead.add("two")
    assert one.open_run(make(DIAMOND), "one").previous == "two"


def test_a_renewed_lease_holds(make_store, clock, make):
    one, two = make_store(), make_store()
    lease = one.open_run(make(DIAMOND), "one").lease
    for _ in range(4):
        clock.advance(5)
        one.renew(lease, [])
    clock.advance(14)
    assert two.open_run(make(DIAMOND), "two").lease is None


def test_after_a_take_over_the_old_driver_can_write_nothing(make_store, dead, make):
    one, two = make_store(), make_store()
    old = one.open_run(make(DIAMOND), "one").lease
    (claim,) = one.advance(old, [], 1).claims
    dead.add("one")
    new = two.open_run(make(DIAMOND), "two").lease
    for late in (
        lambda: one.advance(old, [ok(claim)], 1),
        lambda: one.advance(old, [], 1),
        lambda: one.renew(old, [(claim, 1)]),
        lambda: one.close_run(old),
        lambda: one.abort(old, [], "late"),
        lambda: one.release(old),
        lambda: two.advance(new, [ok(claim)], 1),
    ):
        with pytest.raises(StaleFenceError):
            late()
    assert states(two, new.run_id)["a"] == "ready"
    (again,) = two.advance(new, [], 1).claims
    assert (again.job, again.attempt, again.failures) == ("a", 2, 0)
    assert again.fence > new.fence > claim.fence
    assert [a.state for a in reading.attempts(two, new.run_id, "a")] == [AttemptState.LOST, AttemptState.RUNNING]


def test_what_was_done_stays_done_but_what_publishes_is_looked_at_again(make_store, dead, of):
    definition = of(
        Job("done", call="m:f"),
        Job("data", call="m:f", publishes=["events"]),
        Job("next", call="m:f", after=["done", "data"]),
    )
    one, two = make_store(), make_store()
    lease = one.open_run(definition, "one").lease
    one.advance(lease, [ok(c) for c in one.advance(lease, [], 2).claims], 1)
    assert states(one, lease.run_id) == {"done": "succeeded", "data": "succeeded", "next": "running"}
    dead.add("one")
    new = two.open_run(definition, "two").lease
    assert states(two, lease.run_id) == {"done": "succeeded", "data": "ready", "next": "waiting"}
    (data,) = two.advance(new, [], 9).claims
    assert [c.job for c in two.advance(new, [ok(data)], 9).claims] == ["next"]


def test_what_somebody_skipped_stays_so_under_another_driver_though_it_publishes(make_store, dead, of):
    definition = of(
        Job("bad", call="m:f"),
        Job("data", call="m:f", after=["bad"], publishes=["events"]),
        Job("last", call="m:f", after=["data"]),
    )
    one, two = make_store(), make_store()
    lease = one.open_run(definition, "one").lease
    one.advance(lease, [failed(c) for c in one.advance(lease, [], 1).claims], 1)
    repair.apply(one, repair.plan(one, lease.run_id, repair.Repair.SKIP, ["data"]), author="a")
    dead.add("one")
    new = two.open_run(definition, "two").lease
    assert states(two, lease.run_id) == {"bad": "failed", "data": "skipped", "last": "ready"}
    (last,) = two.advance(new, [], 9).claims
    assert two.advance(new, [ok(last)], 9, close=True).ended


def test_what_is_looked_at_again_counts_for_nothing_that_has_ended(make_store, dead, of):
    definition = of(
        Job("data", call="m:f", publishes=["events"]),
        Job("more", call="m:f", publishes=["more"]),
        Job("done", call="m:f", after=["data"]),
        Job("bad", call="m:f", after=["data"]),
        Job("blocked", call="m:f", after=["data", "more", "bad"]),
        Job("open", call="m:f", after=["data", "more", "done"]),
    )
    one, two = make_store(), make_store()
    lease = one.open_run(definition, "one").lease
    claims = {c.job: c for c in one.advance(lease, [], 9).claims}
    claims |= {c.job: c for c in one.advance(lease, [ok(claims["data"])], 9).claims}
    one.advance(lease, [failed(claims["bad"]), ok(claims["done"]), ok(claims["more"])], 9)
    kept = {"done": "succeeded", "bad": "failed", "blocked": "upstream_failed"}
    assert states(one, lease.run_id) == kept | {"data": "succeeded", "more": "succeeded", "open": "running"}
    dead.add("one")
    new = two.open_run(definition, "two").lease
    assert states(two, lease.run_id) == kept | {"data": "ready", "more": "ready", "open": "waiting"}
    data, more = two.advance(new, [], 9).claims
    assert two.advance(new, [ok(data)], 9).claims == []
    (last,) = two.advance(new, [ok(more)], 9).claims
    assert last.job == "open"
    two.advance(new, [ok(last)], 9)
    two.close_run(new)
    assert states(two, lease.run_id) == kept | dict.fromkeys(("data", "more", "open"), "succeeded")
    assert reading.get_run(two, lease.run_id).state is RunState.FAILED


def test_a_dead_run_of_other_work_is_aborted_and_a_new_one_made(make_store, dead, make):
    one, two = make_store(), make_store()
    old = one.open_run(make(DIAMOND), "one")
    one.advance(old.lease, [], 1)
    dead.add("one")
    new = two.open_run(make(DIAMOND, rebuild=True), "two")
    assert new.created
    assert new.run_id == "demo-2015-05-18-2"
    assert set(states(two, old.run_id).values()) == {"aborted"}


def test_an_aborted_run_is_resumed_with_its_failed_jobs(make_store, make):
    store = make_store()
    definition = make({"bad": [], "after": ["bad"], "good": [], "last": ["good"]})
    lease = store.open_run(definition, "one").lease
    bad, good = store.advance(lease, [], 2).claims
    store.advance(lease, [failed(bad), ok(good)], 0)
    store.abort(lease, [], "stopped by SIGTERM")
    assert states(store, lease.run_id) == {
        "bad": "failed",
        "after": "upstream_failed",
        "good": "succeeded",
        "last": "aborted",
    }
    again = store.open_run(definition, "two")
    assert (again.run_id, again.created) == (lease.run_id, False)
    assert states(store, lease.run_id) == {
        "bad": "ready",
        "after": "waiting",
        "good": "succeeded",
        "last": "ready",
    }


def test_a_run_that_has_ended_is_followed_by_a_new_one(store, make):
    lease = store.open_run(make({}), "w").lease
    store.close_run(lease)
    with pytest.raises(StaleFenceError):
        store.close_run(lease)
    assert store.open_run(make({}), "w").run_id == "demo-2015-05-18-2"


def test_a_retry_waits_for_its_time(store, clock, make):
    lease = store.open_run(make({"a": []}), "w").lease
    (claim,) = store.advance(lease, [], 1).claims
    retry_at = clock.now + timedelta(seconds=10)
    step = store.advance(lease, [failed(claim, retry_at)], 1)
    assert (step.claims, step.next_retry) == ([], retry_at)
    clock.advance(10)
    (again,) = store.advance(lease, [], 1).claims
    assert (again.attempt, again.failures) == (2, 1)


def test_conditions_are_claimed_without_slots(store, clock, of):
    lease = store.open_run(of(Job("a", call="m:f"), Condition("c", call="m:f")), "w").lease
    (c,) = store.advance(lease, [], 0, 3).claims
    assert c.job == "c"
    assert states(store, lease.run_id)["c"] == "polling"
    store.postpone(lease, c, clock.now + timedelta(seconds=10), "not there yet")
    info = reading.get_run(store, lease.run_id).jobs[1]
    assert (info.reason, info.not_before) == ("not there yet", clock.now + timedelta(seconds=10))
    store.advance(lease, [Outcome(c, AttemptState.SUCCEEDED)], 0)
    assert states(store, lease.run_id)["c"] == "succeeded"


def test_every_transition_leaves_an_event_in_order(store, make):
    lease = store.open_run(make({"a": [], "b": ["a"]}), "w").lease
    (a,) = store.advance(lease, [], 1).claims
    (b,) = store.advance(lease, [ok(a)], 1).claims
    store.advance(lease, [ok(b)], 1)
    store.close_run(lease)
    told = [(e.job, e.before, e.state) for _, e in store.events(lease.run_id)]
    assert told == [
        (None, None, "running"),
        ("a", "ready", "running"),
        ("a", "running", "succeeded"),
        ("b", "waiting", "ready"),
        ("b", "ready", "running"),
        ("b", "running", "succeeded"),
        (None, "running", "succeeded"),
    ]


def test_an_unknown_state_cannot_be_stored(store, make):
    store.open_run(make({"a": []}), "w")
    # MariaDB has no integrity error for it
    refused = (sa.exc.IntegrityError, sa.exc.OperationalError)
    with pytest.raises(refused, match="job_state"), store.engine.begin() as connection:
        connection.execute(sa.update(tables.job).values(state="done"))


def test_a_transaction_that_is_refused_changes_nothing(store, make):
    lease = store.open_run(make({"a": [], "b": []}), "w").lease
    a, b = store.advance(lease, [], 2).claims
    store.advance(lease, [ok(b)], 0)
    with pytest.raises(StaleFenceError):
        store.advance(lease, [ok(a), ok(b)], 0)
    assert states(store, lease.run_id) == {"a": "running", "b": "succeeded"}
    assert JobState.RUNNING in {j.state for j in reading.get_run(store, lease.run_id).jobs}


def test_no_statement_needs_a_newer_sqlite_than_that_of_old_servers(make):
    """RETURNING came with SQLite 3.35; RHEL 9 has 3.34."""
    said = []
    engine = open_database("sqlite://")
    sa.event.listen(engine, "connect", lambda driver, _: driver.set_trace_callback(said.append))
    with Store(engine) as store:
        opened = store.open_run(make({"a": []}), "w")
        store.advance(opened.lease, [], 1)
    assert any(text.startswith("UPDATE fence") for text in said)
    assert not [text for text in said if "RETURNING" in text]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_bears_a_run_of_one_process_and_is_no_file(url, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store(open_database(url)) as store:
        lease = store.open_run(make({"a": [], "b": ["a"], "c": ["b"]}), "w").lease
        claims = []
        while store.close_run(lease) is None:
            claims = store.advance(lease, [ok(claim) for claim in claims], 2).claims
        assert states(store, lease.run_id) == dict.fromkeys("abc", "succeeded")
        check_story(store.engine, lease.run_id)
    assert list(tmp_path.iterdir()) == []

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinflow.database import open_database
from pinflow.errors import ConfigurationError
from pinflow.scheduler.backfills import (
    BackfillRequest,
    Reprocess,
    cancel,
    end_day,
    get_backfill,
    hand_over,
    list_backfills,
    open_backfill,
    plan,
    take_day,
    work_for_workers,
)
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.identity import process_id
from pinflow.scheduler.records import Outcome
from pinflow.scheduler.sharing import shared_runs
from pinflow.scheduler.signals import Action, Scope
from pinflow.scheduler.signals import send as abort
from pinflow.scheduler.states import AttemptState
from pinflow.scheduler.store import Store

FIRST = date(2015, 5, 1)
WORKFLOW = Workflow("demo", "o", lambda _day, _parameters: [Stage("s", [Job("a", call="m:f")])])


def request(days=4, **options):
    return BackfillRequest("demo", FIRST, FIRST + timedelta(days=days - 1), **options)


def run(store, day, state="succeeded"):
    """A run of a day that has ended, or is running."""
    opened = store.open_run(define(WORKFLOW, day), "w")
    if state == "running":
        return opened.run_id
    (claim,) = store.advance(opened.lease, [], 1).claims
    if state == "aborted":
        store.abort(opened.lease, [], "for the test")
    else:
        store.advance(opened.lease, [Outcome(claim, AttemptState(state), exit_code=0)], 0)
        store.close_run(opened.lease)
    return opened.run_id


def day(number):
    return FIRST + timedelta(days=number - 1)


def states(store, number):
    return [(d.date.day, d.state) for d in get_backfill(store, number).days]


@pytest.mark.parametrize(
    ("reprocess", "runs"),
    [(Reprocess.NONE, [4, 5]), (Reprocess.FAILED, [2, 3, 4, 5]), (Reprocess.ALL, [1, 2, 3, 4, 5])],
)
def test_which_days_are_run(store, reprocess, runs):
    for number, state in enumerate(("succeeded", "failed", "aborted", "running"), start=1):
        run(store, day(number), state)
    found = plan(store, request(5, reprocess=reprocess))
    assert [d.date.day for d in found if d.state == "waiting"] == runs
    assert [d.run_id is not None for d in found] == [True] * 4 + [False]


def test_the_newest_run_of_a_day_decides(store):
    run(store, day(1), "failed")
    run(store, day(1), "succeeded")
    assert [d.state for d in plan(store, request(1, reprocess=Reprocess.FAILED))] == ["kept"]


def test_days_are_taken_in_order_so_many_at_once(store):
    found, begun = open_backfill(store, request(3, max_runs=2))
    assert begun
    assert take_day(store, found.number, "one").date == day(1)
    assert take_day(store, found.number, "two").date == day(2)
    assert take_day(store, found.number, "three") is None
    end_day(store, found.number, day(2), "succeeded", "demo-2015-05-02-1")
    assert take_day(store, found.number, "three").date == day(3)
    end_day(store, found.number, day(3), "failed", None)
    assert get_backfill(store, found.number).state == "running"
    end_day(store, found.number, day(1), "succeeded", None)
    assert get_backfill(store, found.number).state == "failed"
    assert take_day(store, found.number, "one") is None


def test_reverse_begins_with_the_last_day(store):
    found, _ = open_backfill(store, request(3, reverse=True))
    assert take_day(store, found.number, "one").date == day(3)


def test_the_same_request_goes_on_and_another_is_another(store):
    first, _ = open_backfill(store, request())
    take_day(store, first.number, "one")
    again, begun = open_backfill(store, request(max_runs=3))
    assert (again.number, begun, again.request.max_runs) == (first.number, False, 3)
    for other in (request(5), request(reverse=True), request(rebuild=True), request(parameters={"top": 5})):
        assert open_backfill(store, other)[1]
    assert len(list_backfills(store, "demo")) == 5
    assert open_backfill(store, request())[0].number == first.number


def test_a_backfill_without_a_day_to_run_has_succeeded(store):
    run(store, day(1))
    found, _ = open_backfill(store, request(1))
    assert (found.state, [d.state for d in found.days]) == ("succeeded", ["kept"])


def test_the_day_of_a_dead_driver_is_taken_again(store):
    found, _ = open_backfill(store, request(2))
    take_day(store, found.number, "dead")
    assert take_day(store, found.number, "two", lambda name: False) is None
    assert take_day(store, found.number, "two", {"dead"}.__contains__).date == day(1)


def test_the_day_of_a_driver_on_another_machine_is_taken_again_when_it_gives_no_sign(store, clock):
    found, _ = open_backfill(store, request(2))
    take_day(store, found.number, "elsewhere-1a2b3c4d:17:4711")
    # it lives for all that is known here: before its run is made
    clock.advance(119)
    assert take_day(store, found.number, "two") is None
    opened = store.open_run(define(WORKFLOW, day(1)), "elsewhere-1a2b3c4d:17:4711")
    for _ in range(40):
        clock.advance(10)
        store.renew(opened.lease, [])
        assert take_day(store, found.number, "two") is None
    # the lease lasts 15 seconds
    clock.advance(134)
    assert take_day(store, found.number, "two") is None
    clock.advance(2)
    assert take_day(store, found.number, "two").date == day(1)
    # who takes it goes on with the same run
    assert store.open_run(define(WORKFLOW, day(1)), "two")[:2] == (opened.run_id, False)


def test_a_day_of_another_machine_whose_run_was_just_aborted_is_left_to_it(store, clock):
    found, _ = open_backfill(store, request(1))
    take_day(store, found.number, "elsewhere-1a2b3c4d:17:4711")
    clock.advance(600)
    run(store, day(1), "aborted")
    clock.advance(119)
    assert take_day(store, found.number, "two") is None
    clock.advance(2)
    assert take_day(store, found.number, "two").date == day(1)


def test_a_day_of_another_machine_that_died_before_it_made_the_run_is_taken_again(store, clock):
    found, _ = open_backfill(store, request(1), detach=True)
    take_day(store, found.number, "elsewhere-1a2b3c4d:17:4711")
    assert work_for_workers(store) == []
    clock.advance(121)
    assert work_for_workers(store) == [found.number]
    assert take_day(store, found.number, "two").date == day(1)


def test_a_day_of_another_machine_that_joined_a_shared_run_waits_for_that(store, clock):
    found, _ = open_backfill(store, request(1))
    take_day(store, found.number, "elsewhere-1a2b3c4d:17:4711")
    run_id = store.submit(define(WORKFLOW, day(1))).run_id
    clock.advance(3600)
    assert take_day(store, found.number, "two") is None
    (shared,) = shared_runs(store, "worker")
    (claim,) = store.advance(shared.lease, [], 1).claims
    store.advance(shared.lease, [Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)], 0, close=True)
    clock.advance(121)
    assert take_day(store, found.number, "two") is None
    assert (states(store, found.number), get_backfill(store, found.number).days[0].run_id) == (
        [(1, "succeeded")],
        run_id,
    )


def test_a_driver_of_this_machine_that_lives_keeps_its_day_for_as_long_as_it_takes(store, clock):
    found, _ = open_backfill(store, request(1))
    take_day(store, found.number, process_id())
    clock.advance(86400)
    assert take_day(store, found.number, "two") is None


def test_who_could_not_hear_that_it_was_given_a_day_is_given_it_again(store):
    found, _ = open_backfill(store, request(2))
    assert [take_day(store, found.number, "one").date for _ in range(2)] == [day(1)] * 2
    assert take_day(store, found.number, "two") is None


def test_who_has_lost_a_day_does_not_end_it(store):
    found, _ = open_backfill(store, request(1))
    take_day(store, found.number, "one")
    take_day(store, found.number, "two", {"one"}.__contains__)
    end_day(store, found.number, day(1), "waiting", None, driver="one")
    assert get_backfill(store, found.number).days[0].driver == "two"
    end_day(store, found.number, day(1), "succeeded", None, driver="two")
    assert states(store, found.number) == [(1, "succeeded")]


def test_a_day_whose_run_ended_just_before_its_driver_died_is_not_run_again(store):
    found, _ = open_backfill(store, request(2, reprocess=Reprocess.ALL))
    take_day(store, found.number, "dead")
    run_id = run(store, day(1))
    assert take_day(store, found.number, "two", {"dead"}.__contains__).date == day(2)
    assert get_backfill(store, found.number).days[0].run_id == run_id


def test_a_run_from_before_the_backfill_does_not_count_as_its_own(store, clock):
    run(store, day(1))
    clock.advance(60)
    found, _ = open_backfill(store, request(1, reprocess=Reprocess.ALL))
    take_day(store, found.number, "dead")
    assert take_day(store, found.number, "two", {"dead"}.__contains__).date == day(1)


def test_a_cancelled_backfill_starts_no_further_day(store):
    found, _ = open_backfill(store, request(3))
    take_day(store, found.number, "one")
    assert cancel(store, "demo") == [found.number]
    assert cancel(store, "demo") == []
    assert take_day(store, found.number, "two") is None
    assert states(store, found.number) == [(1, "running"), (2, "cancelled"), (3, "cancelled")]
    end_day(store, found.number, day(1), "succeeded", None)
    assert get_backfill(store, found.number).state == "cancelled"


def test_a_day_that_is_given_back_waits_again(store):
    found, _ = open_backfill(store, request(1))
    take_day(store, found.number, "one")
    end_day(store, found.number, day(1), "waiting", None)
    assert take_day(store, found.number, "two").date == day(1)
    cancel(store, "demo")
    end_day(store, found.number, day(1), "waiting", None)
    assert states(store, found.number) == [(1, "cancelled")]


def test_no_day_is_taken_twice_by_many_at_once(make_store):
    stores = [make_store() for _ in range(5)]
    found, _ = open_backfill(stores[0], request(20, max_runs=64))
    taken = []

    def work(number):
        while (chosen := take_day(stores[number], found.number, f"w{number}", lambda name: False)) is not None:
            taken.append(chosen.date)
            end_day(stores[number], found.number, chosen.date, "succeeded", None)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    assert sorted(taken) == [day(n) for n in range(1, 21)]
    assert get_backfill(stores[0], found.number).state == "succeeded"


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=20)
@given(
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["take", "end", "die", "fail", "back"]), st.integers(0, 2)), max_size=40),
)
def test_whatever_happens_each_day_ends_once_and_no_more_than_so_many_run(days, most, steps):
    with Store(open_database("sqlite://")) as store:
        found, _ = open_backfill(store, request(days, max_runs=most))
        held: dict[int, date] = {}
        dead: set[str] = set()
        ended: list[date] = []
        for number, (verb, who) in enumerate(
            [*steps, *[(v, w) for _ in range(days + 3) for w in range(3) for v in ("take", "end")]]
        ):
            if verb == "take" and who not in held:
                taken = take_day(store, found.number, f"{who}-{number}", dead.__contains__)
                if taken is not None:
                    held[who] = taken.date
                    names = [d.driver for d in get_backfill(store, found.number).days if d.state == "running"]
                    assert sum(name not in dead for name in names) <= most
            elif verb == "die" and who in held:
                mine = next(d for d in get_backfill(store, found.number).days if d.date == held[who])
                dead.add(mine.driver)
                del held[who]
            elif verb in ("end", "fail") and who in held:
                ended.append(held[who])
                end_day(store, found.number, held.pop(who), "succeeded" if verb == "end" else "failed", None)
            elif verb == "back" and who in held:
                end_day(store, found.number, held.pop(who), "waiting", None)
        assert sorted(ended) == [day(n) for n in range(1, days + 1)]
        assert get_backfill(store, found.number).state in ("succeeded", "failed")


@pytest.mark.parametrize(("first", "last"), [("2015-05-02", "2015-05-01"), ("1900-01-01", "2015-05-01")])
def test_a_span_that_cannot_be_is_refused(first, last):
    with pytest.raises(ConfigurationError, match=r"a backfill (cannot go from|may have 5000 days)"):
        BackfillRequest("demo", date.fromisoformat(first), date.fromisoformat(last))


def test_a_detached_backfill_goes_on_as_its_runs_end(store):
    backfill, _ = open_backfill(store, request(3, max_runs=2), detach=True)
    number = backfill.number
    runs = {}
    assert work_for_workers(store) == [number]
    while (taken := take_day(store, number, "w")) is not None:
        runs[taken.date.day] = store.submit(define(WORKFLOW, taken.date)).run_id
        hand_over(store, number, taken.date, runs[taken.date.day])
    assert sorted(runs) == [1, 2]
    # what workers have is not taken by anybody else, whoever is dead
    assert work_for_workers(store) == []
    assert take_day(store, number, "other", is_dead=lambda driver: driver == "w") is None
    (shared, _) = shared_runs(store, "worker")
    (claim,) = store.advance(shared.lease, [], 1).claims
    store.advance(shared.lease, [Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)], 0, close=True)
    assert work_for_workers(store) == [number]
    assert states(store, number) == [(1, "succeeded"), (2, "running"), (3, "waiting")]
    abort(store, Scope("run", runs[2]), Action.ABORT, author="me")
    assert work_for_workers(store) == [number]
    cancel(store, "demo")
    assert work_for_workers(store) == []
    assert states(store, number) == [(1, "succeeded"), (2, "failed"), (3, "cancelled")]


def test_a_backfill_that_a_command_drives_is_none_of_the_workers(store):
    open_backfill(store, request(2))
    assert work_for_workers(store) == []
    # until somebody leaves it to them
    number = open_backfill(store, request(2), detach=True)[0].number
    assert work_for_workers(store) == [number]


def test_a_detached_day_whose_pusher_died_before_it_handed_it_over_is_taken_again(store):
    number = open_backfill(store, request(1), detach=True)[0].number
    take_day(store, number, "dead")
    assert work_for_workers(store, lambda _: False) == []
    assert work_for_workers(store, {"dead"}.__contains__) == [number]
    assert take_day(store, number, "two", {"dead"}.__contains__).date == day(1)
    assert work_for_workers(store, {"dead"}.__contains__) == []
    # beside it another may run: it is not one of the so many
    number = open_backfill(store, request(2), detach=True)[0].number
    take_day(store, number, "dead")
    assert work_for_workers(store, {"dead"}.__contains__) == [number]


def test_days_that_workers_have_of_a_cancelled_backfill_end_as_their_runs_do(store):
    number = open_backfill(store, request(4, max_runs=3), detach=True)[0].number
    runs = {}
    for _ in range(2):
        taken = take_day(store, number, "w")
        runs[taken.date.day] = store.submit(define(WORKFLOW, taken.date)).run_id
        hand_over(store, number, taken.date, runs[taken.date.day])
    take_day(store, number, "dead")
    cancel(store, "demo")
    assert work_for_workers(store) == []
    assert states(store, number) == [(1, "running"), (2, "running"), (3, "running"), (4, "cancelled")]
    abort(store, Scope("run", runs[2]), Action.ABORT, author="me")
    assert work_for_workers(store, {"dead"}.__contains__) == []
    assert states(store, number) == [(1, "running"), (2, "failed"), (3, "cancelled"), (4, "cancelled")]
    assert get_backfill(store, number).state == "cancelled"


def test_a_backfill_of_no_day_at_once_is_refused(store):
    with pytest.raises(ConfigurationError, match="cannot run 0 days at once; max_runs is 1 or more"):
        open_backfill(store, request(max_runs=0))

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from pinflow import database
from pinflow.errors import ConfigurationError, StaleFenceError
from pinflow.scheduler import reading, signals, tables
from pinflow.scheduler.declare import Job, Stage, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.records import Lease, Outcome
from pinflow.scheduler.schedule_tables import schedule, tick
from pinflow.scheduler.schedules import Schedule
from pinflow.scheduler.states import AttemptState, RunState
from pinflow.scheduler.ticks import fire_due, pause
from pinflow.scheduler.timetable import Timetable

WORKFLOW = Workflow("demo", "o@example.com", lambda _day, _parameters: [Stage("s", [Job("a", call="m:f")])])
NIGHTLY = "0 2 * * *"


def defined(_name, day, parameters):
    return define(WORKFLOW, day, parameters)


def table(declared, define=defined):
    return Timetable({"demo": declared}, define)


def runs(store):
    return {run.run_id: run.state.value for run in reversed(reading.list_runs(store))}


def ticks(store):
    rows = database.fetch(store.engine, sa.select(tick).order_by(tick.c.at))
    return [(f"{row.at:%d %H}", row.state, row.run_id) for row in rows]


def row(store):
    return database.fetch(store.engine, sa.select(schedule))[0]


def finish(store, run_id, state=RunState.SUCCEEDED):
    """End a run as its worker would; the jobs themselves do not matter here."""
    lease = store.take_over(run_id, "worker").lease
    (claim,) = store.advance(lease, [], 1).claims
    if state is RunState.ABORTED:
        store.abort(lease, [], "for the test")
        return
    store.advance(lease, [Outcome(claim, AttemptState(state.value), exit_code=0)], 0)
    store.close_run(lease)


@pytest.fixture
def at(store, clock):
    """Go to a time of May 2015 and fire; gives when to fire next."""

    def go(text, timetable, times=1):
        clock.now = datetime.strptime(f"2015-05-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        for _ in range(times):
            moment = fire_due(store, timetable)
        return moment and f"{moment:%d %H:%M:%S}"

    return go


def test_a_tick_starts_the_run_of_the_day_before_once(store, at):
    nightly = table(Schedule(NIGHTLY))
    assert at("18 12:00", nightly) == "19 02:00:00"
    assert runs(store) == {}
    assert at("19 01:59", nightly) == "19 02:00:00"
    assert runs(store) == {}
    assert at("19 02:00", nightly, times=3) == "20 02:00:00"
    assert runs(store) == {"demo-2015-05-18-1": "running"}
    assert ticks(store) == [("19 02", "started", "demo-2015-05-18-1")]
    finish(store, "demo-2015-05-18-1")
    assert at("20 02:00", nightly) == "21 02:00:00"
    assert runs(store) == {"demo-2015-05-18-1": "succeeded", "demo-2015-05-19-1": "running"}


def test_a_started_run_is_there_for_any_worker_at_once(store, at):
    at("18 12:00", table(Schedule(NIGHTLY)))
    at("19 02:00", table(Schedule(NIGHTLY)))
    assert not store.is_driven("demo-2015-05-18-1")
    assert store.take_over("demo-2015-05-18-1", "worker").lease is not None
    events = store.events("demo-2015-05-18-1")
    assert events[0][1].detail == "schedule@2015-05-19T02:00:00+00:00"


def test_the_run_gets_the_parameters_of_its_tick(store, at):
    parameters = {"top": 5, "hours": "{previous_tick}/{tick}", "of": "{date}"}
    hourly = table(Schedule("0 * * * *", timezone="Asia/Tokyo", days_before=0, parameters=parameters))
    at("18 12:30", hourly)
    at("18 16:00", hourly)
    # 16:00 in UTC is 1:00 of the next day in Tokyo.
    (run,) = reading.list_runs(store)
    assert run.run_id == "demo-2015-05-19-1"
    assert run.parameters == {
        "top": 5,
        "hours": "2015-05-18T15:00:00+00:00/2015-05-18T16:00:00+00:00",
        "of": "2015-05-19",
    }


@pytest.mark.parametrize(
    ("catch_up", "started", "missed"),
    [("none", [], ["22 02"]), ("latest", ["22 02"], ["21 02"]), ("all", ["20 02", "21 02", "22 02"], ["19 02"])],
)
def test_ticks_that_no_scheduler_saw(store, at, catch_up, started, missed):
    declared = table(Schedule(NIGHTLY, catch_up=catch_up, limit=3, overrun="start_new"))
    at("18 12:00", declared)
    assert at("22 09:00", declared) == "23 02:00:00"
    found = ticks(store)
    assert [when for when, state, _ in found if state == "started"] == started
    assert [when for when, state, _ in found if state == "missed"] == missed
    assert len(runs(store)) == len(started)


def test_a_tick_is_on_time_for_ten_minutes(store, at):
    declared = table(Schedule(NIGHTLY, catch_up="none"))
    at("18 12:00", declared)
    at("19 02:10", declared)
    at("20 02:11", declared)
    assert [state for _, state, _ in ticks(store)] == ["started", "missed"]


def test_ticks_that_are_made_up_for_run_one_after_the_other(store, at):
    declared = table(Schedule(NIGHTLY, catch_up="all"))
    at("18 12:00", declared)
    at("21 09:00", declared)
    for hour, day in enumerate(("18", "19", "20"), start=10):
        assert [run for run, state in runs(store).items() if state == "running"] == [f"demo-2015-05-{day}-1"]
        at(f"21 {hour}:00", declared)
        finish(store, f"demo-2015-05-{day}-1")
        at(f"21 {hour}:30", declared)
    assert list(runs(store).values()) == ["succeeded"] * 3


@pytest.mark.parametrize(
    ("overrun", "states", "last"),
    [
        ("skip", ["running"], ("20 02", "skipped", None)),
        ("abort_running", ["aborted", "running"], ("20 02", "started", "demo-2015-05-19-1")),
        ("delay", ["running"], ("20 02", "waiting", None)),
        ("delay_until_success", ["running"], ("20 02", "waiting", None)),
        ("start_new", ["running", "running"], ("20 02", "started", "demo-2015-05-19-1")),
    ],
)
def test_a_tick_while_the_run_before_is_running(store, at, overrun, states, last):
    declared = table(Schedule(NIGHTLY, overrun=overrun))
    at("18 12:00", declared)
    at("19 02:00", declared)
    at("20 02:00", declared, times=2)
    assert list(runs(store).values()) == states
    assert ticks(store)[-1] == last


@pytest.mark.parametrize(("overrun", "starts"), [("delay", True), ("delay_until_success", False)])
def test_what_a_delayed_tick_waits_for(store, at, overrun, starts):
    declared = table(Schedule(NIGHTLY, overrun=overrun))
    at("18 12:00", declared)
    at("19 02:00", declared)
    assert at("20 02:00", declared) == "20 02:00:05"
    finish(store, "demo-2015-05-18-1", RunState.FAILED)
    at("20 03:00", declared)
    assert ("demo-2015-05-19-1" in runs(store)) is starts
    # Somebody runs the day again, and it succeeds.
    again = store.open_run(defined("demo", datetime(2015, 5, 18).date(), {}), "me")
    finish(store, release(store, again.lease))
    at("20 04:00", declared)
    assert runs(store)["demo-2015-05-19-1"] == "running"


def release(store, lease: Lease) -> str:
    store.release(lease)
    return lease.run_id


def test_only_so_many_ticks_wait(store, at):
    declared = table(Schedule("0 * * * *", overrun="delay", limit=2))
    at("18 00:30", declared)
    for hour in range(1, 6):
        at(f"18 0{hour}:00", declared)
    assert [state for _, state, _ in ticks(store)] == ["started", "skipped", "skipped", "waiting", "waiting"]


def test_the_worker_of_a_run_that_a_tick_stopped_is_refused_and_the_next_starts_when_its_jobs_have_ended(
    store, at, clock
):
    declared = table(Schedule(NIGHTLY, overrun="abort_running"))
    at("18 12:00", declared)
    at("19 02:00", declared)
    lease = store.take_over("demo-2015-05-18-1", "worker").lease
    at("20 02:00", declared)
    with pytest.raises(StaleFenceError):
        store.advance(lease, [], 1)
    assert store.take_over("demo-2015-05-19-1", "other").lease is None
    clock.advance(20)  # of its lease of 15 s and the grace of 10 s in which its jobs end
    assert store.take_over("demo-2015-05-19-1", "other").lease is None
    clock.advance(5)
    assert store.take_over("demo-2015-05-19-1", "other").lease is not None


def test_a_run_by_hand_is_neither_counted_nor_moves_the_schedule(store, at):
    declared = table(Schedule(NIGHTLY))
    at("18 12:00", declared)
    by_hand = store.open_run(defined("demo", datetime(2015, 5, 1).date(), {}), "me")
    assert row(store).next_at == datetime(2015, 5, 19, 2, tzinfo=UTC)
    at("19 02:00", declared)
    assert runs(store)["demo-2015-05-18-1"] == "running"
    assert runs(store)[by_hand.run_id] == "running"


def test_a_tick_joins_the_run_of_its_day_that_somebody_started(store, at):
    declared = table(Schedule(NIGHTLY))
    at("18 12:00", declared)
    mine = store.open_run(defined("demo", datetime(2015, 5, 18).date(), {}), "me")
    at("19 02:00", declared)
    assert ticks(store) == [("19 02", "joined", mine.run_id)]
    assert list(runs(store)) == [mine.run_id]


@pytest.mark.parametrize("scope", [signals.ALL, signals.Scope("workflow", "demo")])
def test_a_tick_starts_nothing_while_its_workflow_is_aborted(store, at, scope):
    declared = table(Schedule(NIGHTLY))
    at("18 12:00", declared)
    signals.send(store, scope, signals.Action.ABORT, author="me", reason="wrong input")
    assert at("19 02:00", declared, times=2) == "19 02:00:05"
    assert at("20 02:00", declared) == "20 02:00:05"
    assert runs(store) == {}
    waiting = database.fetch(store.engine, sa.select(tick).order_by(tick.c.at))
    assert [row.state for row in waiting] == ["waiting", "waiting"]
    assert waiting[0].reason.startswith("me aborted the runs of ")
    signals.undo(store, scope)
    at("20 02:06", declared)
    assert ticks(store) == [("19 02", "started", "demo-2015-05-18-1"), ("20 02", "skipped", None)]


def test_a_tick_waits_for_the_run_of_its_day_that_does_other_work(store, at):
    declared = table(Schedule(NIGHTLY))
    at("18 12:00", declared)
    mine = store.open_run(defined("demo", datetime(2015, 5, 18).date(), {"only": "a stage"}), "me")
    assert at("19 02:00", declared, times=2) == "19 02:00:05"
    assert ticks(store) == [("19 02", "waiting", None)]
    (waiting,) = database.fetch(store.engine, sa.select(tick))
    assert waiting.reason == f"waits for the end of {mine.run_id}, which somebody had started and which does other work"
    finish(store, release(store, mine.lease))
    assert at("19 02:01", declared) == "20 02:00:00"
    assert ticks(store) == [("19 02", "started", "demo-2015-05-18-2")]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConfigurationError("the module 'x' cannot be used"), "the module 'x' cannot be used"),
        (SystemExit("no config"), "SystemExit: no config"),
    ],
)
def test_a_workflow_that_cannot_be_made_says_why_and_holds_up_nothing(store, at, error, says):
    def broken(name, day, parameters):
        if name == "broken":
            raise error
        return defined(name, day, parameters)

    both = {"broken": Schedule(NIGHTLY), "demo": Schedule(NIGHTLY)}
    at("18 12:00", Timetable(both, broken))
    assert at("19 02:00", Timetable(both, broken)) == "19 02:01:00"
    assert list(runs(store)) == ["demo-2015-05-18-1"]
    assert row(store).error == f"the run of 2015-05-18 cannot be made: {says}"
    # Its tick is not lost.
    at("19 03:00", Timetable(both, lambda name, day, parameters: define(replace_name(name), day, parameters)))
    assert "broken-2015-05-18-1" in runs(store)
    assert row(store).error is None


def test_a_run_that_cannot_be_stored_says_why_and_holds_up_nothing(store, at):
    def broken(name, day, parameters):
        found = defined(name, day, parameters)
        # half of a surrogate pair, which no database stores
        return replace(found, workflow="broken", description="\ud83d") if name == "broken" else found

    both = Timetable({"broken": Schedule(NIGHTLY), "demo": Schedule(NIGHTLY)}, broken)
    at("18 12:00", both)
    assert at("19 02:00", both) == "19 02:01:00"
    assert list(runs(store)) == ["demo-2015-05-18-1"]
    assert row(store).error.startswith("the run of 2015-05-18 cannot be made: UnicodeEncodeError: ")


def replace_name(name):
    return Workflow(name, "o", WORKFLOW.stages)


def test_a_schedule_that_is_off_or_paused_starts_nothing_and_goes_on_from_when_it_is_resumed(store, at):
    declared = table(Schedule(NIGHTLY, active=False, catch_up="all"))
    assert at("18 12:00", declared) is None
    assert at("19 02:00", declared) is None
    assert pause(store, "demo", paused=False)
    assert not pause(store, "demo", paused=False)
    assert at("19 12:00", declared) == "20 02:00:00"
    at("20 02:00", declared)
    assert ticks(store) == [("20 02", "started", "demo-2015-05-19-1")]
    assert pause(store, "demo", paused=True)
    assert at("22 12:00", declared) is None
    assert pause(store, "demo", paused=False)
    assert at("22 12:01", declared) == "23 02:00:00"
    assert len(runs(store)) == 1


def test_a_changed_declaration_counts_from_now_and_loses_no_tick_that_was_due(store, at):
    at("18 12:00", table(Schedule(NIGHTLY)))
    at("19 03:00", table(Schedule("0 * * * *", days_before=0)))
    assert ticks(store) == [("19 02", "started", "demo-2015-05-19-1")]
    assert row(store).next_at == datetime(2015, 5, 19, 4, tzinfo=UTC)


def test_a_clock_that_is_set_back_repeats_no_tick(store, at):
    nightly = table(Schedule(NIGHTLY))
    at("18 12:00", nightly)
    at("19 02:00", nightly)
    finish(store, "demo-2015-05-18-1")
    at("18 23:00", nightly)
    at("19 02:00", nightly, times=2)
    assert len(runs(store)) == len(ticks(store)) == 1


def test_many_schedulers_at_once_start_each_tick_once(make_store, clock):
    stores = [make_store() for _ in range(6)]
    minutely = table(Schedule("* * * * *", days_before=0, overrun="start_new"))
    fire_due(stores[0], minutely)
    for _ in range(5):
        clock.advance(60)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda store: fire_due(store, minutely), stores))
    assert len(runs(stores[0])) == 5
    assert [state for _, state, _ in ticks(stores[0])] == ["started"] * 5


@pytest.mark.parametrize("kill_at", range(1, 6))
def test_a_scheduler_that_dies_between_two_transactions_loses_no_tick(make_store, clock, kill_at):
    dying, other = make_store(), make_store()
    nightly = table(Schedule(NIGHTLY))
    fire_due(dying, nightly)
    clock.now = datetime(2015, 5, 19, 2, tzinfo=UTC)
    whole, calls = dying.transact, 0

    def transact(*arguments):
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise KeyboardInterrupt
        return whole(*arguments)

    dying.transact = transact
    with suppress(KeyboardInterrupt):
        fire_due(dying, nightly)
    clock.advance(3600)
    fire_due(other, nightly)
    assert list(runs(other)) == ["demo-2015-05-18-1"]
    with other.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.run)) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"overrun": "queue"}, "overrun cannot be 'queue'; valid: skip, abort_running, delay"),
        ({"catch_up": "some"}, "catch_up cannot be 'some'; valid: none, latest, all"),
        ({"timezone": "Mars/Base"}, "no time zone is called 'Mars/Base'"),
        ({"catch_up": "all", "overrun": "abort_running"}, "each run would stop the one before"),
        ({"limit": 0}, "limit must be 1 or more"),
        ({"parameters": {"x": object()}}, "parameters must be JSON values"),
        ({"wait": "long"}, "wait: 'long' is not a length of time"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_where_it_is_declared(wrong, says):
    with pytest.raises(ConfigurationError, match=says):
        Schedule(NIGHTLY, **wrong)


def test_a_declaration_is_the_same_after_it_was_stored():
    declared = Schedule("@daily", timezone="Europe/Berlin", overrun="delay", parameters={"x": [1, {"y": "{date}"}]})
    assert Schedule.from_text(declared.text) == declared
    assert Schedule.from_text(declared.text).text == declared.text


def test_next_ticks_are_those_of_the_wall_clock():
    declared = Schedule("30 2 * * *", timezone="Europe/Berlin")
    start = datetime(2026, 3, 28, tzinfo=UTC)
    found = [moment for moment, _ in zip(declared.ticks(start), range(3), strict=False)]
    assert [f"{m:%d %H:%M}" for m in found] == ["28 01:30", "29 01:00", "30 00:30"]
    assert declared.day_of(found[1]) == (start + timedelta(days=0)).date()

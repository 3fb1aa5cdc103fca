"""Deadlines, how long jobs usually take, and warnings, with a clock of the tests' own."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError
from pinflow.scheduler import lateness, reading, repair, tables
from pinflow.scheduler.deadlines import Deadline
from pinflow.scheduler.declare import Command, Job, Stage, Workflow
from pinflow.scheduler.definition import Definition, define
from pinflow.scheduler.durations import outlook, priorities
from pinflow.scheduler.records import Lease, Outcome
from pinflow.scheduler.states import AttemptState, JobState
from pinflow.scheduler.store import Store
from pinflow.stats_engine.notice import Notice
from pinflow.stats_engine.tables import ALERTS, MAILS

DAY = date(2015, 5, 18)
BEGIN = datetime(2015, 5, 19, tzinfo=UTC)


def at(hour: int, minute: int = 0, day: int = 19) -> datetime:
    return datetime(2015, 5, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("declared", "begins", "due"),
    [
        (Deadline("07:00"), BEGIN, at(7)),
        (Deadline("07:00", timezone="Europe/Berlin"), BEGIN, at(5)),
        (Deadline("23:30", days_after=0), at(3, day=18), at(23, 30, day=18)),
        # it begins too late, but of today: its owner is to know
        (Deadline("07:00"), at(9), at(7)),
        (Deadline("07:00"), at(7, 1, day=20), None),
        (Deadline(within="90m"), BEGIN, at(1, 30)),
    ],
)
def test_when_a_run_is_due(declared: Deadline, begins: datetime, due: datetime | None) -> None:
    assert declared.due(DAY, begins) == due


def test_a_time_that_the_clocks_jump_over_or_show_twice() -> None:
    berlin = Deadline("02:30", timezone="Europe/Berlin")
    assert berlin.due(date(2026, 3, 28), datetime(2026, 3, 28, tzinfo=UTC)) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert berlin.due(date(2026, 10, 24), datetime(2026, 10, 24, tzinfo=UTC)) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"by": "07:00", "within": "3h"},
        {"by": "7:00"},
        {"by": "24:00"},
        {"within": "soon"},
        {"by": "07:00", "timezone": "Mars"},
        {"by": "07:00", "days_after": -1},
        {"by": "07:00", "margin": "x"},
        {"by": "07:00", "margin": ""},
        {"within": ""},
    ],
)
def test_a_deadline_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Deadline(**wrong)  # type: ignore[arg-type]


def test_a_definition_without_a_deadline_is_frozen_as_before_there_were_any(make: Callable[..., Definition]) -> None:
    without = make({"a": []})
    assert "deadline" not in without.text
    due = replace(without, deadline=Deadline("07:00", timezone="Europe/Berlin", margin="5m"))
    again = Definition.from_text(due.text)
    assert (again.deadline, again.digest) == (due.deadline, due.digest)
    assert due.digest != without.digest


SHAPE = {"a": [], "short": ["a"], "long": ["a"], "end": ["short", "long"], "alone": []}
SECONDS = {"a": 60.0, "short": 5.0, "long": 600.0, "end": 30.0, "alone": 100.0}


def of(deadline: Deadline | None, **options: str) -> Definition:
    jobs = [Command(name, argv=["true"], after=after, **options) for name, after in SHAPE.items()]
    return define(Workflow("demo", "o@x", lambda _d, _p: [Stage("s", jobs)], deadline=deadline), DAY)


def test_the_longest_way_goes_first() -> None:
    found = priorities(of(None), SECONDS)
    assert found == {"a": 690, "short": 35, "long": 630, "end": 30, "alone": 100}
    # one that has never run counts as the median of the others: 60
    assert priorities(of(None), {k: v for k, v in SECONDS.items() if k != "short"})["short"] == 30 + 80


@given(st.dictionaries(st.sampled_from(list(SHAPE)), st.floats(0, 1e7)))
def test_a_job_always_goes_before_those_after_it(seconds: dict[str, float]) -> None:
    found = priorities(of(None), seconds)
    assert all(found[before] > found[name] > 0 for name, after in SHAPE.items() for before in after)


class Driven:
    """A run that the test works on, with a clock."""

    def __init__(self, store: Store, definition: Definition) -> None:
        self.store = store
        opened = store.open_run(definition, "w", slots=4)
        assert opened.lease is not None
        self.lease: Lease = opened.lease
        self.run_id = opened.run_id
        self.order: list[str] = []

    def start(self) -> dict[str, object]:
        claims = self.store.advance(self.lease, [], 4).claims
        self.order += [claim.job for claim in claims]
        return {claim.job: claim for claim in claims}

    def finish(self, claim: object) -> dict[str, object]:
        done = Outcome(claim, AttemptState.SUCCEEDED, exit_code=0)  # type: ignore[arg-type]
        claims = self.store.advance(self.lease, [done], 4).claims
        self.order += [c.job for c in claims]
        return {c.job: c for c in claims}


def whole_run(store: Store, clock, deadline: Deadline | None = None) -> Driven:
    """a 60 s; then short 5 s beside long 600 s; end 30 s; alone 100 s from the start."""
    run = Driven(store, of(deadline))
    held = run.start()
    clock.advance(60)
    held |= run.finish(held["a"])
    clock.advance(5)
    held |= run.finish(held["short"])
    clock.advance(35)
    held |= run.finish(held["alone"])
    clock.advance(560)
    held |= run.finish(held["long"])
    clock.advance(30)
    run.finish(held["end"])
    assert store.close_run(run.lease) is not None
    return run


def rows(store: Store, table) -> list:
    with store.engine.connect() as connection:
        return list(connection.execute(table.select()).all())


def test_a_run_learns_from_those_before_it_how_long_its_jobs_take(store: Store, clock) -> None:
    first = whole_run(store, clock)
    assert first.order[:2] == ["a", "alone"]
    assert [job.expected_seconds for job in reading.get_run(store, first.run_id).jobs] == [None] * 5
    second = Driven(store, of(None))
    assert {j.name: j.expected_seconds for j in reading.get_run(store, second.run_id).jobs} == SECONDS
    held = second.start()
    clock.advance(60)
    second.finish(held["a"])
    # by the number of jobs to the end they would be alike, and the first declared would go first
    assert second.order == ["a", "alone", "long", "short"]
    priority = {row.name: row.priority for row in rows(store, tables.job) if row.run_id == second.run_id}
    assert priority["long"] == 630


def test_failed_and_skipped_attempts_teach_nothing(store: Store, clock, make) -> None:
    for state, code in ((AttemptState.FAILED, 1), (AttemptState.SKIPPED, 10)):
        run = Driven(store, make({"a": []}, n=code))
        held = run.start()
        clock.advance(9)
        store.advance(run.lease, [Outcome(held["a"], state, exit_code=code)], 1)  # type: ignore[arg-type]
        store.close_run(run.lease)
    third = Driven(store, make({"a": []}))
    assert [job.expected_seconds for job in reading.get_run(store, third.run_id).jobs] == [None]


def test_the_end_of_a_run_is_expected_along_what_is_left(store: Store, clock) -> None:
    whole_run(store, clock)
    run = Driven(store, of(None))
    found = lateness.outlook_of(store, run.run_id)
    assert found is not None
    assert (found.end - clock(), found.path) == (timedelta(seconds=690), ["a", "long", "end"])
    held = run.start()
    clock.advance(100)
    # it should have ended 40 s ago; so it ends now, at the earliest
    found = lateness.outlook_of(store, run.run_id)
    assert found is not None
    assert found.end - clock() == timedelta(seconds=630)
    run.finish(held["a"])
    clock.advance(200)
    found = lateness.outlook_of(store, run.run_id)
    assert found is not None
    assert (found.end - clock(), found.path) == (timedelta(seconds=430), ["long", "end"])


def test_few_slots_make_a_run_longer() -> None:
    class Waiting:
        state, started_at, not_before, expected_seconds = JobState.READY, None, None, 100.0

    jobs = [Job(f"j{n}", call="m:f") for n in range(10)]
    definition = define(Workflow("demo", "o", lambda _d, _p: [Stage("s", jobs)]), DAY)
    standing = {job.name: Waiting() for job in jobs}
    ends = [outlook(definition, standing, BEGIN, slots) for slots in (0, 2, 20)]
    assert [found and (found.end - BEGIN).total_seconds() for found in ends] == [100, 500, 100]


def test_the_owner_is_warned_once_while_there_is_time(store: Store, clock) -> None:
    whole_run(store, clock)
    # 690 s are needed, 15 min are there, of which a tenth is the margin
    run = Driven(store, of(Deadline(within="15m")))
    due = clock() + timedelta(minutes=15)
    assert reading.get_run(store, run.run_id).due_at == due
    held = run.start()
    clock.advance(60)
    held |= run.finish(held["a"])
    assert lateness.warn(store) == 0
    clock.advance(600)
    assert lateness.warn(store) == 0
    # `long` should have ended; 240 s are left, the end takes 30, the margin is 90: 120 s later it is told
    clock.advance(119)
    assert lateness.warn(store) == 0
    clock.advance(2)
    assert lateness.warn(store) == 1
    assert clock() < due
    assert lateness.warn(store) == 0
    (mail,) = rows(store, MAILS)
    assert mail.recipient == "o@x"
    assert f"{run.run_id} may be late: it is due at 2015-05-19 00:26 UTC" in mail.subject
    assert "long: running for 12 min 1 s, usually 10 min 0 s" in mail.body
    assert "end: waiting, usually 30 s" in mail.body
    assert f"pinflow explain {run.run_id}" in [line for _, line in Notice.from_json(mail.content).commands]
    (alert,) = rows(store, ALERTS)
    assert (alert.job, alert.rule, alert.degree) == ("(run)", "deadline", "warning")
    told = [event for _, event in store.events(run.run_id) if event.job is None]
    assert [(event.before, event.state) for event in told] == [(None, "running"), ("running", "running")]
    clock.advance(3600)
    assert lateness.warn(store) == 0
    assert len(rows(store, MAILS)) == 1


def test_two_that_look_at_once_warn_once(make_store: Callable[[], Store], clock, monkeypatch) -> None:
    first, second = make_store(), make_store()
    run = Driven(first, of(Deadline(within="1m")))
    clock.advance(61)
    fetch = lateness.fetch

    def meanwhile(*args):
        found = fetch(*args)
        monkeypatch.setattr(lateness, "fetch", fetch)
        assert lateness.warn(second) == 1
        return found

    rows_due = fetch(first.engine, lateness._DUE)
    assert len(rows_due) == 1
    work = lateness._judge(first, rows_due[0], clock())
    assert work is not None
    monkeypatch.setattr(lateness, "fetch", meanwhile)
    lateness.warn(first)
    assert first.transact(work) is False
    assert len(rows(first, MAILS)) == 1
    assert "is late: it was due at 2015-05-19 00:01 UTC, and still runs" in rows(first, MAILS)[0].subject
    assert reading.get_run(first, run.run_id).warned_at == clock()


def test_a_run_that_has_ended_or_has_no_deadline_is_never_late(store: Store, clock) -> None:
    whole_run(store, clock, Deadline(within="1m"))
    run = Driven(store, of(None))
    clock.advance(10**6)
    assert lateness.warn(store) == 0
    assert lateness.outlook_of(store, "demo-2015-05-18-1") is None
    assert reading.get_run(store, run.run_id).due_at is None


@pytest.mark.parametrize(("hours", "told"), [(23, 1), (26, 0)])
def test_an_old_run_that_is_done_anew_is_not_late(store: Store, clock, hours: int, told: int) -> None:
    run = whole_run(store, clock, Deadline(within="1h"))
    due = reading.get_run(store, run.run_id).due_at
    clock.advance(hours * 3600)
    repair.apply(store, repair.plan(store, run.run_id, repair.Repair.REDO, ["end"]), author="me", detach=True)
    assert lateness.warn(store) == told
    assert reading.get_run(store, run.run_id).due_at == (due if told else None)


def test_a_run_that_was_aborted_long_ago_and_is_begun_again_is_not_late(store: Store, clock) -> None:
    run = Driven(store, of(Deadline(within="1h")))
    clock.advance(2 * 3600)
    assert lateness.warn(store) == 1
    store.abort(run.lease, [], "for the test")
    clock.advance(26 * 3600)
    again = Driven(store, of(Deadline(within="1h")))
    found = reading.get_run(store, again.run_id)
    assert (found.run_id, found.due_at, found.warned_at) == (run.run_id, None, None)
    assert lateness.warn(store) == 0


def test_a_job_that_runs_for_long_is_told_once_and_runs_on(store: Store, clock) -> None:
    run = Driven(store, of(None, warn_after="10m", timeout="20m"))
    run.start()
    clock.advance(599)
    assert lateness.warn(store) == 0
    clock.advance(2)
    assert lateness.warn(store) == 2
    assert lateness.warn(store) == 0
    assert {alert.job: (alert.rule, alert.degree) for alert in rows(store, ALERTS)} == dict.fromkeys(
        ("a", "alone"), ("slow", "warning")
    )
    (mail,) = [mail for mail in rows(store, MAILS) if "a of" in mail.subject]
    assert "a of demo-2015-05-18-1 has run for 10 min 1 s, longer than its warn_after" in mail.body
    notice = Notice.from_json(mail.content)
    assert notice.consequence == "Its warn_after is 10 min 0 s; it runs on."
    assert [line for _, line in notice.commands][1:3] == [
        "pinflow logs demo-2015-05-18-1 a",
        "pinflow abort demo-2015-05-18-1",
    ]
    states = {job.name: job.state for job in reading.get_run(store, run.run_id).jobs}
    assert states["a"] is JobState.RUNNING

"""Workers that stay, as real processes that are killed, frozen and drained."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import psutil
import pytest

from pinflow.database import open_database
from pinflow.scheduler import reading, repair, signals
from pinflow.scheduler.declare import Command, Condition, Job
from pinflow.scheduler.processes import Place
from pinflow.scheduler.records import Event
from pinflow.scheduler.service import Hooks, Service, post_of
from pinflow.scheduler.store import Store
from pinflow.zygote import Zygote, connect
from tests.scheduler.drive import SHAPES
from tests.scheduler.frozen import freeze
from tests.scheduler.stories import check_stories, check_story
from tests.scheduler.yards import HERE, Yard

TREE = SHAPES["tree"]


@pytest.fixture
def new_yard(tmp_path, new_database, of) -> Iterator[Callable[[], Yard]]:
    made: list[Yard] = []

    def new() -> Yard:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Yard(folder, new_database(), of))
        return made[-1]

    yield new
    for yard in made:
        yard.close()


@pytest.fixture
def yard(new_yard: Callable[[], Yard]) -> Yard:
    return new_yard()


def test_two_workers_share_a_run_and_both_leave_when_told(yard):
    workers = [yard.worker(1), yard.worker(1)]
    yard.until(lambda: yard.rows("SELECT count(*) FROM worker") == [(2,)])
    run_id = yard.submit(TREE, 0.5)
    yard.until(lambda: yard.state(run_id) == "succeeded")
    yard.check_whole(run_id, 8)
    assert len(yard.rows("SELECT DISTINCT worker FROM attempt")) == 2
    assert sorted(note[0] for note in yard.notes()) == sorted(TREE)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    for worker in workers:
        out, error = worker.communicate(timeout=15)
        assert (worker.returncode, error, out.splitlines()[-1]) == (0, "", "stopped by SIGTERM")
    assert yard.rows("SELECT count(*) FROM worker") == [(0,)]


def test_a_drained_worker_ends_what_runs_and_begins_nothing(yard):
    run_id = yard.submit({"a": [], "b": ["a"]}, 2.5)
    worker = yard.worker(lease=1)
    yard.until(lambda: yard.rows("SELECT 1 FROM attempt") != [])
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=15)
    # Its lease was renewed while it drained.
    assert yard.rows("SELECT name, state, attempts FROM job ORDER BY 1") == [("a", "succeeded", 1), ("b", "ready", 0)]
    assert yard.state(run_id) == "running"


def test_a_second_signal_gives_the_jobs_back(yard):
    run_id = yard.submit({"a": []}, 60)
    worker = yard.worker()
    yard.until(lambda: yard.rows("SELECT 1 FROM attempt") != [])
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=15)
    assert yard.rows("SELECT state, failures, crashes FROM job") == [("ready", 0, 0)]
    assert yard.rows("SELECT state FROM attempt") == [("lost",)]
    check_story(yard.store.engine, run_id)


def leave_a_condition(yard: Yard, seconds: float, *numbers: signal.Signals) -> list[str]:
    """Stop a worker by signals, of which it sees all at once, after its condition was asked; what it told."""
    asked = yard.folder / "asked"
    waits = Condition("c", call="sample_jobs:no_after", arguments={"file": str(asked), "seconds": seconds}, poll="1h")
    yard.store.submit(yard.of(waits), wait=timedelta(hours=3))
    worker = yard.worker()
    yard.until(asked.exists)
    if not seconds:
        yard.until(lambda: yard.rows("SELECT 1 FROM job WHERE not_before IS NOT NULL") != [])
    worker.send_signal(signal.SIGSTOP)
    for number in numbers:
        worker.send_signal(number)
    worker.send_signal(signal.SIGCONT)
    out, error = worker.communicate(timeout=5 + seconds)
    assert (worker.returncode, error) == (0, "")
    check_stories(yard.store.engine)
    return out.splitlines()


def test_a_worker_leaves_whose_condition_answers_no_after_the_signal(yard):
    assert leave_a_condition(yard, 2, signal.SIGTERM)[-2:] == ["c ready", "stopped by SIGTERM"]
    assert yard.rows("SELECT state, attempts, crashes FROM job") == [("ready", 1, 0)]


def test_a_worker_that_sees_two_signals_at_once_lets_go_of_its_conditions(yard):
    told = leave_a_condition(yard, 0, signal.SIGINT, signal.SIGTERM)
    assert told[-2] == "c ready"
    assert yard.rows("SELECT state, attempts, crashes FROM job") == [("ready", 1, 0)]


def test_a_worker_that_is_asked_to_exit_by_its_generation_claims_nothing_more(yard):
    left = yard.folder / "left"
    yard.store.submit(
        yard.of(
            Command("a", argv=["sh", "-c", f"until [ -e {left} ]; do sleep 0.02; done"]),
            Command("b", argv=["true"], after=["a"]),
            Condition("c", call="sample_jobs:exists", arguments={"file": "/no/such/file"}, poll="1h"),
        ),
        wait=timedelta(hours=3),
    )

    def ask_to_exit(event: Event) -> None:
        if (event.job, event.state) == ("a", "running"):
            signals.ask_to_exit(yard.store, 1, author="me")

    with (
        Zygote.start(["pinflow.scheduler.child"]) as zygote,
        Store(open_database(yard.url), lease=timedelta(seconds=1.5)) as store,
        connect(zygote.path) as forks,
    ):
        place = Place(yard.folder / "logs", slots=1, folder=HERE)
        # "a" ends when the worker is about to leave.
        worker = Service(store, forks, place, post_of(zygote.pid, 1), Hooks(ask_to_exit, left.touch))
        assert worker.serve().startswith("workers of generation 0 are asked to exit")
    assert yard.rows("SELECT name, state, attempts FROM job ORDER BY name") == [
        ("a", "succeeded", 1),
        ("b", "ready", 0),
        ("c", "ready", 1),
    ]


def test_a_command_follows_a_run_that_workers_share(yard):
    edges = {"a": [], "b": ["a"]}
    run_id = yard.submit(edges)
    notes = {"file": str(yard.folder / "notes"), "seconds": 0.0}
    same = yard.of(*(Job(n, call="sample_jobs:note", after=after, arguments=notes) for n, after in edges.items()))
    opened = yard.store.open_run(same, "me")
    assert (opened.run_id, opened.lease) == (run_id, None)
    assert yard.store.take_over(run_id, "me").lease is None
    assert yard.store.is_driven(run_id)


def test_a_run_without_jobs_succeeds_when_it_is_submitted(yard):
    assert yard.state(yard.submit({})) == "succeeded"


def test_a_worker_with_one_slot_serves_all_runs_in_turn(yard):
    big = yard.submit({f"b{n}": [] for n in range(40)}, 0.3, workflow="big")
    yard.worker(1)
    begun = "SELECT run_id FROM attempt ORDER BY fence"
    yard.until(lambda: len(yard.rows(begun)) == 3)
    before = len(yard.rows(begun))
    small = [yard.submit({"x": [], "y": []}, 0.3, workflow=f"small{n}") for n in range(2)]
    yard.until(lambda: all(yard.state(run_id) == "succeeded" for run_id in small))
    turns = [run_id for (run_id,) in yard.rows(begun)]
    first = turns.index(small[0])
    # Seen within a second, in which no more than three such jobs run; then each of the three runs in turn.
    assert first - before <= 5
    assert turns[first : first + 5] == [small[0], small[1], big, small[0], small[1]]


def test_a_run_ends_whose_last_jobs_are_disabled(yard):
    signals.send(yard.store, signals.Scope("workflow", "one"), signals.Action.DISABLE, author="me", job="a")
    run_id = yard.submit({"a": []}, workflow="one")
    yard.worker()
    yard.until(lambda: yard.state(run_id) == "succeeded")
    assert [job.state.value for job in reading.get_run(yard.store, run_id).jobs] == ["skipped"]


def test_a_run_ends_whose_job_is_disabled_while_it_waits_for_its_retry(yard):
    arguments = {"file": str(yard.folder / "notes"), "code": 7}
    fails = Job("a", call="sample_jobs:note", arguments=arguments, retries=3, retry_delay="2s")
    run_id = yard.store.submit(yard.of(fails)).run_id
    yard.worker()
    yard.until(lambda: yard.rows("SELECT 1 FROM job WHERE failures = 1 AND not_before IS NOT NULL") != [])
    signals.send(yard.store, signals.Scope("run", run_id), signals.Action.DISABLE, author="me", job="a")
    yard.until(lambda: yard.state(run_id) == "succeeded")
    assert yard.rows("SELECT state, attempts FROM job") == [("skipped", 1)]


def kill_workers_at_random_moments(new_yard: Callable[[], Yard], times: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(times):
        yard = new_yard()
        run_id = yard.submit(TREE, 0.05)
        first, _second = yard.worker(), yard.worker()
        time.sleep(chance.random() * 0.5)
        first.kill()
        killed = time.monotonic()
        yard.until(lambda yard=yard, run_id=run_id: yard.state(run_id) == "succeeded", 30)
        # By the process of the other worker on this machine, not by the end of a lease.
        assert time.monotonic() - killed < 12
        yard.check_whole(run_id, 8)
        yard.close()


def test_kill_9_of_one_of_two_workers(new_yard):
    kill_workers_at_random_moments(new_yard, 3, seed=1)


@pytest.mark.soak
def test_kill_9_of_one_of_two_workers_at_many_random_moments(new_yard):
    kill_workers_at_random_moments(new_yard, 50, seed=2)


def freeze_a_worker(new_yard: Callable[[], Yard], times: int) -> None:
    for _ in range(times):
        yard = new_yard()
        # Longer than the lease and what it takes to see that it began.
        run_id = yard.submit({"a": [], "b": ["a"]}, 3.0, call="span")
        first = yard.worker(lease=1)
        yard.until(lambda yard=yard: len(yard.notes()) == 1)
        freeze(first, yard.store.engine)
        yard.worker(lease=1)
        yard.until(lambda yard=yard: len(yard.rows("SELECT 1 FROM attempt WHERE job = 'a'")) == 2)
        first.send_signal(signal.SIGCONT)
        yard.until(lambda yard=yard, run_id=run_id: yard.state(run_id) == "succeeded")
        yard.check_whole(run_id, 2)
        # The first attempt never ended: it was killed when its lease ran out, before the next began.
        a = [note for note in yard.notes() if note[0] == "a"]
        assert [(kind, attempt) for _, kind, attempt, _, _ in a] == [("start", "1"), ("start", "2"), ("end", "2")]
        first.send_signal(signal.SIGTERM)
        out, error = first.communicate(timeout=15)
        assert (first.returncode, error) == (0, "")
        # The late writer told nothing of the job it had when it was frozen.
        assert "a succeeded" not in out
        yard.close()


def test_the_job_of_a_frozen_worker_ends_with_its_lease(new_yard):
    freeze_a_worker(new_yard, 3)


@pytest.mark.soak
def test_the_jobs_of_many_frozen_workers_end_with_their_leases(new_yard):
    freeze_a_worker(new_yard, 50)


def test_a_resumed_job_does_not_run_beside_its_aborted_attempt_and_starts_when_that_has_ended(yard):
    run_id = yard.submit({"a": []}, 4, call="span_deaf")
    yard.worker()
    yard.until(lambda: len(yard.notes()) == 1)
    scope = signals.Scope("run", run_id)
    assert signals.send(yard.store, scope, signals.Action.ABORT, author="me") == [run_id]
    repair.apply(yard.store, repair.plan(yard.store, run_id, repair.Repair.RESUME), author="me", detach=True)
    yard.until(lambda: len(yard.notes()) == 4)
    assert [(kind, attempt) for _, kind, attempt, _, _ in yard.notes()] == [
        ("start", "1"),
        ("end", "1"),
        ("start", "2"),
        ("end", "2"),
    ]
    # not only when the attempt had to have ended
    assert float(yard.notes()[2][4]) - float(yard.notes()[1][4]) < 8
    yard.until(lambda: yard.state(run_id) == "succeeded")
    check_story(yard.store.engine, run_id)


def test_a_worker_whose_lease_has_run_out_takes_jobs_again(yard):
    worker = yard.worker(lease=1)
    yard.until(lambda: yard.rows("SELECT 1 FROM worker") != [])
    freeze(worker, yard.store.engine)
    time.sleep(1.5)
    run_id = yard.submit({"a": []}, 1.5, call="span")
    worker.send_signal(signal.SIGCONT)
    yard.until(lambda: yard.state(run_id) == "succeeded")
    assert [kind for _, kind, *_ in yard.notes()] == ["start", "end"]
    yard.check_whole(run_id, 1)


def test_a_job_that_kills_its_worker_each_time_is_given_up(yard):
    run_id = yard.submit({"a": [], "b": ["a"]}, call="kill_worker")
    for _ in range(2):
        yard.worker().wait(timeout=20)
    # The second saw the first dead.
    assert yard.rows("SELECT crashes, failures FROM job WHERE name = 'a'") == [(1, 0)]
    with yard.store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("UPDATE job SET crashes = 4, not_before = NULL WHERE name = 'a'")
    yard.worker()
    yard.until(lambda: yard.state(run_id) == "failed")
    states = {job.name: (job.state.value, job.reason) for job in reading.get_run(yard.store, run_id).jobs}
    assert states["b"] == ("upstream_failed", "a failed")
    assert states["a"][0] == "failed"
    assert states["a"][1].startswith("given up: 5 times its worker died")
    check_story(yard.store.engine, run_id)


def test_a_job_that_is_killed_each_time_since_its_lease_ran_out_is_given_up(yard):
    run_id = yard.submit({"a": []}, 3.0, call="span")
    worker = yard.worker(lease=1)
    for starts, crashes in ((1, 1), (2, 5)):
        yard.until(lambda starts=starts: len(yard.notes()) == starts)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(2)
        worker.send_signal(signal.SIGCONT)
        yard.until(lambda crashes=crashes: yard.rows("SELECT crashes, failures FROM job") == [(crashes, 0)])
        with yard.store.engine.execution_options(writes=True).begin() as connection:
            connection.exec_driver_sql("UPDATE job SET crashes = 4 WHERE crashes = 1")
    yard.until(lambda: yard.state(run_id) == "failed")
    (job,) = reading.get_run(yard.store, run_id).jobs
    assert job.reason.startswith("given up: 5 times")
    check_story(yard.store.engine, run_id)
    assert [kind for _, kind, *_ in yard.notes()] == ["start", "start"]


def test_a_run_whose_command_was_killed_is_taken_over_by_a_worker(yard, tmp_path):
    command = [sys.executable, str(HERE / "drive.py"), yard.url, str(yard.folder / "logs")]
    command += [str(yard.folder / "notes"), "pair", "1.5"]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yard.started.append(driver)
    yard.until(lambda: yard.rows("SELECT 1 FROM attempt") != [])
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    yard.worker()
    yard.until(lambda: yard.rows("SELECT state FROM run") == [("succeeded",)])
    yard.check_whole("demo-2015-05-18-1", 2)
    assert psutil.wait_procs(children, timeout=5)[1] == []

"""Drivers that are killed, frozen and stopped, with real processes and signals."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from pinflow.scheduler.store import LEASE
from tests.scheduler.frozen import freeze
from tests.scheduler.homes import Home, finish
from tests.scheduler.stories import check_stories


@pytest.fixture
def new_home(tmp_path, new_database) -> Iterator[Callable[[], Home]]:
    made: list[Home] = []

    def new() -> Home:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Home(folder, new_database()))
        return made[-1]

    yield new
    for home in made:
        home.close()


@pytest.fixture
def home(new_home: Callable[[], Home]) -> Home:
    return new_home()


def kill_at_random_moments(new_home: Callable[[], Home], times: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(times):
        home = new_home()
        first = home.start("tree", 0.01)
        time.sleep(0.2 + chance.random() * 0.6)
        first.kill()
        first.communicate()
        if home.is_made() and home.rows("SELECT state FROM run") == [("succeeded",)]:
            home.check_whole(8)
            continue
        finish(home.start("tree", 0.01))
        home.check_whole(8)


def test_kill_9_of_the_driver_at_random_moments(new_home):
    kill_at_random_moments(new_home, 3, seed=1)


@pytest.mark.soak
def test_kill_9_of_the_driver_at_many_random_moments(new_home):
    kill_at_random_moments(new_home, 50, seed=2)


def test_kill_9_right_after_each_transition(new_home):
    # Of six transitions; a job takes long enough for the kill to come before the next.
    for number in (1, 2, 4):
        home = new_home()
        first = home.start("pair", 0.5)
        assert first.stdout is not None
        for _ in range(number):
            first.stdout.readline()
        first.kill()
        first.communicate()
        assert finish(home.start("pair", 0.5))[-1].split()[1:] == ["demo-2015-05-18-1", "succeeded"]
        home.check_whole(2)


def test_kill_9_after_a_job_failed_the_next_run_ends_failed_and_the_one_after_it_is_new(home):
    first = home.start("failing", 0.8)
    home.until(home.is_made)
    home.until(lambda: home.rows("SELECT 1 FROM job WHERE state = 'failed'") != [])
    first.kill()
    first.communicate()
    # Whether b or c ran then depends on the moment; something did.
    assert home.rows("SELECT count(*) > 0 FROM attempt WHERE state = 'running'") == [(1,)]
    for run_id in ("demo-2015-05-18-1", "demo-2015-05-18-2"):
        again = home.start("failing", 0.8)
        out, error = again.communicate(timeout=30)
        assert (again.returncode, error, out.splitlines()[-1]) == (1, "", f"driven {run_id} failed")
        # It waited for nobody's lease.
        assert "joined" not in out
        jobs = home.rows(f"SELECT name, state FROM job WHERE run_id = '{run_id}' ORDER BY position")
        assert jobs == [
            ("a", "succeeded"),
            ("bad", "failed"),
            ("b", "succeeded"),
            ("c", "succeeded"),
            ("last", "upstream_failed"),
        ]
        assert home.rows(f"SELECT attempt FROM attempt WHERE run_id = '{run_id}' AND job = 'bad'") == [(1,)]
    check_stories(home.engine)


def test_two_commands_at_once_one_drives_the_other_follows(home):
    both = [home.start("tree", 0.4), home.start("tree", 0.4)]
    ends = [finish(process) for process in both]
    assert sorted(lines[-1] for lines in ends) == [
        "driven demo-2015-05-18-1 succeeded",
        "followed demo-2015-05-18-1 succeeded",
    ]
    (follower,) = (lines for lines in ends if lines[-1].startswith("followed"))
    assert follower[0] == "joined demo-2015-05-18-1"
    assert sorted(home.notes().items()) == [(name, 1) for name in "abcdefgh"]
    home.check_whole(8)


def test_the_follower_goes_on_when_the_driver_is_killed(home):
    driver = home.start("tree", 2.0)
    home.wait_for(1)
    follower = home.start("tree", 2.0)
    assert follower.stdout is not None
    assert follower.stdout.readline().startswith("joined")
    driver.kill()
    killed = time.monotonic()
    assert finish(follower)[-1] == "driven demo-2015-05-18-1 succeeded"
    # Sooner than the lease would run out.
    assert time.monotonic() - killed < LEASE.total_seconds()
    home.check_whole(8)


def test_a_frozen_driver_is_replaced_after_its_lease_and_cannot_write_when_it_wakes(home):
    driver = home.start("pair", 1.0, "1")
    home.until(home.is_made)
    home.until(lambda: home.rows("SELECT 1 FROM attempt") != [])
    freeze(driver, home.engine)
    follower = home.start("pair", 1.0, "1")
    home.until(lambda: len(home.rows("SELECT 1 FROM attempt")) > 1)
    driver.send_signal(signal.SIGCONT)
    ends = [finish(driver)[-1], finish(follower)[-1]]
    assert ends == ["followed demo-2015-05-18-1 succeeded", "driven demo-2015-05-18-1 succeeded"]
    assert home.rows("SELECT attempt, state FROM attempt WHERE job = 'a' ORDER BY 1") == [(1, "lost"), (2, "succeeded")]
    home.check_whole(2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_jobs_and_the_run_can_be_resumed(home, number):
    driver = home.start("pair", 1.0)
    home.until(lambda: (home.folder / "logs" / "demo-2015-05-18-1" / "a.1.log").exists())
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(number)
    out, error = driver.communicate(timeout=10)
    assert (driver.returncode, error) == (1, "")
    assert out.splitlines()[-1] == "driven demo-2015-05-18-1 aborted"
    assert home.rows("SELECT name, state, reason FROM job ORDER BY 1") == [
        ("a", "aborted", f"stopped by {number.name}"),
        ("b", "aborted", f"stopped by {number.name}"),
    ]
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert finish(home.start("pair", 0.0))[-1] == "driven demo-2015-05-18-2 succeeded"
    check_stories(home.engine)


def test_a_stopped_run_of_the_same_work_goes_on(home):
    driver = home.start("pair", 0.6)
    home.wait_for(1)
    home.until(lambda: home.rows("SELECT 1 FROM job WHERE state = 'succeeded'") != [])
    driver.send_signal(signal.SIGTERM)
    driver.communicate(timeout=10)
    assert finish(home.start("pair", 0.6))[-1] == "driven demo-2015-05-18-1 succeeded"
    assert home.notes() == Counter(a=1, b=1)
    check_stories(home.engine)


def test_nothing_of_a_killed_driver_outlives_it(home):
    driver = home.start("one", 60.0)
    home.until(lambda: len(psutil.Process(driver.pid).children(recursive=True)) >= 2)
    children = psutil.Process(driver.pid).children(recursive=True)
    os.kill(driver.pid, signal.SIGKILL)
    assert psutil.wait_procs(children, timeout=5)[1] == []

"""kill -9 at random moments of a whole run, then a second run: the same results as undisturbed, nothing left over."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.generate import generate_odd_day
from pinflow.database import open_database
from tests.scheduler.stories import check_stories
from tests.workflows.command import HOME_VARIABLE, Command, Served, finish, published, served

DAY = date(2015, 5, 18)
VICTIMS = ("command", "zygote", "job", "task")
GONE_SECONDS = 15


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody killed."""

    command: Command
    seconds: float
    rows: Served
    content: dict[str, list[str]]
    counts: dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    command = Command(folder / "home", folder / "input")
    generate_odd_day(command.input, DAY, 2, events=900)
    start = time.monotonic()
    command.run(DAY)
    seconds = time.monotonic() - start
    return Undisturbed(command, seconds, served(command), published(command), counts(command))


def counts(command: Command) -> dict[str, dict[str, int]]:
    """Published counts without sizes of files, which hold the names of runs, and tasks that were killed."""
    found = command.counts(DAY)
    of_run = ("_bytes", "lost_attempts")
    return {job: {n: v for n, v in values.items() if not n.endswith(of_run)} for job, values in found.items()}


def jobs_now(command: Command) -> set[int]:
    """Process ids of the jobs, as the scheduler's tables name them."""
    try:
        return {pid for (pid,) in command.sql("select pid from attempt where pid is not null")}
    except Exception:
        return set()


def below(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def find(victim: str, root: psutil.Process, command: Command, chance: random.Random) -> psutil.Process | None:
    """A running process of that kind."""
    if victim == "command":
        return root
    children = below(root)
    zygotes = [child for child in children if _parent(child) == root.pid]
    if victim == "zygote":
        return zygotes[0] if zygotes else None
    forked = [child for child in children if child not in zygotes]
    jobs = jobs_now(command)
    wanted = [child for child in forked if (child.pid in jobs) == (victim == "job")]
    return chance.choice(wanted) if wanted else None


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def kill(victim: str, root: psutil.Process, command: Command, chance: random.Random) -> None:
    """Kill one as soon as there is one; nobody when the command ended before. One that ends before its kill is none."""
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        found = find(victim, root, command, chance)
        if found is not None:
            with suppress(psutil.NoSuchProcess):
                found.kill()
                break
        time.sleep(0.002)


def leftovers(command: Command) -> Iterator[str]:
    """Processes that work on the home: the command, its zygote and all that was forked have it from their start."""
    wanted = str(command.home)
    for process in psutil.process_iter():
        try:
            if process.environ().get(HOME_VARIABLE) == wanted:
                yield f"{process.pid} {process.cmdline()}"
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def assert_nothing_is_left(command: Command) -> None:
    end = time.monotonic() + GONE_SECONDS
    while left := list(leftovers(command)):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def disturb(undisturbed: Undisturbed, folder: Path, victim: str, seed: int) -> None:
    """Kill at a random moment, run again, compare."""
    chance = random.Random(f"{seed} {victim}")
    command = Command(folder / "home", undisturbed.command.input)
    with command.start("run", "analytics", "--date", str(DAY), "--json") as process:
        root = psutil.Process(process.pid)
        time.sleep(chance.uniform(0.1, 0.95) * undisturbed.seconds)
        kill(victim, root, command, chance)
        published(command)
        first = finish(process) if victim != "command" else process.wait(60)
    assert_nothing_is_left(command)
    published(command)
    second = command.run(DAY).json
    context: Any = (victim, seed, first, second)
    assert second["state"] == "succeeded", context
    assert served(command) == undisturbed.rows, context
    assert published(command) == undisturbed.content, context
    assert counts(command) == undisturbed.counts, context
    engine = open_database(command.database)
    check_stories(engine)
    engine.dispose()
    assert command.sql("select count(*) from run where state = 'running'") == [(0,)]
    assert command.sql("select count(*) from job where state in ('running', 'polling')") == [(0,)]
    assert_nothing_is_left(command)


def test_a_run_that_ends_at_once_leaves_no_process(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path)
    assert command("run", "analytics", "--date", "no day").code == 2
    assert list(leftovers(command)) == []


def test_a_run_killed_while_its_zygote_still_imports_leaves_no_process(tmp_path: Path) -> None:
    command = Command(tmp_path / "home", tmp_path)
    with command.start("run", "analytics", "--date", str(DAY)) as process:
        while not any("zygote_server" in left for left in leftovers(command)):
            assert process.poll() is None
        process.kill()
    assert_nothing_is_left(command)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_second_run_after_kill_9_gives_what_an_undisturbed_one_gives(
    undisturbed: Undisturbed, tmp_path: Path, victim: str
) -> None:
    disturb(undisturbed, tmp_path, victim, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_9_at_twenty_random_moments(undisturbed: Undisturbed, tmp_path: Path, victim: str, seed: int) -> None:
    disturb(undisturbed, tmp_path, victim, seed)
